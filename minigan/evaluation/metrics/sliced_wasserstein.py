"""The sliced Wasserstein distance between patches of two sets of images, scale by scale.

Source: Karras et al. 2018 ("Progressive Growing of GANs"), section 5: a Laplacian pyramid (Burt & Adelson 1983), 7x7
patches of each level, and the distance between their distributions along random directions (Rabin et al. 2011). The
coarse levels compare large shapes, the finest one compares edges and noise.
"""

import numpy as np

from minigan.errors import ShapeError
from minigan.evaluation.metrics.checks import FloatArray, check_count, vectors_pair, wide

__all__ = ["laplacian_pyramid", "patch_distances", "sliced_wasserstein", "wasserstein_1d"]

PATCH = 7
TAPS = np.array([1, 4, 6, 4, 1]) / 16  # Burt & Adelson's binomial filter
GROUP = 128  # directions at a time, to bound the memory


def wasserstein_1d(x: np.ndarray, y: np.ndarray) -> FloatArray:
    """Wasserstein-1 distance between two equally large sets of numbers: the mean distance after sorting both.

    Args:
        x, y: (N, K), a set in each column.
    Returns:
        float64 (K,).
    Raises:
        ShapeError: the shapes differ.
    """
    if x.shape != y.shape or x.ndim != 2:
        raise ShapeError(f"expected two arrays of one shape (N, K), got {x.shape} and {y.shape}. Use equal numbers.")
    x, y = wide(x), wide(y)
    distance: FloatArray = np.abs(np.sort(x, axis=0) - np.sort(y, axis=0)).mean(axis=0, dtype=np.float64)
    return distance


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, *, rng: np.random.Generator, directions: int = 512) -> float:
    """Mean Wasserstein-1 distance between two sets of vectors along random directions.

    Args:
        x, y: (N, F) each.
        rng: draws the directions, uniformly.
        directions: number of directions.
    Raises:
        ConfigError: no direction.
        ShapeError, DTypeError, DataError: the arrays are not two equal numbers of finite vectors of one length.
    """
    vectors_pair(("x", "y"), x, y)
    check_count("directions", directions)
    x, y = wide(x), wide(y)
    total = 0.0
    for start in range(0, directions, GROUP):
        axes = rng.standard_normal((x.shape[1], min(GROUP, directions - start)))
        axes = (axes / np.linalg.norm(axes, axis=0)).astype(x.dtype)
        total += float(wasserstein_1d(x @ axes, y @ axes).sum())
    return total / directions


def patch_distances(
    real: np.ndarray, fake: np.ndarray, *, rng: np.random.Generator, patches: int = 128, directions: int = 512
) -> dict[str, float]:
    """Sliced Wasserstein distance between the patches of each level of the Laplacian pyramid.

    The patches of an image are at random places, the same in both sets. Each set's patches are shifted and scaled to
    mean 0 and standard deviation 1, channel by channel. Karras et al. report the values times 1,000.

    Args:
        real, fake: images (N, H, W, C) of one shape, sides of at least 7 pixels.
        rng: draws the places and the directions.
        patches: number of patches of each image and level.
        directions: number of directions.
    Returns:
        The distance by the level's size: `{"28x28": .., "14x14": ..}`.
    Raises:
        ConfigError: a number is not positive.
        ShapeError: the shapes differ, or the images are smaller than a patch.
    """
    if real.shape != fake.shape:
        raise ShapeError(f"expected real and fake of one shape, got {real.shape} and {fake.shape}. Use equal numbers.")
    check_count("patches", patches)
    distances = {}
    for x, y in zip(laplacian_pyramid(real), laplacian_pyramid(fake), strict=True):
        _, H, W, _ = x.shape
        rows = rng.integers(H - PATCH + 1, size=(len(x), patches))
        columns = rng.integers(W - PATCH + 1, size=(len(x), patches))
        a, b = (_standardized(_patches(level, rows, columns)) for level in (x, y))
        distances[f"{H}x{W}"] = sliced_wasserstein(a, b, rng=rng, directions=directions)
    return distances


def laplacian_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """Decomposes images by scale, finest first; each level holds the detail that the next, coarser one lacks.

    A level has half the sides of the one before, rounded up, as long as two patches fit side by side; the last level is
    the small image itself. So 28x28 has levels 28 and 14, and 64x64 has 64, 32 and 16.

    Args:
        images: (N, H, W, C), sides of at least 7 pixels.
    Returns:
        float32 or float64 levels (N, h, w, C).
    Raises:
        ShapeError: the images are smaller than a patch.
    """
    if images.ndim != 4 or min(images.shape[1:3]) < PATCH:
        raise ShapeError(
            f"expected images (N, H, W, C) with sides of at least {PATCH} pixels, got {images.shape}. Use larger ones."
        )
    level = wide(images)
    levels = []
    while min(-(-side // 2) for side in level.shape[1:3]) >= 2 * PATCH:
        coarse = _blur(level)[:, ::2, ::2]
        spread = np.zeros_like(level)
        spread[:, ::2, ::2] = coarse
        levels.append(level - 4 * _blur(spread))
        level = coarse
    return [*levels, level]


def _blur(images: np.ndarray) -> np.ndarray:
    """Filters along both sides; beyond the border the image is mirrored at the middle of its pixels: c b | a b c."""
    for axis in (1, 2):
        size = images.shape[axis]
        widths = [(2, 2) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(images, widths, mode="reflect")
        parts = (
            np.take(padded, range(k, k + size), axis=axis) * tap for k, tap in enumerate(TAPS.astype(images.dtype))
        )
        images = np.add.reduce(list(parts))
    return images


def _patches(level: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Patches (N * patches, 7, 7, C) with their upper left corners at rows and columns, (N, patches)."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))  # (N, h, w, C, 7, 7)
    found: np.ndarray = windows[np.arange(len(level))[:, None], rows, columns]
    return found.reshape(-1, *found.shape[2:]).transpose(0, 2, 3, 1)


def _standardized(patches: np.ndarray) -> np.ndarray:
    """Patches as vectors; each channel has mean 0 and standard deviation 1, or 0 if it is constant."""
    x = patches - patches.mean(axis=(0, 1, 2))
    std = x.std(axis=(0, 1, 2))
    scaled: np.ndarray = x / np.where(std > 0, std, 1)
    return scaled.reshape(len(x), -1)
