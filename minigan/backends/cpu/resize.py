"""Upsampling by repetition, pixels from channels, and padding by reflection, one pass each way."""

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


@kernel
def reflect_rows(part, parts, x, y, images, height, width, channels, top, bottom, left, right):
    """One row of the padded image after the other: a row of the image, then its two ends."""
    tall, wide, size = height + top + bottom, width + left + right, width * channels
    for row in range(images * tall * part // parts, images * tall * (part + 1) // parts):
        i = abs(row % tall - top)
        i = i if i < height else 2 * (height - 1) - i
        at, to = (row // tall * height + i) * size, row * wide * channels
        copy(y, to + left * channels, x, at, size)
        for j in range(left):
            copy(y, to + j * channels, x, at + (left - j) * channels, channels)
        for j in range(right):
            copy(y, to + (left + width + j) * channels, x, at + (width - 2 - j) * channels, channels)


@kernel
def fold_rows(part, parts, dy, dx, images, height, width, channels, top, bottom, left, right):
    """Each row of the image: the sum of the padded rows that show it, at most three, their ends folded back."""
    tall, wide, size = height + top + bottom, width + left + right, width * channels
    for row in range(images * height * part // parts, images * height * (part + 1) // parts):
        i = row % height
        sums = dx[row * size : (row + 1) * size]
        fill(sums, 0, size)
        above, below = i, height - 1 - i  # distances from the borders
        for fold in range(3):
            place = top + i
            if fold == 1:
                if not 0 < above <= top:
                    continue
                place -= 2 * above
            if fold == 2:
                if not 0 < below <= bottom:
                    continue
                place += 2 * below
            at = (row // height * tall + place) * wide * channels
            middle = dy[at + left * channels : at + left * channels + size]
            for c in range(size):
                sums[c] += middle[c]
            for j in range(left):
                for c in range(channels):
                    sums[(left - j) * channels + c] += dy[at + j * channels + c]
            for j in range(right):
                for c in range(channels):
                    sums[(width - 2 - j) * channels + c] += dy[at + (left + width + j) * channels + c]


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
        # A row of pixels, each with its future rows, becomes rows of pixels: what will be neighbors already are.
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

    @takes_bfloat16
    def reflect_pad(self, x: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        N, H, W, C = x.shape
        y = self.empty((N, H + sum(padding[0]), W + sum(padding[1]), C), x.dtype)
        sides = (N, H, W, C, *padding[0], *padding[1])
        self.team.run(reflect_rows, flat_bits(x), flat_bits(y), *sides, parts=self.parts(y.size))
        return y

    def reflect_pad_grad(self, dy: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        N, tall, wide, C = dy.shape
        H, W = tall - sum(padding[0]), wide - sum(padding[1])
        dx = self.empty((N, H, W, C), dy.dtype)
        self.team.run(fold_rows, flat(dy), flat(dx), N, H, W, C, *padding[0], *padding[1], parts=self.parts(dy.size))
        return dx
