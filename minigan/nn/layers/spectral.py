"""Spectral normalization: a layer around another one, whose weight it scales."""

from collections.abc import Iterator
from copy import copy
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.layers.base import Cache, Layer, Shape
from minigan.nn.layers.conv import Conv2D, ConvTranspose2D
from minigan.nn.layers.dense import Dense
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import kind_of, number, whole

ROUNDING = 1e-5  # the most by which the length of a unit vector differs from 1

WeightLayer = Conv2D | Dense  # and ConvTranspose2D, which is a Conv2D


class SpectralCache(NamedTuple):
    inner: Cache
    w_bar: Array  # w / sigma, like w
    sigma: Array
    u: Array  # (K,), advanced in training
    v: Array  # (inputs,)
    train: bool


class SpectralNorm(Layer):
    """Spectral normalization: a layer with w / sigma(w) in place of its weight w, which bounds its amplification.

    sigma is the largest singular value of w as a matrix W of (inputs of an output) x (outputs). For a convolution that
    is not quite the norm of the map, which also depends on how its windows overlap. sigma is estimated as v' W u by
    power iteration, from a u that is kept from step to step:

        v <- W u / |W u|,  u <- W' v / |W' v|.

    u and v are treated as constants. So with G the gradient of w / sigma, that of w is
    (G - <G, w / sigma> v u') / sigma, and the same holds for the double backward's dP/dw.

    A forward pass in training advances u on its tape only, and `commit_statistics` keeps it. So u makes a step for each
    batch of D's own, and none where D judges for G. Evaluation leaves u as it is.

    Source: Miyato et al. 2018, section 2.1, equation 12 and algorithm 1.

    Args:
        inner: the layer: Conv2D, ConvTranspose2D or Dense.
        iterations: power iterations in each forward pass in training; one suffices, as weights change little from step
            to step.
        eps: the least norm to divide by.
    """

    narrow: ClassVar[bool] = True

    u: Parameter

    def __init__(self, inner: WeightLayer, *, iterations: int = 1, eps: float = 1e-12) -> None:
        super().__init__()
        if not isinstance(inner, WeightLayer):
            raise ConfigError(
                f"{self.path}: expected a layer with a weight (Conv2D, ConvTranspose2D, Dense), got {kind_of(inner)}. "
                "Wrap only such a layer: SpectralNorm(Dense(1))."
            )
        self.inner = inner
        self.iterations = whole(iterations, "iterations", of=self.path)
        self.eps = number(eps, "eps", of=self.path, above=0)
        self.output_axis = -2 if isinstance(inner, ConvTranspose2D) else -1

    def infer(self, input_shape: Shape) -> Shape:
        output_shape = self.inner.setup(input_shape, f"{self.path}.{type(self.inner).__name__}")
        self.u = self.add_state("u", (self.inner.w.shape[self.output_axis],), unit_vector)
        return output_shape

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner

    def takes_narrow(self) -> bool:
        return super().takes_narrow() and self.inner.takes_narrow()

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, SpectralCache]:
        w = self.inner.w.value
        sigma, u, v = self._singular(self._matrix(w), self.iterations if train else 0)
        w_bar = self.kernels.xp.divide(w, sigma, out=self.kernels.empty(w.shape, w.dtype))
        y, cache = self._with_weight(w_bar).forward(x, train=train, rng=rng)
        return y, SpectralCache(cache, w_bar, sigma, u, v, train)

    def backward(
        self, dy: Array, cache: SpectralCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        layer = self._with_weight(cache.w_bar)
        if grads is None:
            return layer.backward(dy, cache.inner, grads=None, need_dx=need_dx)
        dw_bar = self._zeros()
        dx = layer.backward(dy, cache.inner, grads=grads.with_destination(layer.w, dw_bar), need_dx=need_dx)
        self._add_weight_gradient(dw_bar, cache, add_to=grads[self.inner.w])
        return dx

    def backward_recorded(self, dy: Array, cache: SpectralCache) -> tuple[Array, Any]:
        return self._with_weight(cache.w_bar).backward_recorded(dy, cache.inner)

    def double_backward(
        self, v: Array, record: Any, cache: SpectralCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        layer = self._with_weight(cache.w_bar)
        if grads is None:
            return layer.double_backward(v, record, cache.inner, grads=None)
        dw_bar = self._zeros()
        result = layer.double_backward(v, record, cache.inner, grads=grads.with_destination(layer.w, dw_bar))
        self._add_weight_gradient(dw_bar, cache, add_to=grads[self.inner.w])
        return result

    def commit_statistics(self, cache: SpectralCache) -> None:
        if cache.train:
            self.u.value[...] = cache.u

    def settle(self) -> None:
        """Gives u the limit of the power iteration: the eigenvector of W' W with the largest eigenvalue."""
        W, xp = self._matrix(self.inner.w.value), self.kernels.xp
        _, vectors = xp.linalg.eigh(W.T @ W)
        limit = vectors[:, -1]
        self.u.value[...] = xp.where((limit * self.u.value).sum() < 0, -limit, limit)  # where the iteration would end

    def repair_state(self) -> None:
        """Gives u the length 1: an average of unit vectors is shorter, and sigma would be too small."""
        xp, u = self.kernels.xp, self.u.value
        length = xp.sqrt((u * u).sum())
        u /= xp.where((abs(length - 1) > ROUNDING) & (length > self.eps), length, xp.ones_like(length))

    def effective_weight(self) -> Array:
        """The weight of evaluation: w / sigma."""
        w = self.inner.w.value
        return w / self._singular(self._matrix(w), 0)[0]

    @property
    def own_flops(self) -> int:
        return 0  # the layer inside counts its own

    def _with_weight(self, w: Array) -> WeightLayer:
        """A copy of the layer inside with another weight, so that several tapes and threads may each have theirs."""
        layer = copy(self.inner)
        layer.w = Parameter("w", self.inner.w.shape, self.inner.w.initializer)
        layer.w.value = w
        return layer

    def _singular(self, W: Array, iterations: int) -> tuple[Array, Array, Array]:
        """sigma, u and v after that many iterations from the kept u."""
        u = self.u.value.copy()
        v = self._normalized(self._product(W, u))
        for step in range(iterations):
            if step:
                v = self._normalized(self._product(W, u))
            u = self._normalized(self._product(W, v, transpose=True))
        return (self._product(W, u) * v).sum(), u, v

    def _product(self, W: Array, t: Array, *, transpose: bool = False) -> Array:
        """W t or W' t."""
        return self.kernels.matmul(W, t[:, None], transpose_a=transpose).ravel()

    def _normalized(self, t: Array) -> Array:
        xp = self.kernels.xp
        return t / xp.maximum(xp.sqrt((t * t).sum()), self.eps)

    def _matrix(self, w: Array) -> Array:
        """w as W (inputs, K): a view, but for a transposed convolution."""
        return self.kernels.xp.moveaxis(w, self.output_axis, -1).reshape(-1, w.shape[self.output_axis])

    def _add_weight_gradient(self, dw_bar: Array, cache: SpectralCache, *, add_to: Array) -> None:
        """add_to += (G - <G, w / sigma> v u') / sigma; G is overwritten."""
        along = dw_bar.ravel() @ cache.w_bar.ravel()
        G = self._matrix(dw_bar)
        self.kernels.matmul((-along * cache.v)[:, None], cache.u[None], add_to=G)
        G /= cache.sigma
        matrix = self.kernels.xp.moveaxis(add_to, self.output_axis, -1)
        matrix += G.reshape(matrix.shape)

    def _zeros(self) -> Array:
        """An array of zeros like w."""
        zeros = self.kernels.empty(self.inner.w.shape, self.dtype)
        zeros.fill(0)
        return zeros


def unit_vector(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """An initializer: a random direction."""
    t = rng.normal(size=shape)
    return t / np.linalg.norm(t)
