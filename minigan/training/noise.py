"""Checks of a noise function: when a learner is made, and of each batch that it draws."""

import inspect
from typing import Any

import numpy as np

from minigan.errors import ConfigError, ShapeError
from minigan.nn.network import Sequential
from minigan.support.arguments import kind_of

__all__ = ["expect_noise", "expect_noise_function"]


def expect_noise_function(noise: Any, G: Sequential) -> None:
    """Refuses what cannot be called with random numbers and a count.

    Raises:
        ConfigError: it is no function, or takes other arguments.
    """
    remedy = f"Write noise=lambda rng, n: rng.standard_normal((n, {', '.join(map(str, G.input_shape))}))."
    if not callable(noise):
        raise ConfigError(f"noise must be a function, got {kind_of(noise)}. {remedy}")
    try:
        signature = inspect.signature(noise)
    except (TypeError, ValueError):  # of a function in C: unknown
        return
    try:
        signature.bind(None, 1)
    except TypeError:
        raise ConfigError(f"noise must take (rng, n), got a function of {signature}. {remedy}") from None


def expect_noise(z: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The latent vectors that a noise function has drawn, if they have that shape.

    Raises:
        ShapeError: they have another.
    """
    if getattr(z, "shape", None) == shape:
        return z
    raise ShapeError(f"noise must draw an array {shape}, got {kind_of(z)}. Draw n rows of G's input.")
