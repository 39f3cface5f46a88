"""The command `minigan report`: one HTML file on a run, or on two laid over each other."""

import argparse
from pathlib import Path

from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.support.representation import short_path

__all__ = ["report"]


def report(options: argparse.Namespace) -> int:
    """Writes the report of a run."""
    # Late: the other commands do not pay for its tables.
    from minigan.inspection import report_run

    out = Output.of(options)
    chosen = {name: getattr(options, name) for name in ("quick", "data", "targets", "data_b", "backend", "precision")}
    made = report_run(options.run, options.other, **chosen)
    for note in made.notes:
        out.note(note)
    file = options.out or _folder(options.run) / "report.html"
    content = made.page.encode()
    atomic_write(file, content)
    out.show(f"{made.verdict}: {short_path(file)}" if made.verdict else short_path(file))
    out.record({"file": str(file), "bytes": len(content), "verdict": made.verdict, "notes": list(made.notes)})
    return 0


def _folder(run: Path) -> Path:
    """The folder of a run that is named by itself or by a file in it."""
    from minigan.runs.folders import run_folder

    return run_folder(run.expanduser())
