r"""Normalization of each example by itself: forward, backward, and the backward of the backward.

The channels stand in groups, and everything is a function of each group alone: its M numbers are those of all pixels
and of the group's channels. One group is layer normalization, a group for each channel instance normalization. With E
for the mean over a group,

    u = (x - E[x]) / σ,   σ = sqrt(Var[x] + eps),   y = γ u + β.

Other than in batch normalization, γ differs within what is averaged over, so it stays with dy: write g = γ dy. All the
rest is as in `norm.py` with g for dy and 1 for γ. With proj(t) = t - E[t] - u E[t u]:

    dx        = proj(g) / σ
    dP/d(dy)  = γ proj(v) / σ
    dP/dγ     = Σ dy proj(v) / σ,  the sum over what shares a γ
    dP/dx     = -(u E[v proj(g)] + E[g u] proj(v) + E[v u] proj(g)) / σ².
"""

from types import ModuleType

from minigan.backends.base import Array


def grouped(x: Array, groups: int) -> Array:
    """(N, pixels, groups, channels of a group), a view wherever possible."""
    return x.reshape(len(x), -1, groups, x.shape[-1] // groups)


class GroupNormKernels:
    xp: ModuleType

    def group_norm(self, x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Array, Array]:
        t = grouped(x, groups)
        mean = self._group_mean(t)
        var = self._group_mean((t - mean) ** 2)
        u = ((t - mean) / self.xp.sqrt(var + eps)).reshape(x.shape)
        return gamma * u + beta, mean.reshape(len(x), groups), var.reshape(len(x), groups)

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
        u, inv_std = self._standardized(x, mean, var, eps)
        if add_to is not None:
            dgamma, dbeta = add_to
            dgamma += self._channel_sum(dy * u.reshape(dy.shape))
            dbeta += self._channel_sum(dy)
        if not need_dx:
            return None
        g = (gamma * dy).reshape(u.shape)
        return (self._projected(g, u) * inv_std).reshape(x.shape)

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
        u, inv_std = self._standardized(x, mean, var, eps)
        v, g = v.reshape(u.shape), (gamma * dy).reshape(u.shape)
        a, c = self._group_mean(v * u), self._group_mean(g * u)
        proj_v, proj_g = self._projected(v, u), self._projected(g, u)
        ddg = (proj_v * inv_std).reshape(x.shape)
        if add_to is not None:
            add_to += self._channel_sum(dy * ddg)
        ddx = -(inv_std**2) * (u * self._group_mean(v * proj_g) + c * proj_v + a * proj_g)
        return gamma * ddg, ddx.reshape(x.shape)

    def _standardized(self, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
        """u, grouped, and 1 / σ."""
        t = grouped(x, mean.shape[1])
        inv_std = 1 / self.xp.sqrt(var + eps).reshape(len(x), 1, -1, 1)
        return (t - mean.reshape(inv_std.shape)) * inv_std, inv_std

    def _projected(self, t: Array, u: Array) -> Array:
        """The part of t that changes neither the mean nor the deviation of u."""
        return t - self._group_mean(t) - u * self._group_mean(t * u)

    def _group_mean(self, t: Array) -> Array:
        # In double precision, see `DenseKernels.channel_sum`.
        return t.mean(axis=(1, 3), keepdims=True, dtype=self.xp.float64).astype(t.dtype)

    def _channel_sum(self, dy: Array) -> Array:
        return dy.sum(axis=tuple(range(dy.ndim - 1)), dtype=self.xp.float64).astype(dy.dtype)
