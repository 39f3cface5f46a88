"""The GPU tests, run by pytest."""

import re
import sys
import time
from subprocess import STDOUT, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import Any

from benchmarks.gpu_part import ROOT, end

# One process, as there is one GPU, and a letter for each test, which are counted if the time is over.
ALONE = ("-o", "addopts=", "-q", "-p", "no:dots", "-p", "no:cacheprovider")
COMMAND = (sys.executable, "-u", "-m", "pytest", *ALONE, "-m", "gpu and not exhaustive")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
PROGRESS = re.compile(r"^([.FEsxX]+)\s*(\[ *\d+%\])?$")


def gpu_tests(*, until: float, command: tuple[str, ...] = COMMAND) -> dict[str, Any]:
    """Runs the tests.

    Args:
        until: the time, by `time.monotonic`, when they are stopped.
    """
    with (
        TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
        Popen(command, cwd=ROOT, stdout=output, stderr=STDOUT, text=True, start_new_session=True) as process,
    ):
        try:
            code = process.wait(max(1.0, until - time.monotonic()))
        except TimeoutExpired:
            code = None
        finally:
            end(process)
        output.seek(0)
        return summary(output.read(), complete=code in (0, 1))


def summary(output: str, *, complete: bool) -> dict[str, Any]:
    """The figures in pytest's output.

    Args:
        complete: whether it ran to its end; if not, its dots are counted.
    """
    lines = output.splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    if complete:
        counts = {kind.rstrip("s"): int(count) for count, kind in COUNT.findall(last)}
        failed, passed = counts.get("failed", 0) + counts.get("error", 0), counts.get("passed", 0)
    else:
        dots = "".join(found[1] for line in lines if (found := PROGRESS.match(line)))
        failed, passed = sum(map(dots.count, "FE")), dots.count(".")
    return {
        "complete": complete and passed + failed > 0,  # all skipped is nothing tested
        "passed": passed,
        "failed": failed,
        "summary": last.strip("= "),
        "failures": [line for line in lines if line.startswith(("FAILED ", "ERROR "))][:50],
    }
