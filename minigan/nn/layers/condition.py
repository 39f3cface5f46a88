"""Conditional layers, whose output depends on x and on a condition: the example's class, or a second image.

The condition c is an array with a row for each example: a class as a one-hot vector (F,), attributes as a vector of
numbers, an image (H, W, F). `network.given(c)` is the network with c held fixed, D(x | c). It is used like any other
network: `D.given(c).forward(x, train=True)`.

A class-conditional G concatenates c to its noise, and D to its images, as in Mirza & Osindero 2014; D may instead take
the inner product of its features with an embedding of c (projection, see
`minigan.nn.network.residual_blocks.projection`), and G may scale its channels by class (`ConditionalAffine`).

**Gradients of a condition.** A class is data and stays as it is. A style w, which another network makes, is an input
like x. `Condition(w, gradient=dw)` in the place of the array makes every layer that reads w add its share to dw:

    w, tape = mapping.forward(z, train=True)
    y, synthesis_tape = synthesis.given(w).forward(x, train=True)
    ...                                                          # a loss gives dy
    dw = xp.zeros_like(w)
    synthesis.given(Condition(w, gradient=dw)).backward(dy, synthesis_tape, grads=synthesis_grads)
    mapping.backward(dw, tape, grads=mapping_grads)

The second order is alike. A penalty P of a network's dx and dw has cotangents for both: v = dP/d(dx) goes through the
layers, and u = dP/d(dw) reaches each that reads w as the tangent of its condition:

    synthesis.given(Condition(w, gradient=dP_dw, tangent=u)).double_backward(v, record, tape, grads=grads)

adds dP/dw to dP_dw, and dP/d(weights) to grads. By one rule for every layer f(x | c): with y' its forward tangent along
x' = v and c' = u, dP/d(dy) is y', and the reverse pass of <dy, y'>, with dy, v and u held fixed, gives the shares of
dP/dx, dP/dc and dP/d(weights).

`minigan.nn.network.styled.Styled` does all this for layers whose condition is their own input, so that a mapping and
the synthesis behind it are one `Sequential`.
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


class Condition(NamedTuple):
    """A condition for `given` that is not held fixed: the passes of the bound network also go back to it.

    Attributes:
        value: c, (N, ...).
        gradient: like c; passes backward add to it the gradient with respect to c of what they go back from, dL/dc in
            `backward` and dP/dc in `double_backward`. None computes none.
        tangent: like c; dP/d(dc), for the double backward of a P that depends on dc too. None is 0.
    """

    value: Array
    gradient: Array | None = None
    tangent: Array | None = None


class Conditional(Layer):
    """Base of the layers y = f(x | c).

    Args:
        shape: the shape of c for one example.
    Attributes:
        condition, condition_gradient, condition_tangent: see `Condition`; None before `given`.
    """

    condition: Array | None = None
    condition_gradient: Array | None = None
    condition_tangent: Array | None = None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape_of(shape, "shape", of=self.path, example=(10,))

    def given(self, condition: Array | Condition | None) -> Self:
        if condition is None:
            return self
        bound = copy(self)
        c = condition if isinstance(condition, Condition) else Condition(condition)
        bound.condition, bound.condition_gradient, bound.condition_tangent = c
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
        channels, dc = self.input_shape[-1], self.condition_gradient
        if (self.E and grads is not None) or dc is not None:
            de = self._gathered(dy)
            if self.E and grads is not None:
                self.kernels.matmul(cache.c, de, transpose_a=True, add_to=grads[self.E])
            if self.E and dc is not None:
                self.kernels.matmul(de, self.E.value, transpose_b=True, add_to=dc)
            elif dc is not None:
                dc += de
        if not need_dx:
            return None
        dx = self.kernels.empty((len(dy), *self.input_shape), dy.dtype)
        dx[...] = dy[..., :channels]
        return dx

    def double_backward(
        self, v: Array, record: Array, cache: ConcatCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        u = self.condition_tangent
        if u is None:
            return self._join(v, self.kernels.xp.zeros((1, 1), v.dtype)), None
        if self.E and grads is not None:
            self.kernels.matmul(u, self._gathered(record), transpose_a=True, add_to=grads[self.E])
        return self._join(v, self.kernels.matmul(u, self.E.value) if self.E else u), None

    def _gathered(self, dy: Array) -> Array:
        """The gradient of e: the sum over the pixels, where e is a vector in images."""
        de = dy[..., self.input_shape[-1] :]
        return de if len(self.shape) > 1 else de.reshape(len(dy), -1, de.shape[-1]).sum(axis=1)

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
    x: Array  # by reference
    c: Array


class InnerProduct(Conditional):
    """Inner product y = <x, c>, one number an example: among class scores x that of the example's own class.

    Args:
        features: the length of x and of c.
    """

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

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
        return (x * c).sum(axis=1, keepdims=True), InnerProductCache(x, c)

    def backward(
        self, dy: Array, cache: InnerProductCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        dc = self.condition_gradient
        if dc is not None:
            dc += dy * cache.x
        return dy * cache.c if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: InnerProductCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        dc, u = self.condition_gradient, self.condition_tangent
        if dc is not None:
            dc += record * v
        ddy = (v * cache.c).sum(axis=1, keepdims=True)
        if u is None:
            return ddy, None
        return ddy + (cache.x * u).sum(axis=1, keepdims=True), record * u


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
        if grads is not None or self.condition_gradient is not None:
            dscale, dshift = self._sums(dy * cache.x), self._sums(dy)
            self._add_to_tables(cache.c, dscale, dshift, grads)
            self._add_to_condition(dscale, dshift)
        return self._scaled(dy, cache.scale) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: AffineCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        u = self.condition_tangent
        if grads is not None or self.condition_gradient is not None:
            dscale = self._sums(v * record)
            self._add_to_tables(cache.c, dscale, None, grads)
            self._add_to_condition(dscale, None)
        ddy = self._scaled(v, cache.scale)
        if u is None:
            return ddy, None
        if grads is not None:
            self._add_to_tables(u, self._sums(record * cache.x), self._sums(record), grads)
        scale = self.kernels.matmul(u, self.gamma.value)
        ddy += self._scaled(cache.x, scale)
        ddy += self._for_pixels(self.kernels.matmul(u, self.beta.value), ddy)
        return ddy, self._scaled(record, scale)

    def _scaled(self, x: Array, scale: Array) -> Array:
        return self.kernels.xp.multiply(x, self._for_pixels(scale, x), out=self.kernels.empty(x.shape, x.dtype))

    def _for_pixels(self, rows: Array, x: Array) -> Array:
        """(N, C) as (N, 1, 1, C), for images."""
        return rows.reshape(len(rows), *[1] * (x.ndim - 2), -1)

    def _sums(self, terms: Array) -> Array:
        """The sums over each example's pixels, (N, C)."""
        return terms.reshape(len(terms), -1, terms.shape[-1]).sum(axis=1)

    def _add_to_tables(self, c: Array, dscale: Array, dshift: Array | None, grads: Gradients | None) -> None:
        """Adds the gradients of Gamma and Beta, from those of c's scale and shift (N, C)."""
        for table, d in ((self.gamma, dscale), (self.beta, dshift)):
            if d is not None and grads is not None:
                self.kernels.matmul(c, d, transpose_a=True, add_to=grads[table])

    def _add_to_condition(self, dscale: Array, dshift: Array | None) -> None:
        """Adds the condition's gradient, if it is wanted."""
        dc = self.condition_gradient
        for table, d in ((self.gamma, dscale), (self.beta, dshift)):
            if d is not None and dc is not None:
                self.kernels.matmul(d, table.value, transpose_b=True, add_to=dc)

    @property
    def own_flops(self) -> int:
        return 2 * int(np.prod(self.output_shape))
