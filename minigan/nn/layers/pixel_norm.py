"""Normalization of the length of each vector, as StyleGAN's mapping network has it for z."""

from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import number


class PixelNormCache(NamedTuple):
    x: Array  # by reference
    r: Array  # (..., 1)


class PixelNorm(Layer):
    """Vectors brought to a mean square of 1: y = r x with r = (mean(x²) + eps)^(-1/2), the mean over the last axis.

    In images each pixel is a vector of its own. No parameters. With m = mean(x dy):

        dx = r dy - r³ m x,
        dP/d(dy) = r v - r³ mean(x v) x,
        dP/dx = -r³ (mean(v dy) x + m v + mean(x v) dy) + 3 r⁵ m mean(x v) x.

    Source: Karras et al. 2018, section 4.2; of z Karras et al. 2019 ("A Style-Based Generator Architecture"),
    appendix C.

    Args:
        eps: added to the mean square.
    """

    separable: ClassVar[bool] = True

    def __init__(self, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = number(eps, "eps", of=self.path, above=0)

    def infer(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, PixelNormCache]:
        r = 1 / self.kernels.xp.sqrt(_mean(x, x) + x.dtype.type(self.eps))
        return x * r, PixelNormCache(x, r)

    def backward(
        self, dy: Array, cache: PixelNormCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        return self._projected(dy, cache) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: PixelNormCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        x, r = cache
        dy, cubed, m, q = record, r**3, _mean(x, record), _mean(x, v)
        ddx = (3 * cubed * r * r * m * q - cubed * _mean(v, dy)) * x
        ddx -= cubed * (m * v + q * dy)
        return self._projected(v, cache), ddx

    def _projected(self, t: Array, cache: PixelNormCache) -> Array:
        """r t - r³ mean(x t) x: the derivative of y along t, and its own adjoint."""
        x, r = cache
        result = t * r
        result -= (r**3 * _mean(x, t)) * x
        return result

    @property
    def own_flops(self) -> int:
        return 3 * int(np.prod(self.input_shape))


def _mean(a: Array, b: Array) -> Array:
    """mean(a b) over the last axis, (..., 1)."""
    return (a * b).mean(axis=-1, keepdims=True)
