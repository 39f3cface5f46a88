"""The alternating optimizer: Algorithm 1 of Goodfellow et al. 2014.

One thing differs from the algorithm as printed: G's step judges the fakes that D's last step has seen, where the
paper draws new noise. So G's forward pass is computed once and serves both steps, as in the DCGAN authors' code.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.checkpoint import load_network, network_arrays, select
from minigan.divergence import all_finite, is_finite, nonfinite_output, why_discriminator, why_generator
from minigan.errors import ConfigError, DivergenceError, MiniganError, ShapeError
from minigan.fake_pool import FakePool
from minigan.losses import FAKE, REAL, AdversarialLoss, probability
from minigan.network import Sequential, Tape
from minigan.optim import Optimizer

__all__ = ["AlternatingOptimizer", "GeneratorTerm", "Noise", "StepValues"]

Noise = Callable[[np.random.Generator, int], np.ndarray]  # (rng, n) -> z, (n, *latent shape)


class GeneratorTerm(NamedTuple):
    """An auxiliary loss of G: weight * function(fake, real), whose value and gradient the function returns."""

    weight: float
    function: Callable[[Array, Array], tuple[Array, Array]]


class StepValues(NamedTuple):
    """What one step measured; scalar arrays of the backend.

    Attributes:
        d_loss: D's loss on the last real batch plus that on the last fake batch.
        g_loss: G's loss with its auxiliary terms.
        d_real, d_fake: D's mean probability of "real", on real and on fake images.
    """

    d_loss: Array
    g_loss: Array
    d_real: Array
    d_fake: Array


class AlternatingOptimizer:
    """Trains D and G in turn.

    Args:
        G: maps noise to fakes; built.
        D: maps images to logits; built on the same backend with the same dtype.
        loss: the game.
        noise: draws a batch of latent vectors: (rng, n) -> (n, *G.input_shape).
        g_optimizer, d_optimizer: update the arenas of G and of D.
        n_critic: k of Algorithm 1, steps of D for each step of G.
        generator_terms: added to G's adversarial loss.
        fake_pool: mixes earlier fakes into the batches that D learns from.
    Raises:
        ConfigError, ShapeError: these do not fit each other.
    """

    def __init__(
        self,
        G: Sequential,
        D: Sequential,
        *,
        loss: AdversarialLoss,
        noise: Noise,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        n_critic: int = 1,
        generator_terms: Sequence[GeneratorTerm] = (),
        fake_pool: FakePool | None = None,
    ) -> None:
        if n_critic < 1:
            raise ConfigError(f"n_critic must be positive, got {n_critic}.")
        if G.output_shape != D.input_shape:
            raise ShapeError(
                f"{G.path} draws {G.output_shape}, {D.path} expects {D.input_shape}. Make G end with D's input shape."
            )
        if (G.kernels.name, G.dtype) != (D.kernels.name, D.dtype):
            raise ConfigError(
                f"{G.path} and {D.path} must be built with one backend and dtype, got {G.kernels.name} {G.dtype} and "
                f"{D.kernels.name} {D.dtype}. Build both with the same backend=... and dtype=..."
            )
        if (g_optimizer.arena, d_optimizer.arena) != (G.arena, D.arena):
            raise ConfigError("g_optimizer must update G's arena and d_optimizer D's: Adam(G.arena, ...).")
        self.G, self.D = G, D
        self.loss = loss
        self.noise = noise
        self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer
        self.n_critic = n_critic
        self.generator_terms = tuple(generator_terms)
        self.fake_pool = fake_pool
        self.g_grads, self.d_grads = G.gradients(), D.gradients()

    def step(self, reals: Iterator[Array], rng: np.random.Generator) -> StepValues:
        """n_critic steps of D, each on a new real batch and new fakes, then one step of G on the last fakes.

        Args:
            reals: batches (N, *D.input_shape), in host memory or the backend's, of any float dtype.
            rng: of the noise and of dropout.
        """
        for _ in range(self.n_critic):
            real = self.D.kernels.asarray(next(reals), dtype=self.D.dtype)
            z = self.G.kernels.asarray(self.noise(rng, len(real)), dtype=self.G.dtype)
            fake, g_tape = self.G.forward(z, train=True, rng=rng)
            if not is_finite(fake):
                found = nonfinite_output(self.G, z, rng=rng) or f"the output of {self.G.path}"
                raise DivergenceError(f"{found} is not finite.")
            shown = fake if self.fake_pool is None else self.fake_pool.mix(fake, rng)
            d_loss, d_real, d_fake = self.discriminator_step(real, shown, rng)
        g_loss = self.generator_step(fake, g_tape, real, rng)
        return StepValues(d_loss, g_loss, d_real, d_fake)

    def discriminator_step(self, real: Array, fake: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """One update of D: ascend V(D, G) by descending the two cross-entropies.

        Returns:
            D's loss, and its mean probability of "real" on real and on fake.
        Raises:
            DivergenceError: a value or a gradient is not finite; D is as it was before the step.
        """
        statistics = self.D.state.flat.copy()
        values = self.discriminator_gradients(real, fake, rng)
        if not all_finite(values[0], self.d_grads, self.D):
            self.D.state.flat[...] = statistics
            raise DivergenceError(f"{why_discriminator(self.D, self.loss, real, fake, rng=rng)} is not finite.")
        self.d_optimizer.step(self.d_grads)
        return values

    def generator_step(self, fake: Array, g_tape: Tape, real: Array, rng: np.random.Generator) -> Array:
        """One update of G: through D, whose weights stay untouched.

        Args:
            fake, g_tape: what G's forward returned.
            real: for the auxiliary terms.
        Returns:
            G's loss.
        Raises:
            DivergenceError: a value or a gradient is not finite; G is as it was before the step.
        """
        value = self.generator_gradients(fake, g_tape, real, rng)
        statistics = self.G.state.flat.copy()
        self.G.commit_statistics(g_tape)
        if not all_finite(value, self.g_grads, self.G):
            why = why_generator(self.G, self.D, self.loss, fake, g_tape, rng=rng)
            self.G.state.flat[...] = statistics
            raise DivergenceError(f"{why} is not finite.")
        self.g_optimizer.step(self.g_grads)
        return value

    def discriminator_gradients(self, real: Array, fake: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Leaves in `d_grads` the gradients of D's loss; real and fake are separate batches for BatchNorm."""
        self.d_grads.zero()
        values, probabilities = [], []
        for x, target in ((real, REAL), (fake, FAKE)):
            logits, tape = self.D.forward(x, train=True, rng=rng)
            value, dlogits = self.loss.discriminator(logits, target)
            self.D.commit_statistics(tape)
            self.D.backward(dlogits, tape, grads=self.d_grads, need_dx=False, release=True)
            values.append(value)
            probabilities.append(probability(logits).mean())
        return values[0] + values[1], probabilities[0], probabilities[1]

    def generator_gradients(self, fake: Array, g_tape: Tape, real: Array, rng: np.random.Generator) -> Array:
        """Leaves in `g_grads` the gradients of G's loss."""
        self.g_grads.zero()
        logits, tape = self.D.forward(fake, train=True, rng=rng)
        value, dlogits = self.loss.generator(logits)
        dfake = self.D.backward(dlogits, tape, grads=None, release=True)
        for weight, function in self.generator_terms:
            term, dterm = function(fake, real)
            value = value + weight * term
            dfake = dfake + weight * dterm
        self.G.backward(dfake, g_tape, grads=self.g_grads, need_dx=False)
        return value

    def to_dict(self) -> dict[str, np.ndarray]:
        """Everything that training has changed, in host memory, by name."""
        arrays = network_arrays(self.G, "G") | network_arrays(self.D, "D")
        for prefix, part in self._with_memory():
            arrays |= {f"{prefix}.{name}": array for name, array in part.to_dict().items()}
        return arrays

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Goes back to what `to_dict` gave.

        Raises:
            CheckpointError, ShapeError, DTypeError: the arrays are of other networks. Nothing is overwritten.
        """
        before = self.to_dict()
        try:
            self._overwrite(arrays, source)
        except MiniganError:
            self._overwrite(before, source)
            raise

    def _overwrite(self, arrays: Mapping[str, np.ndarray], source: str) -> None:
        load_network(self.G, arrays, "G", source=source)
        load_network(self.D, arrays, "D", source=source)
        for prefix, part in self._with_memory():
            part.load_dict(select(arrays, prefix), source=source)

    def _with_memory(self) -> Iterator[tuple[str, Optimizer | FakePool]]:
        """What else than the networks a step changes."""
        yield from (("g_optimizer", self.g_optimizer), ("d_optimizer", self.d_optimizer))
        if self.fake_pool is not None:
            yield "fake_pool", self.fake_pool
