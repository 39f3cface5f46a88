"""Each metric of small integers, truth values and half precision is that of the same numbers in float64."""

import numpy as np
import pytest

from minigan.errors import DataError, DTypeError
from minigan.evaluation.metrics import (
    Moments,
    birthday_test,
    close_distance,
    confusion_matrix,
    distance_blocks,
    frechet_distance,
    kernel_distance,
    kl_divergence,
    kth_nearest,
    label_coverage,
    laplacian_pyramid,
    map_agreement,
    memorization,
    mmd,
    mode_coverage,
    nearer_share,
    nearest,
    palette_labels,
    patch_distances,
    prdc,
    psnr,
    sliced_wasserstein,
    ssim,
    wasserstein_1d,
)

COLORS = [(0, 0, 0), (90, 3, 100), (1, 1, 1)]
TYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32")


def draws():
    return np.random.default_rng(7)


# A function of two arrays of vectors (N, F).
OF_VECTORS = {
    "distance_blocks": lambda x, y: next(distance_blocks(x, y))[1],
    "nearest": lambda x, y: nearest(x, y, k=3)[1],
    "kth_nearest": lambda x, _: kth_nearest(x, k=3),
    "frechet_distance": lambda x, y: frechet_distance(Moments.of(x), Moments.of(y)),
    "mmd": mmd,
    "kernel_distance": lambda x, y: kernel_distance(x, y, rng=draws(), subsets=3, subset_size=9),
    "prdc": lambda x, y: prdc(x, y, k=3),
    "birthday_test": lambda x, _: birthday_test(x, threshold=1.0)[:4],
    "close_distance": lambda x, _: close_distance(x, share=0.2),
    "memorization": lambda x, y: memorization(x, y)[:2],
    "mode_coverage": lambda x, y: mode_coverage(x, centers=y[:4], sigma=1.0)[:4],
    "wasserstein_1d": lambda x, y: wasserstein_1d(x, y[: len(x)]),
    "sliced_wasserstein": lambda x, y: sliced_wasserstein(x, y[: len(x)], rng=draws(), directions=5),
    "nearer_share": lambda x, y: nearer_share(x[:, 0], y[:, 0]),
    "kl_divergence": lambda x, y: kl_divergence(abs(x[:, 0]), np.maximum(abs(y[: len(x), 0]), y.dtype.type(1))),
}
# A function of two arrays of images (N, H, W, 3).
OF_IMAGES = {
    "psnr": lambda x, y: psnr(x, y, data_range=100),
    "ssim": lambda x, y: ssim(x, y, data_range=100),
    "laplacian_pyramid": lambda x, _: np.concatenate([level.ravel() for level in laplacian_pyramid(x)]),
    "patch_distances": lambda x, y: list(patch_distances(x, y, rng=draws(), patches=3, directions=4).values()),
}


def values(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Numbers large enough for the type that their products, sums or differences leave it."""
    low, high = {"bool": (0, 2), "int8": (-100, 128), "float16": (-20_000, 20_000)}.get(dtype, (0, 256))
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_vectors_and_images_of_every_type(dtype):
    for metrics, shapes in ((OF_VECTORS, ((20, 5), (25, 5))), (OF_IMAGES, ((3, 16, 17, 3),) * 2)):
        x, y = (values(shape, dtype, seed) for seed, shape in enumerate(shapes))
        for name, metric in metrics.items():
            found, expected = metric(x, y), metric(x.astype(np.float64), y.astype(np.float64))
            tolerance = 1e-4 if dtype == "float32" else 1e-12  # some metrics compute in single precision if given it
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=f"{name} of {dtype}")


@pytest.mark.parametrize("dtype", [dtype for dtype in TYPES if not dtype.startswith("float")])
def test_labels_of_every_type(dtype):
    classes = min(120, np.iinfo(dtype).max) if dtype != "bool" else 2
    truth, labels = np.random.default_rng(0).integers(0, classes, (2, 3000))
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (truth, labels), 1)
    counted = confusion_matrix(labels.astype(dtype), truth.astype(dtype), classes=classes)
    np.testing.assert_array_equal(counted, expected)
    assert counted.dtype == np.int64
    found = label_coverage(labels.astype(dtype), classes=classes, data_labels=truth.astype(dtype))
    np.testing.assert_array_equal(found.histogram, expected.sum(axis=0))


def test_labels_of_mixed_types():
    """uint64 and int64 have no common integer type in NumPy; 255 is void in the truth."""
    truth, labels = np.array([0, 16, 255], np.uint8), np.array([16, 16, 0], np.uint64)
    confusion = confusion_matrix(labels, truth, classes=17)
    assert confusion[0, 16] == confusion[16, 16] == confusion.sum() - 1 == 1
    with pytest.raises(DTypeError, match="labels: expected integers, got float64"):
        confusion_matrix(labels.astype(float), truth, classes=17)


@pytest.mark.parametrize("dtype", TYPES[1:])
def test_counts_of_every_type(dtype):
    confusion = np.array([[100, 90, 3], [80, 120, 0], [0, 0, 0]], dtype)
    assert map_agreement(confusion) == map_agreement(confusion.astype(float))
    assert kl_divergence(confusion[0], confusion[0]) == 0
    many = np.full(3000, 60, dtype)  # the sum is beyond float16
    assert kl_divergence(many, many) == 0


@pytest.mark.parametrize("dtype", [dtype for dtype in TYPES if "int" in dtype and dtype != "int8"])
def test_class_maps_of_every_type(dtype):
    labels = np.random.default_rng(0).integers(len(COLORS), size=(2, 4, 5))
    pixels = np.array(COLORS, dtype)[labels]
    np.testing.assert_array_equal(palette_labels(pixels, palette=COLORS), labels)
    if dtype != "uint8":
        with pytest.raises(DataError, match="expected integers from 0 to 255, got 0 to 300"):
            palette_labels(pixels * 3, palette=COLORS)


def test_class_maps_in_half_precision():
    """Half precision in [-1, 1] tells neighboring colors from each other, if it is not rounded again."""
    colors = [(k, k, k) for k in range(90, 110)]
    labels = np.arange(20).reshape(1, 4, 5)
    images = (np.array(colors)[labels] / 127.5 - 1).astype(np.float16)
    np.testing.assert_array_equal(palette_labels(images, palette=colors), labels)
