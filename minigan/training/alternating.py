"""The alternating optimizer: Algorithm 1 of Goodfellow et al. 2014.

One thing differs from the algorithm as printed: G's step judges the fakes that D's last step has seen, where the
paper draws new noise. So G's forward pass is computed once and serves both steps, as in the DCGAN authors' code.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, ShapeError
from minigan.losses import FAKE, REAL, CoupledLoss, Loss
from minigan.losses.adversarial import expect_loss
from minigan.losses.gradient_penalties import GradientPenalty, expect_penalty
from minigan.nn.network import Sequential, Tape
from minigan.nn.optimizers import Optimizer
from minigan.support.arguments import kind_of, number, whole
from minigan.support.representation import fields
from minigan.training.fake_pool import FakePool
from minigan.training.learner import Learner
from minigan.training.sampling import Noise

__all__ = [
    "AlternatingOptimizer",
    "Batch",
    "DiscriminatorValues",
    "GeneratorTerm",
    "GeneratorValues",
    "InstanceNoise",
    "StepValues",
]


class Batch(NamedTuple):
    """The input of a step that needs more than real examples. Arrays in host memory or the backend's.

    Attributes:
        real: (N, *D.input_shape).
        condition: what G and D are told of each example, one-hot classes or images; see `minigan.nn.layers.condition`.
        source: what G starts from in place of noise, (N, *G.input_shape): a photograph to be translated.
    """

    real: Array
    condition: Array | None = None
    source: Array | None = None

    def __repr__(self) -> str:
        return fields(self)


class GeneratorTerm(NamedTuple):
    """An auxiliary loss of G: weight * function(fake, real), whose value and gradient the function returns."""

    weight: float
    function: Callable[[Array, Array], tuple[Array, Array]]


class InstanceNoise(NamedTuple):
    """Normal noise on all that D sees, so that real and fake overlap; it fades linearly.

    Source: Arjovsky & Bottou 2017, section 3; Sønderby et al. 2017, on instance noise.

    Attributes:
        std: its standard deviation at first.
        steps: of G, after which there is none.
    """

    std: float
    steps: int

    def std_at(self, step: int) -> float:
        """After so many steps of G."""
        return self.std * max(0.0, 1 - step / self.steps)


class DiscriminatorValues(NamedTuple):
    """What one step of D measured; scalar arrays of the backend.

    Attributes:
        loss: on the real batch plus on the fake one, without the penalty.
        real, fake: D's mean verdict on them: its probability of "real", or the logit, as the loss has it.
        penalty: 0 in a step that had none.
    """

    loss: Array
    real: Array
    fake: Array
    penalty: Array

    def __repr__(self) -> str:
        return fields(self)

    def losses(self) -> list[tuple[str, Array]]:
        """The game's value and the penalty."""
        return [("the loss of D's logits", self.loss), ("the penalty on the slope of D", self.penalty)]


class GeneratorValues(NamedTuple):
    """Values measured in one step of G; scalar arrays of the backend.

    Attributes:
        loss: with the auxiliary terms.
        game: its part that comes from D.
    """

    loss: Array
    game: Array

    def losses(self) -> list[tuple[str, Array]]:
        """The game's value, and the whole."""
        return [("the loss of D's logits", self.game), ("an auxiliary term of G's loss", self.loss)]

    def __repr__(self) -> str:
        return fields(self)


class StepValues(NamedTuple):
    """What one step measured; scalar arrays of the backend.

    Attributes:
        d_loss, d_real, d_fake, d_penalty: `DiscriminatorValues` of the last step of D.
        g_loss: G's loss with its auxiliary terms.
    """

    d_loss: Array
    g_loss: Array
    d_real: Array
    d_fake: Array
    d_penalty: Array

    def __repr__(self) -> str:
        return fields(self)

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for, by the names that papers use."""
        return {"D": self.d_loss, "G": self.g_loss, "D(x)": self.d_real, "D(G(z))": self.d_fake}


class AlternatingOptimizer(Learner):
    """Trains D and G in turn.

    Args:
        G: maps noise to fakes; built.
        D: maps images to logits; built on the same backend with the same dtype.
        loss: the game.
        noise: draws a batch of latent vectors: (rng, n) -> (n, *G.input_shape). None where batches have a source.
        g_optimizer, d_optimizer: update the arenas of G and of D.
        n_critic: k of Algorithm 1, steps of D for each step of G.
        adversarial_weight: of the game's part in G's loss, beside the terms.
        generator_terms: added to G's adversarial loss.
        penalty: added to D's loss.
        instance_noise: on the images that D sees, real and fake, in its own step and in G's.
        fake_pool: mixes earlier fakes into the batches that D learns from.
    Raises:
        ConfigError, ShapeError: these do not fit each other.
    """

    def __init__(
        self,
        G: Sequential,
        D: Sequential,
        *,
        loss: Loss,
        noise: Noise | None,
        g_optimizer: Optimizer,
        d_optimizer: Optimizer,
        n_critic: int = 1,
        adversarial_weight: float = 1.0,
        generator_terms: Sequence[GeneratorTerm] = (),
        penalty: GradientPenalty | None = None,
        instance_noise: InstanceNoise | None = None,
        fake_pool: FakePool | None = None,
    ) -> None:
        super().__init__({"G": (G, g_optimizer), "D": (D, d_optimizer)})
        expect_loss(loss)
        if noise is not None and not callable(noise):
            raise ConfigError(
                f"noise must be a function, got {kind_of(noise)}. "
                f"Write noise=lambda rng, n: rng.standard_normal((n, {', '.join(map(str, G.input_shape))}))."
            )
        if G.output_shape != D.input_shape:
            raise ShapeError(
                f"{G.path} draws {G.output_shape}, {D.path} expects {D.input_shape}. Make G end with D's input shape."
            )
        self.G, self.D = G, D
        self.loss = loss
        self.noise = noise
        self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer
        self.n_critic = whole(n_critic, "n_critic")
        self.adversarial_weight = number(adversarial_weight, "adversarial_weight")
        self.generator_terms = tuple(generator_terms)
        self.penalty = None if penalty is None else expect_penalty(penalty)
        self.instance_noise = instance_noise
        if penalty is not None and (objection := penalty.objection(D)):
            warnings.warn(objection, stacklevel=2)
        self.fake_pool = fake_pool
        self.g_grads, self.d_grads = self.grads["G"], self.grads["D"]

    def step(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> StepValues:
        """n_critic steps of D, each on a new real batch and new fakes, then one step of G on the last fakes.

        Args:
            batches: real examples (N, *D.input_shape), in host memory or the backend's, of any float dtype; or these
                with a condition or a source.
            rng: of the noise and of dropout.
        """
        for _ in range(self.n_critic):
            real, condition, z = self._fed(batches, rng)
            fake, g_tape = self.checked_forward(self.G.given(condition), z, rng)
            shown = fake if self.fake_pool is None else self.fake_pool.mix(fake, rng)
            d_values = self.discriminator_step(real, shown, rng, condition=condition)
        g_loss = self.generator_step(fake, g_tape, real, rng, condition=condition)
        return StepValues(d_values.loss, g_loss, d_values.real, d_values.fake, d_values.penalty)

    def kind(self) -> tuple[bool | int, ...]:
        """Which of D's steps have a penalty, whether there is instance noise, and how far the pool is filled."""
        first = self.d_optimizer.steps
        due = [self.penalty is not None and self.penalty.is_due(first + n) for n in range(self.n_critic)]
        return *due, self._noise_std() > 0, 0 if self.fake_pool is None else self.fake_pool.count

    @property
    def memories(self) -> Mapping[str, Optimizer | FakePool]:
        pool = {} if self.fake_pool is None else {"fake_pool": self.fake_pool}
        return {**super().memories, **pool}

    def inputs(self, batch: Array | Batch, rng: np.random.Generator) -> list[tuple[Sequential, Array]]:
        """G and D under the batch's condition, each with its input: z or a source, and the real examples."""
        real, condition, z = self._fed(iter([batch]), rng)
        return [(self.G.given(condition), z), (self.D.given(condition), real)]

    def _fed(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> tuple[Array, Array | None, Array]:
        """Real examples, their condition, and what G starts from, on the backend."""
        fed: tuple[Array, Array | None, Array] = self.D.kernels.feed(
            lambda: self._drawn(next(batches), rng), dtype=self.D.dtype
        )
        return fed

    def _drawn(self, batch: Array | Batch, rng: np.random.Generator) -> tuple[Array, Array | None, Array]:
        """The same as the host has them."""
        real, condition, source = batch if isinstance(batch, Batch) else Batch(batch)
        if source is None:
            if self.noise is None:
                raise ConfigError("a GAN without noise expects batches with a source: Batch(real, source=...).")
            source = self.noise(rng, len(real))
        if condition is not None and self.fake_pool is not None:
            raise ConfigError("the pool of fakes keeps no conditions. Leave fake_pool out.")
        return real, condition, source

    def discriminator_step(
        self, real: Array, fake: Array, rng: np.random.Generator, *, condition: Array | None = None
    ) -> DiscriminatorValues:
        """One update of D: ascend V(D, G) by descending D's loss.

        Raises:
            DivergenceError: a value or a gradient is not finite; D is as it was before the step.
        """
        real, fake = self.seen(real, rng), self.seen(fake, rng)
        return self.update(
            "D", gradients=lambda: self.discriminator_gradients(real, fake, rng, condition=condition), rng=rng
        )

    def generator_step(
        self, fake: Array, g_tape: Tape, real: Array, rng: np.random.Generator, *, condition: Array | None = None
    ) -> Array:
        """One update of G: through D, whose weights stay untouched.

        Args:
            fake, g_tape: what G's forward returned.
            real: for the auxiliary terms, and for a loss that compares fake with real logits.
            condition: what D is told of fake and of real.
        Returns:
            G's loss.
        Raises:
            DivergenceError: a value or a gradient is not finite; G is as it was before the step.
        """
        return self.update(
            "G", gradients=lambda: self.generator_gradients(fake, g_tape, real, rng, condition=condition), rng=rng
        ).loss

    def discriminator_gradients(
        self, real: Array, fake: Array, rng: np.random.Generator, *, condition: Array | None = None
    ) -> DiscriminatorValues:
        """Leaves in `d_grads` the gradients of D's loss; real and fake are separate batches for BatchNorm."""
        D = self.D.given(condition)
        self.d_grads.zero()
        if isinstance(self.loss, CoupledLoss):
            value, *verdicts = self._coupled_gradients(D, self.loss, real, fake, rng)
        else:
            values, verdicts = [], []
            for x, target in ((real, REAL), (fake, FAKE)):
                logits, tape = D.forward(x, train=True, rng=rng)
                value, dlogits = self.loss.discriminator(logits, target)
                D.commit_statistics(tape)
                D.backward(dlogits, tape, grads=self.d_grads, need_dx=False, release=True)
                values.append(value)
                verdicts.append(self.loss.verdict(logits))
            value = values[0] + values[1]
        penalty = D.kernels.xp.zeros_like(value)
        if self.penalty is not None and self.penalty.is_due(self.d_optimizer.steps):
            penalty = self.penalty.add_gradients(D, real, fake, grads=self.d_grads, rng=rng)
        return DiscriminatorValues(value, verdicts[0], verdicts[1], penalty)

    def _coupled_gradients(
        self, D: Sequential, loss: CoupledLoss, real: Array, fake: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """As above, for a loss of both batches' logits: both tapes are needed at once."""
        on_real, real_tape = D.forward(real, train=True, rng=rng)
        on_fake, fake_tape = D.forward(fake, train=True, rng=rng)
        value, dreal, dfake = loss.discriminator(on_real, on_fake)
        for dlogits, tape in ((dreal, real_tape), (dfake, fake_tape)):
            D.commit_statistics(tape)
            D.backward(dlogits, tape, grads=self.d_grads, need_dx=False, release=True)
        return value, loss.verdict(on_real), loss.verdict(on_fake)

    def generator_gradients(
        self, fake: Array, g_tape: Tape, real: Array, rng: np.random.Generator, *, condition: Array | None = None
    ) -> GeneratorValues:
        """Leaves in `g_grads` the gradients of G's loss; D's statistics stay as they are."""
        D = self.D.given(condition)
        self.g_grads.zero()
        logits, tape = D.forward(self.seen(fake, rng), train=True, rng=rng)
        if isinstance(self.loss, CoupledLoss):
            on_real = D.forward(self.seen(real, rng), train=True, rng=rng)[0]
            value, dlogits = self.loss.generator(on_real, logits)
        else:
            value, dlogits = self.loss.generator(logits)
        if self.adversarial_weight != 1:
            value, dlogits = self.adversarial_weight * value, self.adversarial_weight * dlogits
        game = value
        dfake = D.backward(dlogits, tape, grads=None, release=True)
        for weight, function in self.generator_terms:
            term, dterm = function(fake, real)
            value = value + weight * term
            dfake = dfake + weight * dterm
        self.G.backward(dfake, g_tape, grads=self.g_grads, need_dx=False)
        self.G.commit_statistics(g_tape)
        return GeneratorValues(value, game)

    def seen(self, x: Array, rng: np.random.Generator) -> Array:
        """What D sees of a batch: the images, with instance noise on them while there is some."""
        if not self._noise_std():
            return x
        return x + self.D.kernels.feed(lambda: self._noise_std() * rng.standard_normal(x.shape), dtype=self.D.dtype)

    def _noise_std(self) -> float:
        return self.instance_noise.std_at(self.g_optimizer.steps) if self.instance_noise else 0.0
