"""Normalization of each example by itself, by the kernels of batch normalization: norm.cu, group_norm.cu.

The passes are the same; between them the sums of an example's channels become those of its groups.
"""

from minigan.backends.base import Array
from minigan.backends.gpu.norm import NormKernels, Statistics


class GroupNormKernels(NormKernels):
    """Overrides of `reference.group_norm.GroupNormKernels`; the double backward is in `double_norm.py`."""

    def group_norm(self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Array, Array]:
        mean, var = self.empty((len(x), groups), x.dtype), self.empty((len(x), groups), x.dtype)
        y = self.normalized(x, beta, Statistics(gamma, mean, var, eps, len(x)), 1, measure=True)
        return y, mean, var

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
        if add_to is None and not need_dx:
            return None
        statistics = Statistics(gamma, mean, var, eps, len(x))
        means = self.empty((2, mean.size), x.dtype) if need_dx else None
        partials = self.gradient_sums(dy, x, gamma, statistics, 1, means, add_to)  # any beta will do
        if add_to is not None:
            arguments = (len(x), partials.rows, *statistics.arguments, *add_to)
            self.add_up("group_norm", "add_weight_gradients", gamma.size, partials, *arguments, dtype=x.dtype)
        if means is None:
            return None
        return self.input_gradient(dy, x, gamma, statistics, 1, means, gamma_inside=True)
