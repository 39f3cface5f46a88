"""The pen strokes of the ten digits, as people write them.

A stroke is a string of control points ``x,y`` on a sheet 100 high, y downwards. A smooth curve (Catmull-Rom) goes
through them; ``/`` marks a sharp corner at the point before it, ``|`` lifts the pen. Each style has two extremes with
the same number of points, and a digit is drawn anywhere between them or slightly beyond.
"""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["STYLES", "Alphabet", "Style", "alphabet"]

Array = npt.NDArray[np.float32]

CORNER, LIFT = "/", "|"


class Style(NamedTuple):
    """A way to write a digit; `weight` is its relative frequency among the styles of that digit."""

    weight: float
    first: str
    second: str


STYLES: tuple[tuple[Style, ...], ...] = (
    (  # 0: closed; overlapping at the top; starting inside with a small hook
        Style(
            5,
            "52,0 24,14 12,50 24,88 48,100 74,86 86,48 74,12 50,1",
            "56,2 26,10 6,52 22,92 54,98 88,80 94,40 74,6 44,4",
        ),
        Style(
            3,
            "66,10 38,2 14,30 12,66 32,98 62,94 82,62 80,28 58,6 36,10",
            "46,4 22,14 10,52 24,90 52,100 78,82 88,46 70,10 40,6 24,22",
        ),
        Style(
            1,
            "58,16 44,2 18,22 10,60 28,96 56,96 80,66 84,30 66,6 48,14",
            "40,8 22,26 14,60 30,94 52,98 74,70 78,34 62,4 44,8 52,26",
        ),
    ),
    (  # 1: a single stroke; with a flag; with a flag and a foot
        Style(14, "51,0 50,50 49,100", "54,0 49,52 50,100"),
        Style(2, "32,24 53,0 / 51,50 50,100", "40,14 52,0 / 52,50 51,100"),
        Style(1, "30,20 52,0 / 51,50 50,100 | 26,100 50,100 74,99", "36,24 51,2 / 52,50 51,98 | 32,100 52,97 78,98"),
    ),
    (  # 2: sharp foot; looped foot; like a Z; swan-necked; curled; slight
        Style(
            4,
            "14,24 28,4 56,0 78,16 72,42 44,72 10,98 / 48,96 88,97",
            "20,18 38,2 62,4 72,24 60,52 38,76 16,96 / 52,92 92,100",
        ),
        Style(
            4,
            "16,22 34,2 64,2 78,24 62,56 34,86 14,94 10,82 28,76 54,88 90,94",
            "10,16 32,0 60,6 68,30 52,62 28,90 10,96 12,84 34,82 58,94 94,86",
        ),
        Style(
            2,
            "12,10 48,2 80,8 / 50,48 10,96 / 50,92 92,94",
            "16,16 46,0 76,14 / 56,46 18,94 / 52,98 86,92",
        ),
        Style(
            1,
            "24,30 22,10 48,0 74,14 66,46 38,78 16,98 / 40,90 62,98 92,86",
            "14,34 18,8 46,0 70,18 62,50 36,80 12,96 / 38,84 64,94 90,92",
        ),
        Style(
            2,
            "10,30 12,10 40,0 64,12 60,44 40,76 18,92 8,80 24,68 52,82 92,88",
            "28,36 12,16 40,2 70,16 62,54 34,92 12,90 16,72 40,72 66,88 96,80",
        ),
        Style(
            1,
            "30,8 46,2 54,14 44,50 16,94 / 50,92 96,84",
            "44,12 54,0 62,14 46,56 20,96 / 56,96 98,92",
        ),
    ),
    (  # 3: round with a pointed waist; with a small loop at the waist; flat top; sweeping; small above
        Style(
            5,
            "16,14 40,0 68,8 70,30 38,46 / 70,54 80,76 54,98 12,92",
            "10,8 42,2 76,14 62,38 34,48 / 66,56 72,80 44,100 8,86",
        ),
        Style(
            3,
            "16,14 44,0 72,12 62,36 38,50 34,42 60,48 80,70 56,98 10,90",
            "12,18 36,0 66,6 66,32 42,46 30,44 58,52 74,76 46,100 6,92",
        ),
        Style(
            1,
            "14,8 46,4 78,4 / 60,22 42,40 / 74,54 76,84 44,100 12,90",
            "18,4 46,6 72,8 / 56,26 40,44 / 70,58 68,86 38,98 8,92",
        ),
        Style(
            2,
            "22,10 48,0 68,14 56,36 30,46 58,54 70,74 48,96 8,96",
            "14,20 38,2 70,8 68,34 36,44 64,50 82,72 62,96 18,98",
        ),
        Style(
            2,
            "18,12 48,0 62,14 44,36 24,42 / 52,44 74,66 60,94 14,98",
            "12,6 50,0 58,16 46,32 32,38 / 60,46 70,70 46,98 6,86",
        ),
    ),
    (  # 4: open and angular; open and round; in one go; closed
        Style(
            4,
            "24,4 18,30 12,56 / 50,57 88,52 | 72,2 67,50 60,100",
            "18,10 14,36 14,60 / 48,58 80,58 | 66,4 64,50 64,100",
        ),
        Style(
            3,
            "24,2 13,38 22,58 50,57 74,48 | 76,4 69,50 62,100",
            "16,6 10,34 18,52 44,56 72,50 | 70,0 70,50 66,100",
        ),
        Style(
            2,
            "26,4 14,36 20,56 48,56 72,36 80,6 / 68,56 58,100",
            "20,8 16,34 26,50 50,50 70,30 74,8 / 70,54 66,100",
        ),
        Style(
            2,
            "62,0 36,32 8,66 / 50,67 92,65 | 64,2 62,50 60,100",
            "56,2 32,30 12,58 / 46,62 86,58 | 62,8 60,54 56,100",
        ),
    ),
    (  # 5: the top bar last; in one go; like an S; with a long bar
        Style(
            4,
            "30,6 24,26 20,46 / 46,36 76,54 70,86 40,100 8,90 | 30,6 56,6 88,2",
            "26,8 26,28 28,44 / 54,42 74,62 60,90 34,98 12,96 | 26,10 54,4 78,8",
        ),
        Style(
            4,
            "86,4 58,6 32,8 / 26,28 20,46 / 50,40 76,58 66,88 38,100 8,88",
            "92,0 62,4 38,6 / 30,26 24,44 / 54,46 68,66 52,92 26,98 4,92",
        ),
        Style(
            2,
            "84,4 54,2 30,16 34,38 62,54 70,76 46,98 10,90",
            "92,2 60,4 36,14 32,36 58,48 66,72 40,96 6,94",
        ),
        Style(
            2,
            "34,14 28,30 26,44 / 48,42 62,62 50,88 26,100 8,92 | 34,14 64,10 106,4",
            "28,8 26,26 24,40 / 50,36 66,56 58,86 34,98 14,92 | 26,8 50,8 72,7",
        ),
    ),
    (  # 6: bowed back; straight back; the loop closing inside; the loop nearly all of it
        Style(
            4,
            "66,0 36,24 16,58 20,86 46,100 74,86 72,62 48,52 22,70",
            "78,2 44,24 18,56 14,84 38,100 66,90 72,68 50,58 24,74",
        ),
        Style(
            4,
            "50,0 32,34 18,68 28,95 56,98 74,78 60,58 34,66 20,82",
            "62,0 40,32 20,64 22,92 46,100 66,82 58,64 38,66 20,86",
        ),
        Style(
            2,
            "72,4 36,18 14,54 24,92 56,98 80,78 66,58 38,62 36,80",
            "54,0 28,26 14,62 26,94 54,96 68,76 52,60 32,70 42,86",
        ),
        Style(
            3,
            "40,0 16,34 10,70 30,96 62,96 82,72 70,50 44,52 34,72",
            "26,4 12,40 14,76 38,98 70,92 84,66 68,46 46,54 42,74",
        ),
    ),
    (  # 7: angular; rounded; crossed; with a serif
        Style(5, "10,10 46,8 84,5 / 64,46 44,100", "14,6 44,8 74,10 / 62,50 54,100"),
        Style(3, "10,16 36,5 76,6 74,30 52,62 40,100", "12,10 42,8 78,10 68,36 54,64 50,100"),
        Style(
            2,
            "10,10 46,8 84,5 / 64,46 44,100 | 30,54 54,51 80,49",
            "16,12 44,6 76,8 / 60,50 48,100 | 34,48 56,50 76,46",
        ),
        Style(2, "10,28 14,8 / 48,9 86,4 / 62,48 46,100", "14,22 14,12 / 46,8 80,8 / 66,44 52,100"),
    ),
    (  # 8: one stroke from the top right; from the waist; two stacked rings; open above
        Style(
            5,
            "74,14 48,0 24,16 34,38 60,56 74,80 48,100 22,84 36,58 62,38 76,16",
            "66,10 42,2 24,20 38,42 62,60 66,84 42,100 20,82 32,60 58,40 72,14",
        ),
        Style(
            3,
            "52,46 26,28 36,4 62,2 74,22 50,46 24,70 30,96 60,98 76,76 52,46",
            "50,44 30,24 40,2 64,4 68,26 46,48 26,74 34,98 58,96 68,74 48,46",
        ),
        Style(
            2,
            "80,8 56,0 30,12 34,34 58,52 70,76 48,98 24,86 38,60 66,36 86,4",
            "62,16 48,2 26,14 30,38 56,54 72,78 54,100 24,90 28,64 56,40 62,18",
        ),
        Style(
            3,
            "82,14 52,0 26,10 30,30 50,44 56,66 48,94 30,98 24,82 44,58 68,38 92,10",
            "70,22 50,2 24,12 26,32 50,46 62,66 56,94 36,100 26,84 42,60 64,40 84,20",
        ),
    ),
    (  # 9: straight tail; curved tail; flowing out of the loop; hooked tail; wide loop
        Style(
            4,
            "74,18 48,2 20,20 24,46 50,50 72,30 78,8 / 72,55 66,100",
            "66,12 42,0 22,18 24,40 46,46 64,28 72,8 / 66,55 56,100",
        ),
        Style(
            2,
            "72,14 46,0 18,20 24,46 52,48 74,22 / 80,54 66,90 28,96",
            "76,16 52,2 24,16 22,42 50,50 74,30 / 76,60 58,92 20,94",
        ),
        Style(
            4,
            "78,20 54,2 24,14 18,40 44,50 70,34 79,12 72,58 58,100",
            "70,10 44,0 22,22 28,44 52,44 72,24 74,14 66,60 50,100",
        ),
        Style(
            1,
            "72,22 50,2 22,16 20,42 46,50 70,30 76,10 / 76,56 70,96 44,100 34,90",
            "70,14 46,0 20,20 26,44 54,46 72,24 76,10 / 72,60 60,94 38,98 30,84",
        ),
        Style(
            2,
            "84,10 50,4 14,26 24,46 60,36 84,12 / 80,50 74,100",
            "80,20 40,0 10,24 30,48 64,36 82,16 / 80,60 84,100",
        ),
    ),
)


class Alphabet(NamedTuple):
    """Styles of all digits as arrays, padded to one size.

    Curves are linear in their control points, so `begin @ points` and `end @ points` are the ends of line segments.

    Attributes:
        first, second: (styles, points, 2), the two extremes of each style, in sheet heights.
        begin, end: (styles, segments, points), weights that give the two ends of each line segment.
        segments: (styles,), number of segments of each style; those beyond are padding.
        weights: the probabilities of a digit's styles, for each digit.
        starts: the index of a digit's first style, for each digit.
    """

    first: Array
    second: Array
    begin: Array
    end: Array
    segments: npt.NDArray[np.intp]
    weights: tuple[npt.NDArray[np.float64], ...]
    starts: tuple[int, ...]


@functools.lru_cache(maxsize=8)  # of the last sizes: cutting the curves takes 20 ms, and digits are opened often
def alphabet(*, step: float) -> Alphabet:
    """The styles of all digits, their curves cut into straight segments about `step` sheet heights long."""
    styles = [style for digit in STYLES for style in digit]
    parsed = [(_points(style.first), _points(style.second)) for style in styles]
    bases = [_basis(style.first, step=step) for style in styles]
    points = max(len(first) for first, _ in parsed)
    segments = max(len(basis) for basis, _ in bases)

    def padded(rows: Array, *shape: int) -> Array:
        # a repeated last row is a segment drawn twice, or a control point that no segment uses
        return np.pad(rows, [(0, shape[0] - len(rows)), (0, shape[1] - rows.shape[1])], mode="edge")

    def padded_basis(rows: Array) -> Array:
        wide = np.pad(rows, [(0, 0), (0, points - rows.shape[1])])
        return padded(wide, segments, points)

    return Alphabet(
        first=np.stack([padded(first, points, 2) for first, _ in parsed]),
        second=np.stack([padded(second, points, 2) for _, second in parsed]),
        begin=np.stack([padded_basis(begin) for begin, _ in bases]),
        end=np.stack([padded_basis(end) for _, end in bases]),
        segments=np.array([len(begin) for begin, _ in bases]),
        weights=tuple(_probabilities(digit) for digit in STYLES),
        starts=tuple(int(n) for n in np.cumsum([0, *(len(digit) for digit in STYLES[:-1])])),
    )


def _probabilities(styles: tuple[Style, ...]) -> npt.NDArray[np.float64]:
    weights = np.array([style.weight for style in styles], dtype=np.float64)
    weights /= weights.sum()
    return weights


def _points(strokes: str) -> Array:
    """The control points of a style, (points, 2), in sheet heights."""
    words = [word for word in strokes.split() if word not in (CORNER, LIFT)]
    return np.array([word.split(",") for word in words], dtype=np.float32) / np.float32(100)


def _curves(strokes: str) -> list[list[int]]:
    """The smooth pieces of a style, each as indices into its control points; pieces share the point of a corner."""
    curves: list[list[int]] = [[]]
    count = 0
    for word in strokes.split():
        if word == CORNER:
            curves.append([count - 1])
        elif word == LIFT:
            curves.append([])
        else:
            curves[-1].append(count)
            count += 1
    return curves


def _basis(strokes: str, *, step: float) -> tuple[Array, Array]:
    points = _points(strokes)
    begin: list[Array] = []
    end: list[Array] = []
    for curve in _curves(strokes):
        samples = _catmull_rom(points, curve, step=step)
        begin.extend(samples[:-1])
        end.extend(samples[1:])
    return np.stack(begin), np.stack(end)


def _catmull_rom(points: Array, curve: list[int], *, step: float) -> Array:
    """Weights (samples, points) of a Catmull-Rom curve through `points[curve]`."""
    one_hot = np.eye(len(points), dtype=np.float32)[curve]
    # the ends are mirrored, so that the curve reaches its first and last point
    knots = np.concatenate([2 * one_hot[:1] - one_hot[1:2], one_hot, 2 * one_hot[-1:] - one_hot[-2:-1]])
    samples = [one_hot[:1]]
    for k in range(1, len(curve)):
        before, here, there, after = knots[k - 1 : k + 3]
        length = float(np.linalg.norm((there - here) @ points))
        t = np.linspace(0, 1, max(2, round(length / step)) + 1, dtype=np.float32)[1:, None]
        samples.append(
            here
            + t / 2 * (there - before)
            + t**2 / 2 * (2 * before - 5 * here + 4 * there - after)
            + t**3 / 2 * (3 * here - before - 3 * there + after)
        )
    return np.concatenate(samples)
