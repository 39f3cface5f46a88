"""What is exported, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from minigan.network import Sequential

__all__ = ["Format", "Options", "Subject"]


@dataclass(frozen=True)
class Subject:
    """A network that is to leave minigan.

    Attributes:
        network: built.
        title: what it is, in words: "G of dcgan at step 4000".
    """

    network: Sequential
    title: str


@dataclass(frozen=True)
class Options:
    """What can be chosen; each format takes some of these.

    Attributes:
        prefix: of the tensors' names.
    """

    prefix: str = ""


class Format(NamedTuple):
    """A format that networks are exported to.

    Attributes:
        write: (subject, out, options) -> what to tell of it. Raises MiniganError where it cannot.
        options: the names of those that it takes.
        networks: whether it takes other networks than generators.
    """

    write: Callable[[Subject, Path, Options], str]
    options: tuple[str, ...]
    networks: bool = False
