"""Convolution and transposed convolution.

The three kernels `conv2d`, `conv2d_input_grad` and `conv2d_weight_grad` are closed under differentiation: every
pass of both layers is one of them. A transposed convolution *is* the input gradient of a convolution, so its three
passes are those of `Conv2D` with the two ends swapped.
"""

from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.backends.geometry import (
    ConvGeometry,
    IntPair,
    Padding,
    conv_geometry,
    conv_transpose_geometry,
    pair,
    times,
)
from minigan.errors import ShapeError
from minigan.nn.initializers import Constant, GlorotUniform, Initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.layers.plain_filter import Taps
from minigan.nn.parameters import Gradients


class ConvCache(NamedTuple):
    x: Array  # (N, H, W, C), by reference


class Conv2D(Layer):
    """y[n,p,q,k] = b[k] + sum_{r,s,c} w[r,s,c,k] * x[n, p*stride+r-top, q*stride+s-left, c].

    With a dilation r and s are multiplied by it: the filter has gaps. With groups, c and k are of the same group. The
    kernels are then given a plain filter that has zeros there (`minigan.nn.layers.plain_filter`): weights are saved,
    not time.

    Args:
        channels: K, how many filters.
        filter: R S, one int or a pair.
        stride: one int or a pair.
        padding: "same", "valid", an int, a pair, or ((top, bottom), (left, right)).
        dilation: one int or a pair. Source: Yu & Koltun 2016, equation 2.
        groups: of neighbouring channels; divides C and K. Source: Krizhevsky et al. 2012, section 3.5.
        bias: whether to add b; none is needed where BatchNorm follows.
        init: of w, (R, S, C / groups, K).
    """

    # The kernels of y, dx and dw.
    PASSES: ClassVar[tuple[str, ...]] = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")

    geometry: ConvGeometry

    def __init__(
        self,
        channels: int,
        filter: int | IntPair,
        *,
        stride: int | IntPair = 1,
        padding: Padding = "same",
        dilation: int | IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = GlorotUniform(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ShapeError(f"{self.path}: channels must be positive, got {channels}.")
        if groups < 1:
            raise ShapeError(f"{self.path}: groups must be positive, got {groups}.")
        self.channels = channels
        self.filter = pair(filter, "filter")
        self.taps = Taps(pair(dilation, "dilation"), groups)
        self.stride = pair(stride, "stride")
        self.padding = padding
        self.bias = bias
        self.init = init

    def infer(self, input_shape: Shape) -> Shape:
        image = self.expect_image(input_shape)
        try:
            self.geometry = self.infer_geometry(image, self.taps.extent(self.filter))
            shape = self.taps.weight_shape(self.filter, self.geometry.C, self.geometry.K)
        except ShapeError as error:
            raise ShapeError(f"{self.path}: {error}") from None
        self.w = self.add_parameter("w", shape, self.init)
        self.b = self.add_parameter("b", (self.channels,), Constant(0)) if self.bias else None
        return self.geometry.output_shape

    def infer_geometry(self, input_shape: Shape, filter: IntPair) -> ConvGeometry:
        """Of the convolution that the kernels compute, with the filter's whole extent."""
        return conv_geometry(input_shape, self.channels, filter, self.stride, self.padding)

    def plain_filter(self) -> Array:
        """w, or where it has gaps or groups the filter with zeros that stands for it: (R, S, C, K)."""
        w = self.w.value
        return w if self.taps.plain else self.taps.spread(w, self.geometry.weight_shape, self.kernels)

    def add_weight_gradient(self, x: Array, dy: Array, *, add_to: Array) -> None:
        """add_to += dw, for the kernels' x and dy."""
        if self.taps.plain:
            self.kernels.conv2d_weight_grad(x, dy, self.geometry, add_to=add_to)
            return
        dF = self.kernels.empty(self.geometry.weight_shape, add_to.dtype)
        dF.fill(0)
        self.kernels.conv2d_weight_grad(x, dy, self.geometry, add_to=dF)
        self.taps.gather(dF, add_to=add_to)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, ConvCache]:
        b = self.b.value if self.b else None
        return self.kernels.conv2d(x, self.plain_filter(), b, self.geometry), ConvCache(x)

    def backward(self, dy: Array, cache: ConvCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.add_weight_gradient(cache.x, dy, add_to=grads[self.w])
            if self.b:
                self.kernels.channel_sum(dy, add_to=grads[self.b])
        return self.kernels.conv2d_input_grad(dy, self.plain_filter(), self.geometry) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: ConvCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.add_weight_gradient(v, record, add_to=grads[self.w])
        return self.kernels.conv2d(v, self.plain_filter(), None, self.geometry), None

    @property
    def flops(self) -> int:
        return 2 * self.geometry.P * self.geometry.Q * self.w.size

    def describe(self) -> str:
        stride = "" if self.stride == (1, 1) else f" /{times(self.stride)}"
        dilation = "" if self.taps.dilation == (1, 1) else f" dilated {times(self.taps.dilation)}"
        groups = "" if self.taps.groups == 1 else f" in {self.taps.groups} groups"
        return f"{type(self).__name__} {self.filter[0]}x{self.filter[1]}{stride}{dilation}{groups}"

    def algorithms(self, batch_size: int) -> tuple[str, ...]:
        names = (self.kernels.algorithm(kernel, self.geometry, batch_size, self.dtype) for kernel in self.PASSES)
        return tuple(name for name in names if name is not None)


class ConvTranspose2D(Conv2D):
    """The input gradient of a convolution, used as a layer: a stride enlarges the image.

    x (N, h, w, c) becomes y (N, H, W, K) with H = (h - 1) * stride - pads + R + output_padding; with "same" padding
    H = h * stride. w keeps the layout of the convolution that would map y back to x: (R, S, K / groups, c), as in
    Keras.

    A filter that the stride divides (4x4 with stride 2) covers every output pixel equally often; others draw
    checkerboards (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").

    Args:
        output_padding: extra rows and columns at the bottom and right, less than the stride.
    """

    PASSES: ClassVar[tuple[str, ...]] = ("conv2d_input_grad", "conv2d", "conv2d_weight_grad")

    def __init__(
        self,
        channels: int,
        filter: int | IntPair,
        *,
        stride: int | IntPair = 1,
        padding: Padding = "same",
        output_padding: int | IntPair = 0,
        dilation: int | IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = GlorotUniform(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(
            channels,
            filter,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
            init=init,
        )
        self.output_padding: IntPair = (
            (output_padding, output_padding) if isinstance(output_padding, int) else output_padding
        )

    def infer(self, input_shape: Shape) -> Shape:
        super().infer(input_shape)
        return self.geometry.input_shape

    def infer_geometry(self, input_shape: Shape, filter: IntPair) -> ConvGeometry:
        """Of the convolution that this one is the input gradient of."""
        return conv_transpose_geometry(
            input_shape, self.channels, filter, self.stride, self.padding, self.output_padding
        )

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, ConvCache]:
        b = self.b.value if self.b else None
        return self.kernels.conv2d_input_grad(x, self.plain_filter(), self.geometry, b=b), ConvCache(x)

    def backward(self, dy: Array, cache: ConvCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.add_weight_gradient(dy, cache.x, add_to=grads[self.w])
            if self.b:
                self.kernels.channel_sum(dy, add_to=grads[self.b])
        return self.kernels.conv2d(dy, self.plain_filter(), None, self.geometry) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: ConvCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.add_weight_gradient(record, v, add_to=grads[self.w])
        return self.kernels.conv2d_input_grad(v, self.plain_filter(), self.geometry), None
