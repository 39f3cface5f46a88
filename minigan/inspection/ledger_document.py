"""The ledger of a step as a document: sums first, then each phase, then why something was left out."""

from collections.abc import Sequence
from typing import Any

from minigan.inspection.document import Block, Document, Facts, Heading, Table, Text
from minigan.inspection.ledger import BETWEEN, FUSED, SKIPPED, Ledger, Row, Totals
from minigan.inspection.numbers import compact, nbytes
from minigan.inspection.real_step import RealStep
from minigan.inspection.step_graph import AS_DATA, BELOW, FROZEN
from minigan.inspection.step_rows import LINEAR_ABOVE, NO_INPUT, ONLY_VALUES, ZEROS
from minigan.nn.network.summary import precision_of

__all__ = ["ledger_document"]

READING = (
    "Each row is one operation: y forward, dx the gradient of the input, dw that of the weights, 2nd the gradient of "
    "the backward pass. A multiply-add counts as 2 FLOP. Bytes: each array once, as it must be read or written. In "
    "parentheses: what was not run. roof: the least time at the machine's limits over the time taken; algorithms with "
    "fewer multiplications and arrays in a cache may exceed 100 %. live: bytes alive afterwards."
)
DEFAULT = (
    "autograd: what PyTorch runs for the same step, written as in its DCGAN example: D's step takes the fakes "
    "detached, G's step computes gradients of D's weights and throws them away; a penalty is autograd.grad with "
    "create_graph=True. Neither repeats G's forward pass, and neither computes a gradient of images or noise that "
    "need none."
)
EAGER = (
    "The step ran eagerly, and the host waited for the device at each reading. Training replays it as one graph, "
    "which is faster and in which no operation can be timed by itself."
)
SHORT = {  # a word for each reason; the reason itself stands below the tables
    FROZEN: "frozen",
    AS_DATA: "as data",
    NO_INPUT: "not needed",
    BELOW: "not needed",
    ONLY_VALUES: "not needed",
    ZEROS: "zeros",
    LINEAR_ABOVE: "zeros",
}
LATER = "not due"


def ledger_document(step: RealStep, ledger: Ledger) -> Document:
    """The ledger in words and tables.

    Args:
        step: that was measured.
        ledger: of it.
    """
    title = f"{step.title}: step {step.number:,}, operation by operation"
    blocks: list[Block] = [Facts(_facts(step, ledger)), _phases(ledger), Text(DEFAULT)]
    if step.is_on_device:
        blocks.append(Text(EAGER))
    blocks.append(Text(READING))
    for phase, rows in ledger.phases().items():
        blocks += [Heading(_heading(phase, rows, ledger)), _table(rows, ledger)]
    blocks += [Heading("Why not"), Facts(_reasons(ledger.rows))]
    return Document(title, blocks, _record(step, ledger))


def _facts(step: RealStep, ledger: Ledger) -> list[tuple[str, str]]:
    totals, n = ledger.totals(), step.state.loader.batch_size
    speed = 1e-9 * totals.run / ledger.seconds
    return [
        ("step", f"{_number(step)}, {'1 example' if n == 1 else f'{n} examples'} in {step.state.learner.G.dtype}"),
        ("backend", step.backend.describe()),
        ("time", f"{_ms(ledger.seconds)}, the sum of medians of {ledger.rounds} repetitions; {speed:.1f} GFLOP/s"),
        ("observer", _observer(ledger)),
        ("arithmetic", _saved(totals.run, totals.default)),
        ("products", f"{_saved(totals.run_products, totals.default_products)} (convolutions and dense layers alone)"),
        ("memory", _memory(ledger)),
        ("limits", _limits(step, ledger)),
    ]


def _limits(step: RealStep, ledger: Ledger) -> str:
    if not ledger.limits:
        return "not measured"
    precision = precision_of(step.state.learner.G)
    than = "" if precision in ("fp32", "fp64") else f" in fp32, which products in {precision} may pass"
    return f"{ledger.limits.describe()}, measured just now{than}"


def _number(step: RealStep) -> str:
    steps = step.state.steps
    return f"{step.number:,} of {steps:,}" if step.number <= steps else f"{step.number:,}, the next after all {steps:,}"


def _observer(ledger: Ledger) -> str:
    cost = ledger.marks * ledger.reading
    spent = f"{ledger.marks:,} readings cost {_ms(cost)}, {cost / ledger.seconds:.1%}"
    return f"{spent}; without them the median step took {_ms(ledger.plain)}"


def _saved(run: int, default: int) -> str:
    share = f", {1 - run / default:.1%} less than autograd's {compact(default)}" if default > run else ", as autograd"
    return f"{_flop(run)}{share}"


def _flop(number: int) -> str:
    """Operations: `66.2 MFLOP`."""
    return nbytes(number).removesuffix("B") + "FLOP"


def _memory(ledger: Ledger) -> str:
    lasting = ", ".join(f"{name} {nbytes(count)}" for name, count in ledger.lasting.items() if count)
    top = max(ledger.rows, key=lambda row: row.peak)
    held = f"; {nbytes(ledger.held)} held to be used again" if ledger.held else ""
    return f"{nbytes(ledger.peak)} at the peak, in {top.phase}: {top.label} {top.operation}; of it {lasting}{held}"


def _phases(ledger: Ledger) -> Table:
    rows = [(phase, *_sums(rows, ledger)) for phase, rows in ledger.phases().items()]
    header = ("phase", "ms", "of the step", "FLOP", "autograd", "left out", "peak")
    return Table(header, [*rows, ("total", *_sums(ledger.rows, ledger))], total=True)


def _sums(rows: Sequence[Row], ledger: Ledger) -> tuple[str, ...]:
    totals: Totals = ledger.totals(rows)
    seconds = sum(row.seconds or 0.0 for row in rows)
    less = f"{1 - totals.run / totals.default:.0%}" if totals.default > totals.run else ""
    peak = max(row.peak for row in rows)
    share = f"{seconds / ledger.seconds:.0%}"
    flops = (compact(totals.run), compact(totals.default))
    return f"{1e3 * seconds:.2f}", share, *flops, less, compact(peak) if peak else ""


def _heading(phase: str, rows: Sequence[Row], ledger: Ledger) -> str:
    seconds = sum(row.seconds or 0.0 for row in rows)
    times = max(row.times for row in rows)
    often = f", {times} times" if times > 1 else ""
    return f"{phase[0].upper()}{phase[1:]}{often}: {_ms(seconds)}, {seconds / ledger.seconds:.0%} of the step"


def _table(rows: Sequence[Row], ledger: Ledger) -> Table:
    """The operations in order; what is between them last."""
    ordered = [row for row in rows if row.operation != BETWEEN] + [row for row in rows if row.operation == BETWEEN]
    header = ("layer", "op", "how", "result", "FLOP", "bytes", "ms", "roof", "live")
    return Table(header, [_cells(row, ledger) for row in ordered], left=4)


def _cells(row: Row, ledger: Ledger) -> tuple[str, ...]:
    share = row.share_of_roof(ledger.limits)
    moved = row.cost.reads + row.cost.writes
    return (
        row.label,
        "" if row.operation == BETWEEN else row.operation,
        _how(row),
        "x".join(map(str, row.shapes[-1])) if row.shapes else "",
        _bracketed(row.cost.flops, row),
        _bracketed(moved, row),
        "" if row.seconds is None else f"{1e3 * row.seconds:.3f}",
        "" if share is None else f"{share:.0%}",
        "" if row.live is None else compact(row.live),
    )


def _bracketed(number: int, row: Row) -> str:
    if not number:
        return ""
    return f"({compact(number)})" if row.status == SKIPPED else compact(number)


def _how(row: Row) -> str:
    if row.status == SKIPPED:
        return _short(row)
    return f"fused {row.algorithm}" if row.status == FUSED else row.algorithm


def _short(row: Row) -> str:
    return f"skipped: {SHORT.get(row.reason, LATER)}"


def _reasons(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The reasons of each word once, those of which the same is to be said together."""
    found: dict[tuple[str, str], bool] = {}
    for row in rows:
        if row.reason:
            key = ("fused" if row.status == FUSED else _short(row), row.reason)
            found[key] = found.get(key, False) or bool(row.status == SKIPPED and row.default)
    peers: dict[tuple[str, str], list[str]] = {}
    for (name, reason), by_default in found.items():
        peers.setdefault((name, _peer(name, by_default)), []).append(reason)
    lines: dict[str, list[str]] = {}
    for (name, peer), reasons in peers.items():
        lines.setdefault(name, []).append("; ".join(reasons) + peer)
    return [(name, ". ".join(parts)) for name, parts in lines.items()]


def _peer(name: str, by_default: bool) -> str:
    if name == "fused" or name.endswith(LATER):
        return ""
    return "; autograd runs it" if by_default else "; autograd leaves it out, too"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def _record(step: RealStep, ledger: Ledger) -> dict[str, Any]:
    return {
        "step": step.number,
        "title": step.title,
        "recipe": step.recipe.name,
        "settings": step.recipe.settings(),
        "data": step.config.data,
        "backend": step.backend.describe(),
        "eager": step.is_on_device,
        "seconds": ledger.seconds,
        "seconds_without_ledger": ledger.plain,
        "seconds_of_a_reading": ledger.reading,
        "rounds": ledger.rounds,
        "readings": ledger.marks,
        "flops": ledger.totals()._asdict(),
        "default": DEFAULT,
        "limits": ledger.limits and ledger.limits._asdict(),
        "memory": {"peak": ledger.peak, "lasting": dict(ledger.lasting), "held": ledger.held},
        "rows": [row.record(ledger.limits) for row in ledger.rows],
    }
