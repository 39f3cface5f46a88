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
    resolve_padding,
    times,
)
from minigan.errors import ShapeError
from minigan.nn.initializers import Constant, GlorotUniform, Initializer, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.layers.plain_filter import Taps
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import flag, whole


class ConvCache(NamedTuple):
    x: Array  # (N, H, W, C), by reference


class Conv2D(Layer):
    """Convolution: y[n,p,q,k] = b[k] + sum_{r,s,c} w[r,s,c,k] * x[n, p*stride+r-top, q*stride+s-left, c].

    A dilation multiplies r and s: the filter has gaps. The kernels are then given a plain filter with zeros there
    (`minigan.nn.layers.plain_filter`), which saves weights, not time. In groups, an output k sees only the inputs c of
    its own group; that saves both.

    Args:
        channels: K, the number of filters.
        filter: its height R and width S; one int or a pair.
        stride: the step from window to window; one int or a pair.
        padding: "same", "valid", an int, a pair, or ((top, bottom), (left, right)).
        dilation: the step from tap to tap; one int or a pair. Source: Yu & Koltun 2016, equation 2.
        groups: the number of groups of neighboring channels; divides C and K. As many as channels filter each by
            itself ("depthwise"). Source: Krizhevsky et al. 2012, section 3.5.
        bias: add b, which starts at 0; not needed where BatchNorm follows.
        init: the initializer of w, (R, S, C / groups, K).
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    # The kernels of y, dx and dw.
    PASSES: ClassVar[tuple[str, ...]] = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")

    geometry: ConvGeometry
    w: Parameter
    b: Parameter | None

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
        self.channels = whole(channels, "channels", of=self.path)
        self.filter = pair(filter, f"{self.path}: filter")
        self.stride = pair(stride, f"{self.path}: stride")
        self.dilation = pair(dilation, f"{self.path}: dilation")
        self.groups = whole(groups, "groups", of=self.path)
        self.taps = Taps(self.dilation)
        self.padding = self._checked_padding(padding)
        self.bias = flag(bias, "bias", of=self.path)
        self.init = expect_initializer(init, "init", of=self.path)

    def _checked_padding(self, padding: Padding) -> Padding:
        """The padding, if it is one for any size of image."""
        try:
            resolve_padding(padding, self.filter, self.filter, self.stride)
        except ShapeError as error:
            raise ShapeError(f"{self.path}: {error}") from None
        return padding

    def takes_narrow(self) -> bool:
        return super().takes_narrow() and self.taps.plain  # `Taps` computes in NumPy

    def infer(self, input_shape: Shape) -> Shape:
        image = self.expect_image(input_shape)
        try:
            self.geometry = self.infer_geometry(image, self.taps.extent(self.filter))
        except ShapeError as error:
            raise ShapeError(f"{self.path}: {error}") from None
        self.w = self.add_parameter("w", (*self.filter, *self.geometry.weight_shape[2:]), self.init)
        self.b = self.add_parameter("b", (self.channels,), Constant(0)) if self.bias else None
        return self.geometry.output_shape

    def infer_geometry(self, input_shape: Shape, filter: IntPair) -> ConvGeometry:
        """Geometry of the convolution that the kernels compute, with the filter's whole extent."""
        return conv_geometry(input_shape, self.channels, filter, self.stride, self.padding, self.groups)

    def plain_filter(self) -> Array:
        """The filter (R, S, C / groups, K) for the kernels: w, or with gaps a filter with zeros in its place."""
        w = self.w.value
        return w if self.taps.plain else self.taps.spread(w, self.kernels)

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
        return self.taps.conv2d(x, self.w.value, b, self.geometry, self.kernels), ConvCache(x)

    def backward(self, dy: Array, cache: ConvCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.add_weight_gradient(cache.x, dy, add_to=grads[self.w])
            if self.b:
                self.kernels.channel_sum(dy, add_to=grads[self.b])
        return self.taps.conv2d_input_grad(dy, self.w.value, self.geometry, self.kernels) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: ConvCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.add_weight_gradient(v, record, add_to=grads[self.w])
        return self.taps.conv2d(v, self.w.value, None, self.geometry, self.kernels), None

    def extend(self, u: Array, record: Array, cache: ConvCache, *, grads: Gradients | None) -> Array:
        self.backward(record, ConvCache(u), grads=grads, need_dx=False)
        return self.forward(u, train=True)[0]

    @property
    def own_flops(self) -> int:
        return 2 * self.geometry.P * self.geometry.Q * self.w.size

    def describe(self) -> str:
        stride = "" if self.stride == (1, 1) else f" /{times(self.stride)}"
        dilation = "" if self.dilation == (1, 1) else f" dilated {times(self.dilation)}"
        groups = "" if self.groups == 1 else f" in {self.groups} groups"
        return f"{type(self).__name__} {self.filter[0]}x{self.filter[1]}{stride}{dilation}{groups}"

    def algorithms(self, batch_size: int) -> tuple[str, ...]:
        names = (self.kernels.algorithm(kernel, self.geometry, batch_size, self.dtype) for kernel in self.PASSES)
        return tuple(name for name in names if name is not None)


class ConvTranspose2D(Conv2D):
    """Transposed convolution, the input gradient of a convolution: a stride enlarges the image.

    x (N, h, w, c) becomes y (N, H, W, K) with H = (h - 1) * stride - pads + R + output_padding; with "same" padding
    H = h * stride. w keeps the layout of the convolution that would map y back to x: (R, S, K / groups, c), as in
    Keras.

    A filter that the stride divides (4x4 with stride 2) covers every output pixel equally often; others draw
    checkerboards (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").

    Args:
        channels, filter, stride, padding, dilation, groups, bias, init: see `Conv2D`.
        output_padding: extra rows and columns at the bottom and right, less than the stride.
    """

    narrow: ClassVar[bool] = True

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True
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
        self.output_padding = pair(output_padding, f"{self.path}: output_padding", least=0)

    def infer(self, input_shape: Shape) -> Shape:
        super().infer(input_shape)
        return self.geometry.input_shape

    def infer_geometry(self, input_shape: Shape, filter: IntPair) -> ConvGeometry:
        """Geometry of the convolution whose input gradient this is."""
        return conv_transpose_geometry(
            input_shape, self.channels, filter, self.stride, self.padding, self.output_padding, self.groups
        )

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, ConvCache]:
        b = self.b.value if self.b else None
        return self.taps.conv2d_input_grad(x, self.w.value, self.geometry, self.kernels, b=b), ConvCache(x)

    def backward(self, dy: Array, cache: ConvCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.add_weight_gradient(dy, cache.x, add_to=grads[self.w])
            if self.b:
                self.kernels.channel_sum(dy, add_to=grads[self.b])
        return self.taps.conv2d(dy, self.w.value, None, self.geometry, self.kernels) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: ConvCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.add_weight_gradient(record, v, add_to=grads[self.w])
        return self.taps.conv2d_input_grad(v, self.w.value, self.geometry, self.kernels), None
