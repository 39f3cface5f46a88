"""The alternating optimizer: Algorithm 1 of Goodfellow et al. 2014.

One thing differs from the algorithm as printed: G's step judges the fakes that D's last step has seen, where the
paper draws new noise. So G's forward pass is computed once and serves both steps, as in the DCGAN authors' code.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, ShapeError
from minigan.losses import FAKE, REAL, AdversarialLoss, CoupledLoss, Loss
from minigan.losses.adversarial import expect_loss
from minigan.losses.gradient_penalties import GradientPenalty, expect_penalty
from minigan.nn.layers.augmentation import RandomAugmentation
from minigan.nn.network import Sequential, Tape
from minigan.nn.optimizers import Adam, Optimizer
from minigan.support.arguments import number, whole
from minigan.training.accumulation import mean_of_batches
from minigan.training.back_through_d import BackThroughD
from minigan.training.batch import Batch, expect_rng, next_batch
from minigan.training.fake_pool import FakePool
from minigan.training.generator_term import GeneratorTerm
from minigan.training.instance_noise import InstanceNoise
from minigan.training.joined import joinable_examples, joined
from minigan.training.learner import Learner
from minigan.training.noise import expect_noise, expect_noise_function
from minigan.training.reals import Reals
from minigan.training.sampling import Noise
from minigan.training.shared_losses import on_all_ranks
from minigan.training.step_values import DiscriminatorValues, GeneratorValues, StepValues

__all__ = ["AlternatingOptimizer"]


class Game(NamedTuple):
    """A batch for D's step and, as long as nothing is updated, for G's; on the backend.

    Attributes:
        real: (N, *D.input_shape).
        condition: of both, (N, ...), or None.
        z: G's input, (N, *G.input_shape).
        shown: the fakes for D, (N, *D.input_shape).
        fresh: the real batch of G's step, where the loss wants a new one.
    """

    real: Array
    condition: Array | None
    z: Array
    shown: Array
    fresh: Reals | None = None


class AlternatingOptimizer(Learner):
    """Trains D and G in turn.

        gan = AlternatingOptimizer(G, D, loss=NonSaturating(), noise=noise, g_optimizer=..., d_optimizer=...)
        values = gan.step(batches, rng)     # values.d_loss, values.g_loss, ...

    Args:
        G: maps noise (N, *G.input_shape) to fakes (N, *G.output_shape); built.
        D: maps images (N, *G.output_shape) to logits; built on the same backend with the same dtype.
        loss: the game that G and D play.
        noise: draws a batch of latent vectors: (rng, n) -> (n, *G.input_shape). None if batches have a source.
        g_optimizer, d_optimizer: update the arenas of G and of D.
        n_critic: k of Algorithm 1: steps of D for each step of G.
        adversarial_weight: factor of the adversarial part of G's loss.
        generator_terms: added to the adversarial part of G's loss.
        penalty: added to D's loss.
        instance_noise: added to the images that D sees, real and fake, in D's step and in G's.
        fake_pool: mixes earlier fakes into the batches that D learns from.
        accumulate: batches whose mean gradient makes one update, of D and of G; see `step`.
    Attributes:
        g_grads, d_grads: the gradients of G and of D in the last step.
        augmenting: D's layers of augmentation whose probability training moves; usually none, or one.
    Raises:
        ConfigError: an argument is of the wrong kind or out of range, or the networks do not go together.
        ShapeError: G's images do not have D's input shape.
    Source: Goodfellow et al. 2014, "Generative Adversarial Nets", Algorithm 1.
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
        accumulate: int = 1,
    ) -> None:
        super().__init__({"G": (G, g_optimizer), "D": (D, d_optimizer)}, accumulate=accumulate)
        expect_loss(loss)
        if noise is not None:
            expect_noise_function(noise, G)
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
        self._joinable = joinable_examples(D)
        self.augmenting = [layer for _, layer in D.walk() if isinstance(layer, RandomAugmentation)]
        self.g_grads, self.d_grads = self.grads["G"], self.grads["D"]

    def step(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> StepValues:
        """n_critic steps of D, each on a new real batch and new fakes, then one step of G on the last fakes.

        With `accumulate=K` each step of D is on K new batches, and G's on the last K: gradients, penalties and terms
        are means over them. G's forward passes are then done a second time for G's step, so that only one batch's
        activations are alive: with the same z, but new draws where G draws (Dropout). Statistics are committed after
        each batch. A loss that compares G's fakes with new reals (`CoupledLoss.fresh_reals`) takes one more batch, or
        K, for G's step.

        Args:
            batches: real examples (N, *D.input_shape), in host memory or the backend's, of any float dtype; or a
                `Batch` of them with a condition or a source.
            rng: of the noise and of dropout.
        Returns:
            The values measured.
        Raises:
            DivergenceError: a value or a gradient is not finite; the network being updated is as before its step.
        """
        expect_rng(rng)
        if self.accumulate > 1:
            return self._step_of_many(batches, rng)
        for _ in range(self.n_critic):
            real, condition, z = self._feed(batches, rng)
            fake, g_tape = self.checked_forward(self.G.given(condition), z, rng)
            shown = fake if self.fake_pool is None else self.fake_pool.mix(fake, rng)
            d_values = self.discriminator_step(real, shown, rng, condition=condition)
            d_values = self._after_discriminator(d_values, [(real, shown, condition)], rng)
        fresh = self._fresh_reals(batches)
        g_loss = self.generator_step(fake, g_tape, real, rng, condition=condition, fresh=fresh)
        self._after_generator([(real, shown, condition)], rng)
        return StepValues(d_values.loss, g_loss, d_values.real, d_values.fake, d_values.penalty)

    def _step_of_many(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> StepValues:
        """The same with several batches for each update."""
        for _ in range(self.n_critic):
            games = [self._game(batches, rng) for _ in range(self.accumulate)]
            seen = [game._replace(real=self.seen(game.real, rng), shown=self.seen(game.shown, rng)) for game in games]
            on_d = [partial(self._add_discriminator_gradients, g.real, g.shown, rng, g.condition) for g in seen]
            d_values = self.update("D", gradients=partial(self._mean_on_d, on_d), rng=rng)
            shown = [(game.real, game.shown, game.condition) for game in games]
            d_values = self._after_discriminator(d_values, shown, rng)
        games = [game._replace(fresh=self._fresh_reals(batches)) for game in games]
        on_g = [partial(self._add_generator_gradients_again, game, rng) for game in games]
        g_loss = self.update("G", gradients=partial(mean_of_batches, [self.g_grads], on_g), rng=rng).loss
        self._after_generator(shown, rng)
        return StepValues(d_values.loss, g_loss, d_values.real, d_values.fake, d_values.penalty)

    def _mean_on_d(self, batches: Sequence[Callable[[], DiscriminatorValues]]) -> DiscriminatorValues:
        values = mean_of_batches([self.d_grads], batches)
        self._adapt()
        return values

    def _game(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> Game:
        """A new batch, and fakes without the tape of their forward pass."""
        real, condition, z = self._feed(batches, rng)
        fake, _ = self.checked_forward(self.G.given(condition), z, rng)
        return Game(real, condition, z, fake if self.fake_pool is None else self.fake_pool.mix(fake, rng))

    def step_of_discriminator(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> DiscriminatorValues:
        """One update of D alone, on a new real batch and new fakes; arguments as in `step`, without `accumulate`."""
        real, condition, z = self._feed(batches, rng)
        fake, _ = self.checked_forward(self.G.given(condition), z, rng)
        shown = fake if self.fake_pool is None else self.fake_pool.mix(fake, rng)
        d_values = self.discriminator_step(real, shown, rng, condition=condition)
        return self._after_discriminator(d_values, [(real, shown, condition)], rng)

    def step_of_generator(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> Array:
        """One update of G alone, on new fakes, which D has not seen; arguments as in `step`, without `accumulate`.

        Returns:
            G's loss, a scalar.
        """
        real, condition, z = self._feed(batches, rng)
        fake, g_tape = self.checked_forward(self.G.given(condition), z, rng)
        g_loss = self.generator_step(fake, g_tape, real, rng, condition=condition)
        self._after_generator([(real, fake, condition)], rng)
        return g_loss

    def _after_discriminator(
        self,
        values: DiscriminatorValues,
        games: Sequence[tuple[Array, Array, Array | None]],  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
    ) -> DiscriminatorValues:
        """The sequel to an update of D by the game; nothing here, see `LazilyRegularized`.

        Args:
            values: of the update.
            games: real and fake images and the condition of each batch in it.
        Returns:
            The values of both.
        """
        return values

    def _after_generator(self, games: Sequence[tuple[Array, Array, Array | None]], rng: np.random.Generator) -> None:
        """The sequel to an update of G by the game."""

    def discriminator_step(
        self, real: Array, fake: Array, rng: np.random.Generator, *, condition: Array | None = None
    ) -> DiscriminatorValues:
        """One update of D: ascend V(D, G) by descending D's loss.

        Args:
            real, fake: (N, *D.input_shape), on the backend.
            rng: of instance noise, dropout and the penalty.
            condition: given to D with both batches, (N, ...).
        Raises:
            DivergenceError: a value or a gradient is not finite; D is as it was before the step.
        """
        real, fake = self.seen(real, rng), self.seen(fake, rng)
        return self.update(
            "D", gradients=lambda: self.discriminator_gradients(real, fake, rng, condition=condition), rng=rng
        )

    @property
    def batches_per_step(self) -> int:
        return (self.n_critic + self.loss.fresh_reals) * self.accumulate

    def _fresh_reals(self, batches: Iterator[Array | Batch]) -> Reals | None:
        """A new real batch for G's step, on the backend, if the loss wants one."""
        if not self.loss.fresh_reals:
            return None

        def draw() -> tuple[Array, Array | None]:
            batch = next_batch(batches)
            return (batch.real, batch.condition) if isinstance(batch, Batch) else (batch, None)

        return Reals(*self.D.kernels.feed(draw, dtype=self.D.dtype))

    def generator_step(
        self,
        fake: Array,
        g_tape: Tape,
        real: Array,
        rng: np.random.Generator,
        *,
        condition: Array | None = None,
        fresh: Reals | None = None,
    ) -> Array:
        """One update of G: through D, whose weights stay untouched.

        Args:
            fake, g_tape: the output (N, *G.output_shape) and the tape of G's forward pass.
            real: (N, *D.input_shape); for the auxiliary terms, and for a loss that compares fake with real logits.
            rng: of instance noise and dropout.
            condition: given to D with both batches, (N, ...).
            fresh: compared with in place of `real` by a loss that compares; the terms keep `real`.
        Returns:
            G's loss, a scalar.
        Raises:
            DivergenceError: a value or a gradient is not finite; G is as it was before the step.
        """
        add = partial(self.generator_gradients, fake, g_tape, real, rng, condition=condition, fresh=fresh)
        return self.update("G", gradients=add, rng=rng).loss

    # ------------------------------------------------------------------------------------------ D's gradients

    def discriminator_gradients(
        self, real: Array, fake: Array, rng: np.random.Generator, *, condition: Array | None = None
    ) -> DiscriminatorValues:
        """Leaves in `d_grads` the gradients of D's loss; arguments as in `discriminator_step`."""
        self.d_grads.zero()
        values = self._add_discriminator_gradients(real, fake, rng, condition)
        self._adapt()
        return values

    def _boundary(self, on_real: Array, on_fake: Array) -> Array | float:
        """The logit at which D is undecided, by the logits of all ranks."""
        ranks = self.D.kernels.ranks
        return self.loss.boundary(ranks.whole(on_real), ranks.whole(on_fake))

    def _adapt(self) -> None:
        """D's gradients are complete: augmentation may move its probability."""
        for layer in self.augmenting:
            layer.adapt()

    def _add_discriminator_gradients(
        self, real: Array, fake: Array, rng: np.random.Generator, condition: Array | None
    ) -> DiscriminatorValues:
        D, loss = self.D.given(condition), on_all_ranks(self.loss, self.D.kernels)
        own_condition = condition is None and self.D.is_conditioned  # for one batch
        penalty, weight = self._due_penalty()
        back = BackThroughD(self.d_grads, penalty if penalty and penalty.shares_passes else None, weight)
        if len(real) + len(fake) <= self._joinable and not own_condition:
            value, on_real, on_fake = self._joined_game(loss, real, fake, rng, condition, back)
        elif isinstance(loss, CoupledLoss):
            value, on_real, on_fake = self._coupled_game(D, loss, real, fake, rng, back)
        else:
            value, on_real, on_fake = self._separate_game(D, loss, real, fake, rng, back)
        for layer in self.augmenting:
            layer.note(on_real, self._boundary(on_real, on_fake), images=len(real))
        slope = sum(back.penalties[1:], back.penalties[0]) if back.penalties else D.kernels.xp.zeros_like(value)
        if penalty is not None and not penalty.shares_passes:
            given = {} if weight is None else {"weight": weight}
            slope = penalty.add_gradients(D, real, fake, grads=self.d_grads, rng=rng, **given)
        return DiscriminatorValues(value, self.loss.verdict(on_real), self.loss.verdict(on_fake), slope)

    def _due_penalty(self) -> tuple[GradientPenalty | None, Array | None]:
        """The penalty of this step of D, and its weight, (1,), if that has a schedule."""
        penalty, optimizer = self.penalty, self.d_optimizer
        if penalty is None or not penalty.is_due(optimizer.steps):
            return None, None
        if not callable(penalty.weight):
            return penalty, None
        kernels = self.D.kernels
        return penalty, kernels.feed(lambda: np.array([penalty.weight_at(optimizer.steps)]), dtype=self.D.dtype)

    def _separate_game(
        self,
        D: Sequential,
        loss: AdversarialLoss,
        real: Array,
        fake: Array,
        rng: np.random.Generator,
        back: BackThroughD,
    ) -> tuple[Array, Array, Array]:
        """Adds the gradients of a loss that judges each batch by itself; separate batches for BatchNorm, too.

        Returns:
            The loss, and D's logits on real and fake.
        """
        values, judged = [], []
        for x, target in ((real, REAL), (fake, FAKE)):
            logits, tape = D.forward(x, train=True, rng=rng)
            value, dlogits = loss.discriminator(logits, target)
            D.commit_statistics(tape)
            back.walk(D, x, logits, dlogits, tape)
            values.append(value)
            judged.append(logits)
        return values[0] + values[1], judged[0], judged[1]

    def _coupled_game(
        self,
        D: Sequential,
        loss: CoupledLoss,
        real: Array,
        fake: Array,
        rng: np.random.Generator,
        back: BackThroughD,
    ) -> tuple[Array, Array, Array]:
        """The same for a loss that compares both batches' logits: both tapes are needed at once."""
        on_real, real_tape = D.forward(real, train=True, rng=rng)
        on_fake, fake_tape = D.forward(fake, train=True, rng=rng)
        value, dreal, dfake = loss.discriminator(on_real, on_fake)
        for x, logits, dlogits, tape in ((real, on_real, dreal, real_tape), (fake, on_fake, dfake, fake_tape)):
            D.commit_statistics(tape)
            back.walk(D, x, logits, dlogits, tape)
        return value, on_real, on_fake

    def _joined_game(
        self,
        loss: Loss,
        real: Array,
        fake: Array,
        rng: np.random.Generator,
        condition: Array | None,
        back: BackThroughD,
    ) -> tuple[Array, Array, Array]:
        """The same with both batches as one: only the loss tells them apart. See `joinable_examples`."""
        kernels, n = self.D.kernels, len(real)
        D = self.D if condition is None else self.D.given(joined(kernels, condition, condition))
        x = joined(kernels, real, fake)
        logits, tape = D.forward(x, train=True, rng=rng)
        on_real, on_fake = logits[:n], logits[n:]
        if isinstance(loss, CoupledLoss):
            value, dreal, dfake = loss.discriminator(on_real, on_fake)
        else:
            (for_real, dreal), (for_fake, dfake) = (
                loss.discriminator(on_real, REAL),
                loss.discriminator(on_fake, FAKE),
            )
            value = for_real + for_fake
        back.walk(D, x, logits, joined(kernels, dreal, dfake), tape, batches=2)
        return value, on_real, on_fake

    # ------------------------------------------------------------------------------------------ G's gradients

    def generator_gradients(
        self,
        fake: Array,
        g_tape: Tape,
        real: Array,
        rng: np.random.Generator,
        *,
        condition: Array | None = None,
        fresh: Reals | None = None,
    ) -> GeneratorValues:
        """Leaves in `g_grads` the gradients of G's loss; arguments as in `generator_step`.

        D's running statistics stay as they are.
        """
        self.g_grads.zero()
        return self._add_generator_gradients(fake, g_tape, real, rng, condition, fresh)

    def _add_generator_gradients_again(self, game: Game, rng: np.random.Generator) -> GeneratorValues:
        """The same for a game whose fakes are drawn a second time."""
        fake, g_tape = self.G.given(game.condition).forward(game.z, train=True, rng=rng)
        return self._add_generator_gradients(fake, g_tape, game.real, rng, game.condition, game.fresh)

    def _add_generator_gradients(
        self,
        fake: Array,
        g_tape: Tape,
        real: Array,
        rng: np.random.Generator,
        condition: Array | None,
        fresh: Reals | None,
    ) -> GeneratorValues:
        value, dfake = self._through_discriminator(fake, condition, fresh or Reals(real, condition), rng)
        game = value
        for term in self.generator_terms:
            value, dfake = term.added_to(value, dfake, fake, real, self.G.kernels)
        self.G.backward(dfake, g_tape, grads=self.g_grads, need_dx=False)
        self.G.commit_statistics(g_tape)
        return GeneratorValues(value, game)

    def _through_discriminator(
        self, fake: Array, condition: Array | None, reals: Reals, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """The weighted value of G's game, and its gradient with respect to fake, which D passes down."""
        D = self.D.given(condition)
        logits, tape = D.forward(self.seen(fake, rng), train=True, rng=rng)
        loss = on_all_ranks(self.loss, D.kernels)
        if isinstance(loss, CoupledLoss):
            on_real = self.D.given(reals.condition).forward(self.seen(reals.images, rng), train=True, rng=rng)[0]
            value, dlogits = loss.generator(on_real, logits)
        else:
            value, dlogits = loss.generator(logits)
        if self.adversarial_weight != 1:
            value, dlogits = self.adversarial_weight * value, self.adversarial_weight * dlogits
        return value, D.backward(dlogits, tape, grads=None, release=True)

    # ------------------------------------------------------------------------------------------ inputs

    def seen(self, x: Array, rng: np.random.Generator) -> Array:
        """The images as D sees them: with instance noise, as long as there is any."""
        if not self._noise_std():
            return x
        return x + self.D.kernels.feed(lambda: self._noise_std() * rng.standard_normal(x.shape), dtype=self.D.dtype)

    def _noise_std(self) -> float:
        return self.instance_noise.std_at(self.g_optimizer.steps) if self.instance_noise else 0.0

    def _feed(self, batches: Iterator[Array | Batch], rng: np.random.Generator) -> tuple[Array, Array | None, Array]:
        """Real examples, their condition, and G's input, on the backend."""
        fed: tuple[Array, Array | None, Array] = self.D.kernels.feed(
            lambda: self._draw(next_batch(batches), rng), dtype=self.D.dtype
        )
        return fed

    def _draw(self, batch: Array | Batch, rng: np.random.Generator) -> tuple[Array, Array | None, Array]:
        """The same in host memory."""
        real, condition, source = batch if isinstance(batch, Batch) else Batch(batch)
        if source is None:
            if self.noise is None:
                raise ConfigError("a GAN without noise expects batches with a source: Batch(real, source=...).")
            source = expect_noise(self.noise(rng, len(real)), (len(real), *self.G.input_shape))
        if condition is not None and self.fake_pool is not None:
            raise ConfigError("the pool of fakes keeps no conditions. Leave fake_pool out.")
        return real, condition, source

    def inputs(self, batch: Array | Batch, rng: np.random.Generator) -> list[tuple[Sequential, Array]]:
        """G and D under the batch's condition, each with its input: z or a source, and the real examples."""
        real, condition, z = self._feed(iter([batch]), rng)
        return [(self.G.given(condition), z), (self.D.given(condition), real)]

    # ------------------------------------------------------------------------------------------ its state

    def measures(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for layer in self.augmenting:
            found |= layer.measures()
        if self.penalty is not None and callable(self.penalty.weight):
            found["penalty_weight"] = self.penalty.weight_at(self.d_optimizer.steps)
        if isinstance(self.d_optimizer, Adam) and callable(self.d_optimizer.beta2):
            found["beta2"] = self.d_optimizer.beta2_at(self.d_optimizer.steps)
        return found

    def kind(self) -> tuple[bool | int, ...]:
        """Which of D's steps have a penalty, whether there is instance noise, and how full the pool of fakes is."""
        first = self.d_optimizer.steps
        due = [self.penalty is not None and self.penalty.is_due(first + n) for n in range(self.n_critic)]
        return *due, self._noise_std() > 0, 0 if self.fake_pool is None else self.fake_pool.count

    @property
    def memories(self) -> Mapping[str, Optimizer | FakePool]:
        pool = {} if self.fake_pool is None else {"fake_pool": self.fake_pool}
        return {**super().memories, **pool}
