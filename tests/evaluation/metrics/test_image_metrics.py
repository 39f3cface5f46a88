"""Sliced Wasserstein distances, PSNR, SSIM and class maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.data import MASK_COLORS, open_pairs
from minigan.errors import ConfigError, ShapeError
from minigan.evaluation.metrics import (
    confusion_matrix,
    laplacian_pyramid,
    map_agreement,
    palette_labels,
    patch_distances,
    psnr,
    sliced_wasserstein,
    ssim,
    wasserstein_1d,
)

pytest.importorskip("scipy")

import naive_metrics as naive
from scipy.stats import wasserstein_distance

# ---------------------------------------------------------------------------------------- sliced Wasserstein


@given(seed=st.integers(0, 10**6), n=st.integers(1, 30))
def test_wasserstein_is_scipys(seed, n):
    x, y = np.random.default_rng(seed).standard_normal((2, n, 3))
    expected = [wasserstein_distance(x[:, k], y[:, k]) for k in range(3)]
    np.testing.assert_allclose(wasserstein_1d(x, y), expected)


def test_slices_of_a_shift(rng):
    """Along a direction a the shift s is |a·s|; on the sphere in 3-D the mean of that is |s| / 2."""
    x = rng.standard_normal((50, 3))
    assert sliced_wasserstein(x, x + np.array([3, 0, 4]), rng=rng, directions=20_000) == pytest.approx(2.5, rel=0.02)
    assert sliced_wasserstein(x, rng.permutation(x), rng=rng) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ShapeError, match="Use equal numbers"):
        sliced_wasserstein(x, x[:-1], rng=rng)


@pytest.mark.parametrize(
    ("size", "levels"),
    [((28, 28), [28, 14]), ((32, 32), [32, 16]), ((64, 64), [64, 32, 16]), ((27, 30), [27, 14]), ((7, 9), [7])],
)
def test_the_pyramid_by_scipys_filters(size, levels, rng):
    images = rng.standard_normal((2, *size, 3))
    pyramid = laplacian_pyramid(images)
    assert [level.shape[1] for level in pyramid] == levels
    for level in pyramid[:-1]:
        images, rest = naive.pyramid_level(images)
        np.testing.assert_allclose(level, rest, atol=1e-12)
    np.testing.assert_allclose(pyramid[-1], images, atol=1e-12)


def test_a_plain_image_has_nothing_on_the_fine_levels():
    fine, coarse = laplacian_pyramid(np.full((1, 29, 31, 1), 0.7))
    np.testing.assert_allclose(fine, 0, atol=1e-12)
    np.testing.assert_allclose(coarse, 0.7, atol=1e-12)


def test_patch_distances_see_blur_on_the_fine_level_alone(rng):
    sharp = rng.standard_normal((60, 32, 32, 1)).astype(np.float32)
    same = patch_distances(sharp, rng.standard_normal((60, 32, 32, 1)), rng=rng, patches=32, directions=32)
    rough = np.sign(sharp) * np.abs(sharp) ** 3
    other = patch_distances(sharp, rough, rng=rng, patches=32, directions=32)
    assert list(same) == ["32x32", "16x16"]
    assert max(same.values()) < 0.05
    assert other["32x32"] > 2 * same["32x32"]


def test_each_channel_of_the_patches_is_scaled_by_itself(rng):
    real = rng.uniform(-1, 1, (20, 16, 16, 3))
    fake = 0.1 + real * [0.2, 1, 0.6]
    distances = patch_distances(real, fake, rng=rng, patches=16, directions=32)
    assert distances == pytest.approx({"16x16": 0}, abs=1e-12)


def test_patches_of_equal_sets_are_equal(rng):
    images = rng.standard_normal((9, 28, 28, 3)).astype(np.float32)
    assert set(patch_distances(images, images, rng=rng, patches=4, directions=8).values()) == {0.0}
    assert set(patch_distances(0 * images, images, rng=rng, patches=4, directions=8)) == {"28x28", "14x14"}
    with pytest.raises(ShapeError, match="at least 7 pixels"):
        laplacian_pyramid(np.zeros((2, 6, 9, 1)))
    with pytest.raises(ShapeError, match="one shape"):
        patch_distances(images, images[:3], rng=rng)


# ---------------------------------------------------------------------------------------- PSNR and SSIM


def test_psnr_in_closed_form(rng):
    x = rng.uniform(-1, 1, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(psnr(x, x + 0.2), 20, rtol=1e-5)  # 10 log10(4 / .04)
    np.testing.assert_allclose(psnr(x, x + 0.2, data_range=20), 40, rtol=1e-5)
    assert np.isposinf(psnr(x, x)).all()


@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(11, 11), (12, 30), (32, 32)]), noise=st.floats(0, 1))
def test_ssim_is_that_of_scipys_gaussian_window(seed, shape, noise):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (2, *shape, 3))
    y = x + noise * rng.standard_normal(x.shape)
    expected = [np.mean([naive.ssim(a[..., c], b[..., c], 2.0) for c in range(3)]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y), expected, atol=1e-10)
    np.testing.assert_allclose(ssim(x, x), 1)
    np.testing.assert_allclose(ssim(x, y), ssim(y, x))


def test_pairs_of_bad_input():
    x = np.zeros((2, 16, 16, 1))
    with pytest.raises(ShapeError, match="Pair them"):
        psnr(x, x[:1])
    with pytest.raises(ShapeError, match="at least 11 pixels"):
        ssim(x[:, :10], x[:, :10])
    with pytest.raises(ConfigError, match="data_range"):
        psnr(x, x, data_range=0)


# ---------------------------------------------------------------------------------------- class maps


def test_confusion_by_hand():
    truth = np.array([[0, 0, 0, 1], [1, 1, 255, 3]])
    labels = np.array([[0, 0, 1, 1], [1, 2, 0, 3]])
    confusion = confusion_matrix(labels, truth, classes=4)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    found = map_agreement(confusion)  # class 2 is not in the truth: it is in no mean
    assert found.pixel_accuracy == pytest.approx(5 / 7)
    assert found.class_accuracy == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found.mean_iou == pytest.approx((2 / 3 + 2 / 4 + 1) / 3)


def test_labels_of_the_nearest_color(rng):
    truth = rng.integers(len(MASK_COLORS), size=(2, 5, 6))
    pixels = np.array(MASK_COLORS, dtype=np.uint8)[truth]
    np.testing.assert_array_equal(palette_labels(pixels, palette=MASK_COLORS), truth)
    images = pixels / np.float32(127.5) - 1
    noisy = images + rng.uniform(-0.05, 0.05, images.shape)
    np.testing.assert_array_equal(palette_labels(noisy, palette=MASK_COLORS), truth)
    assert palette_labels(np.zeros((1, 1, 1, 3)), palette=[(100, 100, 100), (120, 120, 120)]).item() == 1


def test_class_maps_of_the_embedded_pairs_agree_with_themselves():
    _, maps = open_pairs("shapes", count=4).read(range(4))
    labels = palette_labels(maps, palette=MASK_COLORS)
    assert map_agreement(confusion_matrix(labels, labels, classes=len(MASK_COLORS))) == (1, 1, 1)


def test_class_maps_of_bad_input():
    with pytest.raises(ShapeError, match="color images"):
        palette_labels(np.zeros((1, 2, 2, 1)), palette=MASK_COLORS)
    with pytest.raises(ShapeError, match="Pair them"):
        confusion_matrix(np.zeros(3, int), np.zeros(4, int), classes=2)
    with pytest.raises(ConfigError, match="expected 0 to 1, got 5 to 5"):
        confusion_matrix(np.array([5]), np.array([0]), classes=2)
    with pytest.raises(ShapeError, match="counts in it"):
        map_agreement(np.zeros((2, 2)))
