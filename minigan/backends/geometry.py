"""Pure-integer geometry: the shapes of convolutions, without arrays.

Letters are the field's: image `H W`, channels `C`, filter `R S`, output channels `K`, output image `P Q`.
"""

from dataclasses import dataclass
from numbers import Integral
from typing import TypeGuard

from minigan.errors import ShapeError

__all__ = [
    "ConvGeometry",
    "IntPair",
    "Padding",
    "conv_geometry",
    "conv_transpose_geometry",
    "pair",
    "resolve_padding",
    "times",
]

IntPair = tuple[int, int]  # a vertical and a horizontal number; of one side's padding, before and after
Padding = str | int | IntPair | tuple[IntPair, IntPair]


def pair(value: int | IntPair, name: str, *, least: int = 1) -> IntPair:
    """`3` or `(3, 5)` as `(vertical, horizontal)`; at least `least` each."""
    result = value if isinstance(value, tuple | list) else (value, value)
    if not _is_pair(result, least=least):
        expected = "a positive int" if least == 1 else f"an int from {least} up"
        raise ShapeError(f"{name} must be {expected} or a pair of them, got {value!r}.")
    return int(result[0]), int(result[1])


def _is_pair(value: object, *, least: int) -> TypeGuard[IntPair]:
    return isinstance(value, tuple | list) and len(value) == 2 and all(_is_int(v) and v >= least for v in value)


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def times(pair: IntPair) -> str:
    """`(2, 2)` as "2", `(2, 3)` as "2x3": for summaries."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def resolve_padding(padding: Padding, size: IntPair, filter: IntPair, stride: IntPair) -> tuple[IntPair, IntPair]:
    """Padding as `((top, bottom), (left, right))`.

    `"valid"` is none; `"same"` makes `P = ceil(H / stride)`, the odd pixel at the bottom and right as in
    TensorFlow; an int or a pair pads symmetrically; a pair of pairs is taken as it is.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(size, filter, stride, strict=True)]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    both = (padding, padding) if _is_int(padding) else padding
    if not isinstance(both, tuple | list) or len(both) != 2:
        expected = "'same', 'valid', an int, a pair or a pair of pairs"
        raise ShapeError(f"padding must be {expected}, got {padding!r}. Write padding='same'.")
    vertical, horizontal = ((p, p) if _is_int(p) else p for p in both)
    if not (_is_pair(vertical, least=0) and _is_pair(horizontal, least=0)):
        raise ShapeError(f"padding must not be negative and has one or two values a side, got {padding!r}.")
    return (int(vertical[0]), int(vertical[1])), (int(horizontal[0]), int(horizontal[1]))


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """All integers of one convolution but the batch size.

    A convolution maps `x (N, H, W, C)` to `y (N, P, Q, K)` with `w (R, S, C / groups, K)`; the same object describes
    its input gradient (`y`'s shape to `x`'s) and its weight gradient. In groups, the k-th part of the outputs sees the
    k-th part of the channels alone: with as many groups as channels each is filtered by itself ("depthwise").
    """

    H: int
    W: int
    C: int
    K: int
    R: int
    S: int
    stride: IntPair = (1, 1)
    padding: tuple[IntPair, IntPair] = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    groups: int = 1  # of neighboring channels

    def __post_init__(self) -> None:
        if min(self.H, self.W, self.C, self.K, self.R, self.S, *self.stride) < 1:
            raise ShapeError(
                f"every size of a convolution must be at least 1: got image {self.H}x{self.W} with {self.C} "
                f"channels, {self.K} filters of {self.R}x{self.S}, stride {self.stride}."
            )
        if self.groups < 1 or self.C % self.groups or self.K % self.groups:
            raise ShapeError(
                f"{self.groups} groups do not divide {self.C} and {self.K} channels. Choose numbers of channels that "
                "they divide."
            )
        if self.P < 1 or self.Q < 1:
            raise ShapeError(
                f"a {self.R}x{self.S} filter does not fit into a {self.H}x{self.W} image with padding "
                f"{self.padding}. Use a smaller filter or more padding."
            )

    @property
    def P(self) -> int:
        """Output height."""
        return (self.H + sum(self.padding[0]) - self.R) // self.stride[0] + 1

    @property
    def Q(self) -> int:
        """Output width."""
        return (self.W + sum(self.padding[1]) - self.S) // self.stride[1] + 1

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.H, self.W, self.C

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(P, Q, K)."""
        return self.P, self.Q, self.K

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(R, S, C / groups, K)."""
        return self.R, self.S, self.C // self.groups, self.K

    @property
    def flops(self) -> int:
        """Floating-point operations per example (a multiply-add counts as two); the same for all three kernels."""
        return 2 * self.P * self.Q * self.R * self.S * self.C // self.groups * self.K


def conv_geometry(
    input_shape: tuple[int, ...], channels: int, filter: IntPair, stride: IntPair, padding: Padding, groups: int = 1
) -> ConvGeometry:
    """The convolution of an `(H, W, C)` image with `channels` filters."""
    H, W, C = input_shape
    pads = resolve_padding(padding, (H, W), filter, stride)
    return ConvGeometry(H, W, C, channels, *filter, stride, pads, groups)


def conv_transpose_geometry(
    input_shape: tuple[int, ...],
    channels: int,
    filter: IntPair,
    stride: IntPair,
    padding: Padding,
    output_padding: IntPair,
    groups: int = 1,
) -> ConvGeometry:
    """The convolution whose input gradient is a transposed convolution of an `(h, w, c)` image.

    That convolution maps the large image (`channels` deep) to the small one, so here `P Q K` are `h w c` and
    `H = (h - 1) * stride - pads + R + output_padding`. `"same"` makes `H = h * stride`, whatever the filter;
    an output padding goes beyond that only with explicit padding.
    """
    h, w, c = input_shape
    if any(not 0 <= o < s for o, s in zip(output_padding, stride, strict=True)):
        raise ShapeError(
            f"output_padding {output_padding} must be smaller than the stride {stride}: it only "
            "chooses among the image sizes that the convolution maps to the same output."
        )
    if padding == "same":
        if output_padding != (0, 0):
            raise ShapeError("output_padding goes with explicit padding; with 'same' the output is input * stride.")
        H, W = h * stride[0], w * stride[1]
        pads = resolve_padding("same", (H, W), filter, stride)
    else:
        pads = resolve_padding(padding, (h, w), filter, stride)
        H, W = (
            (n - 1) * s - sum(p) + r + o
            for n, s, p, r, o in zip((h, w), stride, pads, filter, output_padding, strict=True)
        )
    if H < 1 or W < 1:
        raise ShapeError(
            f"padding {padding} leaves nothing of a {h}x{w} image transposed with a "
            f"{filter[0]}x{filter[1]} filter and stride {stride}. Use less padding."
        )
    return ConvGeometry(H, W, channels, c, *filter, stride, pads, groups)
