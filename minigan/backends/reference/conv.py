"""The convolution family as a sum over the filter's taps.

A tap (r, s) of the filter sees one strided window of the padded image, and for that window the convolution is a
matrix product over channels. So each of the three kernels is the same short loop; only which of x, w and y is the
result differs. No im2col: the loop needs R*S products and no memory beyond one window.

In groups, each tap has a stack of such products, one for each group. A convolution without groups has one group.
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


def fold(x: Array, groups: int) -> Array:
    """(N, P, Q, C) as (groups, N*P*Q, C / groups): a large product for each group, not one for each image row."""
    return by_group(x.reshape(-1, x.shape[-1]), groups)


def unfold(stack: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `fold`, for images of that shape."""
    return stack.swapaxes(0, 1).reshape(shape)


def by_group(matrices: Array, groups: int) -> Array:
    """Matrices (..., rows, columns) as (..., groups, rows, columns / groups), a view."""
    *others, rows, columns = matrices.shape
    return matrices.reshape(*others, rows, groups, columns // groups).swapaxes(-2, -3)


class ConvKernels:
    xp: ModuleType

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        g, w = geometry, by_group(w, geometry.groups)
        y = self.xp.zeros((g.groups, len(x) * g.P * g.Q, g.K // g.groups), dtype=x.dtype)
        for r, s, window in windows(pad(x, g, self.xp), g):
            y += fold(window, g.groups) @ w[r, s]
        y = self.xp.ascontiguousarray(unfold(y, (len(x), *g.output_shape)))
        if b is not None:
            y += b
        return y

    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        g, w = geometry, by_group(w, geometry.groups)
        padded = blank(len(dy), g, dy.dtype, self.xp)
        for r, s, window in windows(padded, g):
            window += unfold(fold(dy, g.groups) @ w[r, s].swapaxes(1, 2), window.shape)
        dx = self.xp.ascontiguousarray(crop(padded, g))
        if b is not None:
            dx += b
        return dx

    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        g, sums = geometry, by_group(add_to, geometry.groups)
        for r, s, window in windows(pad(x, g, self.xp), g):
            sums[r, s] += fold(window, g.groups).swapaxes(1, 2) @ fold(dy, g.groups)
