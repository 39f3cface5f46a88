"""Resizing by whole factors, without a network: block means and bicubic interpolation."""

import numpy as np

from minigan.errors import ShapeError

__all__ = ["bicubic", "block_means"]

A = -0.5  # in Keys' family, the kernel that is exact for quadratic functions


def block_means(images: np.ndarray, *, factor: int) -> np.ndarray:
    """Averages images (N, H, W, C) over blocks of pixels: (N, H / factor, W / factor, C), same dtype.

    Raises:
        ShapeError: the sides are not multiples of the factor.
    """
    N, H, W, C = images.shape
    if H % factor or W % factor:
        raise ShapeError(f"expected sides that are multiples of {factor}, got {H}x{W}. Resize the images.")
    means: np.ndarray = images.reshape(N, H // factor, factor, W // factor, factor, C).mean(axis=(2, 4))
    return means


def bicubic(images: np.ndarray, *, factor: int) -> np.ndarray:
    """Enlarges images (N, H, W, C) to (N, H * factor, W * factor, C), same dtype; edges may overshoot [-1, 1].

    Pixels are squares, so the middle of the first new one lies at (1 / factor - 1) / 2. Beyond the border the outermost
    pixels are repeated.

    Source: Keys 1981, "Cubic Convolution Interpolation for Digital Image Processing", equation 15.
    """
    _, H, W, _ = images.shape
    down, across = (_weights(side, factor).astype(images.dtype) for side in (H, W))
    enlarged: np.ndarray = np.einsum("ph,nhwc,qw->npqc", down, images, across, optimize=True)
    return np.ascontiguousarray(enlarged)


def _weights(side: int, factor: int) -> np.ndarray:
    """Weights (side * factor, side) of the old pixels (columns) in the new ones (rows)."""
    place = (np.arange(side * factor) + 0.5) / factor - 0.5
    first = np.floor(place).astype(int) - 1
    weights = np.zeros((side * factor, side))
    for k in range(4):
        distance = abs(place - (first + k))
        near = (A + 2) * distance**3 - (A + 3) * distance**2 + 1
        far = A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        pixel = np.clip(first + k, 0, side - 1)
        np.add.at(weights, (np.arange(len(place)), pixel), np.where(distance <= 1, near, far))
    return weights
