"""All checks and timings of minigan on a GPU in one command: what is right, what is fast, and compared with what.

    python -m benchmarks.gpu --minutes 9 --out result.json

Four sections, in this order; `--sections` selects:

validate  every kernel against the reference, at odd sizes and at those that are timed, in tf32, bf16 and fp32
kernels   convolutions and memory-bound kernels: as a share of the measured limits, and against PyTorch with cuDNN
steps     whole training steps of DCGAN and pix2pix: minigan eager and as a CUDA graph, PyTorch in five configurations
tests     the GPU tests, for the time that is left

First the kernels are compiled, by as many processes as there are cores. The results are written after each item, into
benchmarks/results/ unless --out says where; README.md there describes them. At the end tables in Markdown, and which
targets are met, go to standard output. Exit codes: 0, 1 if something computes wrong numbers, 2 without a GPU.
"""

import argparse
import datetime
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import command
from benchmarks.gpu_device import find
from benchmarks.gpu_part import Finding, findings
from benchmarks.gpu_prewarm import prewarm
from benchmarks.gpu_report import report
from benchmarks.gpu_steps import WORKLOADS
from benchmarks.gpu_targets import correctness, targets
from benchmarks.gpu_tests import gpu_tests
from benchmarks.gpu_validate import FACTORS
from minigan.errors import MiniganError

FORMAT = "minigan-gpu-benchmark/1"
RESULTS = Path(__file__).with_name("results")
SECTIONS = ("validate", "kernels", "steps", "tests")
# The share of all the time that one part of a section may have, and what is kept for the tests.
SHARES = {"prewarm": 0.2, "validate": 0.3, "kernels": 0.12, "steps": 0.16}
KEPT_FOR_TESTS = 0.15
QUICK_WORKLOADS = 2


class Results:
    """The findings, in a file that is complete after each one.

    Attributes:
        document: see results/README.md.
    """

    def __init__(self, path: Path, setting: dict[str, Any], sections: Sequence[str]) -> None:
        self.path = path
        self.document: dict[str, Any] = {
            "format": FORMAT,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "setting": setting,
            "sections": list(sections),
            "seconds": {},
            "failures": [],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, part: str, finding: Finding) -> None:
        """The records of a finding to their section, and its failure."""
        section = part.partition("/")[0]
        for record in finding.records:
            if "limits" in record:
                self.document.setdefault("limits", {})[record.pop("limits")] = record
            else:
                self.document.setdefault(section, []).append(record)
        if finding.error is not None:
            failure = {"part": part, "item": finding.item, "error": finding.error, "cut_off": finding.cut_off}
            self.document["failures"].append(failure)
        self.write()

    def write(self) -> None:
        scratch = self.path.with_name(f"{self.path.name}.part")
        scratch.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        os.replace(scratch, self.path)


def parts(section: str, precisions: Sequence[str], *, quick: bool) -> Iterator[str]:
    """The names of what a section does in a process each."""
    if section == "validate":
        yield "validate"
    if section == "kernels":
        yield from (f"kernels/{precision}" for precision in precisions)
    if section == "steps":
        workloads = list(WORKLOADS)[: QUICK_WORKLOADS if quick else None]
        for workload in workloads:
            for precision in precisions:
                yield from (f"steps/{workload}/{precision}/{engine}" for engine in ("minigan", "torch"))


def run(options: argparse.Namespace, results: Results) -> None:
    """All sections that are asked for, as far as the time suffices."""
    began, total = time.monotonic(), 60 * options.minutes
    end = began + total
    results.document["prewarm"] = prewarm(total * SHARES["prewarm"])
    results.write()
    say(f"compiled: {results.document['prewarm']}")
    last = end - KEPT_FOR_TESTS * total if "tests" in options.sections else end
    for section in (section for section in SECTIONS if section in options.sections):
        started = time.monotonic()
        say(f"{section}:")
        if section == "tests":
            results.document["tests"] = gpu_tests(until=end)
            say(f"  {results.document['tests']['summary']}")
        for part in parts(section, options.precision, quick=options.quick):
            until = min(last, time.monotonic() + SHARES[section] * total)
            if time.monotonic() >= last:
                results.add(part, Finding("everything", [], "no time was left", cut_off=True))
                continue
            for finding in findings(part, until=until, quick=options.quick):
                results.add(part, finding)
                say(f"  {part}: {finding.item}{f': {finding.error}' if finding.error else ''}")
        results.document["seconds"][section] = round(time.monotonic() - started, 1)
        results.write()


def say(line: str) -> None:
    """Reports progress; the results are printed at the end."""
    print(line, file=sys.stderr, flush=True)


def default_path(card: str) -> Path:
    """The path of the results of this day and card."""
    slug = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    return RESULTS / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{slug}.json"


def sections(text: str) -> list[str]:
    """Some of the sections, with commas between."""
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(SECTIONS)}, got {unknown[0]!r}")
    return chosen


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--out", metavar="FILE.json", type=Path, help="where the results go")
    result.add_argument("--minutes", type=command.duration, default=9.0, help="at most, in all (default 9)")
    result.add_argument("--sections", type=sections, default=list(SECTIONS), help=f"default {','.join(SECTIONS)}")
    result.add_argument(
        "--precision", choices=FACTORS, nargs="+", help="of kernels and steps (default tf32 and bf16; quick: tf32)"
    )
    result.add_argument("--quick", action="store_true", help="two workloads, no torch.compile")
    return result


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.precision = options.precision or (["tf32"] if options.quick else ["tf32", "bf16"])
    try:
        setting = {**find().describe(), "python": platform.python_version(), "machine": platform.machine()}
    except MiniganError as error:
        print(f"benchmarks.gpu needs a CUDA GPU: {error}", file=sys.stderr)
        return 2
    results = Results(options.out or default_path(setting["card"]), setting, options.sections)
    run(options, results)
    found = list(targets(results.document))
    results.document["targets"] = [target._asdict() for target in found]
    results.write()
    print("\n".join(report(results.document, found)))
    say(f"written to {results.path}")
    return 1 if any(target.met is False for target in correctness(results.document)) else 0


if __name__ == "__main__":
    sys.exit(main())
