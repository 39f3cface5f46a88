"""Upsampling by repetition, and pixels from channels, one pass each way."""

from minigan.backends.base import Array
from minigan.backends.cpu.bfloat16 import flat_bits, takes_bfloat16
from minigan.backends.cpu.engine import Engine, flat
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import copy, fill
from minigan.backends.geometry import IntPair


@kernel
def repeat_pixels(part, parts, x, y, rows, width, channels, down, across):
    """One row of the image after the other: widened once, then copied."""
    wide = width * across * channels
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        to = row * down * wide
        for j in range(width):
            for b in range(across):
                copy(y, to + (j * across + b) * channels, x, (row * width + j) * channels, channels)
        for a in range(1, down):
            copy(y, to + a * wide, y, to, wide)


@kernel
def add_pixels(part, parts, dy, dx, rows, width, channels, down, across):
    """Each pixel's repetitions, added up."""
    for pixel in range(rows * part // parts * width, rows * (part + 1) // parts * width):
        row, j = pixel // width, pixel % width
        sums = dx[pixel * channels : (pixel + 1) * channels]
        fill(sums, 0, channels)
        for a in range(down):
            for b in range(across):
                at = (((row * down + a) * width + j) * across + b) * channels
                here = dy[at : at + channels]
                for c in range(channels):
                    sums[c] += here[c]


@kernel
def swap_blocks(part, parts, x, y, rows, first, second, size):
    """Each row of x is `first` times `second` blocks of that size; y has them `second` times `first`."""
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        for i in range(first):
            for j in range(second):
                to = (row * second + j) * first + i
                copy(y, to * size, x, ((row * first + i) * second + j) * size, size)


class ResizeKernels(Engine):
    """Overrides of `reference.resize.ResizeKernels`."""

    @takes_bfloat16
    def upsample_nearest(self, x: Array, *, factor: IntPair) -> Array:
        N, H, W, C = x.shape
        y = self.empty((N, H * factor[0], W * factor[1], C), x.dtype)
        self.team.run(repeat_pixels, flat_bits(x), flat_bits(y), N * H, W, C, *factor, parts=self.parts(y.size))
        return y

    def upsample_nearest_grad(self, dy: Array, *, factor: IntPair) -> Array:
        N, H, W, C = dy.shape
        dx = self.empty((N, H // factor[0], W // factor[1], C), dy.dtype)
        self.team.run(
            add_pixels, flat(dy), flat(dx), N * dx.shape[1], dx.shape[2], C, *factor, parts=self.parts(dy.size)
        )
        return dx

    @takes_bfloat16
    def depth_to_space(self, x: Array, *, factor: IntPair) -> Array:
        # A row of pixels, each with its future rows, becomes rows of pixels: what will be neighbours already are.
        N, H, W, C = x.shape
        down, across = factor
        y = self.empty((N, H * down, W * across, C // (down * across)), x.dtype)
        self.team.run(swap_blocks, flat_bits(x), flat_bits(y), N * H, W, down, C // down, parts=self.parts(x.size))
        return y

    @takes_bfloat16
    def space_to_depth(self, y: Array, *, factor: IntPair) -> Array:
        N, H, W, C = y.shape
        down, across = factor
        x = self.empty((N, H // down, W // across, C * down * across), y.dtype)
        rows, wide = N * x.shape[1], across * C
        self.team.run(swap_blocks, flat_bits(y), flat_bits(x), rows, down, x.shape[2], wide, parts=self.parts(y.size))
        return x
