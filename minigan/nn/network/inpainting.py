"""A generator that fills a hole and leaves the rest of the image as it is."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.network import Sequential, Tape
from minigan.nn.network.combinators import Block
from minigan.nn.parameters import Gradients

__all__ = ["Inpainting"]


class InpaintingCache(NamedTuple):
    x: Array  # by reference
    drawn: Array  # f(x)
    inner: Tape


class Inpainting(Block):
    """A hole filled: y = m * f(x) + (1 - m) * image, with x = [image, m]; the mask m is 1 in the hole, 0 elsewhere.

    The known pixels stay exactly as they are, and no weight is spent on copying them.

    Source: Pathak et al. 2016, "Context Encoders", section 3; their mask is 1 in the hole, too.

    Args:
        layers: f, from (H, W, C + 1) to (H, W, C).
    """

    separable: ClassVar[bool] = True

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.inner = Sequential(layers, name=f"{self.path}.inner")

    def infer(self, input_shape: Shape) -> Shape:
        H, W, channels = self.expect_image(input_shape)
        shape = self.inner.setup(input_shape, f"{self.path}.inner")
        if shape != (H, W, channels - 1):
            raise ShapeError(
                f"{self.path}: expected inner layers that draw {(H, W, channels - 1)}, an image without the mask of "
                f"{input_shape}, got {shape}. Let them keep the size and end with {channels - 1} channels."
            )
        return shape

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner

    def given(self, condition: Array | None) -> Self:
        bound = copy(self)
        bound.inner = self.inner.given(condition)
        return self if bound.inner is self.inner else bound

    def forward(
        self, x: Array, *, train: bool, rng: np.random.Generator | None = None
    ) -> tuple[Array, InpaintingCache]:
        drawn, tape = self.inner.forward(x, train=train, rng=rng)
        image, mask = x[..., :-1], x[..., -1:]
        y = self.kernels.xp.subtract(drawn, image, out=self.kernels.empty(drawn.shape, drawn.dtype))
        y *= mask
        y += image
        return y, InpaintingCache(x, drawn, tape)

    def backward(
        self, dy: Array, cache: InpaintingCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        dx = self.inner.backward(self._in_hole(dy, cache), cache.inner, grads=grads, need_dx=need_dx)
        return None if dx is None else self._with_direct(dx, dy, cache)

    def backward_recorded(self, dy: Array, cache: InpaintingCache) -> tuple[Array, tuple[Array, Any]]:
        dx, record = self.inner.backward_recorded(self._in_hole(dy, cache), cache.inner)
        return self._with_direct(dx, dy, cache), (dy, record)

    def _in_hole(self, dy: Array, cache: InpaintingCache) -> Array:
        return self.kernels.xp.multiply(dy, cache.x[..., -1:], out=self.kernels.empty(dy.shape, dy.dtype))

    def _with_direct(self, dx: Array, dy: Array, cache: InpaintingCache) -> Array:
        """dx through f, and what y owes to the image and to the mask themselves."""
        image, mask = cache.x[..., :-1], cache.x[..., -1:]
        direct = [(1 - mask) * dy, (dy * (cache.drawn - image)).sum(axis=-1, keepdims=True)]
        total: Array = dx + self.kernels.xp.concatenate(direct, axis=-1)
        return total

    def double_backward(
        self, v: Array, record: tuple[Array, Any], cache: InpaintingCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        dy, inner_record = record
        image, mask = cache.x[..., :-1], cache.x[..., -1:]
        v_image, v_mask = v[..., :-1], v[..., -1:]
        ddinner, ddx = self.inner.double_backward(v, inner_record, cache.inner, grads=grads)
        ddy = mask * ddinner + (1 - mask) * v_image + v_mask * (cache.drawn - image)
        # The mask's own dx holds f(x), which depends on x and on f's weights.
        dx: Array = self.inner.backward(v_mask * dy, cache.inner, grads=grads)
        direct = [-v_mask * dy, (dy * (ddinner - v_image)).sum(axis=-1, keepdims=True)]
        dx = dx + self.kernels.xp.concatenate(direct, axis=-1)
        return ddy, dx if ddx is None else dx + ddx

    def commit_statistics(self, cache: InpaintingCache) -> None:
        self.inner.commit_statistics(cache.inner)

    @property
    def own_flops(self) -> int:
        return 3 * int(np.prod(self.output_shape))
