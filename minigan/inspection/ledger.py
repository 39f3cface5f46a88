"""The ledger of a step: what a row holds, and its sums."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from minigan.inspection.limits import Limits
from minigan.inspection.work import Cost

__all__ = ["BETWEEN", "FUSED", "RUN", "SKIPPED", "Event", "Ledger", "Row", "Totals"]

RUN, FUSED, SKIPPED = "executed", "fused", "skipped"
BETWEEN = "between"  # the operation of a row that is no layer's: losses, checks, copies


@dataclass
class Row:
    """One operation of a layer in one phase. Of equal ones, such as those of several steps of D, the sums.

    Attributes:
        phase: `D on real`.
        layer: its path: `D.3.Conv2D`; "" for what is no layer's.
        label: `D 3 Conv2D 4x4 /2`.
        operation: "y", "dx", "dw", "dx dw", "2nd", "update", "batch" or "between".
        status: "executed", "fused" or "skipped".
        reason: why it is fused or skipped.
        algorithm: the backend's name for how it is computed, or the kernels'.
        shapes: of what is given and of the result, with the batch.
        cost: operations and bytes; of a skipped row those that it would take.
        products: operations of convolutions and fully connected layers among them.
        default, default_products: the same of what a default engine for automatic differentiation runs here.
        times: how often.
        seconds: None for what has no time of its own.
        live: bytes alive afterwards; None where nothing ran.
        peak: the most bytes alive meanwhile.
    """

    phase: str
    layer: str
    label: str
    operation: str
    status: str = RUN
    reason: str = ""
    algorithm: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()
    cost: Cost = field(default_factory=Cost)
    products: int = 0
    default: int = 0
    default_products: int = 0
    times: int = 0
    seconds: float | None = None
    live: int | None = None
    peak: int = 0

    def share_of_roof(self, limits: Limits | None) -> float | None:
        """The least time that the work takes at the machine's limits, over the time it took; None if unknown."""
        if limits is None or not self.seconds or not (self.cost.flops or self.cost.reads):
            return None
        return limits.least_seconds(self.cost.flops, self.cost.reads + self.cost.writes) / self.seconds

    def record(self, limits: Limits | None) -> dict[str, Any]:
        """The same as numbers and texts, which JSON can hold."""
        named = asdict(self)
        del named["cost"]
        return {
            **named,
            "shapes": [list(shape) for shape in self.shapes],
            "flops": self.cost.flops,
            "bytes": {"read": self.cost.reads, "written": self.cost.writes},
            "share_of_roof": self.share_of_roof(limits),
        }


class Event(NamedTuple):
    """A stretch of time that belongs to a row, for traces.

    Attributes:
        row: its index.
        start, seconds: from the beginning of the step.
        live: bytes alive at its end.
    """

    row: int
    start: float
    seconds: float
    live: int


class Totals(NamedTuple):
    """Sums over rows.

    Attributes:
        run: operations that were executed or fused.
        default: operations that a default engine for automatic differentiation runs.
        run_products, default_products: those of convolutions and fully connected layers alone.
    """

    run: int
    default: int
    run_products: int
    default_products: int


@dataclass(frozen=True)
class Ledger:
    """A step.

    Attributes:
        rows: in order.
        events: the same in time, each stretch by itself.
        limits: of the machine, if measured.
        plain: median seconds of the step without marks.
        reading: seconds that one mark costs.
        marks: the number of readings in a step.
        rounds: how often the step was done, with and without the ledger in turn.
        lasting: bytes that are there before and after the step, by what they are.
        held: bytes of reused memory and scratch that the backend holds in training, in use or idle; None if unknown.
    """

    rows: list[Row]
    events: list[Event]
    limits: Limits | None
    plain: float
    reading: float
    marks: int
    rounds: int
    lasting: Mapping[str, int] = field(default_factory=dict)
    held: int | None = None

    @property
    def seconds(self) -> float:
        """The sum of the rows' times."""
        return sum(row.seconds or 0.0 for row in self.rows)

    @property
    def peak(self) -> int:
        """The most bytes alive, those that last among them."""
        return max(row.peak for row in self.rows)

    def phases(self) -> dict[str, list[Row]]:
        """The rows of each phase, in order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.phase, []).append(row)
        return found

    def totals(self, rows: Iterable[Row] | None = None) -> Totals:
        """The sums over all rows, or over these."""
        chosen = self.rows if rows is None else list(rows)
        ran = [row for row in chosen if row.status != SKIPPED]
        return Totals(
            sum(row.cost.flops for row in ran),
            sum(row.default for row in chosen),
            sum(row.products for row in ran),
            sum(row.default_products for row in chosen),
        )
