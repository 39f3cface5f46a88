"""Segmentation by a GAN: from photographs to maps of classes, each class a color.

The tutorials' system at 256x256x3: G is a stack of 3x3 convolutions with 128 channels, LeakyReLU .2 and BatchNorm,
which keeps the image's size and ends in tanh. D halves the image by 3x3 convolutions with stride 2, LeakyReLU .2,
Dropout .3 and BatchNorm, and ends in a logit for each patch. The loss is BCE on the patches, and 100 * mean |G(x) - y|
for G.

Corrections to the usual tutorial code:

- Maps have the range of tanh: -1 to 1, not 0 to 255.
- D is shown the photograph with its map; a map that fits another photograph is no success.
- D's patches are averaged in the loss, on logits; the tutorials put a sigmoid before a BCE that expects logits.
- BatchNorm directly follows its convolution, whose bias is then not needed; Dropout comes after it, since dropped
  values would disturb its statistics.
- Real and fake maps are separate batches, so that each has its own BatchNorm statistics.

A stack of d such convolutions sees squares of 2 d + 1 pixels, 13 by default: enough for sky and road, too little to
tell a car from a pedestrian. `pix2pix` on the same pairs sees the whole image. `--set adversarial=0` trains G alone.

`minigan evaluate RUN` gives each pixel the class with the nearest color.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.initializers import HeNormal, Normal
from minigan.nn.layers import BatchNorm, Conv2D, Dropout, Layer, LeakyReLU, Tanh
from minigan.nn.network import Sequential
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.translation import PairRecipe


@dataclass(frozen=True, kw_only=True)
class Segment(PairRecipe):
    """A stack of 3x3 convolutions and a discriminator of patches, for photographs with class maps.

    Settings:
        width: number of channels of G's hidden layers.
        depth: number of G's convolutions, including the last one to colors.
        d_width: number of channels of D's first layer; the next two layers double it.
        dropout: rate of Dropout in D.
    """

    name: ClassVar[str] = "segment"
    as_in_training: ClassVar[bool] = True

    steps: int = 20000
    width: int = 128
    depth: int = 6
    d_width: int = 64
    dropout: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width", "d_width")
        self.check_share("dropout")
        self.check_layers("depth", least=2)

    def check_size(self, size: tuple[int, int]) -> None:
        if min(size) < 8:
            raise ConfigError(
                f"{self.name}: expected sides of at least 8 pixels, got {size[0]}x{size[1]}. Use `size=64`."
            )

    def generator(self, image_shape: Shape) -> Sequential:
        layers: list[Layer] = []
        for _ in range(self.depth - 1):
            layers += [Conv2D(self.width, 3, bias=False, init=HeNormal()), BatchNorm(), LeakyReLU(0.2)]
        return Sequential([*layers, Conv2D(image_shape[-1], 3), Tanh()], name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:  # noqa: ARG002 (any size will do)
        layers: list[Layer] = []
        for k in range(3):
            layers += [
                Conv2D(self.d_width << k, 3, stride=2, bias=False, init=Normal(std=0.02)),
                BatchNorm(),
                LeakyReLU(0.2),
                Dropout(self.dropout),
            ]
        return Sequential([*layers, Conv2D(1, 3, init=Normal(std=0.02))], name="D")
