"""Resampling by a finite impulse response (FIR): images enlarged and reduced with a low-pass filter.

A stride alone keeps frequencies that the smaller image cannot hold, and repeated pixels have edges that the larger one
should not: both alias. A short filter in front, or behind, takes these frequencies away (Zhang 2019). The filter is the
same for each channel, a depthwise convolution, so both layers are passes of its family: enlarging is reducing
transposed, times the number of new pixels for each old one.
"""

from collections.abc import Sequence
from typing import ClassVar

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
from minigan.errors import ConfigError, ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import kind_of, number


class FIRDownSampling2D(Layer):
    """Reduces an image by a low-pass filter and a stride: (H, W, C) becomes (H / factor, W / factor, C).

    y[n,p,q,c] = sum_{r,s} f[r] f[s] x[n, p*factor+r-top, q*factor+s-left, c], with zeros outside the image and f =
    taps / sum(taps). It is linear, so backward is its transpose and double backward is forward again.

    Args:
        factor: the step from pixel to pixel; one int or a pair (vertical, horizontal). 1 only smooths.
        taps: the filter along either side, of any length; divided by its sum.
        padding: zeros around the image: "same" (as little as makes H / factor pixels), an int, a pair, or ((top,
            bottom), (left, right)).
        gain: multiplies the result; 4 behind a transposed convolution with stride 2, of whose inputs 3/4 are zeros.
    Source: Karras et al. 2019 ("A Style-Based Generator Architecture"), appendix C, for [1, 2, 1]; with [1, 3, 3, 1]
        Karras et al. 2020 ("Analyzing and Improving the Image Quality of StyleGAN"), appendix B.
    """

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    geometry: ConvGeometry  # of the convolution, whichever of its passes is forward
    filter: Array  # (R, R, 1, C)

    def __init__(
        self,
        factor: int | IntPair = 2,
        *,
        taps: Sequence[float] = (1, 3, 3, 1),
        padding: Padding = "same",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.factor = pair(factor, f"{self.path}: factor")
        self.taps = self._checked_taps(taps)
        self.padding = self._checked_padding(padding)
        self.gain = number(gain, "gain", of=self.path, above=0)

    def _checked_taps(self, taps: Sequence[float]) -> tuple[float, ...]:
        numbers = np.asarray(taps)
        if numbers.ndim != 1 or not len(numbers) or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
            raise ConfigError(
                f"{self.path}: taps must be the numbers of a filter, got {kind_of(taps)}. Write taps=(1, 3, 3, 1)."
            )
        if not numbers.sum():
            raise ConfigError(
                f"{self.path}: the taps add up to 0, so the filter takes away the image's mean, got {tuple(taps)}. "
                "Write taps=(1, 3, 3, 1)."
            )
        return tuple(numbers.tolist())

    def _checked_padding(self, padding: Padding) -> Padding:
        """The padding, if it is one for any size of image."""
        filter = (len(self.taps), len(self.taps))
        try:
            resolve_padding(padding, filter, filter, self.factor)
        except ShapeError as error:
            raise ShapeError(f"{self.path}: {error}") from None
        return padding

    def infer(self, input_shape: Shape) -> Shape:
        image = self.expect_image(input_shape)
        try:
            self.geometry = self.infer_geometry(image)
        except ShapeError as error:
            raise ShapeError(f"{self.path}: {error}") from None
        return self.geometry.output_shape

    def infer_geometry(self, image: tuple[int, int, int]) -> ConvGeometry:
        """Geometry of the convolution."""
        H, W, C = image
        if self.padding == "same" and (H % self.factor[0] or W % self.factor[1]):
            raise ShapeError(
                f"a factor of {times(self.factor)} does not divide images of {H}x{W}. Choose a factor that divides "
                "both sides, or give the padding."
            )
        return conv_geometry(image, C, (len(self.taps), len(self.taps)), self.factor, self.padding, groups=C)

    def plan(self, *, fuse: bool) -> None:
        """Lays the filter out for the kernels."""
        f = np.array(self.taps, np.float64) / sum(self.taps)
        outer = self.scale * np.outer(f, f)[:, :, None, None] * np.ones(self.geometry.C)
        self.filter = self.kernels.asarray(outer, dtype=self.dtype)

    @property
    def scale(self) -> float:
        """The factor of the filter."""
        return self.gain

    def reduce(self, x: Array) -> Array:
        """The convolution: (N, H, W, C) to (N, P, Q, C)."""
        return self.kernels.conv2d(x, self.filter, None, self.geometry)

    def enlarge(self, y: Array) -> Array:
        """Its transpose: (N, P, Q, C) to (N, H, W, C)."""
        return self.kernels.conv2d_input_grad(y, self.filter, self.geometry)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self.reduce(x), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.enlarge(dy) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self.reduce(v), None

    @property
    def own_flops(self) -> int:
        g = self.geometry
        return 2 * g.P * g.Q * g.R * g.S * g.C

    def describe(self) -> str:
        sign = "x" if isinstance(self, FIRUpSampling2D) else "/"
        return f"{type(self).__name__} {sign}{times(self.factor)} [{' '.join(f'{tap:g}' for tap in self.taps)}]"


class FIRUpSampling2D(FIRDownSampling2D):
    """Enlarges an image by zeros between its pixels and a low-pass filter: (H, W, C) becomes (H * factor, ..., C).

    It is `FIRDownSampling2D` transposed, times the number of new pixels for each old one, so that a constant image
    stays what it is (but at the border, where zeros lie outside). With [1, 3, 3, 1] and factor 2, new pixels are 3/4 of
    the nearer and 1/4 of the farther pixel: linear interpolation.

    Args:
        factor, taps, gain: see `FIRDownSampling2D`.
        padding: of the convolution that it is the transpose of, so as much is cut off here.
    """

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def infer(self, input_shape: Shape) -> Shape:
        super().infer(input_shape)
        return self.geometry.input_shape

    def infer_geometry(self, image: tuple[int, int, int]) -> ConvGeometry:
        filter = (len(self.taps), len(self.taps))
        return conv_transpose_geometry(image, image[-1], filter, self.factor, self.padding, (0, 0), groups=image[-1])

    @property
    def scale(self) -> float:
        return self.gain * self.factor[0] * self.factor[1]

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self.enlarge(x), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.reduce(dy) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self.enlarge(v), None
