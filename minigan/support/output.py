"""Output of a command on its standard streams: lines for people, or JSON for programs."""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TextIO

from minigan.errors import OutputError, printable

__all__ = ["Output", "ReaderGoneError", "cannot_print", "print_line", "writable"]


class ReaderGoneError(BrokenPipeError):
    """The reader of standard output has ended: `minigan info | head -1`."""


@dataclass(frozen=True)
class Output:
    """Destination of a command's remarks and results.

    Attributes:
        json: standard output has JSON only, an object a line; remarks go to standard error.
        quiet: no lines for people are printed. Errors and warnings do not come through here and are always printed.
        words: rewords a line; the command line writes Python's `steps=500` as --steps 500.
    """

    json: bool = False
    quiet: bool = False
    words: Callable[[str], str] = str

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """The output that `--json` and `--quiet` ask for, if the command has these flags."""
        words = getattr(options, "words", str)
        return cls(json=getattr(options, "json", False), quiet=getattr(options, "quiet", False), words=words)

    def say(self, text: str) -> None:
        """Prints a remark on the way. If it cannot be printed (a closed pipe, a full disk), work continues."""
        if not self.quiet:
            with contextlib.suppress(OSError):
                print_line(printable(self.words(text)), sys.stderr if self.json else sys.stdout)

    def note(self, text: str) -> None:
        """Prints on standard error how the input was understood, unless quiet. As with `say`, work continues."""
        if not self.quiet:
            with contextlib.suppress(OSError):
                print_line(printable(f"minigan: {self.words(text)}"), sys.stderr)

    def show(self, text: str = "") -> None:
        """Prints a result for people."""
        if not (self.json or self.quiet):
            _print_result(self.words(text))

    def record(self, record: Mapping[str, Any]) -> None:
        """Prints a result as a line of JSON, if that was asked for; infinity and NaN become null."""
        if self.json:
            _print_result(json.dumps(_finite(record), allow_nan=False))


def print_line(text: str, stream: TextIO | None) -> None:
    """Prints a line, unless the stream was closed.

    Raises:
        OSError: the system cannot write it.
    """
    if stream is not None and not stream.closed:  # None: the program was started with it closed
        print(writable(text, stream), file=stream, flush=True)


def writable(text: str, stream: TextIO) -> str:
    """A text in which letters that the stream lacks are escaped: of a name that is no text, or on an old terminal."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def cannot_print(error: OSError) -> OutputError:
    """The error of a standard output that cannot be written."""
    return OutputError(f"cannot write to standard output: {error.strerror or error}. Redirect it elsewhere.")


def _print_result(line: str) -> None:
    """Prints a line of what a command is for.

    Raises:
        ReaderGoneError: nobody reads standard output any more.
        OutputError: it cannot be written.
    """
    try:
        print_line(line, sys.stdout)
    except BrokenPipeError as error:
        raise ReaderGoneError(*error.args) from None
    except OSError as error:
        raise cannot_print(error) from None


def _finite(value: Any) -> Any:
    """A value in which infinity and NaN are replaced by None, at any depth."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
