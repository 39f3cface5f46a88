"""Pictures of samples: images in a grid, points as a density."""

import math

import numpy as np

GAP = 2  # pixels between images


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Converts images in [-1, 1] to uint8; values outside are clipped."""
    levels: np.ndarray = np.rint((np.clip(images, -1, 1) + 1) * 127.5)
    return levels.astype(np.uint8)


def image_grid(images: np.ndarray, *, columns: int | None = None, scale: int | None = None) -> np.ndarray:
    """Arranges images in a grid, row by row, on a dark ground.

    Args:
        images: (N, H, W, C) in [-1, 1].
        columns: images in a row; by default about as many as rows.
        scale: each pixel becomes a block of scale x scale; by default small images are enlarged.
    Returns:
        uint8 (height, width, C).
    """
    N, H, W, C = images.shape
    columns = columns or math.ceil(math.sqrt(N))
    rows = -(-N // columns)
    scale = scale or max(1, 64 // max(H, W))
    pixels = to_pixels(images).repeat(scale, axis=1).repeat(scale, axis=2)
    H, W = H * scale, W * scale
    grid = np.full((rows * (H + GAP) + GAP, columns * (W + GAP) + GAP, C), 32, np.uint8)
    for index, image in enumerate(pixels):
        top, left = GAP + index // columns * (H + GAP), GAP + index % columns * (W + GAP)
        grid[top : top + H, left : left + W] = image
    return grid


def point_density(points: np.ndarray, *, extent: float, size: int = 400) -> np.ndarray:
    """Draws the density of points in the plane, dark on white.

    Args:
        points: (N, 2); those outside the extent are not drawn.
        extent: the picture shows [-extent, extent] in both directions, the second coordinate upwards.
        size: the picture's side, in pixels.
    Returns:
        uint8 (size, size, 1).
    """
    edges = np.linspace(-extent, extent, size + 1)
    counts, _, _ = np.histogram2d(-points[:, 1], points[:, 0], bins=(edges, edges))
    for axis in (0, 1):  # a point is drawn as 3x3 pixels: a single one is hard to see
        counts = np.maximum.reduce([np.roll(counts, shift, axis) for shift in (-1, 0, 1)])
    darkness = np.where(counts > 0, 0.35 + 0.65 * np.minimum(counts / max(counts.max(), 1), 1) ** 0.5, 0)
    return (255 - 255 * darkness).astype(np.uint8)[..., None]
