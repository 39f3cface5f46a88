"""Numbers over time: a schedule maps the number of steps done so far to a learning rate, or to another number."""

import math
from dataclasses import dataclass
from typing import Protocol

from minigan.errors import ConfigError
from minigan.support.arguments import as_number, flag, kind_of, number

__all__ = ["Constant", "CosineDecay", "CosineRamp", "ExponentialDecay", "LinearDecay", "Schedule", "as_schedule"]


class Schedule(Protocol):
    """A learning rate over time: any function of the number of steps done so far that returns the rate of the next.

        optimizer = Adam(G.arena, lr=lambda step: 2e-4 if step < 1000 else 1e-4)

    `LinearDecay`, `CosineDecay`, `ExponentialDecay` and `CosineRamp` are schedules.
    """

    def __call__(self, step: int, /) -> float:
        """The rate of the step that follows so many others."""


@dataclass(frozen=True)
class Constant:
    """The same rate always.

    Raises:
        ConfigError: the rate is no positive number.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, step: int) -> float:  # noqa: ARG002 (a schedule's signature)
        return self.rate


@dataclass(frozen=True)
class ExponentialDecay:
    """Exponential decay: rate * factor^(step / every).

    Args:
        rate: the first rate.
        factor: the rate is multiplied by it over each `every` steps.
        every: a number of steps.
        staircase: multiply at once after each `every` steps, not smoothly.
    """

    rate: float
    factor: float
    every: int
    staircase: bool = False

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        number(self.factor, "factor", of="ExponentialDecay", above=0)
        number(self.every, "every", of="ExponentialDecay", above=0)
        flag(self.staircase, "staircase", of="ExponentialDecay")

    def __call__(self, step: int) -> float:
        exponent = step // self.every if self.staircase else step / self.every
        return float(self.rate * self.factor**exponent)


@dataclass(frozen=True)
class _Fall:
    """Base of schedules that keep the rate up to the step `start`, and let it fall to 0 at `end`."""

    rate: float
    start: int
    end: int

    def __post_init__(self) -> None:
        name = type(self).__name__
        _check_rate(self.rate)
        number(self.start, "start", of=name)
        number(self.end, "end", of=name)
        if not 0 <= self.start < self.end:
            raise ConfigError(f"{name}: expected 0 <= start < end, got start={self.start}, end={self.end}.")

    def _progress(self, step: int) -> float:
        """The share of the way from start to end that is done, in [0, 1]."""
        return min(max((step - self.start) / (self.end - self.start), 0.0), 1.0)


class LinearDecay(_Fall):
    """Linear decay: the rate up to the step `start`, then a straight line that reaches 0 at `end`.

    Source: Isola et al. 2017 (pix2pix), the authors' code: the second half of a training.
    """

    def __call__(self, step: int) -> float:
        return self.rate * (1 - self._progress(step))


class CosineDecay(_Fall):
    """Cosine decay: the rate up to the step `start`, then half a cosine wave that reaches 0 at `end`.

    Source: Loshchilov & Hutter 2017, equation 5, without restarts.
    """

    def __call__(self, step: int) -> float:
        return self.rate * (1 + math.cos(math.pi * self._progress(step))) / 2


@dataclass(frozen=True)
class CosineRamp:
    """Half a cosine wave from one number to another over the first steps, and the second number from then on.

    start + (end - start) (1 - cos(pi t / steps)) / 2 after t steps. For whatever changes in a training: a learning
    rate, a penalty's weight, Adam's beta2, a half-life. A plan over images is one over as many steps as show them.

    Args:
        start, end: the numbers, at least 0.
        steps: of the ramp, at least 1.
    Source: Huang et al. 2024 (R3GAN), appendix, training details.
    """

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        number(self.start, "start", of="CosineRamp", least=0)
        number(self.end, "end", of="CosineRamp", least=0)
        number(self.steps, "steps", of="CosineRamp", least=1)

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * (1 - math.cos(math.pi * step / self.steps)) / 2


def _check_rate(rate: float) -> None:
    number(rate, "a learning rate", above=0, remedy=as_number(rate, "lr"))


def as_schedule(rate: float | Schedule) -> Schedule:
    """A number as a constant schedule; a schedule as it is.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(rate, type):
        raise ConfigError(
            f"a learning rate must be a number or a schedule, got {kind_of(rate)}. Write lr={rate.__name__}(...)."
        )
    return rate if callable(rate) else Constant(rate)
