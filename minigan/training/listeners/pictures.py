"""Sample pictures: `samples/step-000500.png`, always drawn from the same noise."""

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from minigan.support.durable_files import make_folder
from minigan.training.exhibit import Shown, save_picture
from minigan.training.listeners.base import Listener, Step, Training

__all__ = ["Pictures", "remove_pictures_after", "saved_pictures"]


class Pictures(Listener):
    """Draws a picture every so many steps, and after the last; of several ranks the first one does.

    Args:
        every: steps from picture to picture.
        exhibit: the inputs of the pictures.
        to_images: maps G's output to images in [-1, 1].
    """

    def __init__(self, *, every: int, exhibit: Shown, to_images: Callable[[np.ndarray], np.ndarray]) -> None:
        self.every, self.exhibit, self.to_images = every, exhibit, to_images

    def on_start(self, training: Training) -> None:
        self.training = training

    # The same on all ranks, which settle their steps together.
    def is_due(self, step: Step) -> bool:
        return step.last or step.is_multiple(self.every)

    def on_step(self, step: Step) -> None:
        if self.is_due(step):
            self._save(step.number)

    def make_up(self) -> None:
        """Draws the present step's picture, if it is missing: the training may have ended in between."""
        state = self.training.state
        if state.step and state.step % self.every == 0 and state.step not in saved_pictures(state.folder):
            self._save(state.step)

    def _save(self, step: int) -> None:
        if not self.training.state.ranks.is_first:
            return
        picture, folder = self._draw(), self.training.state.folder / "samples"
        make_folder(folder, parents=False)
        save_picture(folder / f"step-{step:06}.png", picture)
        self.training.everyone.on_picture(step, picture)

    def _draw(self) -> np.ndarray:
        state = self.training.state
        exhibit = replace(self.exhibit, extent=state.model["extent"])  # a resumed run keeps its extent
        with state.learner.G.kernels.alone():
            return exhibit.picture_by(state.learner, state.averages, self.to_images)


def saved_pictures(folder: Path) -> dict[int, Path]:
    """The sample pictures of a run folder by their step, the earliest first."""
    named = (
        (re.fullmatch(r"step-(\d+)\.png", path.name, re.ASCII), path) for path in (folder / "samples").glob("*.png")
    )
    return dict(sorted((int(match[1]), path) for match, path in named if match and path.is_file()))


def remove_pictures_after(folder: Path, step: int) -> None:
    """Removes the sample pictures of steps that a run which goes back gives up."""
    for number, path in saved_pictures(folder).items():
        if number > step:
            with contextlib.suppress(OSError):  # one too many does no harm
                path.unlink()
