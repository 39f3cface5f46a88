"""Figures, and how they are shown: as a table and as JSON."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Figure", "Report"]


@dataclass(frozen=True)
class Figure:
    """One number that a generator got.

    Attributes:
        name: a key of the JSON.
        value: what the samples got.
        better: lower, higher, or a number that is best.
        meaning: in a few words.
        samples: how many of the generator's went into it.
        real: how many of the data's.
        data: what fresh real examples in the samples' place get, or whatever else the report has beside them; None
            where there is no such thing.
        std: standard deviation of the value, where it is a mean.
    """

    name: str
    value: float
    better: str
    meaning: str
    samples: int
    real: int
    data: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class Report:
    """All figures of one generator.

    Attributes:
        seed: of the noise and of every choice of examples.
        features: what the features are of, in words; empty where there are none.
        histogram: samples by mode or class; empty where there are none.
        remarks: lines that a reader should know.
        beside: what the figures' `data` is of.
    """

    figures: tuple[Figure, ...]
    seed: int
    features: str = ""
    histogram: tuple[int, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    beside: str = "data itself"

    def value(self, name: str) -> float:
        """The value of the figure of that name; KeyError if there is none."""
        return {figure.name: figure.value for figure in self.figures}[name]

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold; infinity becomes null."""
        return {
            "seed": self.seed,
            "features": self.features,
            "beside": self.beside,
            "figures": {f.name: {k: _plain(v) for k, v in asdict(f).items() if k != "name"} for f in self.figures},
            "histogram": list(self.histogram),
            "remarks": list(self.remarks),
        }

    def table(self) -> str:
        """Aligned columns, a line a figure."""
        rows = [("figure", "value", self.beside, "better", "samples", "real", "")]
        for f in self.figures:
            spread = "" if f.std is None else f" ± {_short(f.std)}"
            data = "" if f.data is None else _short(f.data)
            rows.append((f.name, _short(f.value) + spread, data, f.better, f"{f.samples:,}", f"{f.real:,}", f.meaning))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                f"{cell:{side}{width}}" for cell, side, width in zip(row, "<>><>><", widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _short(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    whole = value == round(value) and abs(value) < 1e9
    return f"{value:,.0f}" if whole else f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
