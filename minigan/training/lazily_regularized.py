"""The alternating optimizer of StyleGAN2: regularization now and then, in updates of its own.

D's penalty and G's path length cost as much as a step or more, and change slowly. So each is computed in every k-th
step only, with k times the weight, and the network is updated by its gradient alone, after the update by that of the
game. Adam then does k + 1 updates in k steps; `lazy_adam` scales its settings so that it moves as in k.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.1 and appendix B.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.losses import Loss
from minigan.losses.gradient_penalties import GradientPenalty
from minigan.losses.path_length import PathLength, mapping_of
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Optimizer
from minigan.support.arguments import instance
from minigan.training.accumulation import mean_of_batches
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.noise import expect_noise
from minigan.training.sampling import Noise
from minigan.training.step_values import DiscriminatorValues

__all__ = ["LazilyRegularized", "lazy_share"]


def lazy_share(interval: int) -> float:
    """k / (k + 1) for an interval of k: the factor of Adam's rate, and the exponent of its betas.

    With one more update in k steps, each of that share, Adam moves and forgets in k steps as it would without.
    """
    return interval / (interval + 1)


class Regularization(NamedTuple):
    """The value of a regularization, a scalar array of the backend."""

    value: Array

    def losses(self) -> list[tuple[str, Array]]:
        """It alone."""
        return [("a regularization", self.value)]


class LazilyRegularized(AlternatingOptimizer):
    """Trains D and G in turn, each regularized in updates of their own.

    A step is that of `AlternatingOptimizer`. The update of D that is the first of each `penalty.interval` is followed
    by one that descends D's penalty alone, on the same batch; that of G that is the first of each
    `path_length.interval` by one that descends the path length, on new noise. The optimizers' own counts tell which
    these are, so that a training that is resumed goes on as it was.

    Args:
        penalty: of D; its weight is multiplied by its interval. None for none.
        path_length: of G, which begins with a `minigan.nn.network.mapping.MappingNetwork`; None for none.
        G, D, loss, noise, g_optimizer, d_optimizer, n_critic, accumulate: see `AlternatingOptimizer`.
    Raises:
        ConfigError: G has no styles whose path length could be regularized; or as in `AlternatingOptimizer`.
    """

    def __init__(
        self,
        G: Sequential,
        D: Sequential,
        *,
        loss: Loss,
        noise: Noise,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        n_critic: int = 1,
        penalty: GradientPenalty | None = None,
        path_length: PathLength | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(
            G,
            D,
            loss=loss,
            noise=noise,
            g_optimizer=g_optimizer,
            d_optimizer=d_optimizer,
            n_critic=n_critic,
            penalty=penalty,
            accumulate=accumulate,
        )
        if path_length is not None:
            instance(path_length, PathLength, "path_length", a="a path-length penalty", example="PathLength()")
            mapping_of(G)
        self.path_length = path_length

    def _due_penalty(self) -> tuple[None, None]:
        """The update by the game has no penalty."""
        return None, None

    def _after_discriminator(
        self,
        values: DiscriminatorValues,
        games: Sequence[tuple[Array, Array, Array | None]],
        rng: np.random.Generator,
    ) -> DiscriminatorValues:
        """The update by D's penalty, where one is due; its value is that of the step."""
        penalty = self.penalty
        if penalty is None or not _is_due(self.d_optimizer.steps - 1, penalty.interval):
            return values

        def of(real: Array, fake: Array, condition: Array | None) -> Regularization:
            D = self.D.given(condition)
            return Regularization(penalty.add_gradients(D, real, fake, grads=self.d_grads, rng=rng))

        batches = [partial(of, *game) for game in games]
        found = self.regularize("D", gradients=partial(mean_of_batches, [self.d_grads], batches), rng=rng)
        return values._replace(penalty=found.value)

    def _after_generator(self, games: Sequence[tuple[Array, Array, Array | None]], rng: np.random.Generator) -> None:
        """The update by G's path length, where one is due."""
        path_length = self.path_length
        if path_length is None or not _is_due(self.g_optimizer.steps - 1, path_length.interval):
            return

        def of(real: Array, condition: Array | None) -> Regularization:
            n = path_length.examples(len(real))
            z = self.G.kernels.feed(lambda: self._noise(rng, n), dtype=self.G.dtype)
            G = self.G.given(None if condition is None else condition[:n])
            return Regularization(path_length.add_gradients(G, z, grads=self.g_grads, rng=rng))

        batches = [partial(of, real, condition) for real, _, condition in games]
        self.regularize("G", gradients=partial(mean_of_batches, [self.g_grads], batches), rng=rng)

    def regularize(
        self, name: str, *, gradients: Callable[[], Regularization], rng: np.random.Generator
    ) -> Regularization:
        """An update of one network by its regularization alone; see `update`."""
        return self.update(name, gradients=gradients, rng=rng)

    def _noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        if self.noise is None:
            raise ConfigError("path lengths are those of noise, got a game without. Give `noise`.")
        return expect_noise(self.noise(rng, n), (n, *self.G.input_shape))

    def kind(self) -> tuple[bool | int, ...]:
        """Which updates are followed by a regularization."""
        due, steps = [], self.d_optimizer.steps
        for _ in range(self.n_critic):
            due.append(self.penalty is not None and _is_due(steps, self.penalty.interval))
            steps += 1 + due[-1]
        path = self.path_length is not None and _is_due(self.g_optimizer.steps, self.path_length.interval)
        return *due, path

    def measures(self) -> dict[str, float]:
        found = super().measures()
        if self.path_length is not None:
            a = self.G.kernels.to_numpy(mapping_of(self.G).path_length.value)
            found["path_length"] = float(a[0])
        return found


def _is_due(updates: int, interval: int) -> bool:
    """Whether the next update of the game is followed by a regularization, after so many updates of both kinds."""
    return updates % (interval + 1) == 0
