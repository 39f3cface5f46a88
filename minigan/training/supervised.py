"""Training a generator alone, on what it is told to draw: the baseline without a discriminator."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, DivergenceError
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network
from minigan.nn.optimizers import Optimizer, expect_optimizer
from minigan.support.representation import fields
from minigan.training.alternating import Batch, GeneratorTerm
from minigan.training.divergence import all_finite, is_sound, nonfinite_gradient, nonfinite_output
from minigan.training.learner import Learner

__all__ = ["Supervised", "SupervisedValues"]


class SupervisedValues(NamedTuple):
    """What one step measured; a scalar array of the backend."""

    g_loss: Array

    def __repr__(self) -> str:
        return fields(self)

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for."""
        return {"G": self.g_loss}


class Supervised(Learner):
    """Trains G to minimise sum_k weight_k * term_k(G(x), y); a `Learner` like `AlternatingOptimizer`.

    What pix2pix calls "L1 alone" (Isola et al. 2017, table 1), beside which a GAN has to show what it is good for.

    Args:
        G: maps sources x to images; built.
        terms: the loss, at least one term.
        optimizer: updates G's arena.
    Raises:
        ConfigError: these do not fit each other.
    """

    def __init__(self, G: Sequential, *, terms: Sequence[GeneratorTerm], optimizer: Optimizer) -> None:
        if not terms:
            raise ConfigError("without a discriminator G expects at least one term to minimise, got none. Set l1=100.")
        expect_network(G, "G")
        expect_optimizer(optimizer, "optimizer", network="G")
        if optimizer.arena is not G.arena:
            raise ConfigError("the optimizer must update G's arena: Adam(G.arena, ...).")
        self.G = G
        self.terms = tuple(terms)
        self.optimizer = optimizer
        self.grads = G.gradients()

    def step(self, batches: Iterator[Batch], rng: np.random.Generator) -> SupervisedValues:
        """One update of G.

        Args:
            batches: of targets `real` (N, *G.output_shape) and sources (N, *G.input_shape).
            rng: of dropout.
        Raises:
            DivergenceError: a value or a gradient is not finite; G is as it was before the step.
        """
        target, source = self._fed(batches)
        statistics = self.G.state.flat.copy()
        y, tape = self.G.forward(source, train=True, rng=rng)
        self.G.commit_statistics(tape)
        value, dy = self.loss(y, target)
        self.grads.zero()
        if is_sound(value, self.G):
            self.G.backward(dy, tape, grads=self.grads, need_dx=False)
        if not all_finite(value, self.grads, self.G, statistics=statistics):
            self.G.state.flat[...] = statistics
            found = nonfinite_output(self.G, source, rng=rng) or nonfinite_gradient(self.G, dy, tape)
            raise DivergenceError(f"{found or f'the loss of {self.G.path}'} is not finite.")
        self.optimizer.step(self.grads)
        return SupervisedValues(value)

    def loss(self, y: Array, target: Array) -> tuple[Array, Array]:
        """The weighted sum of all terms, and its gradient with respect to y."""
        parts = [(weight, *function(y, target)) for weight, function in self.terms]
        value, dy = parts[0][0] * parts[0][1], parts[0][0] * parts[0][2]
        for weight, term, dterm in parts[1:]:
            value, dy = value + weight * term, dy + weight * dterm
        return value, dy

    @property
    def networks(self) -> dict[str, Sequential]:
        return {"G": self.G}

    def kind(self) -> tuple[()]:
        return ()

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"g": self.optimizer}

    def inputs(self, batch: Batch, rng: np.random.Generator) -> list[tuple[Sequential, Array]]:  # noqa: ARG002
        """G with the batch's sources."""
        return [(self.G, self._fed(iter([batch]))[1])]

    def _fed(self, batches: Iterator[Batch]) -> tuple[Array, Array]:
        """Targets and sources, on the backend."""

        def draw() -> tuple[Array, Array | None]:
            batch = next(batches)
            if batch.source is None:
                raise ConfigError("a generator trained alone expects batches with a source: Batch(real, source=...).")
            return batch.real, batch.source

        fed: tuple[Array, Array] = self.G.kernels.feed(draw, dtype=self.G.dtype)
        return fed
