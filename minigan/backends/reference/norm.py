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
from minigan.distributed.ranks import Ranks


def _own_mean(x: Array) -> Array:
    """The mean over all axes but the last; in double precision, see `DenseKernels.channel_sum`."""
    return x.mean(axis=tuple(range(x.ndim - 1)), dtype="float64")


class NormKernels:
    xp: ModuleType
    ranks: Ranks

    def _channel_mean(self, x: Array) -> Array:
        """The mean over all axes but the last, and over all ranks."""
        return self.ranks.mean(_own_mean(x)).astype(x.dtype)

    def batchnorm(self, x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
        mean = self._channel_mean(x)
        var = self._channel_mean((x - mean) ** 2)
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
        mean_dy = self._channel_mean(dy)
        mean_dy_u = self._channel_mean(dy * u)
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
        inv_std = 1 / self.xp.sqrt(var + eps)
        u = (x - mean) * inv_std
        a, c = self._channel_mean(v * u), self._channel_mean(dy * u)
        proj_v = v - self._channel_mean(v) - u * a
        proj_dy = dy - self._channel_mean(dy) - u * c
        mean_q = self._channel_mean(v * proj_dy)
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
            dgamma += count * _own_mean(dy * (x - mean)).astype(x.dtype) * inv_std
            dbeta += count * _own_mean(dy).astype(x.dtype)
        return dy * (gamma * inv_std) if need_dx else None
