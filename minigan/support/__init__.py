"""The machine and the terminal: durable files, limits of memory, interruption, output and progress."""

from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.interruption import Interruption
from minigan.support.memory_limit import expect_room
from minigan.support.output import Output
from minigan.support.progress import JsonProgress, PlainProgress, Progress, RichProgress, open_progress

__all__ = [
    "Interruption",
    "JsonProgress",
    "Output",
    "PlainProgress",
    "Progress",
    "RichProgress",
    "atomic_write",
    "expect_room",
    "make_folder",
    "open_progress",
]


def __dir__() -> list[str]:
    return sorted(__all__)
