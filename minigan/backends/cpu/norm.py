"""Batch normalization in as few passes over memory as possible: two forward, two backward.

A (Leaky)ReLU that follows costs no pass of its own: forward it is applied to each number on its way to memory, and
backward its derivative is found again from x, on the way in. Without one the same loops run with slope 1, the identity.
"""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.bfloat16 import bits, takes_bfloat16
from minigan.backends.cpu.engine import FLOAT64, Engine, flat, folded
from minigan.backends.cpu.halves import arithmetic, load, store
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import fill
from minigan.backends.cpu.strips import leaky_strip, load_strip, multiply_add, store_strip, strip_columns
from minigan.backends.synchronized import moments_of_all_ranks
from minigan.distributed.ranks import Ranks

# At most 64 numbers are added up in single precision; the blocks' results are combined in double.
BLOCK_ROWS, BLOCK_COLUMNS = 64, 128

# Bytes of rows so short that a block is read strip by strip, its sums in registers. Longer ones are read one after the
# other, as the processor foresees contiguous memory alone; their sums stay in the first-level cache.
SHORT_ROW = 256

LINE = 64  # bytes of a cache line


@kernel(inline=True)
def on_a_line(array, size):
    """Numbers of a larger array from the beginning of a cache line: a vector across two takes twice as long."""
    first = -(array.ctypes.data // array.itemsize) % (LINE // array.itemsize)
    return array[first : first + size]


@kernel
def moments(part, parts, x, means, squares):
    """Each column's mean and sum of squared deviations over one part's rows, reading x once.

    E[x²] - E[x]² would lose all digits where the mean is large against the deviation. So each block is summed as
    differences from the mean so far (at first, of a few rows), and joins the others by the pairwise update of
    Chan, Golub & LeVeque 1979, equation 1.5.
    """
    rows, columns = x.shape
    row_first, row_last = rows * part // parts, rows * (part + 1) // parts
    number, strip = arithmetic(x), strip_columns(x)
    together = BLOCK_ROWS if columns * x.itemsize <= SHORT_ROW else 1
    whole = -(-columns // strip) * strip
    shift = on_a_line(np.zeros(whole + LINE, number), whole)
    sums, sums2 = on_a_line(np.empty(whole + LINE, number), whole), on_a_line(np.empty(whole + LINE, number), whole)
    fill(means, part * columns, columns)
    fill(squares, part * columns, columns)
    few = min(8, row_last - row_first)
    for i in range(row_first, row_first + few):
        row = x[i]
        for c in range(columns):
            means[part, c] += load(row, c) / few
    for first in range(row_first, row_last, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, row_last)
        fill(sums, 0, whole)
        fill(sums2, 0, whole)
        for c in range(columns):
            shift[c] = means[part, c]
        for group in range(first, last, together):
            for c in range(0, columns, strip):
                wide = columns - c
                center = load_strip(shift, c, strip)
                total, total2 = load_strip(sums, c, strip), load_strip(sums2, c, strip)
                for i in range(group, min(group + together, last)):
                    at = i * columns + c
                    difference = load_strip(x, at, wide) - center
                    total += difference
                    total2 += difference * difference
                store_strip(total, sums, c, strip)
                store_strip(total2, sums2, c, strip)
        count, share = last - first, (last - first) / (last - row_first)
        for c in range(columns):
            block_mean = sums[c] / count
            delta = shift[c] + block_mean - means[part, c]
            means[part, c] += delta * share
            squares[part, c] += sums2[c] - sums[c] * block_mean + delta * delta * share * (first - row_first)


@kernel(inline=True)
def normalized(x, mean, scale, beta):
    return multiply_add(x - mean, scale, beta)


@kernel
def gradient_sums(part, parts, dy, x, mean, inv_std, scale, beta, slope, sums):
    """Each column's sum of dy and of dy * u over one part's rows, dy being taken back through the activation."""
    rows, columns = x.shape
    row_first, row_last = rows * part // parts, rows * (part + 1) // parts
    strip = strip_columns(x)
    together = BLOCK_ROWS if columns * x.itemsize <= SHORT_ROW else 1
    whole = -(-columns // strip) * strip
    plain = on_a_line(np.empty(whole + LINE, mean.dtype), whole)
    weighted = on_a_line(np.empty(whole + LINE, mean.dtype), whole)
    fill(sums, part * 2 * columns, 2 * columns)
    for first in range(row_first, row_last, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, row_last)
        fill(plain, 0, whole)
        fill(weighted, 0, whole)
        for group in range(first, last, together):
            for c in range(0, columns, strip):
                wide = columns - c
                mean_here, scale_here = load_strip(mean, c, wide), load_strip(scale, c, wide)
                beta_here = load_strip(beta, c, wide)
                sum_dy, sum_dyd = load_strip(plain, c, strip), load_strip(weighted, c, strip)
                for i in range(group, min(group + together, last)):
                    at = i * columns + c
                    t, dy_here = load_strip(x, at, wide), load_strip(dy, at, wide)
                    dy_here = leaky_strip(dy_here, normalized(t, mean_here, scale_here, beta_here), slope)
                    sum_dy += dy_here
                    sum_dyd += dy_here * (t - mean_here)
                store_strip(sum_dy, plain, c, strip)
                store_strip(sum_dyd, weighted, c, strip)
        for c in range(columns):
            sums[part, 0, c] += plain[c]
            sums[part, 1, c] += weighted[c] * inv_std[c]


@kernel
def normalize(part, parts, x, mean, scale, beta, slope, y):
    rows, columns = x.shape
    strip = strip_columns(x)
    for i in range(rows * part // parts, rows * (part + 1) // parts):
        for c in range(0, columns, strip):
            at, wide = i * columns + c, columns - c
            mean_here, scale_here = load_strip(mean, c, wide), load_strip(scale, c, wide)
            t = normalized(load_strip(x, at, wide), mean_here, scale_here, load_strip(beta, c, wide))
            store_strip(leaky_strip(t, t, slope), y, at, wide)


@kernel
def input_gradient(part, parts, dy, x, mean, scale, beta, slope, mean_dy, weight_u, dx):
    rows, columns = x.shape
    strip = strip_columns(x)
    for i in range(rows * part // parts, rows * (part + 1) // parts):
        for c in range(0, columns, strip):
            at, wide = i * columns + c, columns - c
            t, mean_here, scale_here = load_strip(x, at, wide), load_strip(mean, c, wide), load_strip(scale, c, wide)
            side = normalized(t, mean_here, scale_here, load_strip(beta, c, wide))
            dy_here = leaky_strip(load_strip(dy, at, wide), side, slope)
            along_u = (t - mean_here) * load_strip(weight_u, c, wide)
            store_strip(scale_here * (dy_here - load_strip(mean_dy, c, wide) - along_u), dx, at, wide)


@kernel
def scale_columns(part, parts, dy, scale, dx):
    rows, columns = dy.shape
    for i in range(rows * part // parts, rows * (part + 1) // parts):
        dy_row, dx_row = dy[i], dx[i]
        for c in range(columns):
            store(dx_row, c, load(dy_row, c) * scale[c])


def combined(counts: Array, means: Array, squares: Array) -> tuple[Array, Array]:
    """Mean and variance of the union of sets, (sets, C), with given counts, means and sums of squared deviations."""
    total = counts.sum()
    mean = (counts[:, None] * means).sum(axis=0) / total
    return mean, (squares + counts[:, None] * (means - mean) ** 2).sum(axis=0) / total


class NormKernels(Engine):
    """Overrides of `reference.norm.NormKernels`; the double backward is in `double_norm.py`."""

    ranks: Ranks

    @takes_bfloat16
    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        return self.batchnorm_leaky_relu(x, gamma, beta, eps=eps, slope=1)

    @takes_bfloat16
    def batchnorm_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, *, eps: float, slope: float
    ) -> tuple[Array, Array, Array]:
        rows, parts, channels = folded(x), self.parts(x.size), x.shape[-1]
        parts = min(parts, len(rows))
        means, squares = (self.empty((parts, rows.shape[1]), FLOAT64) for _ in range(2))
        self.team.run(moments, bits(rows), means, squares, parts=parts)
        counts = np.diff(len(rows) * np.arange(parts + 1) // parts).repeat(rows.shape[1] // channels)
        mean, var = combined(counts, means.reshape(-1, channels), squares.reshape(-1, channels))
        mean, var = moments_of_all_ranks(self.ranks, mean, var, np)
        mean, var = mean.astype(gamma.dtype), var.astype(gamma.dtype)
        return self.batchnorm_frozen_leaky_relu(x, gamma, beta, mean, var, eps=eps, slope=slope), mean, var

    @takes_bfloat16
    def batchnorm_frozen(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> Array:
        return self.batchnorm_frozen_leaky_relu(x, gamma, beta, mean, var, eps=eps, slope=1)

    @takes_bfloat16
    def batchnorm_frozen_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float, slope: float
    ) -> Array:
        rows, y = folded(x), self.empty(x.shape, x.dtype)
        columns = rows.shape[1]
        self.team.run(
            normalize,
            bits(rows),
            tiled(mean, columns),
            tiled(gamma / np.sqrt(var + eps), columns),
            tiled(beta, columns),
            gamma.dtype.type(slope),
            bits(y).reshape(rows.shape),
            parts=self.parts(x.size),
        )
        return y

    @takes_bfloat16
    def batchnorm_grad(
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
        # Any beta will do: with slope 1 both sides of the kink are alike.
        return self.batchnorm_leaky_relu_grad(
            dy, x, gamma, mean, mean, var, eps=eps, slope=1, add_to=add_to, need_dx=need_dx
        )

    @takes_bfloat16
    def batchnorm_leaky_relu_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        slope: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        expect("dy", dy, x.shape, x.dtype)
        inv_std = 1 / np.sqrt(var + eps)
        scale = gamma / np.sqrt(var + eps)  # to the last bit that of the forward pass: the same side of the kink
        sum_dy, sum_dy_u = self.ranks.mean(self._gradient_sums(dy, x, mean, inv_std, scale, beta, slope))
        if add_to is not None:
            add_sums(add_to, sum_dy, sum_dy_u)
        if not need_dx:
            return None
        count = x.size // x.shape[-1]
        rows, dx = folded(x), self.empty(x.shape, x.dtype)
        columns = rows.shape[1]
        self.team.run(
            input_gradient,
            bits(folded(dy)),
            bits(rows),
            tiled(mean, columns),
            tiled(scale, columns),
            tiled(beta, columns),
            gamma.dtype.type(slope),
            tiled((sum_dy / count).astype(gamma.dtype), columns),
            tiled((sum_dy_u / count * inv_std).astype(gamma.dtype), columns),
            bits(dx).reshape(rows.shape),
            parts=self.parts(x.size),
        )
        return dx

    @takes_bfloat16
    def batchnorm_frozen_grad(
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
        inv_std = 1 / np.sqrt(var + eps)
        if add_to is not None:
            sum_dy, sum_dy_u = self._gradient_sums(dy, x, mean, inv_std, gamma, mean, 1)  # of this rank
            add_sums(add_to, sum_dy, sum_dy_u)
        if not need_dx:
            return None
        rows, dx = folded(dy), self.empty(dy.shape, dy.dtype)
        self.team.run(
            scale_columns,
            bits(rows),
            tiled(gamma * inv_std, rows.shape[1]),
            bits(dx).reshape(rows.shape),
            parts=self.parts(dy.size),
        )
        return dx

    def _gradient_sums(
        self, dy: Array, x: Array, mean: Array, inv_std: Array, scale: Array, beta: Array, slope: float
    ) -> Array:
        """Each channel's sum of dy and of dy * u, (2, C) in double precision; dy taken back through the activation."""
        rows, parts = folded(x), self.parts(x.size)
        columns = rows.shape[1]
        sums = self.empty((parts, 2, columns), FLOAT64)
        self.team.run(
            gradient_sums,
            bits(folded(dy)),
            bits(rows),
            tiled(mean, columns),
            tiled(inv_std, columns),
            tiled(scale, columns),
            tiled(beta, columns),
            mean.dtype.type(slope),
            sums,
            parts=parts,
        )
        return channel_totals(sums, x.shape[-1])


def channel_totals(sums: Array, channels: int) -> Array:
    """Each channel's two sums, (2, C), from those of parts and columns, (parts, 2, columns)."""
    return sums.sum(axis=0).reshape(2, -1, channels).sum(axis=1)


def add_sums(add_to: tuple[Array, Array], sum_dy: Array, sum_dy_u: Array) -> None:
    """The gradients of gamma and beta."""
    dgamma, dbeta = add_to
    dgamma += sum_dy_u.astype(dgamma.dtype)
    dbeta += sum_dy.astype(dbeta.dtype)


def tiled(values: Array, columns: int) -> Array:
    """One value a channel as one a column of a folded array."""
    return flat(values) if len(values) == columns else np.tile(values, columns // len(values))
