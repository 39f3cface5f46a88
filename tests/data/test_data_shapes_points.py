"""The embedded shapes, their class maps, and the mixtures of Gaussians."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.data import MASK_COLORS, GaussianMixture, ShapePairs, Shapes, grid, open_dataset, open_pairs, ring
from minigan.errors import ConfigError


def test_shapes_are_color_images_with_labels():
    shapes = Shapes(count=24)
    x = shapes.read(range(24))
    assert x.shape == (24, 64, 64, 3)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.min() >= -1
    assert x.max() <= 1
    assert shapes.classes == ("circle", "square", "triangle", "star", "ring", "cross")
    assert shapes.labels.tolist() == list(range(6)) * 4


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 9_999), min_size=1, max_size=5))
def test_a_scene_depends_on_seed_and_index_alone(seed, indices):
    together = Shapes(seed=seed, size=(24, 24), cache_bytes=0).pixels(indices)
    one_by_one = [Shapes(seed=seed, size=(24, 24), count=10_100, cache_bytes=0).pixels([i])[0] for i in indices]
    np.testing.assert_array_equal(together, np.stack(one_by_one))


def test_pairs_are_the_scenes_and_their_class_maps():
    pairs = ShapePairs(count=60, size=(32, 48), seed=3)
    a, b = pairs.read(range(60))
    assert a.shape == b.shape == (60, 32, 48, 3)
    assert pairs.a_shape == pairs.b_shape == (32, 48, 3)
    np.testing.assert_array_equal(a, Shapes(count=60, size=(32, 48), seed=3).read(range(60)))
    colors = np.array(MASK_COLORS, dtype=np.float32) / 127.5 - 1
    near = np.abs(b[..., None, :] - colors).sum(axis=-1)
    assert near.min(axis=-1).max() < 1e-6  # nothing but the colors of the classes
    counts = np.stack([np.bincount(m.ravel(), minlength=7)[1:] for m in near.argmin(axis=-1)])
    assert (counts.argmax(axis=1) == pairs.labels).mean() > 0.95  # the main shape is the label


def test_direction_swaps_the_pair():
    a, b = open_pairs("shapes", size=16, count=4, seed=1).read([0, 3])
    swapped = open_pairs("shapes", size=16, count=4, seed=1, direction="BtoA").read([0, 3])
    np.testing.assert_array_equal(a, swapped[1])
    np.testing.assert_array_equal(b, swapped[0])


def test_shapes_in_gray():
    assert open_dataset("shapes", channels=1, count=6, size=16).read([0]).shape == (1, 16, 16, 1)


def test_ring_follows_its_protocol():
    data = ring(count=20_000, seed=1)
    assert isinstance(data, GaussianMixture)
    assert data.centers.shape == (8, 2)
    np.testing.assert_allclose(np.linalg.norm(data.centers, axis=1), 1, rtol=1e-6)
    _check_mixture(data, sigma=0.01)


def test_grid_follows_its_protocol():
    data = grid(count=20_000, seed=1)
    assert data.centers.shape == (25, 2)
    assert set(data.centers.ravel().tolist()) == {-4, -2, 0, 2, 4}
    _check_mixture(data, sigma=0.05)


def _check_mixture(data: GaussianMixture, *, sigma: float) -> None:
    assert data.sigma == sigma
    assert data.shape == (2,)
    x = data.read(np.arange(len(data)))
    assert x.dtype == np.float32
    assert x.shape == (len(data), 2)
    noise = x - data.centers[data.labels]
    assert abs(noise.std() / sigma - 1) < 0.03
    assert abs(noise.mean()) < sigma / 20
    counts = np.bincount(data.labels, minlength=len(data.centers))
    assert counts.min() > 0.8 * len(data) / len(data.centers)
    assert len(data.classes) == len(data.centers)


def test_points_by_name():
    data = open_dataset("ring")
    assert len(data) == 100_000
    assert data.describe() == "ring: 100,000 2-D points, 8 classes"
    np.testing.assert_array_equal(data.read(range(50)), open_dataset("ring", count=50).read(range(50)))
    assert (data.read([0]) != open_dataset("ring", seed=1).read([0])).all()
    with pytest.raises(ConfigError, match="no size"):
        open_dataset("grid", size=8)
