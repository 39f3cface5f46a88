"""PacGAN on points of the plane: the networks on which mode collapse is measured.

The networks are those of Lin et al. 2018 ("PacGAN: The power of two samples in generative adversarial networks",
section 4.1, and the authors' code), which follow VEEGAN (Srivastava et al. 2017) and ALI (Dumoulin et al. 2017): G z2
-> 400 -> 400 -> 400 -> 400 -> 2 with BatchNorm and ReLU; D 2 -> 200 -> 200 -> 200 -> 1, each hidden unit the largest of
5 linear maps (maxout); all weights from N(0, .02); Adam with lr 1e-4 and β1 .8; batches of 100 points, 400 epochs of
100,000 points.

`minigan train pacgan --data ring` is the paper's GAN, and `--set pack=2 batch_size=200` its PacGAN2: D judges two
points together, so it sees if fakes are too much alike. The paper's batch is 100 packs; minigan counts points, hence
200. `--data grid` is the paper's other dataset. In table 1 the GAN finds 6.3 of the ring's 8 modes and PacGAN2 finds
7.9.

Corrections to the usual tutorial code:

- A pack is two points *side by side*, (100, 4), judged by one logit. Two points one after the other, (200, 2), would be
  a larger batch and no pack.
- D has no BatchNorm, which would let a logit depend on the other packs of its batch.
- Each point of a pack has noise of its own: a pack drawn from one z would be the same point twice.
- The biases before G's BatchNorm are left out: its mean would subtract them again.

Images are drawn as vectors; `dcgan --set pack=2` suits them better.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Dense, Flatten, Layer, Maxout, ReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.recipes.bases.dense import DenseRecipe
from minigan.recipes.bases.recipe import Shape

WEIGHTS = Normal(std=0.02)


@dataclass(frozen=True, kw_only=True)
class PacGAN(DenseRecipe):
    """A fully connected GAN with a maxout discriminator, for points of the plane.

    Settings:
        g_hidden: number of units in each of G's 4 hidden layers.
        d_hidden: number of maxout units in each of D's 3 hidden layers.
        pieces: number of linear pieces of each maxout unit.
    """

    name: ClassVar[str] = "pacgan"

    latent: int = 2
    condition: str = "none"  # its modes are to be found untold
    batch_size: int = 100
    steps: int = 400_000
    lr: float = 1e-4
    beta1: float = 0.8
    g_hidden: int = 400
    d_hidden: int = 200
    pieces: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("g_hidden", "d_hidden", "pieces")

    def generator(self, image_shape: Shape) -> Sequential:
        layers: list[Layer] = []
        for _ in range(4):
            layers += [Dense(self.g_hidden, bias=False, init=WEIGHTS), BatchNorm(), ReLU()]
        layers += [Dense(math.prod(image_shape), init=WEIGHTS)]
        if len(image_shape) > 1:
            layers += [Tanh(), Reshape(image_shape)]
        return Sequential(layers, name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:  # noqa: ARG002 (any shape will do)
        layers: list[Layer] = [Flatten()]
        for _ in range(3):
            layers += [Dense(self.pieces * self.d_hidden, init=WEIGHTS), Maxout(self.pieces)]
        return Sequential([*layers, Dense(1, init=WEIGHTS)], name="D")
