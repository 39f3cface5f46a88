"""Pictures of samples: images in a grid, points as a density; and arrays that a notebook shows as pictures."""

import base64
import html
import math
from typing import Any

import numpy as np

from minigan.data.png import encode_png
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.support.arguments import kind_of

__all__ = ["ImageBatch", "html_image", "image_grid", "point_density", "to_pixels"]

GAP = 2  # pixels between images
SHOWN = 64  # images in a notebook's picture
PIXEL_VALUES = 16  # images that are nowhere negative and somewhere above this are pixels from 0 to 255


class ImageBatch(np.ndarray):
    """Images (N, H, W, C), or one (H, W, C): an ordinary array that a notebook shows as a picture.

    The numbers are floats in [-1, 1], or uint8 pixels. A batch is shown as a grid of its first 64 images, and by `repr`
    and `print` as one line; `np.asarray(images)` has the numbers. Arithmetic on it gives plain arrays,
    since what it makes need not be images; `images.view(ImageBatch)` turns an array into a batch.
    """

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __repr__(self) -> str:
        plain = np.asarray(self)
        if not _holds_pictures(plain):
            return repr(plain)
        many = "an image" if plain.ndim == 3 else f"{len(plain):,} images" if len(plain) != 1 else "1 image"
        text = f"<ImageBatch: {many} {'x'.join(map(str, plain.shape[-3:]))}, {plain.dtype}"
        digits = 0 if plain.dtype == np.uint8 else 2
        ends = f" from {plain.min():.{digits}f} to {plain.max():.{digits}f}" if plain.size else ""
        return f"{text}{ends}>"

    def __str__(self) -> str:
        plain = np.asarray(self)
        return repr(self) if _holds_pictures(plain) else str(plain)

    def _repr_png_(self) -> bytes | None:
        """For notebooks. None if these are no images in [-1, 1] and no pixels: then the text is shown."""
        plain = np.asarray(self)
        if not _holds_pictures(plain) or not plain.size:
            return None
        if plain.dtype != np.uint8 and not np.abs(plain).max() <= 1:  # NaN as well
            return None
        return encode_png(image_grid(plain[:SHOWN] if plain.ndim == 4 else plain[None]))

    def _repr_html_(self) -> str | None:
        """For notebooks: the same picture, with the text of `repr` for those who cannot see it."""
        png = self._repr_png_()
        return None if png is None else html_image(png, text=repr(self))


def html_image(png: bytes, *, text: str) -> str:
    """A picture as an HTML element that needs no other file.

    Args:
        png: the content of a PNG file.
        text: shown in its place where pictures are not.
    """
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) in (3, 4) and shape[-1] in (1, 3)


def _holds_pictures(array: np.ndarray) -> bool:
    return _is_picture(array.shape) and (array.dtype.kind == "f" or array.dtype == np.uint8)


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Converts images in [-1, 1] to 8-bit pixels; values outside are clipped.

    Args:
        images: floats of any shape; -1 becomes 0 and 1 becomes 255.
    Returns:
        uint8, of the same shape. Images (N, H, W, C) or (H, W, C) are an `ImageBatch`, which a notebook shows.
    Raises:
        DTypeError: the images are no floats.
        ConfigError: the images are floats from 0 to 255, or hold NaN.
    """
    values = np.asarray(images)
    if values.dtype.kind != "f":
        remedy = "They are pixels already." if values.dtype == np.uint8 else "Convert them: images / 127.5 - 1."
        raise DTypeError(f"to_pixels: expected float images in [-1, 1], got {kind_of(values)}. {remedy}")
    if values.size and np.isnan(values.min()):
        raise ConfigError("to_pixels: expected images in [-1, 1], got NaN among them. Check what the generator draws.")
    if values.size and values.min() >= 0 and values.max() > PIXEL_VALUES:
        raise ConfigError(
            f"to_pixels: expected images in [-1, 1], got values from {values.min():g} to {values.max():g}. "
            "Convert them: images / 127.5 - 1."
        )
    pixels = _levels(values)
    return pixels.view(ImageBatch) if _is_picture(pixels.shape) else pixels


def _levels(images: np.ndarray) -> np.ndarray:
    levels: np.ndarray = np.rint((np.clip(images, -1, 1) + 1) * 127.5)
    return levels.astype(np.uint8)


def image_grid(images: np.ndarray, *, columns: int | None = None, scale: int | None = None) -> np.ndarray:
    """Arranges images in a grid, row by row, on a dark ground.

    Args:
        images: (N, H, W, C), floats in [-1, 1] or uint8.
        columns: images in a row; by default about as many as rows.
        scale: each pixel becomes a block of scale x scale; by default small images are enlarged.
    Returns:
        uint8 (height, width, C).
    Raises:
        ShapeError: the images have another shape.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not len(images):
        raise ShapeError(f"a grid is made of images (N, H, W, C), got {kind_of(images)}. Write images[None] for one.")
    N, H, W, C = images.shape
    columns = columns or math.ceil(math.sqrt(N))
    rows = -(-N // columns)
    scale = scale or max(1, 64 // max(H, W))
    pixels = images if images.dtype == np.uint8 else _levels(images)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
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
