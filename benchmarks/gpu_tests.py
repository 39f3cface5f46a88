"""The GPU tests, run by pytest."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "pytest", "-m", "gpu and not slow", "-p", "no:cacheprovider")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
PROGRESS = re.compile(r"^([.FEsxX]+)\s*(\[ *\d+%\])?$")


def gpu_tests(*, until: float, command: tuple[str, ...] = COMMAND) -> dict[str, Any]:
    """Runs them.

    Args:
        until: when they are ended, by `time.monotonic`.
    """
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=max(1.0, until - time.monotonic()),
        )  # fmt: skip
    except subprocess.TimeoutExpired as stopped:
        said = stopped.stdout or b""
        return summary(said.decode(errors="replace") if isinstance(said, bytes) else said, complete=False)
    return summary(done.stdout, complete=done.returncode in (0, 1))


def summary(output: str, *, complete: bool) -> dict[str, Any]:
    """What pytest has printed, in figures.

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
