"""Filters with gaps and in groups, as plain filters with zeros.

A dilated filter has d - 1 zeros between its taps. With G groups of channels, the k-th group of outputs sees the k-th
group of inputs alone: a filter of blocks, with zeros around them. So F = E w, with E linear: a convolution with gaps
and groups is a plain one with F, and the gradient of w is E' dF. The kernels know plain filters only.

One thing differs: 0 times infinity is NaN, so an infinite number would reach all groups, and pixels in gaps of the
filter. Where a result has a NaN it is computed once more without the zeros, tap by tap and group by group. On a GPU,
which must not wait for an answer to that, the NaN stays.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minigan.backends import Array, Backend
from minigan.backends.geometry import ConvGeometry, IntPair
from minigan.backends.reference.conv import blank, crop, fold, pad, windows
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

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, kernels: Backend) -> Array:
        """The convolution `Backend.conv2d` with F, without its zeros wherever it matters."""
        if self.plain:
            return kernels.conv2d(x, w, b, geometry)
        y = kernels.conv2d(x, self.spread(w, geometry.weight_shape, kernels), b, geometry)
        return self.conv2d_by_taps(x, w, b, geometry) if has_nan(y) else y

    def conv2d_input_grad(
        self, dy: Array, w: Array, geometry: ConvGeometry, kernels: Backend, *, b: Array | None = None
    ) -> Array:
        """Its gradient `Backend.conv2d_input_grad`, without F's zeros wherever it matters."""
        if self.plain:
            return kernels.conv2d_input_grad(dy, w, geometry, b=b)
        dx = kernels.conv2d_input_grad(dy, self.spread(w, geometry.weight_shape, kernels), geometry, b=b)
        return self._input_grad_by_taps(dy, w, b, geometry) if has_nan(dx) else dx

    def conv2d_by_taps(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        """The convolution with the taps that there are, in host memory."""
        y = np.zeros((len(x), *geometry.output_shape), x.dtype)
        with np.errstate(invalid="ignore"):
            for window, tap, c, k in self._taps(pad(x, geometry, np), w, geometry):
                y[..., k] += (fold(window[..., c]) @ tap).reshape(*y.shape[:-1], -1)
        return y if b is None else y + b

    def _input_grad_by_taps(self, dy: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        padded = blank(len(dy), geometry, dy.dtype, np)
        with np.errstate(invalid="ignore"):
            for window, tap, c, k in self._taps(padded, w, geometry):
                window[..., c] += (fold(dy[..., k]) @ tap.T).reshape(*window.shape[:-1], -1)
        dx = np.ascontiguousarray(crop(padded, geometry))
        return dx if b is None else dx + b

    def _taps(self, padded: Array, w: Array, geometry: ConvGeometry) -> Iterator[tuple[Array, Array, slice, slice]]:
        """Each tap of each group: the pixels that it meets, (c, k) of w, and the group's slices of C and of K."""
        (down, across), c, k = self.dilation, w.shape[2], w.shape[3] // self.groups
        for r, s, window in windows(padded, geometry):
            if r % down or s % across:
                continue
            for group in range(self.groups):
                outputs = slice(group * k, (group + 1) * k)
                yield window, w[r // down, s // across][:, outputs], slice(group * c, (group + 1) * c), outputs

    def _blocks(self, F: Array, w: Array) -> Iterator[tuple[Array, Array]]:
        """Views: each group's block of F, and its part of w."""
        taps = F[:: self.dilation[0], :: self.dilation[1]]
        c, k = w.shape[2], w.shape[3] // self.groups
        for group in range(self.groups):
            outputs = slice(group * k, (group + 1) * k)
            yield taps[:, :, group * c : (group + 1) * c, outputs], w[..., outputs]


def has_nan(y: Array) -> bool:
    """Tells whether a result in host memory has a NaN from F's zeros; also where infinities of both signs are in it.

    It looks at the first and the last channel: a number that is not finite makes NaN in all channels of other groups,
    and in all channels where it lies in a gap.
    """
    if not isinstance(y, np.ndarray):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isnan(y[..., 0].sum() + y[..., -1].sum()))
