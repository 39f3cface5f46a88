"""Pooling by averages and sums: linear maps, the adjoints of repeating pixels."""

from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.backends.geometry import IntPair, pair, times
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients


class AveragePooling2D(Layer):
    """Average pooling: each block of pixels becomes its mean, (H, W, C) becomes (H / factor, W / factor, C).

    The counterpart in D's residual blocks of `UpSampling2D` in G's (Miyato et al. 2018, appendix B.4).

    Args:
        factor: the size of a block and the step from one to the next; one int or a pair (vertical, horizontal).
    """

    separable: ClassVar[bool] = True
    share: float  # the weight of a pixel in its block's result

    def __init__(self, factor: int | IntPair = 2) -> None:
        super().__init__()
        self.factor = pair(factor, f"{self.path}: factor")

    def infer(self, input_shape: Shape) -> Shape:
        H, W, C = self.expect_image(input_shape)
        down, across = self.factor
        if H % down or W % across:
            raise ShapeError(
                f"{self.path}: blocks of {down}x{across} pixels do not divide images of {H}x{W}. "
                "Choose a factor that divides both sides."
            )
        self.share = 1 / (down * across)
        return H // down, W // across, C

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self._pool(x), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if not need_dx:
            return None
        (H, W, C), (down, across) = self.input_shape, self.factor
        shares = (dy * self.share).reshape(len(dy), H // down, W // across, C)
        return self.kernels.upsample_nearest(shares, factor=self.factor)

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self._pool(v), None

    def _pool(self, x: Array) -> Array:
        sums = self.kernels.upsample_nearest_grad(x, factor=self.factor)
        sums *= self.share
        return sums.reshape(len(x), *self.output_shape)

    @property
    def own_flops(self) -> int:
        return int(np.prod(self.input_shape))

    def describe(self) -> str:
        return f"{type(self).__name__} /{times(self.factor)}"


class GlobalAveragePooling2D(AveragePooling2D):
    """Global average pooling: y[n,c] is the mean of x[n,:,:,c]; images become vectors.

    Source: Lin et al. 2014, section 3.2.
    """

    separable: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()

    def infer(self, input_shape: Shape) -> Shape:
        H, W, C = self.expect_image(input_shape)
        self.factor, self.share = (H, W), 1 / (H * W)
        return (C,)

    def describe(self) -> str:
        return type(self).__name__


class GlobalSumPooling2D(GlobalAveragePooling2D):
    """Global sum pooling: y[n,c] is the sum of x[n,:,:,c]; images become vectors.

    Source: the end of SNGAN's D (Miyato et al. 2018, table 4).
    """

    separable: ClassVar[bool] = True

    def infer(self, input_shape: Shape) -> Shape:
        output_shape = super().infer(input_shape)
        self.share = 1.0
        return output_shape
