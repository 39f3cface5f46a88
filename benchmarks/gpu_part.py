"""One part of the GPU benchmark, in a process of its own: a kernel that goes astray takes only its process's device.

What is found goes to standard output at once, a line of JSON for each item, behind a mark that no library prints.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from threading import Timer
from typing import NamedTuple

from benchmarks.gpu_device import Device, find
from benchmarks.gpu_validate import Item, Record

MARK = "gpu benchmark: "
LOST = 3  # the exit code of a process whose device has become unusable, all items until then told
MOST_CRASHES = 5
ROOT = Path(__file__).parent.parent


class Finding(NamedTuple):
    """The result of one item.

    Attributes:
        error: in one line, where it failed.
        cut_off: because the time was up.
    """

    item: str
    records: list[Record]
    error: str | None = None
    cut_off: bool = False


# -------------------------------------------------------------------------------------------------- in the process


def part_items(part: str, device: Device, *, quick: bool) -> Iterator[Item]:
    """A part's items, by its name: validate, kernels/PRECISION, steps/WORKLOAD/PRECISION/ENGINE."""
    section, *names = part.split("/")
    if section == "validate":
        from benchmarks import gpu_validate

        return gpu_validate.items(cache(device.backend), ("tf32", "bf16", "fp32"), oracle=device.oracle())
    if section == "kernels":
        from benchmarks.gpu_kernels import KernelTimes

        return KernelTimes(device, *names).items()
    from benchmarks import gpu_steps

    return gpu_steps.items(device, *names, quick=quick)


def tell(items: Iterable[Item], device: Device, *, start: int) -> int:
    """Prints what each item finds, from the given one on; the process's exit code."""
    for index, item in enumerate(items):
        if index < start:
            continue
        print(MARK + json.dumps([index, finding(item)]), flush=True)
        if device.is_lost():
            return LOST
    return 0


def finding(item: Item) -> Finding:
    """The finding of one item; after an error, the error and what was found before it."""
    name, run = item
    records: list[Record] = []
    try:
        for record in run():
            records.append(record)  # noqa: PERF402 (those before an error stay)
    except Exception as error:
        return Finding(name, records, one_line(error))
    return Finding(name, records)


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}"


def main(arguments: list[str]) -> int:
    """`PART START [quick]`."""
    part, start, *flags = arguments
    device = find()
    return tell(part_items(part, device, quick="quick" in flags), device, start=int(start))


# -------------------------------------------------------------------------------------------------- outside of it


def findings(part: str, *, until: float, quick: bool = False) -> Iterator[Finding]:
    """The findings of a part's items, as they come.

    Args:
        until: when the process is ended, by `time.monotonic`.
    """

    def command(start: int) -> list[str]:
        return [sys.executable, "-m", "benchmarks.gpu_part", part, str(start), *(["quick"] if quick else [])]

    return followed(command, until=until)


def followed(command: Callable[[int], list[str]], *, until: float) -> Iterator[Finding]:
    """The findings of a process; after an item that it does not survive, those of another that begins behind it.

    Args:
        command: what begins at the item of that index.
    """
    start = crashes = 0
    while crashes < MOST_CRASHES:
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            with Popen(
                command(start), stdout=PIPE, stderr=errors, text=True, cwd=ROOT, start_new_session=True
            ) as process:
                timer = Timer(max(0.0, until - time.monotonic()), end, (process,))
                timer.start()
                try:
                    for line in process.stdout or ():
                        if line.startswith(MARK):
                            index, found = json.loads(line.removeprefix(MARK))
                            start = index + 1
                            yield Finding(*found)
                    code = process.wait()
                finally:
                    timer.cancel()
                    end(process)
            if code == 0:
                return
            if time.monotonic() >= until:
                yield Finding(f"item {start} and what follows", [], "the time was up", cut_off=True)
                return
            if code != LOST:
                errors.seek(0)
                said = errors.read().strip().splitlines() or [""]
                yield Finding(f"item {start}", [], f"the process ended with {code}: {said[-1][:400]}")
                start += 1
            crashes += 1
    yield Finding(f"item {start} and what follows", [], f"{crashes} processes have ended early", cut_off=True)


def end(process: Popen[str]) -> None:
    """Ends a process that began a session, and those that it has begun: compilers, which would keep its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
