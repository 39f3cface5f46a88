"""Layers that move numbers without changing them: linear maps, so double backward is forward again."""

import math
from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.backends.geometry import IntPair, pair, times
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import shape_of


class Reshape(Layer):
    """Reshapes each example. A view: nothing is copied.

    Args:
        shape: the new shape without the batch axis, such as (4, 4, 256).
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape_of(shape, "shape", of=self.path, example=(4, 4, 256), empty=True)

    def infer(self, input_shape: Shape) -> Shape:
        if math.prod(self.shape) != math.prod(input_shape):
            raise ShapeError(
                f"{self.path}: cannot reshape {input_shape} ({math.prod(input_shape)} numbers) into "
                f"{self.shape} ({math.prod(self.shape)}). Make the sizes equal."
            )
        return self.shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return x.reshape(-1, *self.output_shape), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return dy.reshape(-1, *self.input_shape) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return v.reshape(-1, *self.output_shape), None

    @property
    def own_flops(self) -> int:
        return 0


class Flatten(Reshape):
    """Flattens each example to a vector: (H, W, C) becomes (H * W * C,)."""

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(())

    def infer(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


class UpSampling2D(Layer):
    """Nearest-neighbor enlargement: each pixel is repeated, (H, W, C) becomes (H * factor, W * factor, C).

    Followed by a `Conv2D` it is the resize-convolution, which enlarges without checkerboards (Odena et al. 2016).

    Args:
        factor: one int or a pair (vertical, horizontal).
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(self, factor: int | IntPair = 2) -> None:
        super().__init__()
        self.factor = pair(factor, f"{self.path}: factor")

    def infer(self, input_shape: Shape) -> Shape:
        H, W, C = self.expect_image(input_shape)
        return H * self.factor[0], W * self.factor[1], C

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self.kernels.upsample_nearest(x, factor=self.factor), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.kernels.upsample_nearest_grad(dy, factor=self.factor) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self.kernels.upsample_nearest(v, factor=self.factor), None

    def describe(self) -> str:
        return f"UpSampling2D x{times(self.factor)}"


class PixelShuffle(Layer):
    """Pixel shuffle: channels become pixels, (H, W, factor² * C) becomes (H * factor, W * factor, C).

    After a convolution with factor² * C filters it is the sub-pixel convolution. It has as many weights as a transposed
    convolution of factor times the filter's size, and covers every output pixel equally often. A pixel's C channels
    stay neighbors, as in the paper and in TensorFlow's depth_to_space; PyTorch has the factor² innermost.

    Source: Shi et al. 2016, equation 4.

    Args:
        factor: one int or a pair (vertical, horizontal).
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(self, factor: int | IntPair = 2) -> None:
        super().__init__()
        self.factor = pair(factor, f"{self.path}: factor")

    def infer(self, input_shape: Shape) -> Shape:
        H, W, C = self.expect_image(input_shape)
        down, across = self.factor
        if C % (down * across):
            raise ShapeError(
                f"{self.path}: expected a multiple of {down} * {across} channels, one for each new pixel, got {C} from "
                f"the layer before. Let it end with {down * across * max(1, C // (down * across))} channels."
            )
        return H * down, W * across, C // (down * across)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self.kernels.depth_to_space(x, factor=self.factor), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.kernels.space_to_depth(dy, factor=self.factor) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self.kernels.depth_to_space(v, factor=self.factor), None

    @property
    def own_flops(self) -> int:
        return 0

    def describe(self) -> str:
        return f"PixelShuffle x{times(self.factor)}"
