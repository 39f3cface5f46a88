"""A ledger as a trace that Perfetto (ui.perfetto.dev) and Chrome's about:tracing open.

Source: Google, "Trace Event Format": complete events (X), counters (C) and metadata (M), times in microseconds.
"""

from collections.abc import Iterator
from typing import Any

from minigan.inspection.ledger import Ledger

__all__ = ["as_trace"]

PROCESS, PHASES, OPERATIONS = 1, 1, 2


def as_trace(ledger: Ledger, *, title: str) -> dict[str, Any]:
    """The trace as an object for JSON: a track of phases, one of operations, and the bytes alive.

    Args:
        title: of the process that the tracks stand in.
    """
    events = [*_names(title), *_phases(ledger), *_operations(ledger), *_memory(ledger)]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _names(title: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": title}}
    for thread, name in ((PHASES, "phases"), (OPERATIONS, "operations")):
        yield {"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": thread, "args": {"name": name}}


def _phases(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Neighboring events of a phase as one."""
    begun, phase, end = 0.0, "", 0.0
    for event in ledger.events:
        if ledger.rows[event.row].phase != phase:
            if phase:
                yield _complete(phase, "phase", PHASES, begun, end - begun, {})
            begun, phase = event.start, ledger.rows[event.row].phase
        end = event.start + event.seconds
    if phase:
        yield _complete(phase, "phase", PHASES, begun, end - begun, {})


def _operations(ledger: Ledger) -> Iterator[dict[str, Any]]:
    for event in ledger.events:
        row = ledger.rows[event.row]
        shapes = [list(shape) for shape in row.shapes]
        arguments = {"phase": row.phase, "algorithm": row.algorithm, "shapes": shapes, "live": event.live}
        if row.times == 1:
            arguments |= {"flops": row.cost.flops, "bytes": row.cost.reads + row.cost.writes}
        name = f"{row.label} {row.operation}" if row.layer else row.label
        yield _complete(name, row.operation, OPERATIONS, event.start, event.seconds, arguments)


def _memory(ledger: Ledger) -> Iterator[dict[str, Any]]:
    for event in ledger.events:
        end = 1e6 * (event.start + event.seconds)
        yield {"ph": "C", "name": "bytes alive", "pid": PROCESS, "ts": end, "args": {"bytes": event.live}}


def _complete(
    name: str, category: str, thread: int, start: float, seconds: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    times = {"ts": 1e6 * start, "dur": 1e6 * seconds}
    return {"ph": "X", "name": name, "cat": category, "pid": PROCESS, "tid": thread, **times, "args": arguments}
