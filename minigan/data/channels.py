"""Conversion between grayscale, color and transparency."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import IndexArray, PixelArray, PixelDataset

__all__ = ["Recolored", "convert_channels", "over_white"]

Pixels = TypeVar("Pixels", np.uint8, np.float32)

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow


def convert_channels(images: npt.NDArray[Pixels], *, channels: int) -> npt.NDArray[Pixels]:
    """Converts a batch (n, H, W, 1 or 3) to `channels` channels."""
    have = images.shape[3]
    if have == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    luma = images.astype(np.float32) @ np.array(LUMA, dtype=np.float32)[:, None]
    if images.dtype == np.uint8:
        luma += np.float32(0.5)  # so that the cast rounds
    return luma.astype(images.dtype)


def over_white(pixels: PixelArray) -> PixelArray:
    """Lays images with transparency (n, H, W, 4) over white: (n, H, W, 3)."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return (pixels[..., :3] * alpha + 255 * (1 - alpha) + np.float32(0.5)).astype(np.uint8)


class Recolored(PixelDataset):
    """A dataset's images, converted to another number of channels."""

    def __init__(self, source: PixelDataset, *, channels: int) -> None:
        height, width, _ = source.shape
        super().__init__(
            name=source.name,
            count=len(source),
            shape=(height, width, channels),
            labels=source.labels,
            classes=source.classes,
            cache_bytes=0,  # the source has its own
        )
        self.note(*source.notes)
        self._source = source

    def close(self) -> None:
        self._source.close()

    def decode(self, indices: IndexArray) -> PixelArray:
        return convert_channels(self._source.pixels(indices), channels=self.shape[2])
