"""Gradient penalties, which keep D's slope in bounds; their second order is written by hand.

A penalty is P = weight * mean_i f(|g_i|), where g = d(sum of D's logits)/dx at some points x, one g_i for each input of
D: an example, or a pack of examples if D judges several together (`minigan.nn.layers.packing.Pack`). Its gradient with
respect to D's weights is the derivative of a derivative:

1. forward at x, and backward to the input with every layer's cotangent recorded: g
2. P, and v = dP/dg, in closed form
3. `double_backward`: v goes up through the layers, and the curvature of smooth layers comes down again

A penalty chooses x in `points`, and f in `of_slopes`.
"""

import math
from abc import ABC, abstractmethod
from copy import copy
from typing import Any, ClassVar

import numpy as np

from minigan.backends import Array, Backend, array_module
from minigan.errors import ConfigError
from minigan.nn.layers import BatchNorm, Layer
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Sequential, Tape
from minigan.nn.parameters import Gradients
from minigan.nn.schedules import Schedule
from minigan.support.arguments import instance, number, whole
from minigan.support.representation import constructor_call

__all__ = ["DRAGAN", "PENALTIES", "R1", "R1R2", "R2", "WGANGP", "GradientPenalty", "PenaltyOfEach", "get_penalty"]

EPS = 1e-12  # inside the root: the norm's derivative at g = 0 is 0, not 0 / 0


class GradientPenalty(ABC):
    """Base of the penalties that are added to D's loss.

    Args:
        weight: λ or γ, positive; or a schedule of it over D's steps.
        interval: steps of D from one penalty to the next, at least 1. With lazy regularization only each
            `interval`-th step has the penalty, with `interval` times the weight (Karras et al. 2020, "Analyzing and
            Improving the Image Quality of StyleGAN", section 3.1).
    Attributes:
        shares_passes: whether its points are the inputs of D's loss, so that it needs no forward pass of its own.
    Raises:
        ConfigError: the weight or the interval is out of range.
    """

    shares_passes: ClassVar[bool] = False

    def __init__(self, *, weight: float | Schedule = 10.0, interval: int = 1) -> None:
        name = type(self).__name__
        scheduled = callable(weight) and not isinstance(weight, type)
        self.weight = weight if scheduled else number(weight, "weight", of=name, above=0)
        self.interval = whole(interval, "interval", of=name)

    def __repr__(self) -> str:
        return constructor_call(self, defaults=True)

    def is_due(self, step: int) -> bool:
        """True if D's step of that number has the penalty; the first step is number 0."""
        return step % self.interval == 0

    def weight_at(self, step: int) -> float:
        """λ or γ of D's step of that number."""
        return self.weight(step) if callable(self.weight) else self.weight

    def add_gradients(
        self,
        D: Sequential,
        real: Array,
        fake: Array,
        *,
        grads: Gradients,
        rng: np.random.Generator,
        weight: Array | None = None,
    ) -> Array:
        """Adds dP/dw to the gradients of D's weights.

        Args:
            real, fake: D's inputs, (N, *D.input_shape) each.
            grads: the gradients of D's weights.
            rng: draws the points, and the masks of Dropout for one forward pass.
            weight: of this step, (1,), in place of a schedule's; None takes the first.
        Returns:
            P, a scalar array of the backend.
        """
        together = examples_together(D)
        x = self.points(in_packs(real, together), in_packs(fake, together), rng, D.kernels)
        if together > 1:
            x = x.reshape(-1, *real.shape[1:])
        logits, tape = D.forward(x, train=True, rng=rng)
        return self.add_of_pass(D, logits, tape, grads=grads, weight=weight)

    def add_of_pass(
        self,
        D: Sequential,
        logits: Array,
        tape: Tape,
        *,
        grads: Gradients,
        weight: Array | None = None,
        batches: int = 1,
    ) -> Array:
        """Adds dP/dw, with P at the inputs of a forward pass in training, whose tape stays whole.

        Args:
            logits, tape: of the pass.
            grads, weight: as in `add_gradients`.
            batches: the number of batches of equal size that went through as one; P is the sum of theirs.
        Returns:
            P, a scalar array of the backend.
        """
        dx, record = D.backward_recorded(array_module(logits).ones_like(logits), tape)
        value, v = self.of_gradient(in_packs(dx, examples_together(D)), weight=weight, batches=batches)
        D.double_backward(v.reshape(dx.shape), record, tape, grads=grads)
        return value

    def add_with_loss(
        self,
        D: Sequential,
        x: Array,
        dlogits: Array,
        tape: Tape,
        *,
        grads: Gradients,
        weight: Array | None = None,
        batches: int = 1,
    ) -> Array:
        """Adds dP/dw and dL/dw, of P and of D's loss L at the same inputs, with one sweep down and one up.

        For a D that is `one_sweep_serves`. By themselves the loss adds the gradients of the weights for each layer's x
        and s r, with r the cotangents of a logit and s = dL/dlogit of the input; P adds those for v and r. A weight's
        gradient is linear in both, so together they are those for x + v / s and s r. The loss's own sweep down leaves
        s r, and x + v / s is what `extend` makes of that sum at the input, as each layer is a linear map there.

        Args:
            x: the inputs of the pass.
            dlogits: dL/dlogits.
            tape, grads, weight, batches: as in `add_of_pass`.
        Returns:
            P, a scalar array of the backend.
        """
        s = away_from_zero(dlogits)
        dx, record = D.backward_recorded(s, tape)
        s = s.reshape(-1, *[1] * (dx.ndim - 1))
        value, v = self.of_gradient(dx / s, weight=weight, batches=batches)
        D.extend(x + v / s, record, tape, grads=grads)
        return value

    def of_gradient(self, dx: Array, *, weight: Array | None = None, batches: int = 1) -> tuple[Array, Array]:
        """P and dP/d(dx) of a step that has the penalty, for the gradient dx (N, ...) of D's logits; N inputs of D.

        Args:
            weight, batches: as in `add_of_pass`.
        """
        squares = (dx * dx).reshape(len(dx), -1).sum(axis=1)
        values, slopes = self.of_slopes(squares)
        share = self.interval * batches / len(dx)
        scale: Any = self.weight_at(0) * share if weight is None else weight.reshape(()) * share
        return scale * values.sum(), dx * (2 * scale * slopes).reshape(-1, *[1] * (dx.ndim - 1))

    @abstractmethod
    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:
        """The points x at which D's slope is taken, like real.

        Random numbers reach the device through `kernels.feed`, so that a captured step draws new ones each time.

        Args:
            real, fake: inputs of D, (N, *D.input_shape); if D judges packs of examples, (packs, examples of a pack,
                *D.input_shape).
        """

    @abstractmethod
    def of_slopes(self, squares: Array) -> tuple[Array, Array]:
        """f and its derivative as functions of |g|², for each input of D: (N,) both.

        Args:
            squares: |g_i|², (N,).
        """

    def objection(self, D: Sequential) -> str | None:  # noqa: ARG002 (most fit any D)
        """A reason why this penalty does not suit this D, for a warning; None if there is none."""
        return None


class UnitSlope(GradientPenalty):
    """Base of the penalties with f = (|g| - 1)², which pull D's slope to 1."""

    def of_slopes(self, squares: Array) -> tuple[Array, Array]:
        norms = array_module(squares).sqrt(squares + EPS)
        return (norms - 1) ** 2, (norms - 1) / norms


class ZeroSlope(GradientPenalty):
    """Base of the penalties with f = |g|² / 2, which pull D's slope to 0."""

    def of_slopes(self, squares: Array) -> tuple[Array, Array]:
        return squares / 2, array_module(squares).full_like(squares, 0.5)


class WGANGP(UnitSlope):
    """Penalty λ E[(|∇D(x)| - 1)²] at random points on the lines between real and fake inputs of D, examples or packs.

    Source: Gulrajani et al. 2017, equation 3 and algorithm 1 (λ = 10).
    """

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:
        shape = (len(real), *[1] * (real.ndim - 1))
        share = kernels.feed(lambda: rng.uniform(size=shape), dtype=real.dtype)
        return real + share * (fake - real)

    def objection(self, D: Sequential) -> str | None:
        for _, layer in D.walk():
            if isinstance(layer, BatchNorm):
                return (
                    f"{layer.path} makes each logit depend on the whole batch, but WGAN-GP bounds the slope for each "
                    "example by itself (Gulrajani et al. 2017, section 4). Use a D without BatchNorm."
                )
        return None


class DRAGAN(UnitSlope):
    """Penalty λ E[(|∇D(x + δ)| - 1)²] around real examples x; δ is normal with half the batch's standard deviation.

    Source: Kodali et al. 2017 ("On Convergence and Stability of GANs"), the DRAGAN penalty with k = 1 (λ = 10); the
    size of δ is that of its authors' code.
    """

    SPREAD: ClassVar[float] = 0.5

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:  # noqa: ARG002
        noise = kernels.feed(lambda: rng.standard_normal(real.shape), dtype=real.dtype)
        return real + noise * (self.SPREAD * _deviation(real, kernels))


def _deviation(x: Array, kernels: Backend) -> Array:
    """The standard deviation of all numbers of a batch, of all ranks' parts."""
    if kernels.ranks.size == 1:
        return x.std()
    mean = kernels.ranks.mean(x.mean())
    return kernels.xp.sqrt(kernels.ranks.mean(((x - mean) ** 2).mean()))


class R1(ZeroSlope):
    """Penalty γ/2 E[|∇D(x)|²] at real examples.

    Source: Mescheder et al. 2018 ("Which Training Methods for GANs do actually Converge?"), equation 9 (γ = 10).
    """

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:  # noqa: ARG002
        return real


class R2(ZeroSlope):
    """Penalty γ/2 E[|∇D(x)|²] at fake examples.

    Source: Mescheder et al. 2018 ("Which Training Methods for GANs do actually Converge?"), equation 10 (γ = 10).
    """

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:  # noqa: ARG002
        return fake


class R1R2(ZeroSlope):
    """Penalty γ/2 (E[|∇D(x)|²] + E[|∇D(G(z))|²]): R1 and R2 at once, at real and at fake examples.

    Both batches are those of D's loss. So a learner that has their forward passes need not do them again, and where D
    augments its images, slopes are those of the loss's own augmented images, with respect to the images before.

    Source: Huang et al. 2024 (R3GAN), section 3.2; Roth et al. 2017 for both together.
    """

    shares_passes: ClassVar[bool] = True

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:  # noqa: ARG002
        """Both batches, one after the other."""
        return kernels.xp.concatenate([real, fake])

    def add_gradients(
        self,
        D: Sequential,
        real: Array,
        fake: Array,
        *,
        grads: Gradients,
        rng: np.random.Generator,
        weight: Array | None = None,
    ) -> Array:
        """Adds dP/dw with a forward pass for each batch: one that shares D's loss's passes calls `add_of_pass`."""
        values = []
        for x in (real, fake):
            logits, tape = D.forward(x, train=True, rng=rng)
            values.append(self.add_of_pass(D, logits, tape, grads=grads, weight=weight))
        return values[0] + values[1]


class PenaltyOfEach(GradientPenalty):
    """The mean of the penalties on the slopes of several discriminators side by side.

    A penalty on all of them as one network would see g = d(sum of all logits)/dx, in which their slopes may cancel.
    It is a mean because the losses are means over all logits: the balance of loss and penalty is then, for each
    discriminator, the same as without the others.

    Args:
        penalty: the penalty on each discriminator, at points of its own.
    """

    def __init__(self, penalty: GradientPenalty) -> None:
        self.penalty = expect_penalty(penalty)
        super().__init__(weight=penalty.weight, interval=penalty.interval)

    def add_gradients(
        self,
        D: Sequential,
        real: Array,
        fake: Array,
        *,
        grads: Gradients,
        rng: np.random.Generator,
        weight: Array | None = None,
    ) -> Array:
        """Adds dP/dw to the gradients of all discriminators' weights, see `GradientPenalty.add_gradients`.

        Args:
            D: one `Parallel` layer, whose branches are the discriminators.
        Raises:
            ConfigError: D has other layers.
        """
        if len(D.layers) != 1 or not isinstance(D.layers[0], Parallel):
            raise ConfigError(
                f"{D.path}: expected one Parallel of discriminators, got "
                f"{', '.join(type(layer).__name__ for layer in D.layers)}. Use the penalty itself for other networks."
            )
        branches = D.layers[0].branches
        share = copy(self.penalty)
        if weight is None:
            share.weight = self.weight_at(0) / len(branches)
        else:
            weight = weight / len(branches)
        more = {} if weight is None else {"weight": weight}
        values = [share.add_gradients(branch, real, fake, grads=grads, rng=rng, **more) for branch in branches]
        return sum(values[1:], values[0])

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:
        return self.penalty.points(real, fake, rng, kernels)

    def of_slopes(self, squares: Array) -> tuple[Array, Array]:
        return self.penalty.of_slopes(squares)

    def objection(self, D: Sequential) -> str | None:
        return self.penalty.objection(D)


def one_sweep_serves(D: Layer) -> bool:
    """Whether D's loss and a penalty at its inputs can share their backward passes, see `add_with_loss`."""
    return D.output_shape == (1,) and D.is_piecewise_linear


def away_from_zero(s: Array) -> Array:
    """The numbers, with a positive one far below rounding in place of 0 and of others as small."""
    least = s.dtype.type(float(np.finfo(s.dtype).eps) ** 2)
    xp = array_module(s)
    return xp.where(xp.abs(s) < least, least, s)


def examples_together(D: Layer) -> int:
    """The number of examples that are one input of D: 1, or more if it has a `Pack`."""
    if isinstance(D, Pack):
        return D.count
    inside = [examples_together(child) for _, child in D.children()]
    return max(inside, default=1) if isinstance(D, Parallel) else math.prod(inside)


def in_packs(x: Array, together: int) -> Array:
    """Examples (N, ...) as (N / together, together, ...); x itself where D joins none, or where it will refuse x."""
    return x if together == 1 or len(x) % together else x.reshape(-1, together, *x.shape[1:])


PENALTIES: dict[str, type[GradientPenalty]] = {
    "wgan-gp": WGANGP,
    "dragan": DRAGAN,
    "r1": R1,
    "r2": R2,
    "r1+r2": R1R2,
}


def expect_penalty(value: Any, name: str = "penalty") -> GradientPenalty:
    """The value, if it is a gradient penalty.

    Args:
        name: the argument's.
    Raises:
        ConfigError: it is a name, a class or something else.
    """
    penalty: GradientPenalty = instance(
        value, GradientPenalty, name, a="a gradient penalty", example="WGANGP()", named=PENALTIES
    )
    return penalty


def get_penalty(name: str, *, weight: float | Schedule = 10.0, interval: int = 1) -> GradientPenalty:
    """The gradient penalty of that name.

    Args:
        name: a key of PENALTIES: wgan-gp, dragan, r1, r2 or r1+r2.
        weight, interval: see `GradientPenalty`.
    Raises:
        ConfigError: an unknown name, or a weight or interval that is not positive.
    """
    if name not in PENALTIES:
        raise ConfigError(f"unknown penalty {name!r}: expected one of {', '.join(PENALTIES)}.")
    return PENALTIES[name](weight=weight, interval=interval)
