"""Normalization of each example by itself, one example after the other: the second pass finds it in the cache.

The passes are those of batch normalization over the example's pixels; between them the sums of columns become those of
groups.
"""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.bfloat16 import NarrowArrays, bits, flat_bits, takes_bfloat16
from minigan.backends.cpu.engine import FLOAT64, flat, folded
from minigan.backends.cpu.halves import load, store
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.norm import add_sums, channel_totals, gradient_sums, moments, normalize, tiled
from minigan.backends.cpu.simd import fill
from minigan.backends.reference import group_norm as reference


@kernel
def combine_columns(means, squares, rows, channels, mean, var):
    """Each group's mean and variance from its columns' means and sums of squared deviations, as `norm.combined` does.

    Args:
        means, squares: (1, columns); a column's channel is its number modulo `channels`.
        mean, var: (groups,), written to.
    """
    columns, groups = means.shape[1], len(mean)
    deep = channels // groups
    for group in range(groups):
        total, square = 0.0, 0.0
        for pixel in range(0, columns, channels):
            for j in range(pixel + group * deep, pixel + (group + 1) * deep):
                total += means[0, j]
        center = total * groups / columns
        for pixel in range(0, columns, channels):
            for j in range(pixel + group * deep, pixel + (group + 1) * deep):
                square += squares[0, j] + rows * (means[0, j] - center) ** 2
        mean[group], var[group] = center, square * groups / (rows * columns)


@kernel
def spread(values, factors, to):
    """Each column's group's value, times the column's channel's factor. A channel is a column of to (pixels, C)."""
    pixels, channels = to.shape
    deep = channels // len(values)
    for i in range(pixels):
        for group in range(len(values)):
            for c in range(group * deep, (group + 1) * deep):
                to[i, c] = values[group] * factors[c]


@kernel
def add_up(sums, factors, to):
    """Each group's sum of its columns' sums (pixels, C), each times its channel's factor."""
    pixels, channels = sums.shape
    deep = channels // len(to)
    for group in range(len(to)):
        total = 0.0
        for i in range(pixels):
            for c in range(group * deep, (group + 1) * deep):
                total += sums[i, c] * factors[c]
        to[group] = total


@kernel
def normalize_examples(part, parts, x, gamma, shift, ones, eps, means, variances, y):
    """Each example's statistics, and y while the example is still in the cache.

    Args:
        shift: beta for each column.
        ones: as many as channels.
    """
    images, rows, columns = x.shape
    channels, one = len(gamma), ones[0]
    column_means, column_squares = np.empty((1, columns)), np.empty((1, columns))
    center, scale = np.empty(columns, gamma.dtype), np.empty(columns, gamma.dtype)
    for n in range(images * part // parts, images * (part + 1) // parts):
        mean, var = means[n], variances[n]
        moments(0, 1, x[n], column_means, column_squares)
        combine_columns(column_means, column_squares, rows, channels, mean, var)
        spread(mean, ones, center.reshape(-1, channels))
        spread(one / np.sqrt(var + eps), gamma, scale.reshape(-1, channels))
        normalize(0, 1, x[n], center, scale, shift, one, y[n])


@kernel
def gradients_of_examples(part, parts, dy, x, gamma, ones, means, inv_stds, sums, dx):
    """dx, and each column's sums of dy and of dy * u over the part's examples; with an empty dx the sums alone."""
    images, rows, columns = x.shape
    channels, groups, one = len(gamma), means.shape[1], ones[0]
    center, inv_std = np.empty(columns, gamma.dtype), np.empty(columns, gamma.dtype)
    scale, shift, weight = (
        np.empty(columns, gamma.dtype),
        np.empty(columns, gamma.dtype),
        np.empty(columns, gamma.dtype),
    )
    sum_g, sum_gu = np.empty(groups), np.empty(groups)
    here = np.empty((1, 2, columns))
    share = groups / (rows * columns)  # of each number in its group's mean
    fill(sums, part * 2 * columns, 2 * columns)
    for n in range(images * part // parts, images * (part + 1) // parts):
        spread(means[n], ones, center.reshape(-1, channels))
        spread(inv_stds[n], ones, inv_std.reshape(-1, channels))
        gradient_sums(0, 1, dy[n], x[n], center, inv_std, inv_std, center, one, here)
        for j in range(columns):
            sums[part, 0, j] += here[0, 0, j]
            sums[part, 1, j] += here[0, 1, j]
        if len(dx) == 0:
            continue
        add_up(here[0, 0].reshape(-1, channels), gamma, sum_g)
        add_up(here[0, 1].reshape(-1, channels), gamma, sum_gu)
        spread(inv_stds[n], gamma, scale.reshape(-1, channels))
        spread(sum_g * share * inv_stds[n], ones, shift.reshape(-1, channels))
        spread(sum_gu * share * inv_stds[n] * inv_stds[n], ones, weight.reshape(-1, channels))
        for i in range(rows):
            dy_row, x_row, dx_row = dy[n, i], x[n, i], dx[n, i]
            for j in range(columns):
                u = load(x_row, j) - center[j]
                store(dx_row, j, load(dy_row, j) * scale[j] - shift[j] - u * weight[j])


class GroupNormKernels(NarrowArrays, reference.GroupNormKernels):
    """Overrides of `reference.group_norm.GroupNormKernels` for images; the double backward is in `double_norm.py`.

    Vectors stay there: their one row of columns is what NumPy's sums are made for.
    """

    @takes_bfloat16
    def group_norm(self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Array, Array]:
        if x.ndim == 2:
            y, mean, var = super().group_norm(self.cast(x, gamma.dtype), gamma, beta, groups=groups, eps=eps)
            return self.cast(y, x.dtype), mean, var
        expect("gamma", gamma, x.shape[-1:], gamma.dtype)
        expect("beta", beta, x.shape[-1:], gamma.dtype)
        mean, var = (self.empty((len(x), groups), gamma.dtype) for _ in range(2))
        examples, y = folded_examples(x), self.empty(x.shape, x.dtype)
        self.team.run(
            normalize_examples,
            bits(examples),
            flat(gamma),
            tiled(beta, examples.shape[-1]),
            np.ones_like(gamma),
            gamma.dtype.type(eps),
            mean,
            var,
            bits(y).reshape(examples.shape),
            parts=min(self.parts(x.size), len(x)),
        )
        return y, mean, var

    @takes_bfloat16
    def group_norm_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        expect("dy", dy, x.shape, x.dtype)
        if x.ndim == 2:
            wide = self.cast(dy, gamma.dtype), self.cast(x, gamma.dtype)
            narrow = super().group_norm_grad(*wide, gamma, mean, var, eps=eps, add_to=add_to, need_dx=need_dx)
            return None if narrow is None else self.cast(narrow, x.dtype)
        expect("gamma", gamma, x.shape[-1:], gamma.dtype)
        expect("var", var, mean.shape, gamma.dtype)
        examples = bits(folded_examples(x))
        dx = self.empty(x.shape if need_dx else (0, *x.shape[1:]), x.dtype)
        parts = min(self.parts(x.size), len(x))
        sums = self.empty((parts, 2, examples.shape[-1]), FLOAT64)
        self.team.run(
            gradients_of_examples,
            flat_bits(dy).reshape(examples.shape),
            examples,
            flat(gamma),
            np.ones_like(gamma),
            flat(mean).reshape(mean.shape),
            1 / np.sqrt(var + eps),
            sums,
            bits(dx).reshape(len(dx), *examples.shape[1:]),
            parts=parts,
        )
        if add_to is not None:
            add_sums(add_to, *channel_totals(sums, x.shape[-1]))
        return dx if need_dx else None


def folded_examples(x: Array) -> Array:
    """(N, rows, columns): as `folded`, but no row holds pixels of two examples."""
    return flat(x).reshape(len(x), *folded(x[:1]).shape)
