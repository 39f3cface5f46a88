"""Filters with gaps and in groups, as plain filters with zeros.

A dilated filter has d - 1 zeros between its taps. With G groups of channels, the k-th group of outputs sees the k-th
group of inputs alone: a filter of blocks, with zeros around them. So F = E w, with E linear: a convolution with gaps
and groups is a plain one with F, and the gradient of w is E' dF. The kernels know plain filters only.
"""

from collections.abc import Iterator
from typing import NamedTuple

from minigan.backends import Array, Backend
from minigan.backends.geometry import IntPair
from minigan.errors import ShapeError

__all__ = ["Taps"]


class Taps(NamedTuple):
    """E, which maps w (R, S, C / groups, K) to F ((R - 1) d + 1, (S - 1) d + 1, C, K).

    Attributes:
        dilation: d, the step from tap to tap, vertical and horizontal.
        groups: the number of groups of channels.
    """

    dilation: IntPair = (1, 1)
    groups: int = 1

    @property
    def plain(self) -> bool:
        """True if F is w."""
        return self == Taps()

    def extent(self, filter: IntPair) -> IntPair:
        """The sides of F."""
        (R, S), (down, across) = filter, self.dilation
        return (R - 1) * down + 1, (S - 1) * across + 1

    def weight_shape(self, filter: IntPair, C: int, K: int) -> tuple[int, int, int, int]:
        """The shape of w.

        Raises:
            ShapeError: the groups do not divide the channels.
        """
        if C % self.groups or K % self.groups:
            raise ShapeError(
                f"{self.groups} groups do not divide {C} and {K} channels. Choose numbers of channels that they divide."
            )
        return *filter, C // self.groups, K

    def spread(self, w: Array, shape: tuple[int, ...], kernels: Backend) -> Array:
        """The filter F = E w, of that shape."""
        F = kernels.empty(shape, w.dtype)
        F.fill(0)
        for block, part in self._blocks(F, w):
            block[...] = part
        return F

    def gather(self, dF: Array, *, add_to: Array) -> None:
        """Adds the gradient of w: add_to += E' dF."""
        for block, part in self._blocks(dF, add_to):
            part += block

    def _blocks(self, F: Array, w: Array) -> Iterator[tuple[Array, Array]]:
        """Views: each group's block of F, and its part of w."""
        taps = F[:: self.dilation[0], :: self.dilation[1]]
        c, k = w.shape[2], w.shape[3] // self.groups
        for group in range(self.groups):
            outputs = slice(group * k, (group + 1) * k)
            yield taps[:, :, group * c : (group + 1) * c, outputs], w[..., outputs]
