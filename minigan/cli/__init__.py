"""The command line: parsing, the commands, and what they print."""

from minigan.cli.command_line import main

__all__ = ["main"]


def __dir__() -> list[str]:
    return sorted(__all__)
