"""Batch normalization in as few passes over memory as possible, two forward and two backward: norm.cu.

A (Leaky)ReLU that follows costs no pass of its own: forward it is applied to each number on its way to memory, and
backward its derivative is found again from x, on the way in. Without one the same kernels run with slope 1, the
identity.
"""

from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.gpu.columns import ColumnEngine, Partials
from minigan.backends.synchronized import moments_of_all_ranks
from minigan.errors import ShapeError


class Statistics(NamedTuple):
    """The numbers that normalize the channels of each example.

    Attributes:
        gamma: (C,).
        mean, var: one number a group, of each example.
        examples: 1 for a whole batch.
    """

    gamma: Array
    mean: Array
    var: Array
    eps: float
    examples: int = 1

    @property
    def groups(self) -> int:
        """The number of groups in each example."""
        return int(self.mean.size) // self.examples

    @property
    def arguments(self) -> tuple[Any, ...]:
        """STATISTICS_ARGUMENTS."""
        return int(self.gamma.size), self.groups, self.gamma, self.mean, self.var, float(self.eps)

    def check(self, x: Array) -> None:
        """Refuses arrays that kernels would read beyond.

        Raises:
            ShapeError, DTypeError: something is not as x needs it.
        """
        expect("gamma", self.gamma, x.shape[-1:], x.dtype)
        each = self.gamma.shape if self.mean.ndim == 1 else (len(x), self.groups)
        expect("mean", self.mean, each, x.dtype)
        expect("var", self.var, each, x.dtype)
        if self.gamma.size % self.groups:
            raise ShapeError(f"{self.gamma.size} channels cannot form {self.groups} groups. Choose a divisor.")


class NormKernels(ColumnEngine):
    """Overrides of `reference.norm.NormKernels`; the double backward is in `double_norm.py`."""

    def channel_sum(self, dy: Array, *, add_to: Array) -> None:
        expect("add_to", add_to, dy.shape[-1:], dy.dtype)
        if dy.size:
            partials = self.partial_sums("norm", "channel_sums", (dy,), examples=1, terms=1)
            self.add_up(
                "norm", "add_channel_sums", add_to.size, partials, partials.rows, add_to.size, add_to, dtype=dy.dtype
            )

    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        return self.batchnorm_leaky_relu(x, gamma, beta, eps=eps, slope=1)

    def batchnorm_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, *, eps: float, slope: float
    ) -> tuple[Array, Array, Array]:
        mean, var = self.empty(gamma.shape, x.dtype), self.empty(gamma.shape, x.dtype)
        statistics = Statistics(gamma, mean, var, eps)
        if self.ranks.size > 1:
            statistics.check(x)
            self.measure(x, statistics)
            mean[...], var[...] = moments_of_all_ranks(self.ranks, mean, var, self.xp)
        y = self.normalized(x, beta, statistics, slope, measure=self.ranks.size == 1)
        return y, mean, var

    def batchnorm_frozen(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> Array:
        return self.batchnorm_frozen_leaky_relu(x, gamma, beta, mean, var, eps=eps, slope=1)

    def batchnorm_frozen_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float, slope: float
    ) -> Array:
        return self.normalized(x, beta, Statistics(gamma, mean, var, eps), slope, measure=False)

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
        statistics = Statistics(gamma, mean, var, eps)
        if add_to is None and not need_dx:
            return None
        partials = self.of_all_ranks(self.gradient_sums(dy, x, beta, statistics, slope, add_to))
        means = self.empty((2, mean.size), x.dtype) if need_dx else None
        self.finish_gradient(partials, x.size // mean.size, statistics, means, add_to)
        return None if means is None else self.input_gradient(dy, x, beta, statistics, slope, means)

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
        statistics = Statistics(gamma, mean, var, eps)
        if add_to is not None:
            partials = self.gradient_sums(dy, x, mean, statistics, 1, add_to)
            self.finish_gradient(partials, x.size // mean.size, statistics, None, add_to)
        if not need_dx:
            return None
        statistics.check(dy)
        dx = self.empty(dy.shape, dy.dtype)
        self.whole_pass("norm", "frozen_gradient", (dy,), *statistics.arguments, examples=1, results=(dx,))
        return dx

    # ------------------------------------------------------------------------------------------ shared with groups

    def normalized(self, x: Array, beta: Array, statistics: Statistics, slope: float, *, measure: bool) -> Array:
        """y after the activation; with `measure` x's mean and variance are written to the statistics first."""
        statistics.check(x)
        expect("beta", beta, x.shape[-1:], x.dtype)
        if measure:
            self.measure(x, statistics)
        y = self.empty(x.shape, x.dtype)
        arguments = (*statistics.arguments, beta, float(slope))
        self.whole_pass("norm", "normalize", (x,), *arguments, examples=statistics.examples, results=(y,))
        return y

    def measure(self, x: Array, statistics: Statistics) -> None:
        """Writes x's mean and variance to the statistics."""
        mean, var = statistics.mean, statistics.var
        partials = self.partial_sums("norm", "moments", (x,), examples=statistics.examples, terms=3)
        sizes = (partials.rows, x.shape[-1], statistics.groups)
        self.add_up("norm", "finish_moments", mean.size, partials, *sizes, mean, var, dtype=x.dtype)

    def gradient_sums(
        self,
        dy: Array,
        x: Array,
        beta: Array,
        statistics: Statistics,
        slope: float,
        add_to: tuple[Array, Array] | None,
    ) -> Partials:
        """Sums of dy and of dy * (x - mean), dy taken back through the activation, to be added to dgamma and dbeta."""
        for name, array in zip(("dgamma", "dbeta"), add_to or (), strict=False):
            expect(name, array, x.shape[-1:], x.dtype)
        statistics.check(x)
        expect("dy", dy, x.shape, x.dtype)
        expect("beta", beta, x.shape[-1:], x.dtype)
        arguments = (*statistics.arguments, beta, float(slope))
        return self.partial_sums("norm", "gradient_sums", (dy, x), *arguments, examples=statistics.examples, terms=2)

    def finish_gradient(
        self,
        partials: Partials,
        count: int,
        statistics: Statistics,
        means: Array | None,
        add_to: tuple[Array, Array] | None,
        *,
        gamma_inside: bool = False,
    ) -> None:
        """Makes of sums over `count` numbers a group the means that `input_gradient` needs, or dgamma and dbeta."""
        dgamma, dbeta = (None, None) if add_to is None else add_to
        arguments = (np.int64(count), *statistics.arguments, int(gamma_inside), means, dgamma, dbeta)
        dtype = statistics.gamma.dtype
        self.add_up("norm", "finish_gradient", statistics.mean.size, partials, partials.rows, *arguments, dtype=dtype)

    def input_gradient(
        self,
        dy: Array,
        x: Array,
        beta: Array,
        statistics: Statistics,
        slope: float,
        means: Array,
        *,
        gamma_inside: bool = False,
    ) -> Array:
        dx = self.empty(x.shape, x.dtype)
        arguments = (*statistics.arguments, beta, float(slope), int(gamma_inside), means)
        self.whole_pass("norm", "input_gradient", (dy, x), *arguments, examples=statistics.examples, results=(dx,))
        return dx
