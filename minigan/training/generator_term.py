"""Auxiliary losses of G."""

from collections.abc import Callable
from typing import NamedTuple

from minigan.backends import Array

__all__ = ["GeneratorTerm"]


class GeneratorTerm(NamedTuple):
    """An auxiliary loss of G: weight * function(fake, real).

    Attributes:
        weight: the factor.
        function: (fake, real) -> (value, its gradient with respect to fake); both arguments (N, *G.output_shape).
    """

    weight: float
    function: Callable[[Array, Array], tuple[Array, Array]]

    def __call__(self, fake: Array, real: Array) -> tuple[Array, Array]:
        """The weighted value, and its gradient with respect to fake."""
        value, dfake = self.function(fake, real)
        return self.weight * value, self.weight * dfake
