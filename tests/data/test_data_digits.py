"""The embedded digits and their glyphs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.data import Digits, open_dataset
from minigan.data.glyphs import STYLES, alphabet
from minigan.errors import DataError


def test_shape_range_and_labels():
    digits = Digits(count=30)
    x = digits.read(range(30))
    assert x.shape == (30, 28, 28, 1)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.min() == -1
    assert x.max() == 1
    assert digits.labels.dtype == np.int64
    assert digits.labels.tolist() == list(range(10)) * 3
    assert digits.classes == tuple("0123456789")
    assert digits.describe() == "digits: 30 grayscale images 28x28, 10 classes"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 19_999), min_size=1, max_size=12))
def test_an_item_depends_on_seed_and_index_alone(seed, indices):
    together = Digits(seed=seed, cache_bytes=0).pixels(indices)
    longer = Digits(seed=seed, count=20_500, cache_bytes=0)
    one_by_one = np.concatenate([longer.pixels([i]) for i in reversed(indices)])[::-1]
    np.testing.assert_array_equal(together, one_by_one)


def test_seeds_differ_and_so_do_items():
    a, b = Digits(seed=1).pixels(range(40)), Digits(seed=2).pixels(range(40))
    assert len({image.tobytes() for image in np.concatenate([a, b])}) == 80


@pytest.mark.parametrize("size", [(28, 28), (16, 16), (32, 32), (64, 64), (128, 128), (40, 28), (28, 48), (8, 8)])
def test_any_size_is_framed_alike(size):
    x = Digits(size=size, seed=5).pixels(range(60))[..., 0]
    assert x.shape == (60, *size)
    side = min(size)
    rows, columns = (x.max(axis=2) > 60).sum(axis=1), (x.max(axis=1) > 60).sum(axis=1)
    longest = np.maximum(rows, columns) / side
    assert 0.6 < longest.mean() < 0.78  # MNIST: 20 of 28
    assert longest.max() < 0.95
    # the mass lies near the middle
    total = x.sum(axis=(1, 2))
    y = (x.sum(axis=2) * np.arange(size[0])).sum(axis=1) / total
    assert abs(y - (size[0] - 1) / 2).max() < 0.15 * side


def test_no_ink_is_cut_off():
    x = Digits(seed=7).pixels(range(1000))[..., 0]
    edges = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], axis=1)
    assert (edges.max(axis=1) > 128).mean() < 0.005


def test_ink_statistics_are_near_those_of_mnist():
    x = Digits(seed=0).pixels(range(2000)) / 255.0
    assert 0.11 < x.mean() < 0.15  # MNIST 0.130
    assert 0.16 < (x > 0).mean() < 0.22  # MNIST 0.191
    assert 0.06 < (x > 0.98).mean() < 0.09  # MNIST 0.072


def test_classes_can_be_told_apart_and_vary():
    digits = Digits(seed=0, count=4000)
    x = digits.read(range(4000)).reshape(4000, -1)
    means = np.stack([x[:3000][digits.labels[:3000] == k].mean(axis=0) for k in range(10)])
    distance = ((x[3000:, None] - means) ** 2).sum(axis=2)
    right = (distance.argmin(axis=1) == digits.labels[3000:]).mean()
    assert 0.7 < right < 0.99  # MNIST: 0.82 by nearest mean


def test_the_cache_keeps_what_was_drawn():
    digits = Digits(count=50)
    first = digits.read([3, 3, 7])
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(digits.read([7, 3]), first[[2, 0]])
    np.testing.assert_array_equal(Digits(count=50, cache_bytes=0).read([3, 3, 7]), first)


@pytest.mark.parametrize("bad", [[50], [-1], [[1, 2]], [0.5]])
def test_bad_indices_are_named(bad):
    with pytest.raises(DataError, match=r"digits: expected (indices from 0 to 49|a list of integer indices), got"):
        Digits(count=50).read(bad)


def test_an_empty_batch_is_empty():
    assert Digits(count=5).read([]).shape == (0, 28, 28, 1)


def test_opened_by_name_with_arguments():
    digits = open_dataset("digits", size=(20, 32), channels=3, count=11, seed=4)
    assert digits.shape == (20, 32, 3)
    assert len(digits) == 11
    x = digits.read([2])
    np.testing.assert_array_equal(x[..., 0], x[..., 2])
    np.testing.assert_array_equal(x[..., :1], Digits(size=(20, 32), seed=4).read([2]))


@pytest.mark.parametrize("style", [style for digit in STYLES for style in digit])
def test_both_extremes_of_a_style_have_the_same_strokes(style):
    shape = [["", "/", "|"].index(word) if word in "/|" else 0 for word in style.first.split()]
    assert shape == [["", "/", "|"].index(word) if word in "/|" else 0 for word in style.second.split()]


def test_curves_pass_through_their_control_points():
    letters = alphabet(step=0.05)
    for style, points in enumerate(letters.first):
        used = letters.segments[style]
        ends = np.concatenate([letters.begin[style, :used], letters.end[style, :used]]) @ points
        for x in points:
            assert np.abs(ends - x).sum(axis=1).min() < 1e-5
        np.testing.assert_allclose(letters.begin[style].sum(axis=1), 1, atol=1e-5)
