"""Similarity of two batches of images, image by image: PSNR and SSIM."""

import numpy as np
import numpy.typing as npt

from minigan.errors import ConfigError, ShapeError
from minigan.evaluation.metrics.checks import FloatArray, images_pair

__all__ = ["psnr", "ssim"]

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def psnr(x: np.ndarray, y: np.ndarray, *, data_range: float = 2.0) -> FloatArray:
    """Peak signal-to-noise ratio of each pair, 10 log10(range² / mean squared error), in decibels.

    Args:
        x, y: images (N, H, W, C).
        data_range: difference of the brightest and the darkest value; 2 for [-1, 1].
    Returns:
        float64 (N,); infinite for equal images. Larger is better.
    Raises:
        ConfigError: the range is not positive.
        ShapeError, DTypeError, DataError: the batches are not finite images of one shape.
    """
    x, y = _checked(x, y, data_range)
    error = np.square(x - y).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        decibels: FloatArray = 10 * np.log10(data_range**2 / error)
    return decibels


def ssim(x: np.ndarray, y: np.ndarray, *, data_range: float = 2.0) -> FloatArray:
    """Structural similarity of each pair: the mean of the similarity map over all places and channels.

    The map is (2 μx μy + C1) (2 σxy + C2) / ((μx² + μy² + C1) (σx² + σy² + C2)) with C1 = (.01 range)² and
    C2 = (.03 range)². Means and (co)variances are weighted by a Gaussian window of 11x11 pixels with σ 1.5, at all
    places where the window lies inside the image. Color images are compared channel by channel.

    Args:
        x, y: images (N, H, W, C), sides of at least 11 pixels.
        data_range: difference of the brightest and the darkest value; 2 for [-1, 1].
    Returns:
        float64 (N,); 1 for equal images, less for others.
    Raises:
        ConfigError: the range is not positive.
        ShapeError, DTypeError, DataError: the batches are not finite images of one shape and size.
    Source: Wang et al. 2004 ("Image Quality Assessment"), equations 13 to 17 and section III.C.
    """
    x, y = _checked(x, y, data_range)
    if min(x.shape[1:3]) < WINDOW:
        raise ShapeError(f"SSIM: expected sides of at least {WINDOW} pixels, got {x.shape}. Use larger images.")
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mx, my = _window_mean(x), _window_mean(y)
    vx, vy = _window_mean(x * x) - mx * mx, _window_mean(y * y) - my * my
    cov = _window_mean(x * y) - mx * my
    quality = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    similarity: FloatArray = quality.mean(axis=(1, 2, 3))
    return similarity


def _checked(x: np.ndarray, y: np.ndarray, data_range: float) -> tuple[FloatArray, FloatArray]:
    if not 0 < data_range < np.inf:
        raise ConfigError(f"data_range: expected a positive number, got {data_range}. 2 fits images in [-1, 1].")
    return images_pair(("x", "y"), x, y)


def _window_mean(x: FloatArray) -> FloatArray:
    """Means under the Gaussian window, (N, H - 10, W - 10, C)."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps: npt.NDArray[np.float64] = np.exp(-(offsets**2) / (2 * SIGMA**2))
    taps /= taps.sum()
    for axis in (1, 2):
        x = np.lib.stride_tricks.sliding_window_view(x, WINDOW, axis=axis) @ taps
    return x
