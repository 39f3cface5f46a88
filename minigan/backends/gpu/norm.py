"""Batch normalization in as few passes over memory as possible, two forward and two backward: norm.cu.

A (Leaky)ReLU that follows costs no pass of its own: forward it is applied to each number on its way to memory, and
backward its derivative is found again from x, on the way in. Without one the same kernels run with slope 1, the
identity.
"""

from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.gpu.columns import ColumnEngine, Partials
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
    def of_channels(self) -> bool:
        """Whether each channel of the batch has statistics of its own, and all examples share them."""
        return bool(self.mean.ndim == 1)

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
            tickets = self.tickets(add_to.size)
            more = (tickets, add_to.size, add_to)
            partials = self.partial_sums("norm", "channel_sums", (dy,), examples=1, terms=1, more=more)
            if tickets is None:
                more = (partials.rows, add_to.size, add_to)
                self.add_up("norm", "add_channel_sums", add_to.size, partials, *more, dtype=dy.dtype)

    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        return self.batchnorm_leaky_relu(x, gamma, beta, eps=eps, slope=1)

    def batchnorm_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, *, eps: float, slope: float
    ) -> tuple[Array, Array, Array]:
        mean, var = self.empty(gamma.shape, x.dtype), self.empty(gamma.shape, x.dtype)
        y = self.normalized(x, beta, Statistics(gamma, mean, var, eps), slope, measure=True)
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
        means = self.empty((2, mean.size), x.dtype) if need_dx else None
        self.gradient_sums(dy, x, beta, statistics, slope, means, add_to)
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
            self.gradient_sums(dy, x, mean, statistics, 1, None, add_to)
        if not need_dx:
            return None
        statistics.check(dy)
        dx = self.empty(dy.shape, dy.dtype)
        self.whole_pass("norm", "frozen_gradient", (dy,), *statistics.arguments, examples=1, results=(dx,))
        return dx

    def move_statistics(
        self, running: tuple[Array, Array], batch: tuple[Array, Array], *, momentum: float, count: int
    ) -> None:
        for array in (*running, *batch):
            expect("a statistic", array, running[0].shape, running[0].dtype)
        channels, dtype = running[0].size, running[0].dtype
        arguments = (*running, *batch, channels, float(momentum), count / (count - 1))
        settings = (("VECTOR", 16 // dtype.itemsize),)
        self.launch.elementwise("norm", "move_statistics", channels, *arguments, dtype=dtype, settings=settings)

    # ------------------------------------------------------------------------------------------ shared with groups

    def normalized(self, x: Array, beta: Array, statistics: Statistics, slope: float, *, measure: bool) -> Array:
        """y after the activation; with `measure` x's mean and variance are written to the statistics first."""
        statistics.check(x)
        expect("beta", beta, x.shape[-1:], x.dtype)
        examples, mean, var = statistics.examples, statistics.mean, statistics.var
        if measure:
            tickets = self.tickets(mean.size) if statistics.of_channels else None
            more = (tickets, x.shape[-1], mean, var)
            partials = self.partial_sums("norm", "moments", (x,), examples=examples, terms=3, more=more)
            if tickets is None:
                sizes = (partials.rows, x.shape[-1], statistics.groups)
                self.add_up("norm", "finish_moments", mean.size, partials, *sizes, mean, var, dtype=x.dtype)
        y = self.empty(x.shape, x.dtype)
        arguments = (*statistics.arguments, beta, float(slope))
        self.whole_pass("norm", "normalize", (x,), *arguments, examples=examples, results=(y,))
        return y

    def gradient_sums(
        self,
        dy: Array,
        x: Array,
        beta: Array,
        statistics: Statistics,
        slope: float,
        means: Array | None,
        add_to: tuple[Array, Array] | None,
    ) -> Partials:
        """Sums of dy and of dy * (x - mean), dy taken back through the activation.

        Made of them are the means that `input_gradient` needs, and what is added to dgamma and dbeta; of groups of
        channels the means alone, with gamma dy for dy.
        """
        for name, array in zip(("dgamma", "dbeta"), add_to or (), strict=False):
            expect(name, array, x.shape[-1:], x.dtype)
        statistics.check(x)
        expect("dy", dy, x.shape, x.dtype)
        expect("beta", beta, x.shape[-1:], x.dtype)
        tickets = self.tickets(statistics.mean.size) if statistics.of_channels else None
        weights = (None, None) if add_to is None or not statistics.of_channels else add_to
        gradient = (np.int64(x.size // statistics.mean.size), means, *weights)
        arguments, more = (*statistics.arguments, beta, float(slope)), (tickets, *gradient)
        examples = statistics.examples
        partials = self.partial_sums(
            "norm", "gradient_sums", (dy, x), *arguments, examples=examples, terms=2, more=more
        )
        if tickets is None and (means is not None or statistics.of_channels):
            arguments = (partials.rows, *statistics.arguments, int(not statistics.of_channels), *gradient)
            self.add_up("norm", "finish_gradient", statistics.mean.size, partials, *arguments, dtype=x.dtype)
        return partials

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
