"""The sizes of an overlap-add, which `overlap.py` computes, and when it is the faster algorithm."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from minigan.backends.cpu.processor import BLOCK_BYTES, Processor
from minigan.backends.geometry import ConvGeometry

# Adding a vector of what lies in the cache takes as long as so many multiply-adds of one.
ADDING_STEPS = 16

# Fewer pixels than so many of dy, with so many channels, make an input gradient that reads w where it is.
FEW_PIXELS, MANY_CHANNELS = 64, 256


class OverlapGrid(NamedTuple):
    """The sizes of one pass of `overlap_add` from a source image to a target image."""

    images: int
    height: int  # source
    width: int
    channels: int
    target_height: int
    target_width: int
    target_channels: int
    taps_down: int
    taps_across: int
    stride_down: int  # in the target, from where one source pixel adds to where the next does
    stride_across: int
    top: int  # rows and columns by which the first pixel's run begins outside the target
    left: int
    columns: int  # a tile's
    pieces: int  # of a run of taps, each a stride long, the last one perhaps shorter
    bands: int  # of an image


@dataclass(frozen=True, slots=True)
class OverlapPlan:
    """The product and the sum band by band: `overlap_add`."""

    name: ClassVar[str] = "overlap-add"
    reason: ClassVar[str] = "so few channels to make would leave vectors empty; the taps of one pixel fill them"

    grid: OverlapGrid
    scratch_size: int  # of one thread
    pixels_size: int  # of one thread, where the pixels must be widened first
    threads: int


@dataclass(frozen=True, slots=True)
class InPlacePlan:
    """First one matrix product, which reads w where it is, then the sum: `sum_overlaps`."""

    name: ClassVar[str] = "overlap-add, weights in place"
    reason: ClassVar[str] = "for so few pixels packing the weights would take most of the time"

    grid: OverlapGrid
    threads: int


def overlaps(kernel: str, g: ConvGeometry, processor: Processor) -> bool:
    """Tells whether an overlap-add is faster than phases, by the vectors that each computes for one pixel it reads."""
    if kernel == "conv2d":
        if g.stride != (1, 1):
            return False  # most products would go nowhere
        made, read = g.K, g.C
    else:
        made, read = g.C, g.K
    lanes, columns = processor.lanes, processor.columns
    phases = g.R * g.S * -(-made // columns) * (columns // lanes) * read
    added = g.R * -(-g.S // g.stride[1]) * _vectors(g.stride[1] * made, lanes)
    return _vectors(g.R * g.S * made, lanes) * read + added * ADDING_STEPS < phases


def overlap_steps(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> float:
    """Steps of the microkernel that an overlap-add needs: one thread's share."""
    source, target = _ends(kernel, g)
    vectors = _vectors(g.R * g.S * target[2], processor.lanes)
    added = g.R * -(-g.S // g.stride[1]) * _vectors(g.stride[1] * target[2], processor.lanes)
    a_pixel = vectors * source[2] + added * ADDING_STEPS
    return (
        images
        * source[0]
        * source[1]
        * a_pixel
        / (processor.rows * processor.columns // processor.lanes * processor.threads)
    )


def has_few_pixels(g: ConvGeometry, images: int) -> bool:
    """Tells whether dy has so few pixels, with so many channels, that packing w does not pay."""
    return images * g.P * g.Q <= FEW_PIXELS and g.K >= MANY_CHANNELS


def plan_overlap(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> OverlapPlan:
    """The plan of `conv2d` with stride 1, or of `conv2d_input_grad`."""
    source, target = _ends(kernel, g)
    row = _vectors(g.R * g.S * target[2], processor.lanes) * processor.lanes  # what one source pixel adds
    image_bytes = source[0] * source[1] * row * processor.itemsize
    bands = min(target[0], max(-(-image_bytes // BLOCK_BYTES), -(-processor.threads // images)))
    source_rows = min(source[0], (-(-target[0] // bands) + g.R - 2) // g.stride[0] + 1)  # that a band reads
    grid = _grid(kernel, g, images, processor, bands)
    pixels = source_rows * source[1]
    return OverlapPlan(grid, (pixels + processor.rows) * row, pixels * source[2], processor.threads)


def plan_in_place(g: ConvGeometry, images: int, processor: Processor) -> InPlacePlan:
    """The plan of `conv2d_input_grad`."""
    return InPlacePlan(_grid("conv2d_input_grad", g, images, processor, 1), processor.threads)


def _grid(kernel: str, g: ConvGeometry, images: int, processor: Processor, bands: int) -> OverlapGrid:
    source, target = _ends(kernel, g)
    (top, _), (left, _) = g.padding
    if kernel == "conv2d":
        top, left = g.R - 1 - top, g.S - 1 - left
    pieces = -(-g.S // g.stride[1])
    return OverlapGrid(images, *source, *target, g.R, g.S, *g.stride, top, left, processor.columns, pieces, bands)


def _ends(kernel: str, g: ConvGeometry) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The shapes of the images that are read and of those that are computed."""
    return (g.input_shape, g.output_shape) if kernel == "conv2d" else (g.output_shape, g.input_shape)


def _vectors(width: int, lanes: int) -> int:
    """The number of vectors that hold so many numbers."""
    return -(-width // lanes)
