"""The double backward of batch and group normalization: one pass for the sums, one for both results.

The two are the same but for what is averaged over: batch normalization is group normalization of the whole batch taken
as one example, with a group for each channel.
"""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.bfloat16 import NarrowArrays, bits, takes_bfloat16
from minigan.backends.cpu.engine import FLOAT64
from minigan.backends.cpu.group_norm import folded_examples
from minigan.backends.cpu.halves import load, store
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.norm import BLOCK_COLUMNS, BLOCK_ROWS
from minigan.backends.cpu.simd import fill
from minigan.backends.reference import group_norm as reference
from minigan.distributed.ranks import ALONE, Ranks


@kernel
def double_sums(part, parts, v, dy, x, mean, sums):
    """Each column's sums of v, v * d, dy, dy * d and v * dy with d = x - mean, over one part of each example's rows."""
    examples, rows, columns = x.shape
    row_first, row_last = rows * part // parts, rows * (part + 1) // parts
    block = np.empty((5, BLOCK_COLUMNS), mean.dtype)
    sum_v, sum_vd, sum_dy, sum_dyd, sum_vdy = block[0], block[1], block[2], block[3], block[4]
    fill(sums, part * examples * 5 * columns, examples * 5 * columns)
    for e in range(examples):
        for c_first in range(0, columns, BLOCK_COLUMNS):
            c_last = min(c_first + BLOCK_COLUMNS, columns)
            mean_here = mean[e, c_first:c_last]
            for first in range(row_first, row_last, BLOCK_ROWS):
                fill(block, 0, 5 * BLOCK_COLUMNS)
                for i in range(first, min(first + BLOCK_ROWS, row_last)):
                    v_row, dy_row, x_row = v[e, i, c_first:c_last], dy[e, i, c_first:c_last], x[e, i, c_first:c_last]
                    for c in range(c_last - c_first):
                        sum_v[c] += load(v_row, c)
                        sum_vd[c] += load(v_row, c) * (load(x_row, c) - mean_here[c])
                    for c in range(c_last - c_first):
                        sum_dy[c] += load(dy_row, c)
                        sum_dyd[c] += load(dy_row, c) * (load(x_row, c) - mean_here[c])
                    for c in range(c_last - c_first):
                        sum_vdy[c] += load(v_row, c) * load(dy_row, c)
                for k in range(5):
                    for c in range(c_last - c_first):
                        sums[part, e, k, c_first + c] += block[k, c]


@kernel
def double_gradients(part, parts, v, dy, x, mean, factors, ddy, ddx):
    """Both results as sums of multiples of v, dy, d = x - mean and 1."""
    examples, rows, columns = x.shape
    for e in range(examples):
        mean_here = mean[e]
        y_v, y_d, y_1 = factors[0, e], factors[1, e], factors[2, e]
        x_v, x_dy, x_d, x_1 = factors[3, e], factors[4, e], factors[5, e], factors[6, e]
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            v_row, dy_row, x_row, ddy_row, ddx_row = v[e, i], dy[e, i], x[e, i], ddy[e, i], ddx[e, i]
            for c in range(columns):
                d = load(x_row, c) - mean_here[c]
                store(ddy_row, c, y_v[c] * load(v_row, c) + y_d[c] * d + y_1[c])
            for c in range(columns):
                d = load(x_row, c) - mean_here[c]
                store(ddx_row, c, x_v[c] * load(v_row, c) + x_dy[c] * load(dy_row, c) + x_d[c] * d + x_1[c])


class DoubleNormKernels(NarrowArrays, reference.GroupNormKernels):
    """Overrides of `batchnorm_double_grad` and `group_norm_double_grad`; the formulas are in `reference/`."""

    ranks: Ranks

    @takes_bfloat16
    def batchnorm_double_grad(
        self,
        v: Array,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: Array | None,
    ) -> tuple[Array, Array]:
        ddy, ddx = self._double_grad(
            v[None], dy[None], x[None], gamma, mean[None], var[None], self.ranks, eps=eps, add_to=add_to
        )
        return ddy[0], ddx[0]

    @takes_bfloat16
    def group_norm_double_grad(
        self,
        v: Array,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        add_to: Array | None,
    ) -> tuple[Array, Array]:
        if x.ndim == 2:
            v, dy, wide = (self.cast(array, gamma.dtype) for array in (v, dy, x))
            ddy, ddx = super().group_norm_double_grad(v, dy, wide, gamma, mean, var, eps=eps, add_to=add_to)
            return self.cast(ddy, x.dtype), self.cast(ddx, x.dtype)
        return self._double_grad(v, dy, x, gamma, mean, var, ALONE, eps=eps, add_to=add_to)

    def _double_grad(
        self,
        v: Array,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        ranks: Ranks,
        *,
        eps: float,
        add_to: Array | None,
    ) -> tuple[Array, Array]:
        """Both for images, or for a batch as one example; sums are the means over ranks of their own."""
        expect("v", v, x.shape, x.dtype)
        expect("dy", dy, x.shape, x.dtype)
        groups, channels = mean.shape[1], x.shape[-1]
        v, dy, examples = (bits(folded_examples(array)) for array in (v, dy, x))
        _, rows, columns = examples.shape
        parts = min(self.parts(x.size), rows)
        wide = channel_values(mean, channels)

        def tiled(t: Array) -> Array:
            return np.tile(t.astype(gamma.dtype), columns // channels)

        sums = self.empty((parts, len(x), 5, columns), FLOAT64)
        self.team.run(double_sums, v, dy, examples, tiled(wide), sums, parts=parts)
        inv_std = channel_values(1 / np.sqrt(var.astype(np.float64) + eps), channels)
        sums = ranks.mean(sums.sum(axis=0).reshape(len(x), 5, -1, channels).sum(axis=2))
        factors, dgamma = double_factors(sums, gamma, inv_std, groups, count=rows * columns // groups)
        if add_to is not None:
            add_to += dgamma.astype(gamma.dtype)

        ddy, ddx = self.empty(x.shape, x.dtype), self.empty(x.shape, x.dtype)
        self.team.run(
            double_gradients,
            v,
            dy,
            examples,
            tiled(wide),
            tiled(factors),
            bits(ddy).reshape(examples.shape),
            bits(ddx).reshape(examples.shape),
            parts=parts,
        )
        return ddy, ddx


def channel_values(t: Array, channels: int) -> Array:
    """Repeats one value for each group, (N, groups), as one for each channel, (N, C)."""
    return t.repeat(channels // t.shape[1], axis=1)


def double_factors(sums: Array, gamma: Array, inv_std: Array, groups: int, *, count: int) -> tuple[Array, Array]:
    """The factors (7, N, C) of `double_gradients`, and dP/dgamma (C,), from the sums of `double_sums`.

    Args:
        sums: (N, 5, C).
        inv_std: (N, C).
        count: the numbers in a group.
    """
    sum_v, sum_vd, sum_dy, sum_dyd, sum_vdy = sums.swapaxes(0, 1)

    def mean(t: Array) -> Array:
        """Over each group, from sums over each channel."""
        return channel_values(t.reshape(len(t), groups, -1).sum(axis=2) / count, t.shape[1])

    mean_v, mean_g = mean(sum_v), mean(gamma * sum_dy)
    a, c = mean(sum_vd) * inv_std, mean(gamma * sum_dyd) * inv_std
    q = mean(gamma * sum_vdy) - mean_v * mean_g - a * c
    factors = (
        gamma * inv_std,
        -gamma * a * inv_std**2,
        -gamma * mean_v * inv_std,
        -c * inv_std**2,
        -gamma * a * inv_std**2,
        (2 * a * c - q) * inv_std**3,
        (c * mean_v + a * mean_g) * inv_std**2,
    )
    dgamma = (inv_std * (sum_vdy - mean_v * sum_dy - a * inv_std * sum_dyd)).sum(axis=0)
    return np.stack(factors), dgamma
