"""Trained generators that come with minigan: `pretrained:digits` stands wherever a trained generator is named.

`minigan/runs/pretrained/README.md` tells what each was trained on and how good it is, and
`python -m benchmarks.pretrained` makes them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from minigan.errors import CheckpointError
from minigan.support.arguments import did_you_mean

__all__ = ["PREFIX", "PRETRAINED", "Pretrained", "expect_run", "pretrained_file", "pretrained_name"]

PREFIX = "pretrained:"
FOLDER = Path(__file__).parent / "pretrained"


class Pretrained(NamedTuple):
    """A generator that comes with minigan.

    Attributes:
        about: a line on what it draws.
        data: the source of its data; "" for data that do not come with minigan.
    """

    about: str
    data: str


PRETRAINED: Mapping[str, Pretrained] = {
    "digits": Pretrained("dcgan on the embedded digits, ten classes", "digits"),
    "fashion": Pretrained("dcgan of width 16 on Fashion-MNIST, ten classes", ""),
    "ring": Pretrained("mlp on the eight modes of the ring", "ring"),
}


def pretrained_name(path: str | os.PathLike[str]) -> str | None:
    """The name in `pretrained:NAME`; None for other paths.

    Raises:
        CheckpointError: there is no such generator.
    """
    text = os.fspath(path)
    if not isinstance(text, str) or not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if name not in PRETRAINED:
        raise CheckpointError(
            f"there is no pretrained generator {name!r}: expected one of {', '.join(PRETRAINED)}."
            f"{did_you_mean(name, PRETRAINED)}"
        )
    return name


def expect_run(path: str | os.PathLike[str]) -> None:
    """Refuses the name of a pretrained generator where a whole run is needed.

    Raises:
        CheckpointError: it is one, or would be one if there were such.
    """
    if name := pretrained_name(path):
        raise CheckpointError(
            f"{PREFIX}{name} is a trained generator alone, without the checkpoints and the log of its training. Name a "
            "run folder that a training has written."
        )


def pretrained_file(name: str) -> Path:
    """The model file of one of `PRETRAINED`."""
    return FOLDER / f"{name}.safetensors"
