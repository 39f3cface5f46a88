"""Initializers: the first values of weights. An initializer maps (rng, shape) to a float64 array.

Numbers are always drawn in float64, so a float32 and a float64 network built from one seed start from the same
weights up to rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minigan.errors import ConfigError
from minigan.support.arguments import kind_of, number, object_remedy
from minigan.support.representation import constructor_call

__all__ = [
    "INITIALIZERS",
    "Constant",
    "FanInNormal",
    "GlorotUniform",
    "HeNormal",
    "Initializer",
    "Normal",
    "Orthogonal",
    "expect_initializer",
    "fans",
    "get_initializer",
]


class Initializer(Protocol):
    """The first values of weights: any function of random numbers and a shape that returns a float array of that shape.

        Dense(128, init=lambda rng, shape: rng.uniform(-0.1, 0.1, shape))

    `Normal`, `GlorotUniform`, `HeNormal`, `Orthogonal` and `Constant` are initializers.
    """

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...], /) -> np.ndarray:
        """Draws the values."""


@dataclass(frozen=True)
class Normal:
    """Normal numbers with that mean and standard deviation. DCGAN: std .02, with mean 0 for w and 1 for gamma.

    Source: Radford et al. 2016, section 4; gamma from the authors' code.
    """

    std: float = 0.02
    mean: float = 0.0

    def __post_init__(self) -> None:
        number(self.std, "std", of="Normal", least=0)
        number(self.mean, "mean", of="Normal")

    def __repr__(self) -> str:
        return constructor_call(self, always=("std",))

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(self.mean, self.std, shape)


@dataclass(frozen=True)
class Constant:
    """The same number everywhere."""

    value: float = 0.0

    def __post_init__(self) -> None:
        number(self.value, "value", of="Constant")

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, self.value, dtype=np.float64)


def expect_initializer(value: Any, name: str, *, of: str) -> Initializer:
    """The value, if it is an initializer.

    Args:
        name: the argument's.
        of: whose argument it is, a layer's path.
    Raises:
        ConfigError: it is a name, a class or a number.
    """
    if callable(value) and not isinstance(value, type):
        initializer: Initializer = value
        return initializer
    example = f"Constant({value})" if isinstance(value, int | float) else "Normal(0.02)"
    remedy = object_remedy(value, name, example=example, named=INITIALIZERS)
    raise ConfigError(f"{of}: {name} must be an initializer, got {kind_of(value)}. {remedy}")


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan in and fan out: the number of inputs that an output sees, and of outputs that an input reaches.

    For `(F_in, F_out)` and `(R, S, C, K)`; the filter's size multiplies both. A transposed convolution keeps the
    layout of the convolution that it reverses, so its fans are that convolution's (as in Keras and PyTorch).
    """
    receptive = int(np.prod(shape[:-2]))
    return receptive * shape[-2], receptive * shape[-1]


@dataclass(frozen=True)
class GlorotUniform:
    """Uniform numbers in (-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)).

    Source: Glorot & Bengio 2010, equation 16.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        number(self.gain, "gain", of="GlorotUniform", least=0)

    def __repr__(self) -> str:
        return constructor_call(self)

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        limit = self.gain * np.sqrt(6 / sum(fans(shape)))
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class HeNormal:
    """Normal numbers with variance 2 / ((1 + slope²) fan_in), for a (Leaky)ReLU that follows.

    Source: He et al. 2015, equation 15.
    """

    slope: float = 0.0

    def __post_init__(self) -> None:
        number(self.slope, "slope", of="HeNormal")

    def __repr__(self) -> str:
        return constructor_call(self)

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(0, np.sqrt(2 / ((1 + self.slope**2) * fans(shape)[0])), shape)


@dataclass(frozen=True)
class FanInNormal:
    """Normal numbers with variance gain² / fan_in: outputs vary as much as inputs do, times the gain.

    Source: He et al. 2015, equation 10; for a gain other than sqrt(2) Huang et al. 2024 (R3GAN), section 4.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        number(self.gain, "gain", of="FanInNormal", least=0)

    def __repr__(self) -> str:
        return constructor_call(self)

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(0, self.gain / np.sqrt(fans(shape)[0]), shape)


@dataclass(frozen=True)
class Orthogonal:
    """An orthogonal matrix: its columns, or rows where there are fewer, are orthogonal and of length `gain`.

    A convolution's filters are the columns of its weights as (R * S * C, K). With gain 1 a vector keeps its length.

    Source: Saxe et al. 2014, section 3; for GANs Brock et al. 2019 (BigGAN), section 3.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        number(self.gain, "gain", of="Orthogonal")

    def __repr__(self) -> str:
        return constructor_call(self)

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diag(r) < 0, -1, 1)  # else not uniform among all such matrices: QR prefers some signs
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


INITIALIZERS: Mapping[str, Initializer] = {
    "normal": Normal(),
    "orthogonal": Orthogonal(),
    "he": HeNormal(),
    "glorot": GlorotUniform(),
}


def get_initializer(name: str) -> Initializer:
    """The initializer of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in INITIALIZERS:
        raise ConfigError(f"unknown initializer {name!r}: expected one of {', '.join(INITIALIZERS)}.")
    return INITIALIZERS[name]
