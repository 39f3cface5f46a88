"""Denoising: from images with Gaussian noise to clean ones.

G is the residual network of DnCNN (Zhang et al. 2017, "Beyond a Gaussian Denoiser", section III.A): 3x3 convolutions
that keep the image's size, with BatchNorm and ReLU, predict the noise, which is subtracted from the image. G minimizes
L1 and, with little weight, the loss of a discriminator of 34x34 patches. `--set adversarial=0` leaves D out and has the
better PSNR: the most likely image on average is blurred, and a sharp guess that is wrong costs twice.

Any images will do: `minigan train denoise --data cifar10.zip`. Each step draws new noise, so the same input never comes
twice.

Corrections to the usual tutorial code:

- Noise is not clipped to the range of images: clipped noise is darker on white and easier to remove.
- G starts near the identity, so that its first output is as good as the noisy image.
- Figures are compared with those of the noisy image itself, on images that training has not seen.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigan.nn.initializers import HeNormal, Normal
from minigan.nn.layers import BatchNorm, Conv2D, Layer, ReLU
from minigan.nn.network import Residual, Sequential
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.restoration import RestorationRecipe


@dataclass(frozen=True, kw_only=True)
class Denoise(RestorationRecipe):
    """A residual network that removes Gaussian noise from images.

    Settings:
        sigma: standard deviation of the noise, for pixels from 0 to 255.
        depth: number of G's convolutions.
    """

    name: ClassVar[str] = "denoise"
    baseline_name: ClassVar[str] = "noisy image"

    sigma: float = 25.0
    depth: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("sigma")
        self.check_layers("depth", least=2)

    def source_shape(self, image_shape: Shape) -> Shape:
        return image_shape

    def spoil(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        spoilt: np.ndarray = images + np.float32(self.sigma / 127.5) * noise
        return spoilt

    def baseline(self, source: np.ndarray) -> np.ndarray:
        return source

    def generator(self, image_shape: Shape) -> Sequential:
        layers: list[Layer] = [Conv2D(self.width, 3, init=HeNormal()), ReLU()]
        for _ in range(self.depth - 2):
            layers += [Conv2D(self.width, 3, bias=False, init=HeNormal()), BatchNorm(), ReLU()]
        layers.append(Conv2D(image_shape[-1], 3, init=Normal(std=0.001)))
        return Sequential([Residual(layers)], name="G")
