"""StyleGAN2's synthesis network: from styles to images, which grow from 4x4 pixels and gain detail at each size.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", figures 2 and 7.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, ShapeError
from minigan.nn.layers import (
    Bias,
    Conv2D,
    ConvTranspose2D,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Layer,
    LeakyReLU,
    LearnedConstant,
    Modulated,
    NoiseInjection,
)
from minigan.nn.layers.base import Shape
from minigan.nn.layers.condition import Condition
from minigan.nn.network.combinators import Block
from minigan.nn.network.sequential import Sequential
from minigan.nn.network.styled import Styled
from minigan.nn.network.stylegan import FIRST, GAIN, doublings
from minigan.nn.network.tape import Tape
from minigan.nn.parameters import Gradients

__all__ = ["OutputSkips", "synthesis_network"]

Stage = tuple[Sequence[Layer], Sequence[Layer]]


class StageCache(NamedTuple):
    block: Tape
    output: Tape
    up: Tape | None


class OutputSkips(Block):
    """Output skips: each stage draws an image of its own size, and y is their sum, each enlarged to the next one's.

        h_k = f_k(h_{k-1}),  h_{-1} = x;    y_k = up(y_{k-1}) + g_k(h_k),  y_{-1} = 0;    y is the last y_k.

    So coarse stages need not pass what they have drawn through the fine ones.

    Source: Karras et al. 2020 (StyleGAN2), section 4.1, figure 7b.

    Args:
        stages: the layers of f_k and g_k, for each k.
        enlarge: makes the layer up, one for each stage but the first.
    """

    separable: ClassVar[bool] = True

    def __init__(self, stages: Sequence[Stage], *, enlarge: Callable[[], Layer] = FIRUpSampling2D) -> None:
        super().__init__()
        if not stages:
            raise ConfigError(f"{self.path}: expected at least one stage, got none. Give [([...], [...])].")
        self.stages = stages
        self.enlarge = enlarge
        self.blocks = [Sequential(f, name=f"{self.path}.block{k}") for k, (f, _) in enumerate(stages)]
        self.outputs = [Sequential(g, name=f"{self.path}.output{k}") for k, (_, g) in enumerate(stages)]
        self.ups = [Sequential([enlarge()], name=f"{self.path}.up{k}") for k in range(1, len(self.blocks))]

    def infer(self, input_shape: Shape) -> Shape:
        shape, drawn = input_shape, None
        for k, (block, output) in enumerate(zip(self.blocks, self.outputs, strict=True)):
            shape = block.setup(shape, f"{self.path}.block{k}")
            image = output.setup(shape, f"{self.path}.output{k}")
            if drawn is not None:
                drawn = self.ups[k - 1].setup(drawn, f"{self.path}.up{k}")
                if drawn != image:
                    raise ShapeError(
                        f"{self.path}: cannot add stage {k}'s image {image} to the one before, enlarged to {drawn}. "
                        "Let each block enlarge as `enlarge` does, and each image have as many channels."
                    )
            drawn = image
        return image

    def children(self) -> Iterator[tuple[str, Layer]]:
        for k, (block, output) in enumerate(zip(self.blocks, self.outputs, strict=True)):
            yield f"block{k}", block
            if k:
                yield f"up{k}", self.ups[k - 1]
            yield f"output{k}", output

    def given(self, condition: Array | Condition | None) -> Self:
        bound = copy(self)
        bound.blocks, bound.outputs, bound.ups = (
            [network.given(condition) for network in networks] for networks in (self.blocks, self.outputs, self.ups)
        )
        pairs = zip(bound.children(), self.children(), strict=True)
        return self if all(one is other for (_, one), (_, other) in pairs) else bound

    def forward(
        self, x: Array, *, train: bool, rng: np.random.Generator | None = None
    ) -> tuple[Array, list[StageCache]]:
        h, y, tapes = x, None, []
        for block, output, up in self._stages():
            h, of_block = block.forward(h, train=train, rng=rng)
            of_up = None
            if up is not None:
                y, of_up = up.forward(y, train=train, rng=rng)
            image, of_output = output.forward(h, train=train, rng=rng)
            y = image if y is None else self.kernels.add(y, image)
            tapes.append(StageCache(of_block, of_output, of_up))
        return y, tapes

    def backward(
        self, dy: Array, cache: list[StageCache], *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        dh: Array | None = None
        for (block, output, up), tapes in self._down(cache):
            through = output.backward(dy, tapes.output, grads=grads)
            dh = through if dh is None else self.kernels.add(dh, through)
            dh = block.backward(dh, tapes.block, grads=grads, need_dx=need_dx or up is not None)
            if up is not None:
                dy = up.backward(dy, tapes.up, grads=grads)
        return dh

    def backward_recorded(self, dy: Array, cache: list[StageCache]) -> tuple[Array, list[Any]]:
        dh: Array | None = None
        records = []
        for (block, output, up), tapes in self._down(cache):
            through, of_output = output.backward_recorded(dy, tapes.output)
            dh, of_block = block.backward_recorded(
                through if dh is None else self.kernels.add(dh, through), tapes.block
            )
            of_up = None
            if up is not None:
                dy, of_up = up.backward_recorded(dy, tapes.up)
            records.append((of_block, of_output, of_up))
        return dh, records[::-1]

    def double_backward(
        self, v: Array, record: list[Any], cache: list[StageCache], *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        """Up through the stages as forward, and down again as backward, from what is curved."""
        y: Array | None = None
        curved = []  # dP/dx of each stage's three parts
        for (block, output, up), (of_block, of_output, of_up), tapes in zip(self._stages(), record, cache, strict=True):
            v, at_block = block.double_backward(v, of_block, tapes.block, grads=grads)
            at_up = None
            if up is not None and tapes.up is not None:
                y, at_up = up.double_backward(y, of_up, tapes.up, grads=grads)
            image, at_output = output.double_backward(v, of_output, tapes.output, grads=grads)
            y = image if y is None else self.kernels.add(y, image)
            curved.append((at_block, at_output, at_up))
        return y, self._curvature(curved, cache, grads)

    def _curvature(
        self, curved: Sequence[tuple[Array | None, ...]], cache: list[StageCache], grads: Gradients | None
    ) -> Array | None:
        """dP/dx, from what each part has at its own input; adds to the gradients of the weights below."""
        h: Array | None = None
        y: Array | None = None  # dP/d(y_k), which an enlargement that is curved sends down
        for ((block, output, up), tapes), (at_block, at_output, at_up) in zip(
            self._down(cache), reversed(curved), strict=True
        ):
            through = None if y is None else output.backward(y, tapes.output, grads=grads)
            h = self._sum(self._sum(h, through), at_output)
            if h is not None:
                h = block.backward(h, tapes.block, grads=grads)
            h = self._sum(h, at_block)
            if up is not None:
                y = self._sum(None if y is None else up.backward(y, tapes.up, grads=grads), at_up)
        return h

    def commit_statistics(self, cache: list[StageCache]) -> None:
        for (block, output, up), tapes in zip(self._stages(), cache, strict=True):
            block.commit_statistics(tapes.block)
            output.commit_statistics(tapes.output)
            if up is not None and tapes.up is not None:
                up.commit_statistics(tapes.up)

    @property
    def own_flops(self) -> int:
        """Operations of the sums of images."""
        return sum(int(np.prod(output.output_shape)) for output in self.outputs[1:])

    def _stages(self) -> Iterator[tuple[Sequential, Sequential, Sequential | None]]:
        """Each stage's block, output and enlargement of what the stages before have drawn."""
        return zip(self.blocks, self.outputs, [None, *self.ups], strict=True)

    def _down(self, cache: list[StageCache]) -> Iterator[tuple[Any, StageCache]]:
        """The stages from the last to the first, with their tapes."""
        return reversed(list(zip(self._stages(), cache, strict=True)))

    def _sum(self, a: Array | None, b: Array | None) -> Array | None:
        if a is None or b is None:
            return b if a is None else a
        return self.kernels.add(a, b)


def synthesis_network(
    size: tuple[int, int], channels: int, width: Callable[[int], int], *, features: int, noise: bool = True
) -> Styled:
    """StyleGAN2's synthesis, from styles (rows, features) to images: rows are 2 for each of its sizes.

    A learned constant of 4 pixels a side; at each size two modulated 3x3 convolutions (one at 4 pixels), the first of
    which doubles the size, each followed by noise, a bias and LeakyReLU .2 times sqrt(2); and a modulated 1x1
    convolution to the image, which has a bias and no demodulation. A doubling is a transposed convolution with stride 2
    and a low-pass filter of [1, 3, 3, 1]. As in the authors' code the convolution to the image reads the same row as
    the next size's first one.

    Args:
        size: of the images: the shorter side has 4 pixels times a power of two, which divides the longer side.
        channels: of the images.
        width: the number of channels at a resolution, the shorter side of an image.
        features: the length of a style.
        noise: add noise of learned strength.
    Raises:
        ConfigError: another size.
    """
    n = doublings(size)
    if n is None:
        raise ConfigError(
            f"a synthesis network doubles images of 4 pixels: expected a shorter side of 8, 16, 32 ..., and a longer "
            f"one that the same power of two divides, got {size[0]}x{size[1]}. Use `size=32`."
        )
    rows = iter(range(2 * n + 2))
    stages: list[Stage] = []
    for k in range(n + 1):
        deep = width(FIRST << k)
        block = [] if k == 0 else _styled(doubling(deep, features, next(rows)), noise=noise)
        block += _styled([modulated(Conv2D(deep, 3, bias=False), features, next(rows))], noise=noise)
        to_image = Modulated(
            Conv2D(channels, 1, bias=False), features, row=2 * k + 1, demodulate=False, wrap=EqualizedRate
        )
        stages.append((block, [to_image, Bias()]))
    smallest = (size[0] >> n, size[1] >> n, width(FIRST))
    return Styled([LearnedConstant(smallest), OutputSkips(stages)])


def modulated(inner: Conv2D, features: int, row: int) -> Modulated:
    return Modulated(inner, features, row=row, wrap=EqualizedRate)


def doubling(channels: int, features: int, row: int) -> list[Layer]:
    """A modulated convolution that doubles the image's sides, and the filter that smooths it."""
    conv = ConvTranspose2D(channels, 3, stride=2, padding=0, bias=False)
    return [modulated(conv, features, row), FIRDownSampling2D(1, padding=1, gain=4)]


def _styled(convolution: list[Layer], *, noise: bool) -> list[Layer]:
    return [*convolution, *([NoiseInjection()] if noise else []), Bias(), LeakyReLU(0.2, gain=GAIN)]
