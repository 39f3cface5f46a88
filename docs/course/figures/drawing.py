"""Charts as small SVG files, and pictures of the plane as pixels."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 74, 150, 34, 46
COLORS = ("#1f6fb4", "#d1602b", "#2c8a4b", "#8456b0", "#b08a1e", "#666666")
REAL, FAKE = (0.12, 0.44, 0.71), (0.85, 0.38, 0.17)  # blue and orange, as on the live page


class Axis(NamedTuple):
    """One axis of a chart.

    Attributes:
        words: what it shows.
        low, high: its ends.
        log: whether it is logarithmic.
    """

    words: str
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """The place of a value, from 0 at the low end to 1 at the high one."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1, max(1, (last - first) // 5))]
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
        return [n * step for n in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]

    def word(self, value: float) -> str:
        if self.log and not 1e-3 <= value <= 1e4:
            return f"1e{round(math.log10(value))}"
        return f"{value:,.4g}"


def lines(
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: Axis,
    y: Axis,
    *,
    groups: Mapping[str, int] | None = None,
) -> str:
    """Curves with a legend at the right.

    Args:
        curves: of each name its x and its y.
        groups: the number of a curve's color; curves of one color have one place in the legend, by the first's name.
    """
    parts = [*_frame(title, x, y)]
    named: set[int] = set()
    for index, (name, (xs, ys)) in enumerate(curves.items()):
        color = index if groups is None else groups[name]
        points = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in zip(xs, ys, strict=True))
        style = f'fill="none" stroke="{COLORS[color]}" stroke-width="{2 if color not in named else 1.4}"'
        parts.append(f'<polyline points="{points}" {style}/>')
        if color not in named:
            place = TOP + 14 + 20 * len(named)
            parts.append(f'<path d="M{WIDTH - RIGHT + 12} {place - 4}h16" stroke="{COLORS[color]}" stroke-width="3"/>')
            parts.append(_text(WIDTH - RIGHT + 33, place, name, "start"))
            named.add(color)
    return _svg(parts, title, HEIGHT)


def bars(title: str, rows: Mapping[str, Mapping[str, float]], x: Axis) -> str:
    """Horizontal bars: of each row, one for each name, with its value behind it."""
    names = list(next(iter(rows.values())))
    high = 18 * len(names) + 14
    height = TOP + high * len(rows) + 56
    parts = [_text(16, 20, title, "start", size=14)]
    left, width = 150, WIDTH - 150 - 90
    for row, (label, values) in enumerate(rows.items()):
        top = TOP + 6 + row * high
        parts.append(_text(left - 10, top + 9 * len(names) + 4, label, "end"))
        for index, name in enumerate(names):
            length = width * x.share(max(values[name], x.low))
            parts.append(
                f'<rect x="{left}" y="{top + 18 * index}" width="{length:.1f}" height="15" fill="{COLORS[index]}"/>'
            )
            shown = "0" if values[name] == 0 else "rounding" if values[name] < 1e-6 else f"{values[name]:.2g}"
            parts.append(_text(left + length + 6, top + 18 * index + 12, shown, "start"))
    for index, name in enumerate(names):
        at = left + 220 * index
        parts.append(f'<rect x="{at}" y="{height - 26}" width="13" height="13" fill="{COLORS[index]}"/>')
        parts.append(_text(at + 19, height - 15, name, "start"))
    parts.append(_text(left, height - 36, x.words, "start"))
    return _svg(parts, title, height)


def table(title: str, grids: Mapping[str, np.ndarray], *, cell: int = 26) -> str:
    """Small matrices of whole numbers side by side, darker where they are larger."""
    parts, left, tallest = [_text(16, 20, title, "start", size=14)], 16, 0
    for name, grid in grids.items():
        rows, columns = grid.shape
        parts.append(_text(left, 48, name, "start"))
        for (row, column), value in np.ndenumerate(grid):
            shade = 245 - int(130 * (value - grid.min()) / max(grid.max() - grid.min(), 1))
            color = f"rgb({shade - 40},{shade - 10},{min(shade + 5, 255)})"
            at, top = left + column * cell, 58 + row * cell
            parts.append(
                f'<rect x="{at}" y="{top}" width="{cell - 1}" height="{cell - 1}" fill="{color}"/>'
                + _text(at + cell / 2, top + cell / 2 + 4, str(int(value)), "middle")
            )
        left += columns * cell + 30
        tallest = max(tallest, rows)
    return _svg(parts, title, 58 + tallest * cell + 16, width=max(left, 420))


def plane(reading: np.ndarray, *, real: np.ndarray, fake: np.ndarray, extent: float, scale: int) -> np.ndarray:
    """A picture of the plane: D's reading as color, real points blue, fakes orange.

    Args:
        reading: from 0, fake, to 1, real, on a grid (n, n); rows go with y.
        real, fake: (N, 2).
        scale: pixels of a cell of the grid.
    Returns:
        uint8 (n * scale, n * scale, 3).
    """
    share = np.flipud(reading)[..., None].repeat(scale, axis=0).repeat(scale, axis=1)
    white, strength = np.ones(3), 0.45 * np.abs(2 * share - 1)
    image = white + strength * (np.where(share > 0.5, REAL, FAKE) - white)
    side = len(image)
    for points, color in ((real, REAL), (fake, FAKE)):
        at = np.round((points + extent) / (2 * extent) * (side - 1)).astype(int)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column, row = at[:, 0] + dx, side - 1 - at[:, 1] + dy
            inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
            image[row[inside], column[inside]] = color
    return (image * 255).round().astype(np.uint8)


def side_by_side(pictures: Sequence[np.ndarray], *, gap: int = 6) -> np.ndarray:
    """Pictures of one height in a row, white between them."""
    white = np.full((len(pictures[0]), gap, pictures[0].shape[-1]), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, white)]
    return np.concatenate(parts[:-1], axis=1)


def _x(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * axis.share(value)


def _y(axis: Axis, value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - axis.share(value))


def _frame(title: str, x: Axis, y: Axis) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [_text(LEFT, 20, title, "start", size=14)]
    for value in y.ticks():
        at = _y(y, value)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, at + 4, y.word(value), "end"))
    for value in x.ticks():
        at = _x(x, value)
        parts.append(f'<path d="M{at:.1f} {bottom}v4" stroke="#888"/>')
        parts.append(_text(at, bottom + 17, x.word(value), "middle"))
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#888"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 8, x.words, "middle"))
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 16 {middle:.0f})"'
    parts.append(_text(16, middle, y.words, "middle", more=turned))
    return parts


def _text(x: float, y: float, words: str, anchor: str, *, size: int = 12, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def _svg(parts: Sequence[str], title: str, height: float, *, width: float = WIDTH) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="sans-serif" fill="#222" role="img" aria-label="{escape(title)}">'
    )
    return "\n".join([head, f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>', *parts, "</svg>", ""])
