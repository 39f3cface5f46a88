"""A step measured: its structure learned, then its times and its memory read, each in repetitions of their own."""

import statistics
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from minigan.inspection.ledger import Event, Ledger, Row
from minigan.inspection.limits import limits_of
from minigan.inspection.real_step import RealStep
from minigan.inspection.step_marks import Readings, Structure, clock_of, memory_of, seconds_of_a_mark
from minigan.inspection.step_rows import Rows

__all__ = ["measured_ledger"]

ROUNDS = (3, 15)  # the fewest and the most
SECONDS = (20.0, 4.0)  # after which there are no more, and no more than the fewest


def measured_ledger(step: RealStep, *, limits: bool = True, rounds: tuple[int, int] | None = None) -> Ledger:
    """Does a step several times, with and without marks in turn, and returns where its time and its memory went.

    Each stretch between two marks takes the median of its times.

    Args:
        limits: whether to measure the machine's limits as well, which takes a second or two.
        rounds: the fewest and the most repetitions; None has the usual ones.
    Raises:
        DivergenceError: a number is not finite.
    """
    step.run()  # compiles, and takes the memory that later steps use again
    structure = Structure()
    step.run(structure)
    if structure.root is None:
        raise RuntimeError("a step without a mark")
    times, plain, count = _timed(step, structure.count, rounds or ROUNDS)
    memory = _memory(step, structure.count)
    rows = Rows(step.state.learner, structure.root, structure.count)
    lasting = step.lasting()
    _fill(rows.owners, times, memory, base=sum(lasting.values()))
    found = [row for row in rows.rows if row.seconds is not None or row.times]
    return Ledger(
        found,
        _events(found, rows.owners, times, memory[:, 0] + sum(lasting.values())),
        limits_of(step.backend, step.state.learner.G.dtype) if limits else None,
        plain,
        seconds_of_a_mark(clock_of(step.backend)),
        structure.count,
        count,
        lasting,
        _held(step),
    )


def _timed(step: RealStep, marks: int, rounds: tuple[int, int]) -> tuple[np.ndarray, float, int]:
    """Nanoseconds at each mark; median seconds of the step without marks; the repetitions of both.

    Between two marks it is the median of the repetitions: what other programs take now and then is not in it.
    """
    read = clock_of(step.backend)
    all_rounds: list[np.ndarray] = []
    plain: list[float] = []
    began = time.perf_counter()
    while _go_on(len(all_rounds), rounds, time.perf_counter() - began):
        plain.append(step.run_timed(read))
        readings = Readings(marks, read)
        step.run(readings)
        all_rounds.append(readings.values)
    stretches = np.median(np.diff(all_rounds, axis=1), axis=0)
    return np.concatenate([[0], np.cumsum(stretches)]), statistics.median(plain), len(all_rounds)


def _go_on(done: int, rounds: tuple[int, int], seconds: float) -> bool:
    """Whether there is another repetition: few of slow steps, many of quick ones."""
    fewest, most = rounds
    return not done or (done < fewest and seconds < SECONDS[0]) or (done < most and seconds < SECONDS[1])


def _memory(step: RealStep, marks: int) -> np.ndarray:
    """Bytes at each mark, and the peak since the one before: (marks, 2)."""
    with memory_of(step.backend) as read:
        readings = Readings(marks, read, width=2)
        step.run(readings)
    values: np.ndarray = readings.values
    return values - int(values[0, 0])  # the marks themselves were made before the first


def _fill(owners: Sequence[Row], times: np.ndarray, memory: np.ndarray, *, base: int) -> None:
    """Gives each row its stretches of time and the memory of these."""
    for row, (before, after), (now, peak) in zip(owners, pairwise(times.tolist()), memory[1:].tolist(), strict=True):
        row.seconds = (row.seconds or 0.0) + 1e-9 * (after - before)
        row.live = base + now
        row.peak = max(row.peak, base + peak)


def _events(rows: Sequence[Row], owners: Sequence[Row], times: np.ndarray, live: np.ndarray) -> list[Event]:
    """Neighboring stretches of one row as one event."""
    numbers = {id(row): number for number, row in enumerate(rows)}
    found: list[Event] = []
    for owner, (before, after), alive in zip(owners, pairwise(times.tolist()), live[1:].tolist(), strict=True):
        number, start, seconds = numbers[id(owner)], 1e-9 * before, 1e-9 * (after - before)
        if found and found[-1].row == number:
            found[-1] = found[-1]._replace(seconds=found[-1].seconds + seconds, live=alive)
        else:
            found.append(Event(number, start, seconds, alive))
    return found


def _held(step: RealStep) -> int | None:
    """Bytes of the memory that the backend keeps to use again."""
    kept = [getattr(step.backend, name, None) for name in ("recycler", "workspace")]
    return sum(each.nbytes for each in kept if each is not None) if any(kept) else None
