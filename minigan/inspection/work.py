"""The arithmetic and the memory traffic of each pass of a layer, counted from its formulas.

A multiply-add is two operations, and a function such as exp or tanh is one. A convolution's taps on padding count like
the others, as they do in `Layer.flops` and in other counters; a filter's zeros in gaps do not. Bytes
are those that a pass cannot avoid: each array that it reads or writes, once. Layers that run as one do less.

The tests hold the products of these counts against the loops of the kernels' oracle.
"""

import math
from functools import singledispatch
from typing import NamedTuple, Self

from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    Dense,
    DiscriminativeBasis,
    Dropout,
    EqualizedRate,
    FIRDownSampling2D,
    GenerativeBasis,
    GroupNorm,
    InnerProduct,
    Layer,
    LeakyReLU,
    LearnedConstant,
    Maxout,
    MinibatchStdDev,
    Modulated,
    NoiseInjection,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Augmentation, Color
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.mapping import MappedCondition, MappingNetwork
from minigan.nn.network.styled import Styled
from minigan.nn.network.synthesis import OutputSkips

__all__ = ["Cost", "Work", "total", "work_of"]


class Cost(NamedTuple):
    """The arithmetic and the traffic of one pass.

    Attributes:
        flops: floating-point operations.
        reads, writes: bytes.
    """

    flops: int = 0
    reads: int = 0
    writes: int = 0

    def __add__(self, other: Self) -> "Cost":  # type: ignore[override]  # sums, not a longer tuple
        return Cost(*(one + more for one, more in zip(self, other, strict=True)))


class Work(NamedTuple):
    """The cost of each pass of a layer by itself, without the layers inside.

    Attributes:
        y: the forward pass in training.
        dx: the gradient of the input.
        dw: the gradients of the weights; None for a layer without weights.
        second: the gradient of the backward pass.
    """

    y: Cost
    dx: Cost
    dw: Cost | None
    second: Cost


class Sizes(NamedTuple):
    """Numbers in the arrays of a pass, and their bytes.

    Attributes:
        x: in x and dx.
        y: in y and dy.
        w: in the weights.
        itemsize: bytes of an activation.
        wide: how many times as many a weight has.
    """

    x: int
    y: int
    w: int
    itemsize: int
    wide: int

    @property
    def weights(self) -> int:
        """The activations that fill as many bytes as the weights do."""
        return self.w * self.wide

    @classmethod
    def of(cls, layer: Layer, batch_size: int, outputs: int | None = None) -> Self:
        """The sizes for so many examples, of which `Pack` alone makes another number."""
        weights = sum(p.size for p in layer.own_parameters)
        outputs = batch_size if outputs is None else outputs
        x, y = batch_size * math.prod(layer.input_shape), outputs * math.prod(layer.output_shape)
        return cls(x, y, weights, layer.activations.itemsize, layer.dtype.itemsize // layer.activations.itemsize)

    def cost(self, flops: float, *, reads: int, writes: int) -> Cost:
        """A cost whose traffic is given in activations."""
        return Cost(round(flops), reads * self.itemsize, writes * self.itemsize)


@singledispatch
def work_of(layer: Layer, batch_size: int) -> Work:
    """The work of a layer for a batch; register an implementation for a class of your own.

    Without one, each pass counts as much as the layer's own `own_flops` says of its forward pass, and double backward
    twice that: it computes two gradients.

    Args:
        layer: built.
        batch_size: the number of examples that go in.
    """
    s, flops = Sizes.of(layer, batch_size), layer.own_flops * batch_size
    return Work(
        s.cost(flops, reads=s.x + s.weights, writes=s.y),
        s.cost(flops, reads=s.x + s.y + s.weights, writes=s.x),
        s.cost(flops, reads=s.x + s.y + s.weights, writes=s.weights) if s.w else None,
        s.cost(2 * flops, reads=2 * s.x + s.y + 2 * s.weights, writes=s.x + s.y + s.weights),
    )


def total(works: list[Work]) -> Work:
    """The sums over layers."""
    zero = Cost()
    columns = [sum((getattr(work, name) or zero for work in works), zero) for name in Work._fields]
    return Work(*columns)


def _linear(s: Sizes, products: int, bias: int) -> Work:
    """y = w x + b with so many multiply-adds; each of the three gradients has as many, and double backward two of them.

    Args:
        bias: the number of biases; a sum over dy gives their gradients, and y gets them added.
    """
    w = s.weights - bias * s.wide
    return Work(
        s.cost(2 * products, reads=s.x + s.weights, writes=s.y),
        s.cost(2 * products, reads=s.y + w, writes=s.x),
        s.cost(2 * products, reads=s.x + s.y + s.weights, writes=s.weights),
        s.cost(4 * products, reads=s.x + s.y + 2 * w, writes=s.y + w),
    )


@work_of.register
def _conv(layer: Conv2D, batch_size: int) -> Work:
    positions = batch_size * layer.geometry.P * layer.geometry.Q
    return _linear(Sizes.of(layer, batch_size), positions * layer.w.size, layer.b.size if layer.b else 0)


@work_of.register
def _dense(layer: Dense, batch_size: int) -> Work:
    return _linear(Sizes.of(layer, batch_size), batch_size * layer.w.size, layer.b.size if layer.b else 0)


def _moved(s: Sizes, y: float = 0, dx: float = 0, second: float = 0) -> Work:
    """A linear map without weights: so many operations in all."""
    there, back = s.cost(y, reads=s.x, writes=s.y), s.cost(dx, reads=s.y, writes=s.x)
    return Work(there, back, None, s.cost(second, reads=s.x, writes=s.y))


@work_of.register
def _view(layer: Reshape, batch_size: int) -> Work:  # noqa: ARG001
    return Work(Cost(), Cost(), None, Cost())  # views


@work_of.register
def _shuffle(layer: PixelShuffle, batch_size: int) -> Work:
    return _moved(Sizes.of(layer, batch_size))


@work_of.register
def _pack(layer: Pack, batch_size: int) -> Work:
    return _moved(Sizes.of(layer, batch_size, batch_size // layer.count))


@work_of.register
def _repeat(layer: UpSampling2D, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    return _moved(s, dx=s.y - s.x)  # the sum over each block


@work_of.register
def _fir(layer: FIRDownSampling2D, batch_size: int) -> Work:
    s, flops = Sizes.of(layer, batch_size), batch_size * layer.own_flops
    return _moved(s, flops, flops, flops)


@work_of.register
def _bias(layer: Bias, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    y = s.cost(s.x, reads=s.x + s.weights, writes=s.y)
    return Work(y, Cost(), s.cost(s.x, reads=s.y + s.weights, writes=s.weights), Cost())  # dx is dy itself


@work_of.register(GenerativeBasis)
@work_of.register(DiscriminativeBasis)
def _basis(layer: Layer, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    drawn, measured = max(s.x, s.y), 2 * max(s.x, s.y)  # products, and products that are added up
    y, dx = (drawn, measured) if isinstance(layer, GenerativeBasis) else (measured, drawn)
    return Work(
        s.cost(y, reads=s.x + s.weights, writes=s.y),
        s.cost(dx, reads=s.y + s.weights, writes=s.x),
        s.cost(measured, reads=s.x + s.y + s.weights, writes=s.weights),
        s.cost(y + measured, reads=s.x + s.y + 2 * s.weights, writes=s.y + s.weights),
    )


@work_of.register
def _mirror(layer: ReflectionPadding2D, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    return _moved(s, dx=s.y - s.x)  # the mirror images, added


@work_of.register
def _pool(layer: AveragePooling2D, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    return _moved(s, y=s.x, dx=s.y, second=s.x)


@work_of.register
def _augment(layer: Augmentation, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    each = 8 * s.x if isinstance(layer, Color) else 0  # two means, and two distances scaled
    return _moved(s, each, each, each)


@work_of.register
def _mask(layer: Dropout, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    mask = s.x * s.wide
    one = s.cost(s.x, reads=s.x + mask, writes=s.x)
    return Work(s.cost(s.x, reads=s.x, writes=s.x + mask), one, None, one)


@work_of.register
def _rectifier(layer: LeakyReLU, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    each = s.x if layer.gain == 1 else 2 * s.x
    one = s.cost(each, reads=2 * s.x, writes=s.x)
    return Work(s.cost(each, reads=s.x, writes=s.x), one, None, one)


@work_of.register(Tanh)
@work_of.register(Sigmoid)
def _smooth(layer: Layer, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    y, second = (s.x, 6 * s.x) if isinstance(layer, Tanh) else (4 * s.x, 7 * s.x)
    dx = s.cost(3 * s.x, reads=2 * s.x, writes=s.x)
    return Work(s.cost(y, reads=s.x, writes=s.x), dx, None, s.cost(second, reads=3 * s.x, writes=2 * s.x))


@work_of.register
def _maxout(layer: Maxout, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    dx = s.cost(s.x, reads=s.x + 2 * s.y, writes=s.x)
    second = s.cost(2 * s.x, reads=2 * s.x + s.y, writes=s.y)
    return Work(s.cost(s.x - s.y, reads=s.x, writes=s.y), dx, None, second)


@work_of.register(BatchNorm)
@work_of.register(GroupNorm)
def _norm(layer: Layer, batch_size: int) -> Work:
    """Operations for each number, as the formulas of `reference/norm.py` and `reference/group_norm.py` have them."""
    s = Sizes.of(layer, batch_size)
    each_y, each_dx, each_second = (7, 9, 23) if isinstance(layer, BatchNorm) else (8, 10, 31)
    w = s.weights
    y = s.cost(each_y * s.x, reads=s.x + w, writes=s.x)
    dx = s.cost(each_dx * s.x, reads=2 * s.x + w // 2, writes=s.x)
    dw = s.cost(5 * s.x, reads=2 * s.x + w, writes=w) if w else None
    return Work(y, dx, dw, s.cost(each_second * s.x, reads=3 * s.x + w, writes=2 * s.x + w // 2))


@work_of.register
def _deviation(layer: MinibatchStdDev, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    y, dx = s.cost(6 * s.x, reads=s.x, writes=s.y + s.x), s.cost(2 * s.x, reads=s.y + s.x, writes=s.x)
    return Work(y, dx, None, s.cost(10 * s.x, reads=2 * s.x + s.y, writes=s.x + s.y))


@work_of.register
def _attention(layer: SelfAttention, batch_size: int) -> Work:
    """The products of `attend` and its two gradients; the three convolutions count their own, but for second order.

    Their backward passes are also a part of the double backward, where they carry dP/dx back to x.
    """
    s = Sizes.of(layer, batch_size)
    H, W, C = layer.input_shape
    D, pairs = layer.projections[0].output_shape[-1], batch_size * (H * W) ** 2
    maps, attention = 2 * s.x // C * D + s.x, pairs  # f, g and h; B
    again = Cost()
    for projection in layer.projections:
        for _, inner in projection.walk():
            inside = work_of(inner, batch_size)
            again = again + inside.dx + (inside.dw or Cost())
    y = s.cost(2 * pairs * (D + C), reads=s.x + maps, writes=s.y + attention)
    dx = s.cost(4 * pairs * (C + D), reads=s.y + maps + attention, writes=maps)
    second = s.cost(2 * pairs * (5 * C + 6 * D), reads=s.y + 2 * maps + attention, writes=s.y + maps)
    return Work(y, dx, s.cost(2 * s.x, reads=2 * s.x, writes=1), second + again)


@work_of.register
def _spectral(layer: SpectralNorm, batch_size: int) -> Work:  # noqa: ARG001 (once a batch, whatever its size)
    """The power iteration and the division by sigma; products of W with a vector have a multiply-add a weight."""
    w, itemsize = layer.inner.w.size, layer.inner.dtype.itemsize
    products = 2 * layer.iterations + 1
    y = Cost((2 * products + 1) * w, (products + 1) * w * itemsize, w * itemsize)
    dw = Cost(6 * w, 3 * w * itemsize, w * itemsize)  # <G, w / sigma>, the outer product, the division
    return Work(y, Cost(), dw, dw)


@work_of.register
def _equalized(layer: EqualizedRate, batch_size: int) -> Work:
    """The scaling of x, or once for the batch of the weight; and of y, if there is a multiplier."""
    s, w, itemsize = Sizes.of(layer, batch_size), layer.inner.w.size, layer.inner.dtype.itemsize
    dense = isinstance(layer.inner, Dense)
    filters = Cost() if dense else Cost(w, w * itemsize, w * itemsize)
    inside = s.cost(s.x, reads=s.x, writes=s.x) if dense else Cost()
    outside = Cost() if layer.multiplier == 1 else s.cost(s.y, reads=s.y, writes=s.y)
    # dw_bar is multiplied by c and added
    dw = Cost(0 if dense else 2 * w, 0 if dense else 3 * w * itemsize, 0 if dense else 2 * w * itemsize)
    return Work(inside + outside + filters, inside + outside, dw, inside + outside + dw)


@work_of.register
def _pixel_norm(layer: PixelNorm, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    y, dx = s.cost(3 * s.x, reads=s.x, writes=s.x), s.cost(5 * s.x, reads=2 * s.x, writes=s.x)
    return Work(y, dx, None, s.cost(17 * s.x, reads=3 * s.x, writes=2 * s.x))


@work_of.register
def _concat(layer: ConcatCondition, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    joined = s.y - s.x
    products = batch_size * s.w
    y = s.cost(2 * products, reads=s.x + (s.weights or joined), writes=s.y)
    dw = s.cost(2 * products + joined, reads=joined + s.weights, writes=s.weights) if s.w else None
    return Work(y, s.cost(0, reads=s.x, writes=s.x), dw, s.cost(0, reads=s.x, writes=s.y))


@work_of.register
def _inner_product(layer: InnerProduct, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    y = s.cost(2 * s.x, reads=2 * s.x, writes=s.y)
    return Work(y, s.cost(s.x, reads=s.x + s.y, writes=s.x), None, y)


@work_of.register
def _affine(layer: ConditionalAffine, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    rows = batch_size * s.w  # the two products with the condition
    y = s.cost(2 * rows + 2 * s.x, reads=s.x + s.weights, writes=s.x)
    dw = s.cost(2 * rows + 3 * s.x, reads=2 * s.x + s.weights, writes=s.weights)
    return Work(y, s.cost(s.x, reads=s.x, writes=s.x), dw, s.cost(rows + 3 * s.x, reads=2 * s.x, writes=s.x))


@work_of.register
def _modulated(layer: Modulated, batch_size: int) -> Work:
    """The scales at both ends, their gradients and sums; the convolution and the affine map count their own.

    In the double backward of a style that is not held fixed the convolution goes back once more.
    """
    s = Sizes.of(layer, batch_size)
    out = s.y if layer.demodulate else 0
    y = s.cost(s.x + out, reads=s.x + out, writes=s.x + out)
    dx = s.cost(3 * (s.x + out), reads=2 * (s.x + out), writes=s.x + out)
    inside = work_of(layer.inner, batch_size)
    again = inside.dx + (inside.dw or Cost()) if out else Cost()
    second = s.cost(7 * s.x + 9 * out, reads=4 * s.x + 4 * out, writes=2 * s.x + 2 * out + (0 if out else s.y))
    return Work(y, dx, None, second + again)


@work_of.register
def _constant(layer: LearnedConstant, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    zeros = s.cost(0, reads=0, writes=s.x)
    dw = s.cost(s.y, reads=s.y, writes=s.weights)
    return Work(s.cost(0, reads=s.weights, writes=s.y), zeros, dw, s.cost(0, reads=0, writes=s.y))


@work_of.register
def _noise(layer: NoiseInjection, batch_size: int) -> Work:
    s, pixels = Sizes.of(layer, batch_size), batch_size * math.prod(layer.input_shape[:2])
    y = s.cost(s.x + pixels, reads=s.x + pixels, writes=s.x)
    return Work(y, Cost(), s.cost(2 * s.x, reads=s.x + pixels, writes=1), Cost())


@work_of.register
def _styled(layer: Styled, batch_size: int) -> Work:
    """The sum of what the layers send to their condition."""
    s = Sizes.of(layer, batch_size)
    dx = s.cost(s.x, reads=s.x, writes=s.x)
    return Work(Cost(), dx, None, dx)


@work_of.register
def _output_skips(layer: OutputSkips, batch_size: int) -> Work:
    """The sums of images, and of what goes back to each stage from its image and from the next stage."""
    s = Sizes.of(layer, batch_size)
    images = batch_size * layer.own_flops
    maps = batch_size * sum(math.prod(block.output_shape) for block in layer.blocks[:-1])
    y, dx = (s.cost(n, reads=2 * n, writes=n) for n in (images, maps))
    return Work(y, dx, None, y + dx)


@work_of.register
def _sequence(layer: Sequential, batch_size: int) -> Work:  # noqa: ARG001
    return Work(Cost(), Cost(), None, Cost())


@work_of.register
def _shortcut(layer: Residual, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    y, dx = s.cost(s.y, reads=2 * s.y, writes=s.y), s.cost(s.x, reads=2 * s.x, writes=s.x)
    return Work(y, dx, None, y + dx)


@work_of.register(SkipConcat)
@work_of.register(Inpainting)
def _skip(layer: Layer, batch_size: int) -> Work:
    s = Sizes.of(layer, batch_size)
    return _moved(s, dx=s.x) if isinstance(layer, SkipConcat) else _moved(s, 3 * s.y, 3 * s.y, 3 * s.y)


@work_of.register
def _mapping(layer: MappingNetwork, batch_size: int) -> Work:
    """The rows; of mixed styles the second pass through the mapping, too, and the choice between both."""
    s = Sizes.of(layer, batch_size)
    y, dx = s.cost(0, reads=s.y // layer.rows, writes=s.y), s.cost(s.y, reads=s.y, writes=s.y // layer.rows)
    if layer.mixing:
        inside = [work_of(inner, batch_size) for _, inner in layer.inner.walk()]
        y = sum((work.y for work in inside), y + s.cost(4 * s.y, reads=3 * s.y, writes=2 * s.y))
        dx = sum((work.dx + (work.dw or Cost()) for work in inside), dx + s.cost(3 * s.y, reads=2 * s.y, writes=s.y))
    return Work(y, dx, None, y)


@work_of.register
def _mapped(layer: MappedCondition, batch_size: int) -> Work:  # noqa: ARG001 (the layers inside count their own)
    return Work(Cost(), Cost(), None, Cost())


@work_of.register
def _parallel(layer: Parallel, batch_size: int) -> Work:
    s, branches = Sizes.of(layer, batch_size), len(layer)
    y = s.cost(0, reads=s.y, writes=s.y)
    added = s.cost((branches - 1) * s.x, reads=branches * s.x, writes=s.x)
    return Work(y, s.cost(0, reads=s.y, writes=s.y) + added, None, y + added)
