"""The learner of two translations that undo each other: CycleGAN (Zhu et al. 2017).

G_AB maps images of A to images like those of B, G_BA the other way; D_A and D_B judge the results. No image of A has a
counterpart in B. Instead, an image translated there and back must be itself again.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, ShapeError
from minigan.losses import FAKE, REAL, AdversarialLoss, Loss, l1
from minigan.losses.adversarial import expect_loss
from minigan.nn.network import Sequential, Tape
from minigan.nn.optimizers import Optimizer
from minigan.support.arguments import number
from minigan.support.representation import fields
from minigan.training.batch import expect_rng, next_batch
from minigan.training.fake_pool import FakePool
from minigan.training.joined import joinable_examples, joined
from minigan.training.learner import Learner
from minigan.training.shared_losses import on_all_ranks

__all__ = ["AB", "BA", "CycleConsistent", "CycleValues", "Sides"]


class Sides(NamedTuple):
    """The batches of a step, images of A and of B that do not belong together. Host memory or the backend's.

    Attributes:
        a, b: (N, *D_A.input_shape) and (M, *D_B.input_shape).
    """

    a: Array
    b: Array

    def __repr__(self) -> str:
        return fields(self)


class CycleValues(NamedTuple):
    """Values measured in one step; scalar arrays of the backend.

    Those of D are means over D_A and D_B, to be read like those of a game with one D; the others are sums over both
    directions.

    Attributes:
        d_loss: of D_A and D_B on real images and on those from the pools.
        g_loss: of G_AB and G_BA, all terms with their weights.
        d_real, d_fake: verdicts of D_A and D_B on real images and on those from the pools.
        cycle: mean |back - image|, without its weight.
        identity: mean |G(image of its target) - image|, without its weight; 0 if the term has no weight.
    """

    d_loss: Array
    g_loss: Array
    d_real: Array
    d_fake: Array
    cycle: Array
    identity: Array

    def __repr__(self) -> str:
        return fields(self)

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for."""
        return {"D": self.d_loss, "G": self.g_loss, "cycle": self.cycle}

    def losses(self) -> list[tuple[str, Array]]:
        """The discriminators' loss, then the generators' by what they are made of."""
        return [
            ("the loss of D_A's and D_B's logits", self.d_loss),
            ("the cycle's loss", self.cycle),
            ("the identity loss", self.identity),
            ("the generators' loss of D_A's and D_B's logits", self.g_loss),
        ]


class Translated(NamedTuple):
    """A batch and its translation.

    Attributes:
        tape: of the generator's pass.
        same: what the generator made of images of its target in the same pass; None if they did not go through it.
    """

    x: Array
    fake: Array
    tape: Tape
    same: Array | None


class Direction(NamedTuple):
    """One of the two directions: the names of its networks."""

    there: str
    back: str
    judge: str  # of the images that `there` draws


AB, BA = Direction("G_AB", "G_BA", "D_B"), Direction("G_BA", "G_AB", "D_A")


class CycleConsistent(Learner):
    """Trains two generators and two discriminators on images of A and of B that do not belong together.

    G_AB and G_BA minimize, as means over numbers,

        adversarial * (loss of D_B on G_AB(a) + loss of D_A on G_BA(b))
        + cycle * (|G_BA(G_AB(a)) - a| + |G_AB(G_BA(b)) - b|)
        + identity * (|G_AB(b) - b| + |G_BA(a) - a|),

    and each D its loss on real images and on a pool of earlier fakes. All gradients of a step are of the same weights,
    and all networks are updated together: as the authors' code does, where the generators' update comes first, but the
    discriminators learn from fakes drawn before it.

    Each generator is walked several times in a step; the gradients of its uses add up, each with a tape of its own.
    Where no example depends on another and the images are small, two of its batches go through as one.

    Args:
        G_AB: maps images of A (N, *G_AB.input_shape) to images (N, *G_AB.output_shape) like those of B; built.
        G_BA: maps images of B to images like those of A.
        D_A, D_B: map images of A and of B to logits.
        optimizers: of the four networks, by their names: G_AB, G_BA, D_A, D_B.
        loss: the game that each generator and its discriminator play; one that judges each batch by itself.
        adversarial, cycle, identity: weights of the generators' terms.
        pools: of earlier fakes, of G_BA for D_A and of G_AB for D_B; None shows each D the newest alone.
    Raises:
        ConfigError: an argument is of the wrong kind or out of range, or an optimizer is missing.
        ShapeError: the networks' images do not fit together.
    Source: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
        equations 1 to 3, sections 4 and 5.2.
    """

    def __init__(
        self,
        G_AB: Sequential,
        G_BA: Sequential,
        D_A: Sequential,
        D_B: Sequential,
        *,
        optimizers: Mapping[str, Optimizer],
        loss: Loss,
        adversarial: float = 1.0,
        cycle: float = 10.0,
        identity: float = 5.0,
        pools: tuple[FakePool, FakePool] | None = None,
    ) -> None:
        networks = {"G_AB": G_AB, "G_BA": G_BA, "D_A": D_A, "D_B": D_B}
        if missing := [name for name in networks if name not in optimizers]:
            raise ConfigError(
                f"optimizers must have one for each of {', '.join(networks)}; {missing[0]} is missing. Write "
                f'optimizers={{"{missing[0]}": Adam({missing[0]}.arena, lr=2e-4), ...}}.'
            )
        super().__init__({name: (network, optimizers[name]) for name, network in networks.items()})
        expect_loss(loss)
        if not isinstance(loss, AdversarialLoss):
            raise ConfigError(
                f"{type(loss).__name__} compares real with fake images, which are of different kinds here. Use "
                "LeastSquares(), or another loss that judges each batch by itself."
            )
        self.loss: AdversarialLoss = loss
        self.adversarial = number(adversarial, "adversarial", above=0)
        self.cycle, self.identity = number(cycle, "cycle", least=0), number(identity, "identity", least=0)
        self.pools = {} if pools is None else {"D_A": pools[0], "D_B": pools[1]}
        self._expect_fitting()
        self._joinable = {name: joinable_examples(network) for name, network in networks.items()}

    def _expect_fitting(self) -> None:
        """Refuses networks whose images do not fit together."""
        for way in (AB, BA):
            there, back, judge = (self.networks[name] for name in way)
            for name, network in ((way.back, back), (way.judge, judge)):
                if there.output_shape != network.input_shape:
                    raise ShapeError(
                        f"{way.there} draws {there.output_shape}, {name} expects {network.input_shape}. Make "
                        f"{way.there} end with {name}'s input shape."
                    )
        a, b = self.networks["G_AB"].input_shape, self.networks["G_BA"].input_shape
        if self.identity and a != b:
            raise ConfigError(
                f"the identity term shows each generator images of its target, but those of A are {a} and those of B "
                f"{b}. Set identity=0."
            )

    def step(self, batches: Iterator[Sides], rng: np.random.Generator) -> CycleValues:
        """One update of all four networks.

        Args:
            batches: `Sides(a, b)`.
            rng: of the pools, and of dropout.
        Raises:
            DivergenceError: a value or a gradient is not finite; the networks are as they were before the step.
        """
        expect_rng(rng)
        a, b = self._feed(batches)
        translated = {way: self._translated(way, x, target, rng) for way, x, target in ((AB, a, b), (BA, b, a))}
        shown = {}
        for way in (BA, AB):  # D_A's, then D_B's
            fake, pool = translated[way].fake, self.pools.get(way.judge)
            shown[way] = fake if pool is None else pool.mix(fake, rng)
        return self.update(
            *("D_A", "D_B", "G_AB", "G_BA"),
            gradients=lambda: self.gradients(translated, shown, rng),
            rng=rng,
        )

    def _translated(self, way: Direction, x: Array, target: Array, rng: np.random.Generator) -> Translated:
        """The translation of a batch, if possible in one pass with what the generator makes of its target."""
        G, n = self.networks[way.there], len(x)
        if not self.identity or n + len(target) > self._joinable[way.there]:
            return Translated(x, *self.checked_forward(G, x, rng), None)
        y, tape = self.checked_forward(G, joined(G.kernels, x, target), rng)
        return Translated(x, y[:n], tape, y[n:])

    def gradients(
        self, translated: Mapping[Direction, Translated], shown: Mapping[Direction, Array], rng: np.random.Generator
    ) -> CycleValues:
        """Leaves in `grads` the gradients of all four networks.

        Args:
            translated: both batches with their translations.
            shown: the fakes of each direction that its D learns from.
            rng: of dropout.
        """
        for grads in self.grads.values():
            grads.zero()
        real = {AB: translated[BA].x, BA: translated[AB].x}
        d_values = [self._judge_gradients(way.judge, real[way], shown[way], rng) for way in (BA, AB)]
        g_values = [self._generator_gradients(way, translated[way], real[way], rng) for way in (AB, BA)]
        game, cycle, same = (one + other for one, other in zip(*g_values, strict=True))
        d_loss, d_real, d_fake = (0.5 * (one + other) for one, other in zip(*d_values, strict=True))
        g_loss = self.adversarial * game + self.cycle * cycle + self.identity * same
        return CycleValues(d_loss, g_loss, d_real, d_fake, cycle, same)

    def _judge_gradients(
        self, name: str, real: Array, fake: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Adds the gradients of a discriminator's loss.

        Returns:
            The loss, and the mean verdicts on real and fake.
        """
        if len(real) + len(fake) <= self._joinable[name]:
            return self._joined_judge_gradients(name, real, fake, rng)
        D, values, verdicts = self.networks[name], [], []
        loss = on_all_ranks(self.loss, D.kernels)
        for x, target in ((real, REAL), (fake, FAKE)):
            logits, tape = D.forward(x, train=True, rng=rng)
            value, dlogits = loss.discriminator(logits, target)
            D.commit_statistics(tape)
            D.backward(dlogits, tape, grads=self.grads[name], need_dx=False, release=True)
            values.append(value)
            verdicts.append(self.loss.verdict(logits))
        return values[0] + values[1], verdicts[0], verdicts[1]

    def _joined_judge_gradients(
        self, name: str, real: Array, fake: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """The same with both batches as one: only the loss tells them apart. See `joinable_examples`."""
        D, n = self.networks[name], len(real)
        logits, tape = D.forward(joined(D.kernels, real, fake), train=True, rng=rng)
        on_real, on_fake, loss = logits[:n], logits[n:], on_all_ranks(self.loss, D.kernels)
        (for_real, dreal), (for_fake, dfake) = loss.discriminator(on_real, REAL), loss.discriminator(on_fake, FAKE)
        D.backward(joined(D.kernels, dreal, dfake), tape, grads=self.grads[name], need_dx=False, release=True)
        return for_real + for_fake, self.loss.verdict(on_real), self.loss.verdict(on_fake)

    def _generator_gradients(
        self, way: Direction, translated: Translated, target: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Adds the gradients of the game, of the way there and back, and of what is made of images of the target.

        Returns:
            The values of the game, the cycle and the identity term, without their weights.
        """
        there, back, D = (self.networks[name] for name in way)
        x, fake, there_tape, same = translated
        logits, tape = D.forward(fake, train=True, rng=rng)
        game, dlogits = on_all_ranks(self.loss, D.kernels).generator(logits)
        dfake = D.backward(self.adversarial * dlogits, tape, grads=None, release=True)
        again, tape = back.forward(fake, train=True, rng=rng)
        cycle, dagain = l1(again, x)
        if self.cycle:
            dback = back.backward(self.cycle * dagain, tape, grads=self.grads[way.back])
            back.commit_statistics(tape)
            dfake = there.kernels.add(dfake, dback)
        value = there.kernels.xp.zeros_like(cycle)
        if same is not None:
            value, dsame = l1(same, target)
            dfake = joined(there.kernels, dfake, self.identity * dsame)
        elif self.identity:
            value = self._identity_gradients(way, target, rng)
        there.backward(dfake, there_tape, grads=self.grads[way.there], need_dx=False)
        there.commit_statistics(there_tape)
        return game, cycle, value

    def _identity_gradients(self, way: Direction, target: Array, rng: np.random.Generator) -> Array:
        """Adds the gradients of the identity term in a pass of its own, and returns its value."""
        G = self.networks[way.there]
        same, tape = G.forward(target, train=True, rng=rng)
        value, dsame = l1(same, target)
        G.backward(self.identity * dsame, tape, grads=self.grads[way.there], need_dx=False)
        G.commit_statistics(tape)
        return value

    def _feed(self, batches: Iterator[Sides]) -> tuple[Array, Array]:
        """The two batches, on the backend."""

        def draw() -> tuple[Array, Array]:
            batch = next_batch(batches)
            if not isinstance(batch, tuple) or len(batch) != 2:
                raise ConfigError("a step expects batches of A and of B: Sides(a, b).")
            return tuple(batch)

        fed: tuple[Array, Array] = self.G.kernels.feed(draw, dtype=self.G.dtype)
        return fed

    def inputs(self, batch: Sides, rng: np.random.Generator) -> list[tuple[Sequential, Array]]:  # noqa: ARG002
        """The four networks, each with the real images that it sees."""
        a, b = self._feed(iter([batch]))
        return [(self.networks[name], x) for name, x in (("G_AB", a), ("G_BA", b), ("D_A", a), ("D_B", b))]

    def random_batch(self, n: int, rng: np.random.Generator) -> Sides:
        shapes = (self.networks[name].input_shape for name in ("G_AB", "G_BA"))
        return Sides(*(rng.uniform(-0.9, 0.9, (n, *shape)).astype(np.float32) for shape in shapes))

    def kind(self) -> tuple[int, ...]:
        """How full the pools are."""
        return tuple(pool.count for pool in self.pools.values())

    @property
    def memories(self) -> Mapping[str, Optimizer | FakePool]:
        pools = {f"{name.lower()}_pool": pool for name, pool in self.pools.items()}
        return {**super().memories, **pools}
