"""Bad input at scale: does every reader refuse damaged and hostile files in words, or read them right?

    python -m benchmarks.fuzz --inputs 100000 --processes 2

Sound files of each kind, made on the spot, are damaged: bits flip, ends are cut off or grow, fields change places or
become extreme, files are spliced, and in gzip, zip, PNG, JSON and NumPy's headers what is inside changes while lengths
and checksums stay right. Each result goes to a folder that minigan then reads, in a separate process with a limit of
memory. A finding is anything but a MiniganError in one line or a correct result: another error, a crash, a hang, more
than half a GiB of memory (of pictures, 1.5) or five seconds for one small input.

The same seed makes the same inputs. `--reader NAME --only N --keep FOLDER` writes input number N to a folder, and shows
what the reader says. With findings the exit code is 1.
"""

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import command
from benchmarks.fuzzing.readers import READERS, Inputs, Reader, write
from benchmarks.fuzzing.worker import READ, REFUSED, Outcome, outcomes

READER_OF = {reader.name: reader for reader in READERS}
LOT = 1250  # inputs of a process
SHOWN = 5  # inputs named for each finding


class Tally:
    """The record of one reader.

    Attributes:
        counts: of outcomes, by kind.
        findings: the inputs of each, by kind and detail.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: dict[tuple[str, str], list[int]] = {}

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.kind] += 1
        if outcome.kind not in (READ, REFUSED):
            place, _, _ = outcome.detail.partition(": ")  # it matters where, not with which numbers
            self.findings.setdefault((outcome.kind, place), []).append(outcome.index)

    def merge(self, other: "Tally") -> None:
        self.counts += other.counts
        for key, indices in other.findings.items():
            self.findings.setdefault(key, []).extend(indices)


class Lot(NamedTuple):
    """Some of a reader's inputs, by their numbers."""

    reader: Reader
    start: int
    stop: int


def lots(readers: Sequence[Reader], inputs: int) -> Iterator[Lot]:
    """All readers' inputs, shared evenly, in lots that take turns."""
    each = -(-inputs // len(readers))
    for start in range(0, each, LOT):
        for reader in readers:
            yield Lot(reader, start, min(start + LOT, each))


def examine(lot: Lot, *, seed: int) -> Tally:
    tally = Tally()
    for outcome in outcomes(lot.reader, seed=seed, start=lot.start, stop=lot.stop):
        tally.add(outcome)
    return tally


def table(tallies: dict[str, Tally]) -> list[str]:
    lines = [f"{'reader':12}{'inputs':>9}{READ:>9}{REFUSED:>9}{'findings':>10}"]
    rows = {name: tally.counts for name, tally in tallies.items()}
    for name, counts in {**rows, "all": sum(rows.values(), Counter())}.items():
        found = counts.total() - counts[READ] - counts[REFUSED]
        lines.append(f"{name:12}{counts.total():9,}{counts[READ]:9,}{counts[REFUSED]:9,}{found:10,}")
    return lines


def findings(tallies: dict[str, Tally], seed: int) -> list[str]:
    return [
        f"{name}: {kind}, {len(indices):,} times: {place}\n"
        f"    --seed {seed} --reader {name} --only {' '.join(map(str, sorted(indices)[:SHOWN]))}"
        for name, tally in tallies.items()
        for (kind, place), indices in tally.findings.items()
    ]


def replay(name: str, index: int, *, seed: int, folder: Path) -> None:
    """Writes one input, and reads it in this process."""
    inputs = Inputs(READER_OF[name], seed=seed)
    rng = inputs.chance(index)
    files = inputs.files(index, rng)
    write(files, folder)
    print(f"{folder}: {', '.join(files)}", flush=True)
    try:
        inputs.reader.read(folder, rng)
        print(READ)
    except Exception:
        traceback.print_exc()


def result(tallies: dict[str, Tally], options: argparse.Namespace) -> dict[str, Any]:
    """The content of the JSON file."""
    return {
        "seed": options.seed,
        "counts": {name: dict(tally.counts) for name, tally in tallies.items()},
        "findings": findings(tallies, options.seed),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    names = list(READER_OF)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=command.count, default=10_000, help="of all readers together (default 10000)")
    parser.add_argument("--reader", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", type=int, default=0, help="of all damage (default 0)")
    parser.add_argument("--processes", type=command.count, default=1, help="side by side (default 1)")
    parser.add_argument("--only", type=int, metavar="N", help="just this input, see --keep")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder for the input of --only")
    parser.add_argument("--json", metavar="FILE", help="the counts and the findings")
    options = parser.parse_args(arguments)
    if options.only is not None:
        if len(options.reader) != 1 or options.keep is None:
            parser.error("--only needs one --reader and --keep FOLDER")
        replay(options.reader[0], options.only, seed=options.seed, folder=options.keep)
        return
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before the workers start
        os.environ.setdefault(name, "1")
    tallies = {name: Tally() for name in options.reader}
    began = time.monotonic()
    work = list(lots([READER_OF[name] for name in options.reader], options.inputs))
    with ThreadPoolExecutor(options.processes) as pool:
        for lot, tally in zip(work, pool.map(partial(examine, seed=options.seed), work), strict=True):
            tallies[lot.reader.name].merge(tally)
            print(f"{lot.reader.name} {lot.start:,} to {lot.stop:,}: {len(tally.findings)} findings", flush=True)
    print("\n".join([*table(tallies), f"{time.monotonic() - began:.0f} s, seed {options.seed}"]))
    print("\n".join(findings(tallies, options.seed)))
    command.write_json(options.json, result(tallies, options))
    sys.exit(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    main()
