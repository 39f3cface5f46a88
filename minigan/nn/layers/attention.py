r"""Self-attention over the pixels of an image.

With f, g (P, D) and h (P, E) the pixels of one image after three 1x1 convolutions, `attend` computes

    S = g f',   B = softmax of S's rows,   o = B h:

row j of B says where pixel j looks. **Backward**, with J(t) = B * (t - rowsum(B * t)), the softmax's symmetric
derivative:

    dh = B' do,   dB = do h',   dS = J(dB),   dg = dS f,   df = dS' g.

**Double backward.** Let P be a function of df, dg, dh with cotangents vf, vg, vh. Going back through the lines above
from the last to the first, each product leaves its two factors' shares:

    dP/d(dS) = vg f' + g vf' =: W            dP/df = dS' vg,       dP/dg = dS vf
    dP/d(dB) = J(W)                          dP/dB = W * dB - W rowsum(B * dB) - dB rowsum(B * W)   (through J)
    dP/d(do) = J(W) h + B vh                 dP/dh = J(W)' do,     dP/dB += do vh'
    dP/dS    = J(dP/dB)                      dP/df += (dP/dS)' g,  dP/dg += dP/dS f.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array, Backend
from minigan.nn.initializers import Constant, GlorotUniform, Initializer, expect_initializer
from minigan.nn.layers.base import Cache, Layer, Shape
from minigan.nn.layers.conv import Conv2D
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import whole

Three = tuple[Array, Array, Array]


def softmax(t: Array, xp: ModuleType) -> Array:
    """exp(t) / sum(exp(t)) over the last axis; the largest is taken off first, so exp never overflows."""
    e = xp.exp(t - t.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def softmax_grad(dy: Array, y: Array) -> Array:
    """J(dy), with y = softmax(t)."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def attend(f: Array, g: Array, h: Array, kernels: Backend) -> tuple[Array, Array]:
    """The output o (N, P, E) and the attention B (N, P, P)."""
    matmul = kernels.batched_matmul
    B = softmax(matmul(g, f, transpose_b=True), kernels.xp)
    return matmul(B, h), B


def attend_grad(do: Array, f: Array, g: Array, h: Array, B: Array, kernels: Backend) -> Three:
    """The gradients df, dg, dh."""
    matmul = kernels.batched_matmul
    dS = softmax_grad(matmul(do, h, transpose_b=True), B)
    return matmul(dS, g, transpose_a=True), matmul(dS, f), matmul(B, do, transpose_a=True)


def attend_double_grad(
    v: Three, do: Array, f: Array, g: Array, h: Array, B: Array, kernels: Backend
) -> tuple[Array, Three]:
    """The second-order gradients dP/d(do), and dP/df, dP/dg, dP/dh."""
    matmul = kernels.batched_matmul
    vf, vg, vh = v
    dB = matmul(do, h, transpose_b=True)
    dS = softmax_grad(dB, B)
    W = matmul(vg, f, transpose_b=True) + matmul(g, vf, transpose_b=True)
    JW = softmax_grad(W, B)
    ddo = matmul(JW, h) + matmul(B, vh)
    P_B = W * dB - W * (B * dB).sum(axis=-1, keepdims=True) - dB * (B * W).sum(axis=-1, keepdims=True)
    P_S = softmax_grad(P_B + matmul(do, vh, transpose_b=True), B)
    P_f = matmul(dS, vg, transpose_a=True) + matmul(P_S, g, transpose_a=True)
    P_g = matmul(dS, vf) + matmul(P_S, f)
    return ddo, (P_f, P_g, matmul(JW, do, transpose_a=True))


class SelfAttentionCache(NamedTuple):
    f: Array  # (N, P, D), with P = H * W
    g: Array
    h: Array  # (N, P, C)
    B: Array  # (N, P, P)
    o: Array  # (N, P, C)
    inner: tuple[Cache, Cache, Cache]  # of the three convolutions


class SelfAttentionRecord(NamedTuple):
    dy: Array
    inner: tuple[Any, Any, Any]


class SelfAttention(Layer):
    """Self-attention: y = x + gamma * o, where o gathers from all pixels of an image, weighted by attention.

    o_j = sum_i B[j,i] h(x_i), and B[j] is the softmax over i of f(x_i) . g(x_j), with 1x1 convolutions f, g and h. The
    number gamma starts at 0, so the network first learns from near pixels. The paper has v(h(x)) in place of h(x),
    through fewer channels; v is linear, so this is a product of two matrices, here one matrix.

    B has (H W)² numbers an image, kept on the tape: a layer for images of up to 32x32.

    Source: Zhang et al. 2019 (SAGAN), section 3, equations 1 to 3.

    Args:
        channels: D, the number of channels of f and g; an eighth of the input's by default.
        wrap: makes the layer around each convolution; `SpectralNorm` in SAGAN, in G and in D. It must be linear in x.
        init: the initializer of the convolutions' w.
    """

    separable: ClassVar[bool] = True
    gamma: Parameter

    def __init__(
        self,
        channels: int | None = None,
        *,
        wrap: Callable[[Conv2D], Layer] = lambda convolution: convolution,
        init: Initializer = GlorotUniform(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.channels = None if channels is None else whole(channels, "channels", of=self.path)
        self.wrap = wrap
        self.init = expect_initializer(init, "init", of=self.path)
        self.projections: tuple[Layer, ...] = ()

    def infer(self, input_shape: Shape) -> Shape:
        _, _, C = self.expect_image(input_shape)
        D = self.channels or max(1, C // 8)
        self.gamma = self.add_parameter("gamma", (1,), Constant(0))
        self.projections = tuple(self.wrap(Conv2D(n, 1, bias=False, init=self.init)) for n in (D, D, C))
        for name, layer in self.children():
            layer.setup(input_shape, f"{self.path}.{name}")
        return input_shape

    def children(self) -> Iterator[tuple[str, Layer]]:
        return zip("fgh", self.projections, strict=False)

    def forward(
        self, x: Array, *, train: bool, rng: np.random.Generator | None = None
    ) -> tuple[Array, SelfAttentionCache]:
        outputs, inner = zip(*(layer.forward(x, train=train, rng=rng) for layer in self.projections), strict=True)
        f, g, h = map(self._pixels, outputs)
        o, B = attend(f, g, h, self.kernels)
        y = self._sum(x, self.gamma.value * o.reshape(x.shape))
        return y, SelfAttentionCache(f, g, h, B, o, inner)

    def backward(
        self, dy: Array, cache: SelfAttentionCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        if grads is None and not need_dx:
            return None
        if grads is not None:
            dgamma = grads[self.gamma]
            dgamma += (self._pixels(dy) * cache.o).sum()
        dx = dy
        for layer, d, inner in zip(self.projections, self._attention_grad(dy, cache), cache.inner, strict=True):
            part = layer.backward(d, inner, grads=grads, need_dx=need_dx)
            dx = self._sum(dx, part) if need_dx else dx
        return dx if need_dx else None

    def backward_recorded(self, dy: Array, cache: SelfAttentionCache) -> tuple[Array, SelfAttentionRecord]:
        dx, records = dy, []
        for layer, d, inner in zip(self.projections, self._attention_grad(dy, cache), cache.inner, strict=True):
            part, record = layer.backward_recorded(d, inner)
            dx = self._sum(dx, part)
            records.append(record)
        return dx, SelfAttentionRecord(dy, tuple(records))

    def double_backward(
        self, v: Array, record: SelfAttentionRecord, cache: SelfAttentionCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        f, g, h, B, _, inner = cache
        cotangents = (  # a convolution's backward does not depend on x: no dP/dx from here
            self._pixels(layer.double_backward(v, inner_record, inner_cache, grads=grads)[0])
            for layer, inner_record, inner_cache in zip(self.projections, record.inner, inner, strict=True)
        )
        dy, gamma = self._pixels(record.dy), self.gamma.value
        ddo, shares = attend_double_grad(tuple(cotangents), gamma * dy, f, g, h, B, self.kernels)
        if grads is not None:
            dgamma = grads[self.gamma]
            dgamma += (ddo * dy).sum()
        parts: list[Array] = [
            layer.backward(self._image(share), inner_cache, grads=grads)
            for layer, share, inner_cache in zip(self.projections, shares, inner, strict=True)
        ]
        return self._sum(v, gamma * self._image(ddo)), parts[0] + parts[1] + parts[2]

    def commit_statistics(self, cache: SelfAttentionCache) -> None:
        for layer, inner in zip(self.projections, cache.inner, strict=True):
            layer.commit_statistics(inner)

    @property
    def own_flops(self) -> int:
        H, W, C = self.input_shape
        return 2 * (H * W) ** 2 * (self.projections[0].output_shape[-1] + C)

    def _attention_grad(self, dy: Array, cache: SelfAttentionCache) -> Iterator[Array]:
        """The gradients of the three convolutions' outputs."""
        f, g, h, B, _, _ = cache
        return map(self._image, attend_grad(self.gamma.value * self._pixels(dy), f, g, h, B, self.kernels))

    def _pixels(self, image: Array) -> Array:
        return image.reshape(len(image), -1, image.shape[-1])

    def _image(self, pixels: Array) -> Array:
        return pixels.reshape(len(pixels), *self.input_shape[:2], -1)

    def _sum(self, a: Array, b: Array) -> Array:
        return self.kernels.xp.add(a, b, out=self.kernels.empty(a.shape, a.dtype))
