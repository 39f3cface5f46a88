"""Super-resolution: from small images to larger ones.

G is a small SRGAN (Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution", section 2.1.1 and figure 4):
residual blocks of 3x3 convolutions with BatchNorm at the small size, then convolutions whose channels become pixels
(`PixelShuffle`), twice for x4. Its output is added to the enlarged source, whose missing detail it learns. D judges
patches of 34x34 pixels of the output alone, with SRGAN's weight of 1e-3. L1 replaces SRGAN's VGG features, which would
have to be downloaded.

Any images will do: `minigan train superres --data shapes`. The small images are means over blocks of pixels.

Corrections to the usual tutorial code:

- Small images are means; every fourth pixel of the large ones would be aliased, and another task.
- Channels become pixels after the convolution, so that each pixel is covered equally often: no checkerboards.
- Figures are compared with those of bicubic interpolation, which many small networks do not beat.

`--set adversarial=0` leaves D out: images are blurred, with a better PSNR. `conditional=true` also shows D the enlarged
source.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigan.data.interpolation import bicubic, block_means
from minigan.errors import ConfigError
from minigan.nn.initializers import HeNormal, Normal
from minigan.nn.layers import BatchNorm, Conv2D, Layer, PixelShuffle, ReLU, UpSampling2D
from minigan.nn.network import Residual, Sequential
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.restoration import RestorationRecipe


@dataclass(frozen=True, kw_only=True)
class SuperResolution(RestorationRecipe):
    """A small SRGAN that enlarges images.

    Settings:
        factor: ratio of the target's sides to the source's: 2, 4 or 8.
        blocks: number of residual blocks of two convolutions.
    """

    name: ClassVar[str] = "superres"
    baseline_name: ClassVar[str] = "bicubic"
    columns: ClassVar[tuple[str, ...]] = ("source", "bicubic", "output", "target")

    conditional: bool = False
    factor: int = 4
    blocks: int = 4

    def __post_init__(self) -> None:
        self.check_types()
        self.check_layers("blocks")
        if self.factor not in (2, 4, 8):  # before `check_size`, which divides by it
            raise ConfigError(f"{self.name}: factor must be 2, 4 or 8, got {self.factor}.")
        super().__post_init__()

    def check_size(self, size: tuple[int, int]) -> None:
        super().check_size(size)
        if any(side % self.factor for side in size):
            raise ConfigError(
                f"{self.name}: expected sides that are multiples of factor={self.factor}, got {size[0]}x{size[1]}. "
                "Use `size=64`."
            )

    def source_shape(self, image_shape: Shape) -> Shape:
        H, W, C = image_shape
        return H // self.factor, W // self.factor, C

    def spoil(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002 (nothing is random)
        return block_means(images, factor=self.factor)

    def baseline(self, source: np.ndarray) -> np.ndarray:
        return bicubic(source, factor=self.factor)

    def condition(self, source: np.ndarray) -> np.ndarray:
        return source.repeat(self.factor, axis=1).repeat(self.factor, axis=2)

    def shown(self, source: np.ndarray) -> tuple[np.ndarray, ...]:
        return self.condition(source), self.baseline(source)

    def generator(self, image_shape: Shape) -> Sequential:
        width, he = self.width, HeNormal()
        layers: list[Layer] = [Conv2D(width, 3, init=he), ReLU()]
        for _ in range(self.blocks):
            block = [Conv2D(width, 3, bias=False, init=he), BatchNorm(), ReLU()]
            layers.append(Residual([*block, Conv2D(width, 3, bias=False, init=he), BatchNorm()]))
        for _ in range(self.factor.bit_length() - 1):
            layers += [Conv2D(4 * width, 3, init=he), PixelShuffle(2), ReLU()]
        layers.append(Conv2D(image_shape[-1], 3, init=Normal(std=0.001)))
        return Sequential([Residual(layers, shortcut=[UpSampling2D(self.factor)])], name="G")
