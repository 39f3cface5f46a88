"""The minimax game of the first GAN paper, with either loss of G.

`min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]` of Goodfellow et al. 2014 ("Generative Adversarial Nets",
equation 1), on networks like theirs (section 5): G with rectifiers, D with maxout units of 5 pieces and dropout.

- `--set loss=minimax` (the default here): G descends V itself, log(1 - D(G(z))).
- `--set loss=non-saturating`: G descends -log D(G(z)), the same fixed point (section 3, last paragraph).

**Saturation.** With D = sigmoid(s), the derivatives with respect to the logit s of a fake are -D and -(1 - D). Where D
is sure of a fake (D = .001) the first has the size .001 and the second .999: the worse G is, the less it learns from V.
To see this, train with `--set optimizer=sgd lr=0.02 dropout=0 hidden=256` and each loss. With minimax d_fake sinks to
about .01 and g_loss toward 0, and G's gradient is at most a tenth of its size with non-saturating
(`examples/minimax.py` prints it). Adam, the default, divides each gradient by its own size and so makes up for most of
that.

On points of the plane G's last layer is linear and D has no dropout; `--data ring --set latent=16 hidden=256` finds all
8 modes with the default loss.

Corrections to the usual tutorial code:

- "The generator's loss is minus the discriminator's": only V's second term depends on G. And such code often has the
  *non-saturating* loss under the name of minimax. Here each name means what the paper says.
- log(1 - sigmoid(s)) is -inf for a large s. Here it is -softplus(s), which cannot overflow.
- Labels: real is 1 and fake is 0; no exchange of labels is needed to make G descend.
- D's weights stay fixed in G's step, and their gradients are not computed there.
- Real and fake are separate batches, with dropout masks of their own.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.layers import Dense, Dropout, Flatten, Layer, Maxout, ReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.recipes.bases.dense import DenseRecipe
from minigan.recipes.bases.recipe import Shape


@dataclass(frozen=True, kw_only=True)
class MinimaxGame(DenseRecipe):
    """Goodfellow's GAN for small images or points of the plane.

    Settings:
        hidden: number of units in each of G's 2 hidden layers; D's 2 have a quarter as many maxout units.
        pieces: number of linear pieces of each maxout unit in D.
        dropout: share of D's hidden units dropped in training, for images.
    """

    name: ClassVar[str] = "minimax"

    steps: int = 10_000
    loss: str = "minimax"
    condition: str = "none"  # as in the paper
    hidden: int = 512
    pieces: int = 5
    dropout: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("pieces")
        self.check_share("dropout")
        if self.hidden < 4:
            raise ConfigError(f"{self.name}: hidden must be at least 4, got {self.hidden}.")

    def generator(self, image_shape: Shape) -> Sequential:
        layers: list[Layer] = [Dense(self.hidden), ReLU(), Dense(self.hidden), ReLU(), Dense(math.prod(image_shape))]
        if len(image_shape) > 1:
            layers += [Tanh(), Reshape(image_shape)]
        return Sequential(layers, name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:
        layers: list[Layer] = [Flatten()]
        for _ in range(2):
            layers += [Dense(self.pieces * (self.hidden // 4)), Maxout(self.pieces)]
            if self.dropout and len(image_shape) > 1:
                layers.append(Dropout(self.dropout))
        return Sequential([*layers, Dense(1)], name="D")
