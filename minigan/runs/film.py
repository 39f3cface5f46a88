"""The film of a training: the pictures that it drew, always from the same noise, one after the other."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.checkpoints.folder import step_of
from minigan.data.image_files import load_image, load_unchanged, to_array
from minigan.errors import ConfigError, DataError
from minigan.runs.config import read_config
from minigan.runs.folders import run_folder
from minigan.support.representation import short_path
from minigan.training.listeners.pictures import saved_pictures

__all__ = ["Film", "film_of"]

MOST = 500  # frames
MOST_BYTES = 2**29  # of all frames


class Film(NamedTuple):
    """A film of a training.

    Attributes:
        steps: the step of each frame.
        frames: uint8 (H, W, C), all of one shape.
        drawn: the number of pictures that the training has drawn; more than frames, if there are too many for a film.
    """

    steps: tuple[int, ...]
    frames: list[np.ndarray]
    drawn: int


def film_of(run: Path) -> Film:
    """The film of a run.

    Args:
        run: its folder; or one of its checkpoints, for the pictures until then.
    Raises:
        CheckpointError: there is no run.
        ConfigError: it has drawn fewer than two pictures.
        DataError: a picture cannot be read, or differs in size from the first.
        MissingExtraError: Pillow is not installed.
    """
    folder = run_folder(run) if run.is_file() else run
    read_config(folder)  # raises, if there is no run
    pictures = saved_pictures(folder)
    if run.is_file() and run.parent.name == "checkpoints":
        last = step_of(run)
        pictures = {step: path for step, path in pictures.items() if step <= last}
    if len(pictures) < 2:
        found = f"{len(pictures) or 'no'} picture{'s' * (len(pictures) != 1)}"
        raise ConfigError(
            f"{short_path(folder / 'samples')}: expected at least two pictures for a film, found {found}. "
            "Train further, or with a smaller `sample_every`."
        )
    first = next(iter(pictures.values()))
    channels = 1 if load_unchanged(_content(first), where=str(first)).mode == "L" else 3
    size = _frame(first, channels).shape
    steps = _chosen(list(pictures), most=max(2, min(MOST, MOST_BYTES // int(np.prod(size)))))
    frames = [_frame(pictures[step], channels) for step in steps]
    for step, frame in zip(steps, frames, strict=True):
        if frame.shape != size:
            raise DataError(
                f"{pictures[step]}: expected {size[0]}x{size[1]} pixels as in {first.name}, found "
                f"{frame.shape[0]}x{frame.shape[1]}. Remove it."
            )
    return Film(steps, frames, len(pictures))


def _chosen(steps: list[int], *, most: int) -> tuple[int, ...]:
    """All steps; if there are more than `most`, that many, spread evenly from the first to the last."""
    if len(steps) <= most:
        return tuple(steps)
    return tuple(steps[round(place)] for place in np.linspace(0, len(steps) - 1, most))


def _frame(path: Path, channels: int) -> np.ndarray:
    return to_array(load_image(_content(path), where=str(path), channels=channels))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Check its permissions, or remove it.") from None
