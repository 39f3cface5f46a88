"""Padding as a layer of its own, for borders that a convolution's zeros would show."""

from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.backends.geometry import IntPair, resolve_padding
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients


class ReflectionPadding2D(Layer):
    """Reflection padding: images go on beyond their borders as their own mirror images.

    The border itself is not repeated: 1 2 3 4 with a padding of 2 becomes 3 2 1 2 3 4 3 2. A convolution without
    padding behind it sees no zeros, and leaves no frame (Zhu et al. 2017, appendix 7.2). A linear map, so double
    backward is forward again; backward adds each mirror image's gradient to that of the pixel it shows.

    Args:
        padding: an int, a pair (vertical, horizontal), or ((top, bottom), (left, right)); less than the image's sides.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    sides: tuple[IntPair, IntPair]  # ((top, bottom), (left, right))

    def __init__(self, padding: int | IntPair | tuple[IntPair, IntPair] = 1) -> None:
        super().__init__()
        self.padding = padding
        self.sides = self._resolved()

    def _resolved(self) -> tuple[IntPair, IntPair]:
        if isinstance(self.padding, str):
            raise ShapeError(
                f"{self.path}: padding must be an int, a pair or a pair of pairs, got {self.padding!r}. Write the "
                "number of pixels, such as ReflectionPadding2D(3)."
            )
        try:
            return resolve_padding(self.padding, (1, 1), (1, 1), (1, 1))
        except ShapeError as error:
            raise ShapeError(f"{self.path}: {error}".replace("'same', 'valid', ", "").replace("'same'", "1")) from None

    def infer(self, input_shape: Shape) -> Shape:
        H, W, C = self.expect_image(input_shape)
        (top, bottom), (left, right) = self.sides
        if max(top, bottom) >= H or max(left, right) >= W:
            raise ShapeError(
                f"{self.path}: an image of {H}x{W} pixels cannot be reflected {max(top, bottom)} rows and "
                f"{max(left, right)} columns far. Use larger images or less padding."
            )
        return H + top + bottom, W + left + right, C

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self.kernels.reflect_pad(x, padding=self.sides), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.kernels.reflect_pad_grad(dy, padding=self.sides) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self.kernels.reflect_pad(v, padding=self.sides), None

    @property
    def own_flops(self) -> int:
        return 0

    def describe(self) -> str:
        (top, bottom), (left, right) = self.sides
        one = top == bottom == left == right
        return f"ReflectionPadding2D {top if one else f'{top} {bottom} {left} {right}'}"
