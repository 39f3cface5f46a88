"""Plots as SVG: curves of one or two runs over the steps, and heat maps."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minigan.inspection.history import Curve
from minigan.inspection.numbers import compact
from minigan.support.web_page import safe

__all__ = ["HEIGHT", "WIDTH", "Line", "heat_map", "plot", "running_mean"]

WIDTH, HEIGHT = 600, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 10, 10, 30
DETAIL = 300  # buckets across a plot: of each, the least and the greatest value are drawn
SMOOTHED = 0.03  # of all values, in the running mean
OUTLIERS = 0.005  # at each end, that may lie beyond the axis
MOMENTS = 60  # columns of a heat map
ROW, LABEL = 20, 220  # of a heat map
SCALE = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")


class Line(NamedTuple):
    """A curve to be drawn.

    Attributes:
        name: in the legend.
        color: 0, 1, ...: the same for one value of both runs.
        run: 0, or 1 for the second run, which is dashed.
        is_smooth: draw the values as they are; otherwise many are drawn pale, below their running mean.
    """

    name: str
    curve: Curve
    color: int
    run: int = 0
    is_smooth: bool = False


class _Frame(NamedTuple):
    """The range of a plot, and where its points lie."""

    last: float
    low: float
    high: float

    def x(self, steps: np.ndarray) -> np.ndarray:
        return LEFT + (WIDTH - LEFT - RIGHT) * steps / self.last

    def y(self, values: np.ndarray) -> np.ndarray:
        share = (np.clip(values, self.low, self.high) - self.low) / (self.high - self.low)
        return np.asarray(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share))


def plot(title: str, lines: Sequence[Line], *, last: int, marks: Sequence[tuple[float, str]] = ()) -> str:
    """Curves over the steps.

    Args:
        title: for those who cannot see it.
        last: the step at the right end.
        marks: heights of dotted lines, with their words; those outside the curves' range by far are left out.
    """
    frame = _frame(lines, max(last, 1), [height for height, _ in marks])
    parts = [*_axes(frame)]
    parts += _marked(frame, marks)
    for line in lines:
        parts += _drawn(line, frame)
    parts.append(f'<path d="M0 {TOP}V{HEIGHT - BOTTOM}" class="now" data-left="{LEFT}" data-right="{WIDTH - RIGHT}"/>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="plot" role="img" aria-label="{safe(title)}" '
        f'data-last="{max(last, 1)}">{"".join(parts)}</svg>'
    )


def _marked(frame: _Frame, marks: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Dotted lines; words that would lie on others are shown only when pointed at."""
    written: list[float] = []
    for height, words in marks:
        if frame.low <= height <= frame.high:
            y = round(float(frame.y(np.array(height))), 1)
            yield f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" class="mark"><title>{safe(words)}</title></path>'
            if all(abs(y - other) > 14 for other in written):
                yield f'<text x="{WIDTH - RIGHT - 4}" y="{y - 4:.1f}" class="word">{safe(words)}</text>'
                written.append(y)


def _frame(lines: Sequence[Line], last: int, heights: Sequence[float]) -> _Frame:
    ends: list[float] = []
    for line in lines:
        finite = line.curve.values[np.isfinite(line.curve.values)]
        if finite.size:
            beyond = OUTLIERS if finite.size > 100 else 0.0
            ends += np.quantile(finite, [beyond, 1 - beyond]).tolist()
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    span = high - low
    near = [height for height in heights if low - span <= height <= high + span]
    low, high = min([low, *near]), max([high, *near])
    room = 0.05 * (high - low) or 1.05 * abs(high) or 1.0  # a level line lies in the middle, and 0 at an end
    return _Frame(float(last), low - room, high + room)


def _drawn(line: Line, frame: _Frame) -> Iterator[str]:
    """All values pale, and their running mean strong, or the values alone. Gaps are where numbers are not finite."""
    kind = f"c{line.color % 6}{' b' if line.run else ''}"
    finite = np.isfinite(line.curve.values)
    steps, values = line.curve.steps[finite].astype(float), line.curve.values[finite]
    if len(values) == 1:
        yield f'<circle cx="{frame.x(steps)[0]:.1f}" cy="{frame.y(values)[0]:.1f}" r="3.5" class="{kind}"/>'
        return
    many = len(values) > 30 and not line.is_smooth
    if many:
        yield f'<path d="{_path(*_ends(steps, values), frame)}" class="raw {kind}"/>'
    mean = running_mean(values, max(1, round(SMOOTHED * len(values)))) if many else values
    keep = np.unique(np.linspace(0, len(mean) - 1, min(len(mean), DETAIL)).astype(int)) if len(mean) else slice(0)
    yield f'<path d="{_path(steps[keep], mean[keep], frame)}" class="mean {kind}"/>'


def _ends(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value of each bucket, in their order."""
    if len(values) <= 2 * DETAIL:
        return steps, values
    edges = np.linspace(0, len(values), DETAIL + 1).astype(int)
    picked = [
        start + at
        for start, stop in pairwise(edges.tolist())
        for at in sorted({int(values[start:stop].argmin()), int(values[start:stop].argmax())})
    ]
    return steps[picked], values[picked]


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Means of up to `width` values before and after each."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - width, 0), np.minimum(at + width + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _path(steps: np.ndarray, values: np.ndarray, frame: _Frame) -> str:
    points = " ".join(f"{x:.1f} {y:.1f}" for x, y in zip(frame.x(steps), frame.y(values), strict=True))
    return f"M{points}" if points else ""


def _axes(frame: _Frame) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for value in _ticks(frame.low, frame.high):
        y = float(frame.y(np.array(value)))
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="grid"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="tick-y">{_short(value)}</text>'
    for value in _ticks(0, frame.last):
        x = float(frame.x(np.array(value)))
        end = "-last" if x > WIDTH - RIGHT - 20 else ""
        yield f'<text x="{x:.1f}" y="{bottom + 20}" class="tick-x{end}">{_short(value)}</text>'
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" class="axis"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range: three to six."""
    rough = (high - low) / 4
    if not math.isfinite(rough) or rough <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _short(value: float) -> str:
    """A round number in few characters: 2k, 0.5, 2e-4."""
    if abs(value) >= 1000:
        return re.sub(r"\.0+(?=\D)|(?<=\.\d)0+(?=\D)", "", compact(value))
    if 0 < abs(value) < 1e-3:
        return re.sub(r"\.?0*e-0*", "e-", f"{value:.2e}")
    return f"{value:.3g}"


def heat_map(title: str, curves: Mapping[str, Curve]) -> str:
    """Logarithms of positive values, a row a name, over the moments at which they were logged."""
    moments = np.unique(np.concatenate([curve.steps for curve in curves.values()]))
    moments = moments[np.unique(np.linspace(0, len(moments) - 1, min(len(moments), MOMENTS)).astype(int))]
    logs = {name: np.log10(np.maximum(curve.values, 1e-45)) for name, curve in curves.items()}
    everything = np.concatenate([part[np.isfinite(part) & (part > -44)] for part in logs.values()])
    low, high = (float(everything.min()), float(everything.max())) if everything.size else (0.0, 0.0)
    cell = (WIDTH - LABEL - RIGHT) / len(moments)
    parts = []
    for row, (name, curve) in enumerate(curves.items()):
        shown = name if len(name) <= 26 else name[:25] + "…"
        parts.append(f'<text x="{LABEL - 6}" y="{row * ROW + 14}" class="tick-y">{safe(shown)}</text>')
        for column, step in enumerate(moments):
            at = int(np.searchsorted(curve.steps, step))
            if at < len(curve.steps) and curve.steps[at] == step:
                color = _color(float(logs[name][at]), low, high)
                words = f"{safe(name)}, step {step:,}: {curve.values[at]:.3g}"
                parts.append(
                    f'<rect x="{LABEL + column * cell:.1f}" y="{row * ROW}" width="{cell + 0.3:.1f}" '
                    f'height="{ROW - 1}" fill="{color}"><title>{words}</title></rect>'
                )
    height = len(curves) * ROW + 24
    for column, anchor in ((0, "first"), (len(moments) - 1, "last")):
        x = LABEL if anchor == "first" else WIDTH - RIGHT
        parts.append(f'<text x="{x}" y="{height - 6}" class="tick-{anchor}">{moments[column]:,}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" class="plot heat" role="img" aria-label="{safe(title)}">'
        f"{''.join(parts)}</svg>"
        f'<p class="scale">from {10**low:.2g} (dark) to {10**high:.2g} (bright)</p>'
    )


def _color(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "#ff0044"
    share = (value - low) / (high - low) if high > low else 0.5
    return SCALE[min(max(int(share * len(SCALE)), 0), len(SCALE) - 1)]
