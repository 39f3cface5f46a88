"""Auxiliary losses of G."""

from collections.abc import Callable
from typing import NamedTuple

from minigan.backends import Array, Backend

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

    def added_to(self, value: Array, dfake: Array, fake: Array, real: Array, kernels: Backend) -> tuple[Array, Array]:
        """A loss and its gradient with this term's added: new arrays."""
        own, down = self.function(fake, real)
        return value + self.weight * own, kernels.weighted_sum(dfake, down, weight=self.weight)
