"""Reports of figures, as a table and as JSON."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Figure", "Report"]


@dataclass(frozen=True)
class Figure:
    """A number that measures a generator.

    Attributes:
        name: its key in JSON.
        value: its value for the samples.
        better: "lower", "higher", or the best value.
        meaning: in a few words.
        samples: number of samples it was computed from.
        real: number of real examples it was computed from.
        data: its value for fresh real examples or another baseline (`Report.baseline`); None if there is none.
        std: standard deviation, if the value is a mean.
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
    """The figures of one generator.

    Attributes:
        figures: all figures, in order.
        seed: of the noise and of every choice of examples.
        features: a name for the features; empty if none were used.
        histogram: number of samples in each mode or class; empty if there are none.
        remarks: lines for the reader.
        baseline: name of the baseline to which the figures' `data` belongs.
    """

    figures: tuple[Figure, ...]
    seed: int
    features: str = ""
    histogram: tuple[int, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    baseline: str = "data itself"

    def value(self, name: str) -> float:
        """The value of the figure of that name.

        Raises:
            KeyError: there is none.
        """
        return {figure.name: figure.value for figure in self.figures}[name]

    def to_json(self) -> dict[str, Any]:
        """The report as values that JSON has; infinity and NaN become None."""
        return {
            "seed": self.seed,
            "features": self.features,
            "baseline": self.baseline,
            "figures": {f.name: {k: _plain(v) for k, v in asdict(f).items() if k != "name"} for f in self.figures},
            "histogram": list(self.histogram),
            "remarks": list(self.remarks),
        }

    def table(self) -> str:
        """The figures as aligned columns, a line a figure."""
        rows = [("figure", "value", self.baseline, "better", "samples", "real", "")]
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
