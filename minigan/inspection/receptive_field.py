"""The receptive field: how much of a network's input one number of a layer's output depends on.

An interval of output pixels is followed back through the layers to the input pixels that it is computed from, down and
across alike. The answer is that of the pixel that sees most.
"""

from collections.abc import Iterator, Sequence
from functools import singledispatch
from typing import NamedTuple

from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dropout,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    GlobalAveragePooling2D,
    GroupNorm,
    Layer,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
    Modulated,
    NoiseInjection,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Color, Cutout
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting

__all__ = ["Span", "reach", "receptive_fields", "seen_by"]


class Span(NamedTuple):
    """Pixels from first to last along one axis."""

    first: int
    last: int


Chain = Sequence[Layer]


def receptive_fields(network: Sequential) -> dict[str, tuple[int, int] | None]:
    """The receptive field of each layer inside, by path: (height, width) of the network's input; None is all of it."""
    return {layer.path: seen_by([*before, layer]) for before, layer in _chains(network, [])}


def _chains(layer: Layer, before: list[Layer]) -> Iterator[tuple[list[Layer], Layer]]:
    """Each layer inside, with those that lie between the network's input and its own."""
    if isinstance(layer, Sequential):
        for index, inner in enumerate(layer):
            here = [*before, *layer.layers[:index]]
            yield here, inner
            yield from _chains(inner, here)
        return
    for _, inner in layer.children():
        if not isinstance(inner, Sequential):
            yield before, inner
        yield from _chains(inner, before)


def seen_by(chain: Chain) -> tuple[int, int] | None:
    """The height and width of the input that one output number of a chain of built layers sees; None for all of it."""
    output, source = chain[-1].output_shape, chain[0].input_shape
    if len(output) != 3 or len(source) != 3:
        return None
    sides = []
    for axis in (0, 1):
        spans = [_back(chain, axis, Span(pixel, pixel)) for pixel in range(output[axis])]
        widths = [span.last - span.first + 1 for span in spans if span is not None]
        if len(widths) < len(spans):
            return None
        sides.append(max(widths))
    if all(side >= whole for side, whole in zip(sides, source, strict=False)):
        return None
    return sides[0], sides[1]


def _back(chain: Chain, axis: int, span: Span | None) -> Span | None:
    for layer in reversed(chain):
        if span is None:
            return None
        span = reach(layer, axis, span)
    return span


@singledispatch
def reach(layer: Layer, axis: int, span: Span) -> Span | None:  # noqa: ARG001
    """The input pixels that these output pixels of a layer are computed from; register one for a class of your own.

    Args:
        layer: built.
        axis: 0 down, 1 across.
        span: of the output; it may reach beyond the image.
    Returns:
        The span of the input; None for all of it, also where nothing is registered.
    """
    return None


@reach.register(BatchNorm)
@reach.register(Bias)
@reach.register(LeakyReLU)
@reach.register(Maxout)
@reach.register(Tanh)
@reach.register(Sigmoid)
@reach.register(Dropout)
@reach.register(MinibatchStdDev)
@reach.register(PixelNorm)
@reach.register(ConcatCondition)
@reach.register(ConditionalAffine)
@reach.register(NoiseInjection)
@reach.register(Pack)
@reach.register(Color)
@reach.register(Cutout)
def _same(layer: Layer, axis: int, span: Span) -> Span:  # noqa: ARG001
    """Pixel by pixel; statistics over the batch and over whole images are not counted."""
    return span


@reach.register
def _group(layer: GroupNorm, axis: int, span: Span) -> Span:  # noqa: ARG001
    return span


@reach.register(Conv2D)
@reach.register(FIRDownSampling2D)
def _conv(layer: Conv2D | FIRDownSampling2D, axis: int, span: Span) -> Span:
    g = layer.geometry
    stride, before, taps = g.stride[axis], g.padding[axis][0], (g.R, g.S)[axis]
    return Span(span.first * stride - before, span.last * stride - before + taps - 1)


@reach.register(ConvTranspose2D)
@reach.register(FIRUpSampling2D)
def _transposed(layer: ConvTranspose2D | FIRUpSampling2D, axis: int, span: Span) -> Span:
    g = layer.geometry
    stride, before, taps = g.stride[axis], g.padding[axis][0], (g.R, g.S)[axis]
    return Span(-((taps - 1 - span.first - before) // stride), (span.last + before) // stride)


@reach.register(UpSampling2D)
@reach.register(PixelShuffle)
def _enlarged(layer: UpSampling2D, axis: int, span: Span) -> Span:
    return Span(span.first // layer.factor[axis], span.last // layer.factor[axis])


@reach.register
def _mirrored(layer: ReflectionPadding2D, axis: int, span: Span) -> Span:
    """The pixels themselves and, near a border, those that are mirrored there."""
    (before, _), side = layer.sides[axis], layer.input_shape[axis]
    places = range(max(span.first, 0), min(span.last, layer.output_shape[axis] - 1) + 1)
    seen = [abs(place - before) for place in places]
    seen = [at if at < side else 2 * (side - 1) - at for at in seen]
    return Span(min(seen, default=0), max(seen, default=0))


@reach.register
def _pooled(layer: AveragePooling2D, axis: int, span: Span) -> Span:
    factor = layer.factor[axis]
    return Span(span.first * factor, (span.last + 1) * factor - 1)


@reach.register
def _globally(layer: GlobalAveragePooling2D, axis: int, span: Span) -> None:  # noqa: ARG001
    return None


@reach.register(SpectralNorm)
@reach.register(EqualizedRate)
def _wrapped(layer: SpectralNorm | EqualizedRate, axis: int, span: Span) -> Span | None:
    return reach(layer.inner, axis, span)


@reach.register
def _modulated(layer: Modulated, axis: int, span: Span) -> Span | None:
    return reach(layer.inner, axis, span)


@reach.register
def _sequence(layer: Sequential, axis: int, span: Span) -> Span | None:
    return _back(layer.layers, axis, span)


@reach.register(Residual)
@reach.register(SkipConcat)
@reach.register(Parallel)
@reach.register(Inpainting)
def _branches(layer: Layer, axis: int, span: Span) -> Span | None:
    """The span around those of all branches; a shortcut without layers sees the pixel itself."""
    spans = [_back([inner], axis, span) for _, inner in layer.children()]
    if isinstance(layer, SkipConcat | Inpainting) or (isinstance(layer, Residual) and layer.shortcut is None):
        spans.append(span)
    known = [found for found in spans if found is not None]
    if len(known) < len(spans):
        return None
    return Span(min(s.first for s in known), max(s.last for s in known))
