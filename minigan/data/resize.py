"""Resizing to cover a size: proportions are kept, and what overhangs is cut off evenly.

Pillow's Lanczos filter is used in both directions. It is anti-aliased, as Parmar et al. 2022 ask for ("On Aliased
Resizing"); plain bilinear or nearest sampling would leave jagged edges for the GAN to learn.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from minigan.data.pillow import load_pillow

__all__ = ["cover", "covering_box", "resized"]

Pixels = TypeVar("Pixels", np.uint8, np.float32)


def covering_box(*, have: tuple[int, int], want: tuple[int, int]) -> tuple[float, float, float, float]:
    """Box (left, top, right, bottom) in the middle of an image `have` (H, W), with the proportions of `want`."""
    scale = min(have[0] / want[0], have[1] / want[1])
    height, width = want[0] * scale, want[1] * scale
    top, left = (have[0] - height) / 2, (have[1] - width) / 2
    return max(left, 0.0), max(top, 0.0), min(left + width, have[1]), min(top + height, have[0])


def cover(image: Any, *, size: tuple[int, int]) -> Any:
    """Scales and center-crops a Pillow image of mode L, RGB or F to `size` (H, W)."""
    if (image.height, image.width) == size:
        return image
    box = covering_box(have=(image.height, image.width), want=size)
    return image.resize((size[1], size[0]), load_pillow().Resampling.LANCZOS, box=box)


def resized(images: npt.NDArray[Pixels], *, size: tuple[int, int]) -> npt.NDArray[Pixels]:
    """Scales and center-crops a batch (n, H, W, C), uint8 or float32; an unchanged size needs no Pillow."""
    if images.shape[1:3] == size:
        return images
    pillow = load_pillow()
    out = np.empty((len(images), *size, images.shape[3]), dtype=images.dtype)
    for image, row in zip(images, out, strict=True):
        for channel in range(images.shape[3]):
            plane = pillow.fromarray(np.ascontiguousarray(image[..., channel]))
            row[..., channel] = np.asarray(cover(plane, size=size))
    return out
