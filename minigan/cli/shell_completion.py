"""The command `minigan completion`: a script for a shell's completion by Tab."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minigan.errors import MissingExtraError
from minigan.recipes import RECIPES
from minigan.support.output import Output

__all__ = ["completion"]


def completion(options: argparse.Namespace) -> int:
    """Prints the script for the parser in `options.parser`.

    Raises:
        MissingExtraError: shtab, which writes it, is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise MissingExtraError.of(package="shtab", extra="cli", purpose="completion") from None
    from minigan.inspection.topics import names_by_kind  # late, see `minigan.cli.explain`

    _fill_in(options.parser, files=shtab.FILE, topics=[name for names in names_by_kind().values() for name in names])
    Output.of(options).show(shtab.complete(options.parser, options.shell))
    return 0


def _fill_in(parser: argparse.ArgumentParser, *, files: Mapping[str, Any], topics: Sequence[str]) -> None:
    """Adds completions to the arguments of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _fill_in(command, files=files, topics=topics)
        elif action.metavar == "RECIPE":
            action.choices = tuple(RECIPES)
        elif action.metavar == "WHAT":
            action.choices = tuple(topics)
        elif action.type is Path or action.metavar in ("DIR", "SOURCE"):
            action.complete = files  # type: ignore[attr-defined]  # shtab's
