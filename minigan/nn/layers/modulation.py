r"""Modulated convolution: a style scales the input channels of a filter, for each image in its own way.

StyleGAN2 gives each image a filter of its own, w_n[r,s,c,k] = s[n,c] w[r,s,c,k], divided by its norm. All images can
share one convolution instead, since a scale of a filter's inputs is a scale of the image, and one of its outputs is a
scale of the result (* is by channel):

    u = conv2d(x * s, w),    q = sum_rs w²,    e = s² q + eps,    d = e^(-1/2),    y = u * d.

**Backward**, where <a, b> is the sum over an image's pixels, (N, channels):

    du = dy * d,    dd = <dy, u>,    de = -d³ dd / 2,    t = conv2d_input_grad(du, w),
    dx = t * s,     ds = <t, x> + 2 s (de q'),    dw = conv2d_weight_grad(x * s, du) + 2 w (s²' de).

**Double backward**, of a P with v = dP/dx' and b = dP/ds' for x' = dx, s' = ds. The tangent of y along x' = v, s' = b
is dP/d(dy):

    t' = v * s + x * b,    u' = conv2d(t', w),    e' = 2 (s b) q,    d' = -d³ e' / 2,    dP/d(dy) = u' * d + u * d'.

The reverse pass of <dy, u' * d + u * d'> goes back through both lines. Its first term brings du and t as above, which
gives dw its conv2d_weight_grad(t', du), ds its <t, v> and dx its t * b; its second is a convolution of hu = dy * d':

    g = conv2d_input_grad(hu, w),    E = -d³ (<dy, u'> - 3/2 d² e' dd) / 2,

    dP/dx = t * b + g * s,    dP/ds = <t, v> + <g, x> + 2 s (E q') + 2 b (de q'),
    dP/dw = conv2d_weight_grad(t', du) + conv2d_weight_grad(x * s, hu) + 2 w (s²' E + 2 (s b)' de).

With the style held fixed (b = 0) y is linear in x: e', d', hu, g and dP/dx are 0.
"""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, ShapeError
from minigan.nn.initializers import Normal
from minigan.nn.layers.base import Cache, Layer, Shape
from minigan.nn.layers.condition import Conditional
from minigan.nn.layers.conv import Conv2D, ConvCache, ConvTranspose2D
from minigan.nn.layers.dense import Dense
from minigan.nn.parameters import Gradients
from minigan.support.arguments import flag, kind_of, number, whole


class Norms(NamedTuple):
    """Parts of the scale of the outputs."""

    q: Array  # (C, K)
    d: Array  # (N, K)
    u: Array  # (N, P, Q, K), the convolution's y

    def scaled(self, of_d: Array) -> Array:
        """-d³ / 2 times an array (N, K): the gradient of e from that of d, and the tangent of d from that of e."""
        return -0.5 * self.d * self.d * self.d * of_d


class ModulatedCache(NamedTuple):
    x: Array  # by reference
    xs: Array  # x * s
    s: Array  # (N, C)
    affine: Cache
    norms: Norms | None


class ModulatedRecord(NamedTuple):
    dy: Array
    t: Array  # the convolution's dx
    dd: Array | None  # (N, K)
    affine: Any


class Modulated(Conditional):
    """Modulated convolution: y = d * f(x * s), of a convolution f whose inputs are scaled by a style of the condition.

    s = A c + b + 1, for each channel of x, with an affine map of the condition c. d = (s² q + eps)^(-1/2), with q[c,k]
    the sum of w[r,s,c,k]² over r and s, brings the outputs back to the size of the inputs (demodulation): it is one
    over the norm of the filter that the style has scaled. Without it d is that for s = 1 and weights of N(0, 1), a
    constant 1 / sqrt(R S C). Either way the rate of learning is equalized: f's weights are drawn from N(0, 1), whatever
    its initializer.

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2, equations 1 to 3.

    Args:
        inner: f, a Conv2D or ConvTranspose2D without bias, gaps and groups.
        features: the length of c.
        row: where there is a style for each layer, c being (L, features): the row for this one. A c of (features,) is
            for all layers.
        demodulate: False in StyleGAN2's layers to RGB.
        eps: added to the square of the norm.
        wrap: makes the layer around the affine map, such as `EqualizedRate`; it must be linear in c.
    """

    separable: ClassVar[bool] = True

    affine: Layer  # c to s - 1, without the gain

    def __init__(
        self,
        inner: Conv2D,
        features: int,
        *,
        row: int | None = None,
        demodulate: bool = True,
        eps: float = 1e-8,
        wrap: Callable[[Dense], Layer] = lambda dense: dense,
    ) -> None:
        super().__init__((whole(features, "features", of=type(self).__name__),))
        if not isinstance(inner, Conv2D):
            raise ConfigError(
                f"{self.path}: expected a convolution (Conv2D, ConvTranspose2D), got {kind_of(inner)}. "
                "Write Modulated(Conv2D(64, 3, bias=False), 512)."
            )
        if inner.bias or not inner.taps.plain:
            raise ConfigError(
                f"{self.path}: expected a convolution without bias, gaps and groups, got {inner.call_text()}. "
                "Write bias=False; a Bias layer may follow."
            )
        self.inner, self.features = inner, self.shape[0]
        self.row = None if row is None else whole(row, "row", of=self.path, least=0)
        self.demodulate = flag(demodulate, "demodulate", of=self.path)
        self.eps = number(eps, "eps", of=self.path, above=0)
        self.wrap = wrap

    def infer(self, input_shape: Shape) -> Shape:
        output_shape = self.inner.setup(input_shape, f"{self.path}.{type(self.inner).__name__}")
        self.inner.w.initializer = Normal(1.0)
        self.affine = self.wrap(Dense(input_shape[-1]))
        self.affine.setup(self.shape, f"{self.path}.affine")
        return output_shape

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner
        if "affine" in vars(self):
            yield "affine", self.affine

    @property
    def gain(self) -> float:
        """The constant scale of s: 1 with demodulation."""
        return 1.0 if self.demodulate else float((self.inner.w.size / self.inner.channels) ** -0.5)

    def condition_of(self, x: Array) -> Array:
        """The condition of this layer's row, (N, features); see `Conditional.condition_of`."""
        c = self.condition
        if self.row is None or c is None or c.ndim != 3:
            return super().condition_of(x)
        if len(c) != len(x) or c.shape[2:] != self.shape or c.shape[1] <= self.row:
            raise ShapeError(
                f"{self.path}: expected a condition of shape {(len(x), f'more than {self.row}', *self.shape)}, got "
                f"{c.shape}. Give each example a row for each layer."
            )
        return self._own_row(c)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, ModulatedCache]:
        style, affine = self.affine.forward(self.condition_of(x), train=train, rng=rng)
        s = self._gained(style + 1)
        xs = self.kernels.scale_channels(x, s)
        u, _ = self.inner.forward(xs, train=train, rng=rng)
        if not self.demodulate:
            return u, ModulatedCache(x, xs, s, affine, None)
        q = self._squares()
        d = (self.kernels.matmul(s * s, q) + self.eps) ** -0.5
        return self.kernels.scale_channels(u, d), ModulatedCache(x, xs, s, affine, Norms(q, d, u))

    def backward(
        self, dy: Array, cache: ModulatedCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        if grads is None and self.condition_gradient is None:
            return self._dx_alone(dy, cache) if need_dx else None
        t, dd = self._through(dy, cache, grads)
        dx, ds = self._scaled_back(t, dd, cache, grads, need_dx=need_dx)
        self._to_affine(ds, cache, grads)
        return dx

    def backward_recorded(self, dy: Array, cache: ModulatedCache) -> tuple[Array | None, ModulatedRecord]:
        t, dd = self._through(dy, cache, None)
        dx, ds = self._scaled_back(t, dd, cache, None)
        dc, affine = self.affine.backward_recorded(self._gained(ds), cache.affine)
        if self.condition_gradient is not None:
            self._add_to_row(dc)
        return dx, ModulatedRecord(dy, t, dd, affine)

    def double_backward(
        self, v: Array, record: ModulatedRecord, cache: ModulatedCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        kernels, (x, xs, s, _, norms) = self.kernels, cache
        b = self._style_tangent(record, cache, grads)
        t1, ddx = kernels.scale_channels(v, s), None
        if b is not None:
            t1 = kernels.add(t1, kernels.scale_channels(x, b), out=t1)
            ddx = kernels.scale_channels(record.t, b)
        u1, _ = self.inner.double_backward(t1, self._du(record.dy, cache), ConvCache(xs), grads=grads)
        ddy, (_, ds) = u1, kernels.scale_channels_grad(record.t, v, s, need_dx=False)
        if norms is not None:
            ddy, of_d = kernels.scale_channels_grad(u1, record.dy, norms.d)
            if b is not None:
                e1 = 2 * kernels.matmul(s * b, norms.q)
                d1 = norms.scaled(e1)
                ddy = kernels.add(ddy, kernels.scale_channels(norms.u, d1), out=ddy)
                g = self.inner.backward(kernels.scale_channels(record.dy, d1), ConvCache(xs), grads=grads)
                more, through = kernels.scale_channels_grad(g, x, s)
                ddx = kernels.add(ddx, more, out=ddx)
                ds += through + self._through_norms(norms.scaled(record.dd), 2 * s * b, 2 * b, norms, grads)
                of_d -= 1.5 * norms.d * norms.d * e1 * record.dd
            ds += self._through_norms(norms.scaled(of_d), s * s, 2 * s, norms, grads)
        if grads is not None or self.condition_gradient is not None:
            self._to_affine(ds, cache, grads)
        return ddy, ddx

    def commit_statistics(self, cache: ModulatedCache) -> None:
        self.affine.commit_statistics(cache.affine)

    @property
    def own_flops(self) -> int:
        return int(np.prod(self.input_shape)) + (int(np.prod(self.output_shape)) if self.demodulate else 0)

    def describe(self) -> str:
        return f"Modulated {self.inner.describe()}"

    # ------------------------------------------------------------------------------------------ the convolution

    def _du(self, dy: Array, cache: ModulatedCache) -> Array:
        return dy if cache.norms is None else self.kernels.scale_channels(dy, cache.norms.d)

    def _dx_alone(self, dy: Array, cache: ModulatedCache) -> Array:
        t = self.inner.backward(self._du(dy, cache), ConvCache(cache.xs), grads=None)
        return self.kernels.scale_channels(t, cache.s)

    def _through(self, dy: Array, cache: ModulatedCache, grads: Gradients | None) -> tuple[Array | None, Array | None]:
        """t and dd; adds conv2d_weight_grad(x * s, du)."""
        du, dd = dy, None
        if cache.norms is not None:
            du, dd = self.kernels.scale_channels_grad(dy, cache.norms.u, cache.norms.d)
        return self.inner.backward(du, ConvCache(cache.xs), grads=grads), dd

    def _scaled_back(
        self, t: Array, dd: Array | None, cache: ModulatedCache, grads: Gradients | None, *, need_dx: bool = True
    ) -> tuple[Array | None, Array]:
        """dx and ds; adds what dw has through the norms."""
        dx, ds = self.kernels.scale_channels_grad(t, cache.x, cache.s, need_dx=need_dx)
        if cache.norms is not None:
            ds += self._through_norms(cache.norms.scaled(dd), cache.s * cache.s, 2 * cache.s, cache.norms, grads)
        return dx, ds

    # ------------------------------------------------------------------------------------------ the norms

    def _squares(self) -> Array:
        """q, (C, K)."""
        w = self.inner.w.value
        q = (w * w).sum(axis=(0, 1))
        return q.T if isinstance(self.inner, ConvTranspose2D) else q

    def _through_norms(self, of_e: Array, factor: Array, slope: Array, norms: Norms, grads: Gradients | None) -> Array:
        """The gradient of s from that of e = factor q, or of e', where d(factor)/ds = slope; adds that of w."""
        if grads is not None:
            dq = self.kernels.matmul(factor, of_e, transpose_a=True)
            dw = grads[self.inner.w]
            dw += 2 * self.inner.w.value * (dq.T if isinstance(self.inner, ConvTranspose2D) else dq)
        return slope * self.kernels.matmul(of_e, norms.q, transpose_b=True)

    # ------------------------------------------------------------------------------------------ the style

    def _gained(self, t: Array) -> Array:
        """The array, which is overwritten, times the gain: s from the affine map's, and the gradient's way back."""
        if not self.demodulate:
            t *= self.gain
        return t

    def _to_affine(self, ds: Array, cache: ModulatedCache, grads: Gradients | None) -> None:
        """Adds the gradients of the affine map's weights, and of the condition."""
        wanted = self.condition_gradient is not None
        dc = self.affine.backward(self._gained(ds), cache.affine, grads=grads, need_dx=wanted)
        if wanted:
            self._add_to_row(dc)

    def _style_tangent(self, record: ModulatedRecord, cache: ModulatedCache, grads: Gradients | None) -> Array | None:
        """b, from the tangent of the condition; adds what the affine map has of dP/d(weights) and dP/dc."""
        u = self.condition_tangent
        if u is None:
            return None
        b, bent = self.affine.double_backward(self._own_row(u), record.affine, cache.affine, grads=grads)
        if bent is not None and self.condition_gradient is not None:
            self._add_to_row(bent)
        return self._gained(b)

    def _own_row(self, c: Array) -> Array:
        """This layer's row of an array like the condition, (N, features)."""
        if self.row is None or c.ndim == 2:
            return c
        own = self.kernels.empty((len(c), *self.shape), c.dtype)
        own[...] = c[:, self.row]
        return own

    def _add_to_row(self, dc: Array) -> None:
        """Adds to the condition's gradient."""
        gradient: Array = self.condition_gradient
        own = gradient if self.row is None or gradient.ndim == 2 else gradient[:, self.row]
        own += dc
