r"""Batch normalization: forward, backward, and the backward of the backward.

Everything is a function of each channel alone, so write x for one channel's M numbers, E for their mean, and

    u = (x - E[x]) / σ,   σ = sqrt(Var[x] + eps),   y = γ u + β.

**Backward.** du/dx projects out the mean and the direction of u, which gives

    dx = γ/σ · (dy - E[dy] - u E[dy u]).

**Double backward.** Let P be a function of dx with v = dP/d(dx). The map dy -> dx is linear and symmetric, so

    dP/d(dy) = γ/σ · (v - E[v] - u E[v u]).

dx depends on γ only through the factor: dP/dγ = Σ v dx / γ = Σ (v/σ) (dy - E[dy] - u E[dy u]).

dx depends on x through σ and u. Write a = E[v u], c = E[dy u], and q = Σ v (dy - E[dy] - u c), so P's variation is
that of (γ/σ) q. With dσ = E[u δx] and δu = (δx - E[δx] - u E[u δx]) / σ for a variation δx of x,

    δ(γ/σ) q   = -(γ/σ²) q E[u δx]
    (γ/σ) δq   = -(γ/σ) M (δa' c + a δc'),   where δa' = E[v δu], δc' = E[dy δu],

because q = Σ v (dy - E[dy]) - M a c. Collecting the factor of each δx, with proj(t) = t - E[t] - u E[t u]:

    dP/dx = -(γ/σ²) · (u q / M + c proj(v) + a proj(dy)).

The last line is checked against finite differences in float64 by the tests, for images and vectors.
"""

from types import ModuleType

from minigan.backends.base import Array


def _channel_mean(x: Array, xp: ModuleType) -> Array:
    """The mean over all axes but the last; summed in double precision, see `DenseKernels.channel_sum`."""
    return x.mean(axis=tuple(range(x.ndim - 1)), dtype=xp.float64).astype(x.dtype)


class NormKernels:
    xp: ModuleType

    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        mean = _channel_mean(x, self.xp)
        var = _channel_mean((x - mean) ** 2, self.xp)
        return self.batchnorm_frozen(x, gamma, beta, mean, var, eps=eps), mean, var

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
        inv_std = 1 / self.xp.sqrt(var + eps)
        u = (x - mean) * inv_std
        mean_dy = _channel_mean(dy, self.xp)
        mean_dy_u = _channel_mean(dy * u, self.xp)
        if add_to is not None:
            count = x.size // x.shape[-1]
            dgamma, dbeta = add_to
            dgamma += count * mean_dy_u
            dbeta += count * mean_dy
        return (gamma * inv_std) * (dy - mean_dy - u * mean_dy_u) if need_dx else None

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
        xp = self.xp
        inv_std = 1 / xp.sqrt(var + eps)
        u = (x - mean) * inv_std
        a, c = _channel_mean(v * u, xp), _channel_mean(dy * u, xp)
        proj_v = v - _channel_mean(v, xp) - u * a
        proj_dy = dy - _channel_mean(dy, xp) - u * c
        mean_q = _channel_mean(v * proj_dy, xp)
        if add_to is not None:
            add_to += (x.size // x.shape[-1]) * mean_q * inv_std
        ddy = (gamma * inv_std) * proj_v
        ddx = -(gamma * inv_std**2) * (u * mean_q + c * proj_v + a * proj_dy)
        return ddy, ddx

    def batchnorm_frozen(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> Array:
        return (x - mean) * (gamma / self.xp.sqrt(var + eps)) + beta

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
        inv_std = 1 / self.xp.sqrt(var + eps)
        if add_to is not None:
            count = x.size // x.shape[-1]
            dgamma, dbeta = add_to
            dgamma += count * _channel_mean(dy * (x - mean), self.xp) * inv_std
            dbeta += count * _channel_mean(dy, self.xp)
        return dy * (gamma * inv_std) if need_dx else None
