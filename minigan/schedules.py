"""Learning rates over time: a schedule maps the number of steps done so far to a rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from minigan.errors import ConfigError

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same rate always. Raises ConfigError if it is not a finite number from 0 up."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

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

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if not (self.factor > 0 and self.every > 0):
            raise ConfigError(
                f"ExponentialDecay: expected factor > 0 and every > 0, got factor={self.factor}, every={self.every}."
            )

    def __call__(self, step: int) -> float:
        exponent = step // self.every if self.staircase else step / self.every
        return float(self.rate * self.factor**exponent)


def _check_rate(rate: float) -> None:
    if not isinstance(rate, int | float) or not 0 <= rate < math.inf:
        raise ConfigError(f"a learning rate must be a finite number from 0 up, got {rate!r}.")


def as_schedule(rate: float | Schedule) -> Schedule:
    """A number as a constant schedule; a schedule as it is."""
    return rate if callable(rate) else Constant(rate)
