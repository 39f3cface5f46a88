"""The double backward of batch and group normalization: double_norm.cu.

The two are the same but for what is averaged over: batch normalization is group normalization of the whole batch taken
as one example, with a group for each channel.
"""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.gpu.columns import DOUBLE, ColumnEngine
from minigan.backends.gpu.norm import Statistics

SUMS, FACTORS = 5, 7  # as in double_norm.cu


class DoubleNormKernels(ColumnEngine):
    """Overrides of `batchnorm_double_grad` and `group_norm_double_grad`; the formulas are in `reference/`."""

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
        return self._double_grad(v, dy, x, Statistics(gamma, mean, var, eps), add_to, synchronized=True)

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
        return self._double_grad(v, dy, x, Statistics(gamma, mean, var, eps, len(x)), add_to)

    def _double_grad(
        self,
        v: Array,
        dy: Array,
        x: Array,
        statistics: Statistics,
        add_to: Array | None,
        *,
        synchronized: bool = False,
    ) -> tuple[Array, Array]:
        statistics.check(x)
        expect("v", v, x.shape, x.dtype)
        expect("dy", dy, x.shape, x.dtype)
        examples, all_groups = statistics.examples, int(statistics.mean.size)
        given, arrays = statistics.arguments, (v, dy, x)
        partials = self.partial_sums("double_norm", "double_sums", arrays, *given, examples=examples, terms=SUMS)
        if synchronized:
            partials = self.of_all_ranks(partials)

        factors = self.empty((FACTORS, examples, x.shape[-1]), x.dtype)
        means = self.empty((2, all_groups), DOUBLE)
        count = np.int64(x.size // all_groups)
        arguments = (partials.rows, count, *given, factors, means)
        self.add_up("double_norm", "double_factors", all_groups, partials, *arguments, dtype=x.dtype)
        if add_to is not None:
            expect("add_to", add_to, x.shape[-1:], x.dtype)
            arguments = (examples, partials.rows, *given, means, add_to)
            self.add_up("double_norm", "add_double_weight_gradient", add_to.size, partials, *arguments, dtype=x.dtype)

        ddy, ddx = self.empty(x.shape, x.dtype), self.empty(x.shape, x.dtype)
        self.whole_pass(
            "double_norm", "double_gradients", arrays, *given, factors, examples=examples, results=(ddy, ddx)
        )
        return ddy, ddx
