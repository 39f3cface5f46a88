"""The first GAN: two small fully connected networks.

The multilayer perceptrons of the tutorials that follow Goodfellow et al. 2014: G z100 -> 128 -> 128 -> pixels with
LeakyReLU .2 and a sigmoid, D pixels -> 128 -> 128 -> 1, Adam 2e-4. G minimizes (D(G(z)) - 1)² + 1e-4 * MSE(G(z), x);
the plain variant is `--set loss=non-saturating mse_weight=0`.

Corrections to the usual tutorial code:

- Labels: real is 1 and fake is 0, in D's step and in G's.
- G's gradient comes from G's loss, through D, whose weights stay as they are.
- D ends in a logit; its sigmoid belongs to the loss, where it cannot overflow.
- The data has the range of G's output: images are scaled to [0, 1], the range of the sigmoid.

**Instance noise.** Without it this game collapses: with these numbers 20,000 steps on MNIST end in one picture, with
either loss, because D soon tells G's clean strokes from real ones by a few pixels and G's gradient vanishes. Gaussian
noise on real images and fakes (Sønderby et al. 2017; standard deviation .5 at first, fading over 40,000 steps) makes
the two overlap, and G draws digits. `--set instance_noise=0` shows the collapse.

On points of the plane (`--data ring`, `--data grid`) G's last layer is linear. There the squared probability collapses
onto one mode; `--set loss=non-saturating mse_weight=0 lr=1e-3 instance_noise=0` finds the ring.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from minigan.losses import mse
from minigan.nn.layers import Dense, Flatten, Layer, LeakyReLU, Reshape, Sigmoid
from minigan.nn.network import Sequential
from minigan.recipes.bases.dense import DenseRecipe
from minigan.recipes.bases.recipe import Shape
from minigan.training.generator_term import GeneratorTerm


@dataclass(frozen=True, kw_only=True)
class MLP(DenseRecipe):
    """A fully connected GAN for small images or points of the plane.

    Settings:
        hidden: number of units in each hidden layer.
        mse_weight: weight of MSE(G(z), x) in G's loss; 0 leaves it out.
    """

    name: ClassVar[str] = "mlp"

    steps: int = 20000
    loss: str = "squared-probability"
    instance_noise: float = 0.5
    instance_noise_steps: int = 40_000
    hidden: int = 128
    mse_weight: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("hidden")
        self.check_from_zero("mse_weight")

    def generator(self, image_shape: Shape) -> Sequential:
        layers = [*self._hidden(), Dense(math.prod(image_shape))]
        if len(image_shape) > 1:
            layers += [Sigmoid(), Reshape(image_shape)]
        return Sequential(layers, name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:  # noqa: ARG002 (any shape will do)
        return Sequential([Flatten(), *self._hidden(), Dense(1)], name="D")

    def _hidden(self) -> list[Layer]:
        return [Dense(self.hidden), LeakyReLU(0.2), Dense(self.hidden), LeakyReLU(0.2)]

    def prepare(self, images: np.ndarray) -> np.ndarray:
        return (images + 1) / 2 if images.ndim > 2 else images

    def to_images(self, samples: np.ndarray) -> np.ndarray:
        return samples * 2 - 1 if samples.ndim > 2 else samples

    @property
    def numbers(self) -> Literal["unit"]:
        return "unit"

    def generator_terms(self) -> tuple[GeneratorTerm, ...]:
        return (GeneratorTerm(self.mse_weight, mse),) if self.mse_weight else ()
