"""Supervised training of a generator: the baseline without a discriminator."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Optimizer
from minigan.support.representation import fields
from minigan.training.accumulation import mean_of_batches
from minigan.training.batch import Batch, expect_rng, next_batch
from minigan.training.generator_term import GeneratorTerm
from minigan.training.learner import Learner

__all__ = ["Supervised", "SupervisedValues"]


class SupervisedValues(NamedTuple):
    """The loss measured in one step; a scalar array of the backend."""

    g_loss: Array

    def __repr__(self) -> str:
        return fields(self)

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for."""
        return {"G": self.g_loss}

    def losses(self) -> list[tuple[str, Array]]:
        """The one loss."""
        return [("the loss of G", self.g_loss)]


class Supervised(Learner):
    """Trains G to minimize sum_k weight_k * term_k(G(x), y), for sources x and targets y.

    The baseline that a GAN must improve on: "L1" in table 1 of Isola et al. 2017 (pix2pix).

    Args:
        G: maps sources (N, *G.input_shape) to images (N, *G.output_shape); built.
        terms: the loss; at least one term.
        optimizer: updates G's arena.
        accumulate: batches whose mean gradient makes one update.
    Raises:
        ConfigError: G is not built, there are no terms, or the optimizer updates another network's arena.
    """

    def __init__(
        self, G: Sequential, *, terms: Sequence[GeneratorTerm], optimizer: Optimizer, accumulate: int = 1
    ) -> None:
        if not terms:
            raise ConfigError("without a discriminator G expects at least one term to minimize, got none. Set l1=100.")
        super().__init__({"G": (G, optimizer)}, accumulate=accumulate)
        self.G = G
        self.terms = tuple(terms)

    def step(self, batches: Iterator[Batch], rng: np.random.Generator) -> SupervisedValues:
        """One update of G.

        Args:
            batches: `Batch(real, source=...)`: targets (N, *G.output_shape) and sources (N, *G.input_shape).
            rng: of dropout.
        Raises:
            DivergenceError: a value or a gradient is not finite; G is as it was before the step.
        """
        expect_rng(rng)
        pairs = [self._feed(batches) for _ in range(self.accumulate)]
        parts = [partial(self._add_gradients, source, target, rng) for target, source in pairs]
        return self.update("G", gradients=lambda: mean_of_batches([self.grads["G"]], parts), rng=rng)

    def gradients(self, source: Array, target: Array, rng: np.random.Generator) -> SupervisedValues:
        """Leaves in `grads["G"]` the gradients of the loss."""
        self.grads["G"].zero()
        return self._add_gradients(source, target, rng)

    def _add_gradients(self, source: Array, target: Array, rng: np.random.Generator) -> SupervisedValues:
        y, tape = self.G.forward(source, train=True, rng=rng)
        value, dy = self.loss(y, target)
        self.G.backward(dy, tape, grads=self.grads["G"], need_dx=False)
        self.G.commit_statistics(tape)
        return SupervisedValues(value)

    def loss(self, y: Array, target: Array) -> tuple[Array, Array]:
        """The weighted sum of all terms, and its gradient with respect to y."""
        value, dy = self.terms[0](y, target)
        for term in self.terms[1:]:
            value, dy = term.added_to(value, dy, y, target, self.G.kernels)
        return value, dy

    def kind(self) -> tuple[()]:
        return ()

    def inputs(self, batch: Batch, rng: np.random.Generator) -> list[tuple[Sequential, Array]]:  # noqa: ARG002
        """G with the batch's sources."""
        return [(self.G, self._feed(iter([batch]))[1])]

    def _feed(self, batches: Iterator[Batch]) -> tuple[Array, Array]:
        """Targets and sources, on the backend."""

        def draw() -> tuple[Array, Array | None]:
            batch = next_batch(batches)
            if batch.source is None:
                raise ConfigError("a generator trained alone expects batches with a source: Batch(real, source=...).")
            return batch.real, batch.source

        fed: tuple[Array, Array] = self.G.kernels.feed(draw, dtype=self.G.dtype)
        return fed
