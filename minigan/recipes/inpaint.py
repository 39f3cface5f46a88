"""Inpainting: filling a hole in an image.

As in the context encoders of Pathak et al. 2016 (sections 3 and 4.2) G sees the image without the content of the hole.
It is trained on the hole alone, by L1 and, with little weight, by a discriminator of patches. The hole is a rectangle
at a random place, filled with the mean color of the rest; an additional channel marks it. G is a U-Net (Isola et al.
2017) whose output is pasted into the hole (`minigan.nn.network.inpainting`), so known pixels stay exactly as they are.

Any images will do: `minigan train inpaint --data fashion-mnist`. Each step draws new holes.

Corrections to the usual tutorial code:

- G also receives the mask of the hole: black pixels alone might be part of the image.
- Known pixels are copied, not drawn: neither the loss nor a figure rewards G for pixels it was shown.
- Figures are compared with those of the mean color, on images and holes that training has not seen.

`--set adversarial=0` leaves D out: G then fills the hole with a blur.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.unet import unet, unet_levels
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.restoration import RestorationRecipe


@dataclass(frozen=True, kw_only=True)
class Inpaint(RestorationRecipe):
    """A U-Net that fills rectangular holes.

    Settings:
        hole: sides of the hole, as shares of the image's sides.
        width: number of channels of the U-Net's first level.
    """

    name: ClassVar[str] = "inpaint"
    baseline_name: ClassVar[str] = "mean color"
    multiple: ClassVar[int] = 4

    hole: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.hole < 1:
            raise ConfigError(f"{self.name}: hole must be above 0 and below 1, got {self.hole}.")

    def source_shape(self, image_shape: Shape) -> Shape:
        H, W, C = image_shape
        return H, W, C + 1

    def spoil(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        N, H, W, _ = images.shape
        height, width = (min(max(1, round(self.hole * side)), side - 1) for side in (H, W))  # some pixels stay known
        source = np.concatenate([images, np.zeros((N, H, W, 1), np.float32)], axis=3)
        corners = zip(rng.integers(H - height + 1, size=N), rng.integers(W - width + 1, size=N), strict=True)
        for image, (top, left) in zip(source, corners, strict=True):
            hole = image[top : top + height, left : left + width]
            hole[..., -1] = 1
            known = image[image[..., -1] == 0]
            hole[..., :-1] = known[:, :-1].mean(axis=0)
        return source

    def baseline(self, source: np.ndarray) -> np.ndarray:
        return source[..., :-1]

    def shown(self, source: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self.baseline(source),)

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        layers = unet(C, levels=min(unet_levels((H, W)), 4), width=self.width, dropout=0.0)
        return Sequential([Inpainting(layers)], name="G")
