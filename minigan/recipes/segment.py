"""Segmentation by a GAN: photographs to maps of classes, each class a colour.

The tutorials' system at 256x256x3: G is a stack of 3x3 convolutions with 128 channels, LeakyReLU .2 and BatchNorm that
never shrinks the image, ending in tanh; D halves it with 3x3 convolutions of stride 2, LeakyReLU .2, Dropout .3 and
BatchNorm, and ends in one logit for each patch. BCE on the patches, and 100 * mean |G(x) - y| in G's loss.

What it corrects in the usual tutorial code:

- Maps have the range of tanh: -1 to 1, not 0 to 255.
- D is told which photograph a map belongs to; a map that fits none is no success.
- D's patches are averaged in the loss, on logits; the tutorials put a sigmoid before a BCE that wants logits.
- BatchNorm follows its convolution, whose bias is then not needed, and stands before Dropout, whose holes would
  disturb its statistics.
- Real and fake maps are separate batches, so that each has its own BatchNorm statistics.

A stack of d such convolutions sees 2 d + 1 pixels around, 13 with the default: enough for sky and road, too little to
tell a car from a pedestrian. `pix2pix` on the same pairs sees the whole image. `--set adversarial=0` trains G alone.

`minigan evaluate RUN` takes for each pixel the class whose colour is nearest.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.initializers import HeNormal, Normal
from minigan.nn.layers import BatchNorm, Conv2D, Dropout, Layer, LeakyReLU, Tanh
from minigan.nn.network import Sequential
from minigan.recipes.base import Shape
from minigan.recipes.translation import PairRecipe


@dataclass(frozen=True, kw_only=True)
class Segment(PairRecipe):
    """A stack of 3x3 convolutions against patches, for photographs with maps of their classes.

    Settings:
        width: channels of G's hidden layers.
        depth: how many convolutions G has, the last one to colours included.
        d_width: channels of D's first layer; each of three doubles them.
        dropout: rate in D.
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
            raise ConfigError(f"{self.name}: expected sides of at least 8 pixels, got {size[0]}x{size[1]}.")

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
