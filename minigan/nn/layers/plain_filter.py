"""Filters with gaps, as plain filters with zeros.

A dilated filter has d - 1 zeros between its taps. So F = E w, with E linear: a convolution with gaps is a plain one
with F, and the gradient of w is E' dF. The kernels know plain filters only, in groups of channels or not.

One thing differs: 0 times infinity is NaN, so an infinite number would reach pixels in gaps of the filter. Where a
result has a NaN it is computed once more without the zeros, tap by tap. On a GPU, which must not wait for an answer to
that, the NaN stays.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minigan.backends import Array, Backend
from minigan.backends.geometry import ConvGeometry, IntPair
from minigan.backends.reference.conv import blank, by_group, crop, fold, pad, unfold, windows

__all__ = ["Taps"]


class Taps(NamedTuple):
    """E, which maps w (R, S, C / groups, K) to F ((R - 1) d + 1, (S - 1) d + 1, C / groups, K).

    Attributes:
        dilation: d, the step from tap to tap, vertical and horizontal.
    """

    dilation: IntPair = (1, 1)

    @property
    def plain(self) -> bool:
        """True if F is w."""
        return self == Taps()

    def extent(self, filter: IntPair) -> IntPair:
        """The sides of F."""
        (R, S), (down, across) = filter, self.dilation
        return (R - 1) * down + 1, (S - 1) * across + 1

    def spread(self, w: Array, kernels: Backend) -> Array:
        """The filter F = E w."""
        F = kernels.empty((*self.extent(w.shape[:2]), *w.shape[2:]), w.dtype)
        F.fill(0)
        self._among(F)[...] = w
        return F

    def gather(self, dF: Array, *, add_to: Array) -> None:
        """Adds the gradient of w: add_to += E' dF."""
        add_to += self._among(dF)

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, kernels: Backend) -> Array:
        """The convolution `Backend.conv2d` with F, without its zeros wherever it matters."""
        if self.plain:
            return kernels.conv2d(x, w, b, geometry)
        y = kernels.conv2d(x, self.spread(w, kernels), b, geometry)
        return self.conv2d_by_taps(x, w, b, geometry) if has_nan(y, geometry.groups) else y

    def conv2d_input_grad(
        self, dy: Array, w: Array, geometry: ConvGeometry, kernels: Backend, *, b: Array | None = None
    ) -> Array:
        """Its gradient `Backend.conv2d_input_grad`, without F's zeros wherever it matters."""
        if self.plain:
            return kernels.conv2d_input_grad(dy, w, geometry, b=b)
        dx = kernels.conv2d_input_grad(dy, self.spread(w, kernels), geometry, b=b)
        return self._input_grad_by_taps(dy, w, b, geometry) if has_nan(dx, geometry.groups) else dx

    def conv2d_by_taps(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        """The convolution with the taps that there are, in host memory."""
        y = np.zeros((len(x), *geometry.output_shape), x.dtype)
        with np.errstate(invalid="ignore"):
            for window, taps in self._windows(pad(x, geometry, np), w, geometry):
                y += unfold(fold(window, geometry.groups) @ taps, y.shape)
        return y if b is None else y + b

    def _input_grad_by_taps(self, dy: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        padded = blank(len(dy), geometry, dy.dtype, np)
        with np.errstate(invalid="ignore"):
            for window, taps in self._windows(padded, w, geometry):
                window += unfold(fold(dy, geometry.groups) @ taps.swapaxes(1, 2), window.shape)
        dx = np.ascontiguousarray(crop(padded, geometry))
        return dx if b is None else dx + b

    def _windows(self, padded: Array, w: Array, geometry: ConvGeometry) -> Iterator[tuple[Array, Array]]:
        """Each tap's pixels, and its weights by group."""
        down, across = self.dilation
        for r, s, window in windows(padded, geometry):
            if not (r % down or s % across):
                yield window, by_group(w[r // down, s // across], geometry.groups)

    def _among(self, F: Array) -> Array:
        """The taps among F's zeros, a view."""
        return F[:: self.dilation[0], :: self.dilation[1]]


def has_nan(y: Array, groups: int) -> bool:
    """Tells whether a result in host memory has a NaN from F's zeros; also where infinities of both signs are in it.

    It looks at one channel of each group: a number that is not finite makes NaN in all of them where it lies in a gap.
    """
    if not isinstance(y, np.ndarray):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isnan(y[..., :: y.shape[-1] // groups].sum()))
