"""The log as a table: `log.csv`, one row for each logged step, for spreadsheets and data frames."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.errors import OutputError
from minigan.support.durable_files import atomic_write
from minigan.training.listeners.base import Listener, Record, Step, Training

__all__ = ["CsvLog"]


class CsvLog(Listener):
    """Writes `log.csv`: what `log.jsonl` holds, with all records of a step joined in one row.

    A row is added when its step is over. The table is made anew from `log.jsonl` when training begins or is resumed,
    and when a record brings a new column, such as the first evaluation: so it never differs from that log.
    """

    def on_start(self, training: Training) -> None:
        self.training = training
        self._row: dict[str, Any] = {}
        self._columns: list[str] = []
        self._last = 0
        self._make_anew()

    @property
    def path(self) -> Path:
        """The file."""
        return self.training.state.folder / "log.csv"

    def on_record(self, record: Record) -> None:
        self._row |= flat(record)

    def on_step(self, step: Step) -> None:  # noqa: ARG002
        if not self._row:
            return
        row, self._row = self._row, {}
        if row["step"] <= self._last or not row.keys() <= set(self._columns) or not self.path.exists():
            self._make_anew()
            return
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(table([row], self._columns))
        except OSError as error:
            raise OutputError.of(self.path, error) from None
        self._last = row["step"]

    def _make_anew(self) -> None:
        """Writes the whole table."""
        lines = log_lines(self.training.state.folder / "log.jsonl") or ()
        rows = joined(record for line in lines if (record := logged(line)))
        self._columns = list(dict.fromkeys(name for row in rows for name in row)) or ["step"]
        self._last = rows[-1]["step"] if rows else 0
        header = table([{name: name for name in self._columns}], self._columns)
        atomic_write(self.path, (header + table(rows, self._columns)).encode())


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without inner objects: `{"gradients": {"G.0.Dense": 1}}` becomes `{"gradients.G.0.Dense": 1}`."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        row |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
    return row


def joined(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each step, with everything that the records of that step say."""
    rows: dict[int, dict[str, Any]] = {}
    for record in records:
        rows.setdefault(record["step"], {}).update(flat(record))
    return [rows[step] for step in sorted(rows)]


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV; a value that a row lacks is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([row.get(name, "") for name in columns] for row in rows)
    return text.getvalue()
