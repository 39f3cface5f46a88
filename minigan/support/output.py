"""What a command writes to its standard streams: lines for people, or JSON for programs."""

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
    """Where lines and results go.

    Attributes:
        json: standard output carries JSON alone, an object a line; remarks go to standard error.
        quiet: no lines for people at all; errors and warnings are none of its business.
        words: how a line is put: the command line writes `steps=500`, which Python has, as --steps 500.
    """

    json: bool = False
    quiet: bool = False
    words: Callable[[str], str] = str

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """As `--json` and `--quiet` say, where a command has them."""
        words = getattr(options, "words", str)
        return cls(json=getattr(options, "json", False), quiet=getattr(options, "quiet", False), words=words)

    def say(self, text: str) -> None:
        """A remark on the way. That nobody can read it (a closed pipe, a full disk) is no reason to stop."""
        if not self.quiet:
            with contextlib.suppress(OSError):
                print(self.words(text), file=sys.stderr if self.json else sys.stdout, flush=True)

    def show(self, text: str = "") -> None:
        """What was asked for, as a person reads it."""
        if not (self.json or self.quiet):
            print(self.words(text), flush=True)

    def record(self, record: Mapping[str, Any]) -> None:
        """What was asked for, as a program reads it; numbers that JSON lacks are null."""
        if self.json:
            print(json.dumps(_finite(record), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    """A value with null in the place of infinity and NaN, however deep."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
