"""The convolution family as a sum over the filter's taps.

A tap (r, s) of the filter sees one strided window of the padded image, and for that window the convolution is a
matrix product over channels. So each of the three kernels is the same short loop; only which of x, w and y is the
result differs. No im2col: the loop needs R*S products and no memory beyond one window.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry


def blank(count: int, geometry: ConvGeometry, dtype: Any, xp: ModuleType) -> Array:
    """Zeros for so many images with the geometry's padding around them."""
    (top, bottom), (left, right) = geometry.padding
    return xp.zeros((count, top + geometry.H + bottom, left + geometry.W + right, geometry.C), dtype=dtype)


def pad(x: Array, geometry: ConvGeometry, xp: ModuleType) -> Array:
    """x (N, H, W, C) with the geometry's zeros around it."""
    vertical, horizontal = geometry.padding
    if not any(vertical + horizontal):
        return x
    padded = blank(len(x), geometry, x.dtype, xp)
    crop(padded, geometry)[...] = x
    return padded


def crop(x: Array, geometry: ConvGeometry) -> Array:
    """The inverse of `pad`."""
    (top, _), (left, _) = geometry.padding
    return x[:, top : top + geometry.H, left : left + geometry.W]


def windows(padded: Array, geometry: ConvGeometry) -> Iterator[tuple[int, int, Array]]:
    """Each tap (r, s) with the pixels it meets: a strided view (N, P, Q, C) of the padded image."""
    g = geometry
    rows, columns = (g.P - 1) * g.stride[0] + 1, (g.Q - 1) * g.stride[1] + 1
    for r in range(g.R):
        for s in range(g.S):
            yield r, s, padded[:, r : r + rows : g.stride[0], s : s + columns : g.stride[1]]


def fold(x: Array) -> Array:
    """(N, P, Q, C) as (N*P*Q, C): one large product instead of one for each image row."""
    return x.reshape(-1, x.shape[-1])


class ConvKernels:
    xp: ModuleType

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        y = self.xp.zeros((len(x) * geometry.P * geometry.Q, geometry.K), dtype=x.dtype)
        for r, s, window in windows(pad(x, geometry, self.xp), geometry):
            y += fold(window) @ w[r, s]
        if b is not None:
            y += b
        return y.reshape(len(x), *geometry.output_shape)

    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        padded = blank(len(dy), geometry, dy.dtype, self.xp)
        for r, s, window in windows(padded, geometry):
            window += (fold(dy) @ w[r, s].T).reshape(window.shape)
        dx = self.xp.ascontiguousarray(crop(padded, geometry))
        if b is not None:
            dx += b
        return dx

    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        for r, s, window in windows(pad(x, geometry, self.xp), geometry):
            add_to[r, s] += fold(window).T @ fold(dy)
