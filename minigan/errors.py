"""Errors that minigan raises on purpose.

A message names what was expected, what was found and the remedy, in one line. The command line prints it and exits
with the class's `exit_code`.
"""

import errno
import os
from collections.abc import Mapping

__all__ = [
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "DTypeError",
    "DataError",
    "DivergenceError",
    "GradientCheckError",
    "ListenerError",
    "MiniganError",
    "MissingExtraError",
    "MixedSizesError",
    "NotBuiltError",
    "OutOfMemoryError",
    "OutputError",
    "RankError",
    "ShapeError",
    "StaleTapeError",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def printable(text: str) -> str:
    r"""A text in one line, in which what cannot be printed is escaped: a newline is `\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class MiniganError(Exception):
    """Base of all errors that minigan raises on purpose.

    Its text is one printable line: control characters, which names in files and archives may hold, are escaped, so
    that they cannot act on a terminal.

    Attributes:
        exit_code: the command line's, when this error ends it.
    """

    exit_code = 2

    def __str__(self) -> str:
        return printable(super().__str__())


class ShapeError(MiniganError, ValueError):
    """An array has the wrong shape, or two layers do not fit each other."""


class DTypeError(MiniganError, TypeError):
    """An array has the wrong dtype."""


class NotBuiltError(MiniganError, AttributeError):
    """A layer or network was used before `build`."""


class StaleTapeError(MiniganError, RuntimeError):
    """A tape was used after its weights changed or after it was released."""


class ConfigError(MiniganError, ValueError):
    """A recipe, a setting or an argument is unknown or out of range."""


class BackendError(MiniganError, RuntimeError):
    """A backend cannot run here."""


class MissingExtraError(MiniganError, ImportError):
    """A feature needs an optional dependency that is not installed."""

    @classmethod
    def of(cls, *, package: str, extra: str, purpose: str) -> "MissingExtraError":
        """Makes the error for a purpose that needs a package of one of minigan's extras."""
        message = f"{purpose} needs {package}, which is not installed. Run: pip install 'minigan[{extra}]'"
        return cls(message, name=package)


class OutOfMemoryError(MiniganError, MemoryError):
    """The machine or the GPU has too little memory."""


class GradientCheckError(MiniganError, ArithmeticError):
    """A gradient of a worked example disagrees with finite differences, so its numbers are not shown."""


class RankError(MiniganError, RuntimeError):
    """Another process of the same training has failed, was killed, or shows no sign of life."""


class DataError(MiniganError, ValueError):
    """A data source cannot be read, or holds something unexpected."""


class MixedSizesError(DataError):
    """The images of a folder differ in size, and no size was given to scale them to.

    Attributes:
        commonest: the size (H, W) of more than half of them; None if there is none.
    """

    def __init__(self, message: str, *, commonest: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.commonest = commonest


class CheckpointError(MiniganError, RuntimeError):
    """A checkpoint is missing, damaged or of another network."""


class OutputError(MiniganError, OSError):
    """A file or folder cannot be written."""

    @classmethod
    def of(cls, path: object, error: OSError) -> "OutputError":
        """Makes the error for a path that the system refused to write, with the remedy for that refusal."""
        remedy = _REMEDIES.get(error.errno, "Free some space, check its permissions, or choose another folder.")
        if error.errno == errno.ENOENT and is_current_folder_gone():
            remedy = FOLDER_GONE
        return cls(f"cannot write {path}: {error.strerror or error}. {remedy}")


_REMEDIES: Mapping[int | None, str] = {
    errno.EEXIST: "It is a file: name a folder.",
    errno.ENOTDIR: "A part of the path is a file: name a folder.",
    errno.EISDIR: "It is a folder: name a file in it.",
    errno.ENOENT: "Create the folder first, or choose another.",
    errno.ENOSPC: "Free some space, or choose another disk.",
    errno.EDQUOT: "Free some space, or choose another disk.",
    errno.EACCES: "Check its permissions, or choose another folder.",
    errno.EPERM: "Check its permissions, or choose another folder.",
    errno.EROFS: "Choose a folder that can be written to.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


FOLDER_GONE = "The current folder was removed: change to another one, cd FOLDER."


def is_current_folder_gone() -> bool:
    """Whether the folder in which this process runs was removed, or can no longer be reached."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


class ListenerError(MiniganError, RuntimeError):
    """A user's own listener of the trainer raised an error, which is this one's `__cause__`."""


class DivergenceError(MiniganError, ArithmeticError):
    """Training produced a value that is not finite.

    Attributes:
        steps_ago: the number of steps begun since, none of which changed anything; see `minigan.training.stepper`.
    """

    exit_code = 3

    def __init__(self, text: str, *, steps_ago: int = 0) -> None:
        super().__init__(text)
        self.steps_ago = steps_ago
