"""The targets of minigan on a GPU, and which of them a run has reached."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

Record = Mapping[str, Any]
BEST, EAGER, CONVOLUTION = 1.0, 3.0, 0.7


class Target(NamedTuple):
    """One claim, and what was found.

    Attributes:
        found: None where the run has nothing to say of it.
    """

    claim: str
    wanted: float
    found: float | None
    met: bool | None
    where: str = ""  # of the worst

    def __str__(self) -> str:
        if self.found is None:
            return f"not measured: {self.claim}"
        found = f"{self.found:.3g}{f' ({self.where})' if self.where else ''}"
        return f"{'met' if self.met else 'MISSED'}: {self.claim}: {found}"


def targets(document: Mapping[str, Any]) -> Iterator[Target]:
    """Targets and whether the findings of a run reach them; `results/README.md` describes the document."""
    yield from correctness(document)
    rows = [row for row in document.get("kernels", []) if "ratio" in row]
    for precision in unique(row["precision"] for row in rows) or ("tf32",):
        worst = min((row for row in rows if row["precision"] == precision), key=lambda row: row["ratio"], default=None)
        claim = f"slowest convolution kernel {precision}, of cuDNN's speed (at least {CONVOLUTION})"
        where = f"{worst['kernel']}, {worst['sizes']}" if worst else ""
        yield at_least(claim, CONVOLUTION, worst and worst["ratio"], where)
    steps = document.get("steps", [])
    for workload, precision in unique((row["workload"], row["precision"]) for row in steps) or (("dcgan64", "tf32"),):
        rows = [row for row in steps if (row["workload"], row["precision"]) == (workload, precision)]
        yield from step_targets(workload, precision, rows)


def correctness(document: Mapping[str, Any]) -> Iterator[Target]:
    """The target that nothing is wrong; a check that was cut off or has no result cannot tell."""
    failures = [row for row in document.get("failures", []) if row["part"] == "validate"]
    rows = [row for row in document.get("validate", []) if not row["right"]]
    wrong = [f"{row['kernel']}, {row['sizes']}, {row['precision']}" for row in rows]
    wrong += [row["item"] for row in failures if not row["cut_off"]]
    whole = "validate" in document and not any(row["cut_off"] for row in failures)
    found = len(wrong) if wrong or whole else None
    yield at_most("kernels that differ from the reference", 0, found, wrong[0] if wrong else "")
    tests = document.get("tests", {"failed": 0, "complete": False})
    found = tests["failed"] if tests["failed"] or tests["complete"] else None
    yield at_most("GPU tests that fail", 0, found)


def step_targets(workload: str, precision: str, rows: list[Record]) -> Iterator[Target]:
    """Speed of minigan's best configuration, and memory of its least."""
    name = f"{workload} {precision}"
    ours, theirs = ([row for row in rows if row["engine"] == engine] for engine in ("minigan", "torch"))
    eager = [row for row in theirs if row["configuration"] == "eager"]
    if workload == "dcgan64":
        speed = partial(quotient, ours, best=max, of="images_per_second")
        yield at_least(f"{name}, of PyTorch's best speed (at least {BEST:g})", BEST, speed(theirs))
        yield at_least(f"{name}, of PyTorch's eager speed (at least {EAGER:g})", EAGER, speed(eager))
    memory = quotient(ours, theirs, best=min, of="memory_used")
    yield at_most(f"{name}, memory, of PyTorch's least (at most 1)", 1.0, memory)


def quotient(ours: list[Record], theirs: list[Record], *, best: Callable[..., float], of: str) -> float | None:
    """Our best figure over their best."""
    return best(row[of] for row in ours) / best(row[of] for row in theirs) if ours and theirs else None


def at_least(claim: str, wanted: float, found: float | None, where: str = "") -> Target:
    return Target(claim, wanted, found, None if found is None else found >= wanted, where)


def at_most(claim: str, wanted: float, found: float | None, where: str = "") -> Target:
    return Target(claim, wanted, found, None if found is None else found <= wanted, where)


def unique(values: Iterable[Any]) -> tuple[Any, ...]:
    """In their order."""
    return tuple(dict.fromkeys(values))
