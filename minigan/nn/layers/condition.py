"""Conditional layers, whose output depends on x and on a condition: the example's class, or a second image.

The condition c is an array with a row for each example: a class as a one-hot vector (F,), attributes as a vector of
numbers, an image (H, W, F). `network.given(c)` is the network with c held fixed, D(x | c). It is used like any other
network: `D.given(c).forward(x, train=True)`.

A class-conditional G concatenates c to its noise, and D to its images, as in Mirza & Osindero 2014; D may instead take
the inner product of its features with an embedding of c (projection, see
`minigan.nn.network.residual_blocks.projection`), and G may scale its channels by class (`ConditionalAffine`).
"""

from copy import copy
from typing import ClassVar, NamedTuple, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.nn.initializers import Constant, Initializer, Normal, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import shape_of, whole


class Conditional(Layer):
    """Base of the layers y = f(x | c).

    Args:
        shape: the shape of c for one example.
    """

    condition: Array | None = None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape_of(shape, "shape", of=self.path, example=(10,))

    def given(self, condition: Array | None) -> Self:
        if condition is None:
            return self
        bound = copy(self)
        bound.condition = condition
        return bound

    def condition_of(self, x: Array) -> Array:
        """The condition c, checked: a row for each of these examples, of x's dtype.

        Raises:
            ConfigError: there is none.
            ShapeError, DTypeError: it has another shape or dtype.
        """
        c = self.condition
        if c is None:
            raise ConfigError(f"{self.path}: expected a condition, got none. Run network.given(condition).forward(x).")
        if c.shape != (len(x), *self.shape):
            raise ShapeError(
                f"{self.path}: expected a condition of shape {(len(x), *self.shape)}, got {c.shape}. "
                "Give one row for each example; classes as one-hot vectors."
            )
        if c.dtype != x.dtype:
            raise DTypeError(
                f"{self.path}: expected a condition of dtype {x.dtype} like x, got {c.dtype}. "
                f"Convert it with backend.asarray(condition, dtype='{x.dtype}')."
            )
        return c


class ConcatCache(NamedTuple):
    c: Array


class ConcatCondition(Conditional):
    """Joins the condition to x: y = [x, e] along the last axis, where e is c or its embedding c E.

    In images a vector e stands at every pixel.

    Source: Mirza & Osindero 2014, figure 1; for images as conditions Isola et al. 2017, section 3.

    Args:
        shape: the shape of c: (F,), or (H, W, F) with the image's own H and W.
        embedding: the number of columns of E, (F, embedding), which is learned; 0 takes c as it is.
        init: the initializer of E.
    """

    separable: ClassVar[bool] = True
    E: Parameter | None

    def __init__(
        self,
        shape: Shape,
        *,
        embedding: int = 0,
        init: Initializer = Normal(1.0),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(shape)
        self.init = expect_initializer(init, "init", of=self.path)
        self.embedding = whole(embedding, "embedding", of=self.path, least=0)
        if embedding and len(self.shape) > 1:
            raise ConfigError(
                f"{self.path}: only a vector can have an embedding, got embedding={embedding} for images {self.shape}."
            )

    def infer(self, input_shape: Shape) -> Shape:
        if len(self.shape) > 1 and self.shape[:-1] != input_shape[:-1]:
            raise ShapeError(f"{self.path}: cannot join a condition {self.shape} to {input_shape}. Scale one of them.")
        self.E = None
        if self.embedding:
            self.E = self.add_parameter("E", (self.shape[0], self.embedding), self.init)
        return *input_shape[:-1], input_shape[-1] + (self.embedding or self.shape[-1])

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, ConcatCache]:
        c = self.condition_of(x)
        e = self.kernels.matmul(c, self.E.value) if self.E else c
        return self._join(x, e), ConcatCache(c)

    def backward(self, dy: Array, cache: ConcatCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        channels = self.input_shape[-1]
        if self.E and grads is not None:
            de = dy[..., channels:].reshape(len(dy), -1, self.embedding).sum(axis=1)
            self.kernels.matmul(cache.c, de, transpose_a=True, add_to=grads[self.E])
        if not need_dx:
            return None
        dx = self.kernels.empty((len(dy), *self.input_shape), dy.dtype)
        dx[...] = dy[..., :channels]
        return dx

    def double_backward(
        self, v: Array, record: Array, cache: ConcatCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        return self._join(v, self.kernels.xp.zeros((1, 1), v.dtype)), None

    def _join(self, x: Array, e: Array) -> Array:
        channels = self.input_shape[-1]
        y = self.kernels.empty((len(x), *self.output_shape), x.dtype)
        y[..., :channels] = x
        y[..., channels:] = e.reshape(len(e), *[1] * (x.ndim - e.ndim), *e.shape[1:])
        return y

    @property
    def own_flops(self) -> int:
        return 2 * self.E.size if self.E else 0


class InnerProductCache(NamedTuple):
    c: Array


class InnerProduct(Conditional):
    """Inner product y = <x, c>, one number an example: among class scores x that of the example's own class.

    Args:
        features: the length of x and of c.
    """

    separable: ClassVar[bool] = True

    def __init__(self, features: int) -> None:
        super().__init__((whole(features, "features", of=type(self).__name__),))
        self.features = self.shape[0]

    def infer(self, input_shape: Shape) -> Shape:
        if input_shape != self.shape:
            raise ShapeError(
                f"{self.path}: expected x of shape {self.shape} like the condition, got {input_shape}. "
                f"Let the layer before end with {self.shape[0]} features."
            )
        return (1,)

    def forward(
        self, x: Array, *, train: bool, rng: np.random.Generator | None = None
    ) -> tuple[Array, InnerProductCache]:
        c = self.condition_of(x)
        return (x * c).sum(axis=1, keepdims=True), InnerProductCache(c)

    def backward(
        self, dy: Array, cache: InnerProductCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        return dy * cache.c if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: InnerProductCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        return (v * cache.c).sum(axis=1, keepdims=True), None


class AffineCache(NamedTuple):
    x: Array  # by reference
    c: Array
    scale: Array  # (N, C)


class ConditionalAffine(Conditional):
    """Conditional scale and shift: y = x * (c Gamma) + c Beta, so that each class has its own for every channel.

    After a BatchNorm it makes a class-conditional BatchNorm.

    Source: Dumoulin et al. 2017, "A Learned Representation for Artistic Style", equation 5.

    Args:
        features: the length of c.
        gamma_init: the initializer of Gamma, (features, C); Beta starts at 0.
    """

    separable: ClassVar[bool] = True
    gamma: Parameter
    beta: Parameter

    def __init__(
        self,
        features: int,
        *,
        gamma_init: Initializer = Constant(1),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__((whole(features, "features", of=type(self).__name__),))
        self.features = self.shape[0]
        self.gamma_init = expect_initializer(gamma_init, "gamma_init", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        table = (self.shape[0], input_shape[-1])
        self.gamma = self.add_parameter("gamma", table, self.gamma_init)
        self.beta = self.add_parameter("beta", table, Constant(0))
        return input_shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, AffineCache]:
        c = self.condition_of(x)
        scale = self.kernels.matmul(c, self.gamma.value)
        y = self._scaled(x, scale)
        y += self._for_pixels(self.kernels.matmul(c, self.beta.value), x)
        return y, AffineCache(x, c, scale)

    def backward(self, dy: Array, cache: AffineCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self._add_by_class(dy * cache.x, cache.c, add_to=grads[self.gamma])
            self._add_by_class(dy, cache.c, add_to=grads[self.beta])
        return self._scaled(dy, cache.scale) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: AffineCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self._add_by_class(v * record, cache.c, add_to=grads[self.gamma])
        return self._scaled(v, cache.scale), None

    def _scaled(self, x: Array, scale: Array) -> Array:
        return self.kernels.xp.multiply(x, self._for_pixels(scale, x), out=self.kernels.empty(x.shape, x.dtype))

    def _for_pixels(self, rows: Array, x: Array) -> Array:
        """(N, C) as (N, 1, 1, C), for images."""
        return rows.reshape(len(rows), *[1] * (x.ndim - 2), -1)

    def _add_by_class(self, terms: Array, c: Array, *, add_to: Array) -> None:
        """add_to (features, C) += c' of the terms' sums over each example."""
        sums = terms.reshape(len(terms), -1, terms.shape[-1]).sum(axis=1)
        self.kernels.matmul(c, sums, transpose_a=True, add_to=add_to)

    @property
    def own_flops(self) -> int:
        return 2 * int(np.prod(self.output_shape))
