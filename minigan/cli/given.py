"""The options that were given on the command line, and the refusal of those that would be ignored."""

import argparse
from collections.abc import Iterable

from minigan.cli.flags import FLAGS
from minigan.errors import ConfigError

__all__ = ["given_flags", "refuse_given"]


def given_flags(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """The flags of those of some options that were given."""
    return [FLAGS.get(name, f"--{name.replace('_', '-')}") for name in names if _is_given(options, name)]


def refuse_given(options: argparse.Namespace, names: Iterable[str], *, rule: str) -> None:
    """Refuses options that would be ignored.

    Args:
        names: of the options.
        rule: why, as the beginning of a line.
    Raises:
        ConfigError: one of them was given.
    """
    if given := given_flags(options, names):
        raise ConfigError(
            f"{rule}, got {', '.join(given)} in addition. Leave {'it' if len(given) == 1 else 'them'} out."
        )


def _is_given(options: argparse.Namespace, name: str) -> bool:
    value = getattr(options, name)
    return value is not None and value is not False and (name, value) != ("backend", "auto")
