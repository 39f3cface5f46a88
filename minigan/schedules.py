"""Learning rates over time: a schedule maps the number of steps done so far to a rate."""

from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same rate always."""

    rate: float

    def __call__(self, step: int) -> float:  # noqa: ARG002 (a schedule's signature)
        return self.rate


@dataclass(frozen=True)
class ExponentialDecay:
    """rate * factor^(step / every): multiplied by `factor` over each `every` steps, smoothly.

    Args:
        staircase: all at once at the end of each `every` steps instead.
    """

    rate: float
    factor: float
    every: int
    staircase: bool = False

    def __call__(self, step: int) -> float:
        exponent = step // self.every if self.staircase else step / self.every
        return float(self.rate * self.factor**exponent)


def as_schedule(rate: float | Schedule) -> Schedule:
    """A number as a constant schedule; a schedule as it is."""
    return rate if callable(rate) else Constant(rate)
