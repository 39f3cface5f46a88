"""The embedded digits: handwriting drawn stroke by stroke, without a download, at any size and in any number.

A digit takes a style of its class (see `glyphs.py`), which is bent and slanted. It is then framed as MNIST's digits
are: fitted to 20/28 of the image and centered on its center of mass. Digit i depends only on (seed, i).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.data.cache import CACHE_BYTES
from minigan.data.dataset import IndexArray, PixelArray, PixelDataset
from minigan.data.glyphs import Alphabet, alphabet

__all__ = ["DIGITS", "Digits"]

Array = npt.NDArray[np.float32]

DIGITS = tuple("0123456789")
STREAM = 0xD1617  # keeps these random numbers apart from others of the same seed
FRAME = 20 / 28  # MNIST fits the ink into 20 of 28 pixels
CHUNK_PIXELS = 2**16  # images rendered together: small enough for their distances to stay in cache


class Hand(NamedTuple):
    """Random properties of a batch of n digits; each digit has a random generator of its own."""

    style: npt.NDArray[np.float64]  # (n,) in [0, 1): chooses the style of the class
    blend: Array  # (n, 1, 1) place between the style's two extremes
    bend: Array  # (n, points, 2) wobble of the control points
    pressure: Array  # (n, points, 1) log of the stroke's relative thickness
    affine: Array  # (n, 2, 2) slant, rotation and width
    wave: Array  # (n, 6) two slow waves through the sheet
    radius: Array  # (n,) half the stroke's thickness, in 28ths of the image
    fill: Array  # (n,) share of the frame that the digit fills
    shift: Array  # (n, 2) off-center, in 28ths of the image


class Strokes(NamedTuple):
    """A batch of n digits as line segments; digit i uses the first `segments[i]`, the rest is padding."""

    begin: Array  # (n, segments, 2) x and y of one end
    end: Array  # (n, segments, 2) and of the other
    radius: Array  # (n, segments) half the stroke's thickness there
    segments: IndexArray  # (n,)


class Digits(PixelDataset):
    """Embedded dataset of white digits (H, W, 1) on black, with the labels 0, 1, ... 9, 0, 1, ...

    Args:
        size: (H, W).
        count: number of digits; a larger dataset of the same seed begins with the same digits.
        seed: of the random generators.
        cache_bytes: drawn images are kept in memory if all of them take no more than this.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] = (28, 28),
        count: int = 20_000,
        seed: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(
            name="digits",
            count=count,
            shape=(*size, 1),
            labels=np.arange(count, dtype=np.int64) % len(DIGITS),
            classes=DIGITS,
            cache_bytes=cache_bytes,
        )
        self._seed = seed
        # segments of about 1.6 pixels look round at any size
        self._alphabet = alphabet(step=float(np.clip(1.6 / (FRAME * min(size)), 0.02, 0.1)))

    def decode(self, indices: IndexArray) -> PixelArray:
        height, width, _ = self.shape
        images = np.empty((len(indices), height, width), dtype=np.uint8)
        chunk = max(1, CHUNK_PIXELS // (height * width))
        for start in range(0, len(indices), chunk):
            part = slice(start, start + chunk)
            hand = _draw_hand(self._seed, indices[part], points=self._alphabet.first.shape[1])
            strokes = _written(self._alphabet, hand, digits=indices[part] % len(DIGITS))
            strokes = _framed(strokes, hand, height=height, width=width)
            images[part] = _inked(strokes, height=height, width=width)
        return images[..., None]


def _draw_hand(seed: int, indices: IndexArray, *, points: int) -> Hand:
    uniform = np.empty((len(indices), 3))
    normal = np.empty((len(indices), 13 + 3 * points), dtype=np.float32)
    for row, index in enumerate(indices):
        rng = np.random.default_rng([seed, int(index), STREAM])
        rng.random(out=uniform[row])
        rng.standard_normal(dtype=np.float32, out=normal[row])
    slant, turn, widen = 0.16 + 0.24 * normal[:, 0], 0.09 * normal[:, 1], np.exp(0.2 * normal[:, 2])
    affine = np.stack([widen, -slant, turn * widen, np.ones_like(slant)], axis=1).reshape(-1, 2, 2)
    wobble = normal[:, 13:].reshape(len(indices), points, 3)
    return Hand(
        style=uniform[:, 0],
        blend=(uniform[:, 1, None, None] * 1.5 - 0.25).astype(np.float32),
        bend=0.03 * np.clip(wobble[:, :, :2], -2.2, 2.2),
        pressure=0.16 * wobble[:, :, 2:],
        affine=affine,
        wave=normal[:, 3:9],
        radius=np.exp(np.clip(0.2 + 0.29 * normal[:, 9], -0.45, 0.8)),
        fill=(1 - 0.1 * uniform[:, 2] ** 2).astype(np.float32),
        shift=0.45 * normal[:, 10:12],
    )


def _written(letters: Alphabet, hand: Hand, *, digits: IndexArray) -> Strokes:
    """Strokes on the sheet, in sheet heights; their radius is 1, more or less with the pressure."""
    pick = [np.searchsorted(np.cumsum(letters.weights[d])[:-1], u) for d, u in zip(digits, hand.style, strict=True)]
    style = np.array([letters.starts[d] for d in digits]) + np.array(pick)
    points = letters.first[style] + hand.blend * (letters.second[style] - letters.first[style]) + hand.bend
    points += _wave(points, hand.wave)
    points = (points - np.float32(0.5)) @ hand.affine.transpose(0, 2, 1)
    points = np.concatenate([points, hand.pressure], axis=2)
    begin, end = letters.begin[style] @ points, letters.end[style] @ points
    radius = np.exp((begin[:, :, 2] + end[:, :, 2]) / 2)
    return Strokes(begin[:, :, :2], end[:, :, :2], radius, letters.segments[style])


def _wave(points: Array, wave: Array) -> Array:
    """A slow elastic shift of the sheet: each axis moves by a sine of the other."""
    amplitude, phase, pitch = wave[:, None, 0:2], wave[:, None, 2:4], wave[:, None, 4:6]
    shift: Array = 0.026 * amplitude * np.sin((4 + pitch) * points[:, :, ::-1] + 3 * phase)
    return shift


def _framed(strokes: Strokes, hand: Hand, *, height: int, width: int) -> Strokes:
    """Strokes in pixels, framed as MNIST's digits are: fitted to a box, centered on the mass of their ink."""
    begin, end, pressure, segments = strokes
    unit = np.float32(min(height, width) / 28)
    thick = hand.radius * unit
    low = np.minimum(begin, end).min(axis=1)
    high = np.maximum(begin, end).max(axis=1)
    room = FRAME * min(height, width) * hand.fill - 2 * thick
    scale = (room / (high - low).max(axis=1))[:, None]
    begin, end, low, high = begin * scale[:, None], end * scale[:, None], low * scale, high * scale
    mass = np.linalg.norm(end - begin, axis=2, keepdims=True)
    mass *= (np.arange(mass.shape[1]) < segments[:, None])[:, :, None]  # padding has no ink
    middle = (mass * (begin + end)).sum(axis=1) / (2 * mass.sum(axis=1))
    center = np.array([(width - 1) / 2, (height - 1) / 2], dtype=np.float32)
    # centering on the mass may push a long tail over the edge: keep the ink inside
    margin = (thick * pressure.max(axis=1))[:, None] + np.float32(0.5)
    place = np.clip(center + hand.shift * unit - middle, margin - low, 2 * center - margin - high)
    return Strokes(begin + place[:, None], end + place[:, None], thick[:, None] * pressure, segments)


def _inked(strokes: Strokes, *, height: int, width: int) -> PixelArray:
    """Images (n, height, width), inked by the distance to the nearest segment relative to the segment's radius.

    With u the distance along a segment of length l and p the one across it, the squared distance is
    p^2 + (u - clip(u, 0, l))^2. Both u and p are affine in x and y, so a segment costs one sum over
    columns and rows each, and every step of the loop works in place.
    """
    longest_first = np.argsort(-strokes.segments, kind="stable")
    begin, end, radius = (part[longest_first] for part in (strokes.begin, strokes.end, strokes.radius))
    segments = strokes.segments[longest_first]
    step = (end - begin) / radius[:, :, None]
    length = np.maximum(np.linalg.norm(step, axis=2), np.float32(1e-6))
    direction = step / (length * radius)[:, :, None]
    # (segments, n, width or height), so that the loop takes contiguous slices
    x = np.arange(width, dtype=np.float32) - begin[:, :, 0].T[..., None]
    y = np.arange(height, dtype=np.float32) - begin[:, :, 1].T[..., None]
    cos, sin = direction[:, :, 0].T[..., None], direction[:, :, 1].T[..., None]
    along_x, along_y, across_x, across_y = x * cos, y * sin, -x * sin, y * cos

    nearest = np.full((len(begin), height, width), np.inf, dtype=np.float32)
    buffers = [np.empty_like(nearest) for _ in range(3)]
    for k in range(int(segments[0])):
        n = int(np.count_nonzero(segments > k))  # the digits that have a segment k come first
        along, across, clipped = (buffer[:n] for buffer in buffers)
        np.add(along_y[k, :n, :, None], along_x[k, :n, None, :], out=along)
        np.add(across_y[k, :n, :, None], across_x[k, :n, None, :], out=across)
        np.maximum(along, 0, out=clipped)
        np.minimum(clipped, length[:n, k, None, None], out=clipped)
        along -= clipped
        along *= along
        across *= across
        along += across
        np.minimum(nearest[:n], along, out=nearest[:n])
    images = np.empty(nearest.shape, dtype=np.uint8)
    images[longest_first] = _soft_brush(nearest, radius)
    return images


def _soft_brush(squared: Array, radius: Array) -> PixelArray:
    """Ink that is full inside the stroke and fades over about a pixel at its edge, as in an anti-aliased scan."""
    distance = np.sqrt(squared, out=squared)
    slope = radius.mean(axis=1)[:, None, None] / np.float32(1.1)
    ink = np.clip((1 - distance) * slope + np.float32(0.5), 0, 1)
    pixels: PixelArray = (ink * 255 + np.float32(0.5)).astype(np.uint8)
    return pixels
