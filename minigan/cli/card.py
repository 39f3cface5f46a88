"""The command `minigan card`: a model card in Markdown, and its picture."""

import argparse
import errno
import os
from pathlib import Path

from minigan.errors import DataError, OutputError
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.support.representation import short_path

__all__ = ["card"]


def card(options: argparse.Namespace) -> int:
    """Writes the model card of a run."""
    # Late: the other commands do not pay for its tables.
    from minigan.inspection.card import card_of_run

    out = Output.of(options)
    made = card_of_run(options.run)
    file: Path = options.out or made.folder / "card.md"
    if file.is_dir():
        raise OutputError.of(file, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    text, written = made.text, []
    if made.picture is not None and file.absolute().parent != made.folder.absolute():
        copy = file.with_name(f"{file.stem}-samples.png")
        try:
            content = made.picture.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {made.picture}: {error.strerror}. Check its permissions.") from None
        atomic_write(copy, content)
        text, written = made.with_picture(copy.name), [copy]
    atomic_write(file, text.encode())
    written.append(file)
    for missing in made.missing:
        out.note(f"the run does not hold {missing}")
    out.show(short_path(file))
    out.record({"files": [str(path) for path in written], "missing": list(made.missing)})
    return 0
