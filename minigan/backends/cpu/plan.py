"""The choice of algorithm for a convolution: all the choices and their reasons, none of the arithmetic.

**In groups.** Depthwise in place, see `depthwise.py`. Winograd strip by strip for 3x3 filters in groups of up to a
strip, see `winograd_groups_plan.py`. Else bundle by bundle of neighboring outputs, see `group_tiles.py`; with images
in lanes, see `image_tiles.py`, where groups are narrower than a vector; or each group by itself, as one without groups,
where Winograd or products of bfloat16 numbers gain more than copies of its channels cost. Measured on Zen 4.

**Dense.** A filter as large as its unpadded image leaves one output pixel: the convolution is a matrix product.
(A generator's first layer and a discriminator's last.) By bfloat16 numbers it is a convolution of one pixel, whose
kernels such a network has compiled anyway.

**Winograd.** In single precision, where there are channels and images enough to pay for the transforms: see
`toom.py` for the idea and `winograd_plan.py` for the choice.

**Products of bfloat16 numbers.** Where the precision asks for them and the processor multiplies them faster, or, with
three of them for each product of float32 numbers, where its tile registers are faster still: see `tiles_plan.py`.

**Overlap-add.** With 1 or 3 channels to make, a tile's columns would run almost empty. See `overlap.py`: there the
columns are all the numbers that one pixel adds to, R * S as many.

**Overlap-add, weights in place.** An input gradient of few pixels, where packing the weights takes most of the time:
see the end of `overlap.py`. Where weights stay as they are from call to call, they are packed once, and phases are
faster: 1.2 to 1.4 times for 1 to 4 images in DCGAN-64's generator.

**Phases.** The general case, see `phases_plan.py`. A convolution has one phase. Its input gradient has one for each
remainder of the pixel's (padded) coordinates by the stride, since a pixel meets only the taps of its own remainder:
each phase is a convolution with stride 1 and a part of the filter. No zeros are inserted and nothing is added twice.

**Direct.** A weight gradient in general, **turned round** where that fills the tiles: see `weights_plan.py`.
"""

import functools
from dataclasses import dataclass, replace
from typing import ClassVar

from minigan.backends.cpu.depthwise_plan import (
    DepthwisePlan,
    DepthwiseWeightsPlan,
    is_depthwise,
    plan_depthwise,
    plan_depthwise_weights,
)
from minigan.backends.cpu.groups_plan import GroupsPlan, GroupWeightsPlan, plan_group_weights, plan_groups
from minigan.backends.cpu.image_lanes_plan import PileImagesPlan, PileWeightsPlan, plan_pile_images, plan_pile_weights
from minigan.backends.cpu.overlap_plan import (
    InPlacePlan,
    OverlapPlan,
    has_few_pixels,
    overlap_steps,
    overlaps,
    plan_in_place,
    plan_overlap,
)
from minigan.backends.cpu.phases_plan import PhasesPlan, plan_forward, plan_input_grad
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.products_plan import float32_steps
from minigan.backends.cpu.tile_units import Unit
from minigan.backends.cpu.tiles_plan import TilesPlan, WeightTilesPlan, choose_tiles
from minigan.backends.cpu.weights_plan import WeightsPlan, plan_weight_grad
from minigan.backends.cpu.winograd_groups_plan import WinogradGroupsPlan, choose_winograd_groups
from minigan.backends.cpu.winograd_plan import GAIN, GAIN_OVER_PACKED, WinogradPlan, choose_winograd, direct_steps
from minigan.backends.geometry import ConvGeometry

# The least outputs and channels of a group, and the least multiply-adds, that pay for copies of its channels.
WIDE_GROUP, LARGE_GROUP, LARGE_WEIGHT_GRAD = 32, 1 << 21, 1 << 23
# The least outputs of a group for which images in lanes are faster, and how full the lanes are then.
NARROWEST, FULL_LANES = 3, 0.75

# The most pixels of dy or y for which it matters that weights are already packed.
FEW_POSITIONS = 256


@dataclass(frozen=True, slots=True)
class DensePlan:
    """A matrix product."""

    name: ClassVar[str] = "dense"
    reason: ClassVar[str] = "the filter covers its whole image, so one matrix product does"


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Each group by itself, as a convolution without groups."""

    one: ConvGeometry
    inner: "Plan"

    @property
    def name(self) -> str:
        return f"{self.inner.name}, group by group"

    @property
    def reason(self) -> str:
        return f"groups are wide enough to be computed each by itself: {self.inner.reason}"


Plan = (
    DensePlan
    | SplitPlan
    | WinogradGroupsPlan
    | DepthwisePlan
    | DepthwiseWeightsPlan
    | GroupsPlan
    | GroupWeightsPlan
    | PileImagesPlan
    | PileWeightsPlan
    | TilesPlan
    | WeightTilesPlan
    | WinogradPlan
    | OverlapPlan
    | InPlacePlan
    | PhasesPlan
    | WeightsPlan
)


@functools.lru_cache(maxsize=1024)
def choose(
    kernel: str,
    g: ConvGeometry,
    images: int,
    processor: Processor,
    *,
    exact: bool,
    unit: Unit | None = None,
    packed: bool = False,
) -> Plan:
    """The plan of "conv2d", "conv2d_input_grad" or "conv2d_weight_grad".

    Args:
        exact: excludes algorithms with fewer multiplications.
        unit: multiplies bfloat16 numbers, one or three for each product, as the precision asks for; None: none does.
        packed: weights are packed only once, see `minigan.backends.constants`.
    """
    if g.groups > 1:
        one = replace(g, C=g.C // g.groups, K=g.K // g.groups, groups=1)
        together = None if exact else choose_winograd_groups(kernel, g, images, processor)
        if is_large(kernel, one, images):
            inner = choose(kernel, one, images, processor, exact=exact, unit=unit)
            split = TilesPlan | WeightTilesPlan if together else WinogradPlan | TilesPlan | WeightTilesPlan
            if isinstance(inner, split):
                return SplitPlan(one, inner)
        return together or choose_groups(kernel, g, images, processor)
    if (g.R, g.S) == (g.H, g.W) and not any(g.padding[0] + g.padding[1]):
        pixels = ConvGeometry(1, 1, g.H * g.W * g.C, g.K, 1, 1)  # with all of the image as channels of its one pixel
        steps = float32_steps(*_product(kernel, pixels, images), processor)
        return choose_tiles(kernel, pixels, images, processor, unit, steps) or DensePlan()
    few = packed and images * g.P * g.Q <= FEW_POSITIONS
    gain = GAIN_OVER_PACKED if few else GAIN
    fast = None if exact else choose_winograd(kernel, g, images, processor, gain=gain)
    tiles = choose_tiles(kernel, g, images, processor, unit, _steps(kernel, g, images, processor, fast))
    if tiles is not None:
        return tiles
    if fast is not None:
        return fast
    if kernel == "conv2d_weight_grad":
        return plan_weight_grad(g, images, processor)
    if kernel == "conv2d_input_grad" and has_few_pixels(g, images) and not packed:
        return plan_in_place(g, images, processor)
    if overlaps(kernel, g, processor):
        return plan_overlap(kernel, g, images, processor)
    return (plan_forward if kernel == "conv2d" else plan_input_grad)(g, images, processor)


def is_large(kernel: str, one: ConvGeometry, images: int) -> bool:
    """Tells whether one group of a convolution is worth copies of its channels."""
    least = LARGE_WEIGHT_GRAD if kernel == "conv2d_weight_grad" else LARGE_GROUP
    return min(one.C, one.K) >= WIDE_GROUP and images * one.flops >= 2 * least


def choose_groups(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> Plan:
    """The plan of a convolution in groups that stay together."""
    if is_depthwise(kernel, g):
        if kernel == "conv2d_weight_grad":
            return plan_depthwise_weights(g, images, processor)
        return plan_depthwise(kernel, g, images, processor)
    deep, wide = g.C // g.groups, g.K // g.groups
    narrow = min(deep, wide) >= NARROWEST and max(deep, wide) < processor.lanes
    full = images >= FULL_LANES * processor.lanes * -(-images // processor.lanes)
    if kernel == "conv2d_weight_grad":
        # With few outputs to each number of the image, transposing them takes as long as what it saves.
        piled = narrow and full and 2 * min(deep, wide) >= processor.lanes
        return (plan_pile_weights if piled else plan_group_weights)(g, images, processor)
    return (plan_pile_images if narrow and full else plan_groups)(kernel, g, images, processor)


def _product(kernel: str, g: ConvGeometry, images: int) -> tuple[int, int, int]:
    """(rows, depth, width) of the matrix product that a convolution of single pixels is."""
    if kernel == "conv2d":
        return images, g.C, g.K
    return (images, g.K, g.C) if kernel == "conv2d_input_grad" else (g.C, images, g.K)


def _steps(kernel: str, g: ConvGeometry, images: int, processor: Processor, fast: WinogradPlan | None) -> float:
    """Steps of the microkernel in the time that one thread takes in float32."""
    if fast is not None:
        return fast.steps
    if kernel != "conv2d_weight_grad" and overlaps(kernel, g, processor):
        return overlap_steps(kernel, g, images, processor)
    return direct_steps(kernel, g, images, processor)
