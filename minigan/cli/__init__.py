"""The command line: parsing, the commands, and what they print."""

from minigan.cli.command_line import main

__all__ = ["main"]
