"""The changes that a run has seen while it was watched: lines of its log, by which it can be done again bit for bit.

{"step": 0, "live": {"begin": {"loss": "minimax", ...}}}
{"step": 120, "live": {"set": {"loss": "hinge"}}}       the steps after 120 have this setting
{"step": 130, "live": {"only": "D"}}                    step 130 was an update of D alone
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minigan.checkpoints.resume_checks import log_lines, log_until, logged
from minigan.errors import OutputError
from minigan.support.durable_files import atomic_write

__all__ = ["Journal", "Note", "Side", "read_notes"]

Side = Literal["D", "G"]
KINDS = ("begin", "set", "only", "forked")


@dataclass(frozen=True)
class Note:
    """An entry.

    Attributes:
        step: the number of steps done; of a step of one side, that step.
        kind: begin, set, only or forked.
        value: settings by name; the side that alone was updated; the run that this one was forked from.
    """

    step: int
    kind: str
    value: Any

    def record(self) -> dict[str, Any]:
        """The line of the log."""
        return {"step": self.step, "live": {self.kind: self.value}}


class Journal:
    """The notes of a run, in memory and in its log.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path, notes: tuple[Note, ...] = ()) -> None:
        self._log = folder / "log.jsonl"
        self.notes = list(notes)

    def add(self, note: Note) -> None:
        """Adds a note.

        Raises:
            OutputError: the log cannot be written.
        """
        try:
            with open(self._log, "a", encoding="utf-8") as file:
                file.write(json.dumps(note.record()) + "\n")
        except OSError as error:
            raise OutputError.of(self._log, error) from None
        self.notes.append(note)

    def cut(self, step: int) -> None:
        """Forgets what came after that step, in the log, too: records of losses among them.

        Raises:
            OutputError: the log cannot be written.
        """
        self.notes = [note for note in self.notes if note.step <= step]
        kept = log_until(self._log, step)
        if kept is not None:
            atomic_write(self._log, kept)

    def changes_at(self, step: int) -> Iterator[Mapping[str, Any]]:
        """Settings that were changed between that step and the next, in their order."""
        return (note.value for note in self.notes if note.kind == "set" and note.step == step)

    def side_of(self, step: int) -> Side | None:
        """The side that alone was updated in that step; None for a whole step."""
        return next((note.value for note in self.notes if note.kind == "only" and note.step == step), None)


def read_notes(folder: Path) -> tuple[Note, ...]:
    """The notes in a run's log; those that are damaged are left out.

    Raises:
        CheckpointError: the log cannot be read.
    """
    found = []
    for line in log_lines(folder / "log.jsonl") or ():
        entry = logged(line).get("live")
        for kind, value in entry.items() if isinstance(entry, dict) else ():
            sound = value in ("D", "G") if kind == "only" else isinstance(value, str if kind == "forked" else dict)
            if kind in KINDS and sound:
                found.append(Note(logged(line)["step"], kind, value))
    return tuple(found)
