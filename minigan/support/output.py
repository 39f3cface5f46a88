"""Output of a command on its standard streams: lines for people, or JSON for programs."""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self


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
                print(self.words(text), file=sys.stderr if self.json else sys.stdout, flush=True)

    def note(self, text: str) -> None:
        """Prints on standard error how the input was understood, unless quiet. As with `say`, work continues."""
        if not self.quiet:
            with contextlib.suppress(OSError):
                print(f"minigan: {self.words(text)}", file=sys.stderr, flush=True)

    def show(self, text: str = "") -> None:
        """Prints a result for people."""
        if not (self.json or self.quiet):
            print(self.words(text), flush=True)

    def record(self, record: Mapping[str, Any]) -> None:
        """Prints a result as a line of JSON, if that was asked for; infinity and NaN become null."""
        if self.json:
            print(json.dumps(_finite(record), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    """A value in which infinity and NaN are replaced by None, at any depth."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
