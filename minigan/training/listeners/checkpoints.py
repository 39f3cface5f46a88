"""Checkpoints and `model.safetensors`: writes them, restores them, and makes a removed run folder anew."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import MODEL_FORMAT, save_arrays
from minigan.checkpoints.resume_checks import log_until
from minigan.distributed import same_everywhere
from minigan.errors import ConfigError, OutputError
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.launch import find_launch
from minigan.support.representation import short_path
from minigan.support.words import shell_word
from minigan.training.listeners.base import Listener, Step, Training
from minigan.training.listeners.pictures import remove_pictures_after
from minigan.training.state import TrainingState

__all__ = ["Checkpoints"]


class Checkpoints(Listener):
    """Saves the training every so many steps. The last listener, so that a checkpoint comes after all else of its step.

    Args:
        every: steps from checkpoint to checkpoint.
        keep: how many of the newest to keep.
    On several ranks all have the same weights, to the bit: that is checked before each checkpoint, which the first
    rank writes.

    Attributes:
        saved: the step of the last checkpoint written or restored, None before the first.
        differs: whether the ranks were found to have different weights, none of which is worth saving.
    """

    def __init__(self, state: TrainingState, *, every: int, keep: int) -> None:
        self.state, self.every, self.keep = state, every, keep
        self.saved: int | None = None
        self.differs = False
        self._everyone = Listener()

    @property
    def files(self) -> CheckpointFolder:
        """The run's folder of checkpoints."""
        return CheckpointFolder(self.state.folder / "checkpoints", keep=self.keep)

    def on_start(self, training: Training) -> None:
        self._everyone = training.everyone
        self._say_how_to_resume()

    def is_due(self, step: Step) -> bool:
        return step.last or step.is_multiple(self.every)

    def on_step(self, step: Step) -> None:
        if step.is_multiple(self.every):
            self.save_and_tell()

    def save_and_tell(self) -> None:
        """Saves a checkpoint of the present step, and tells all listeners of it; all ranks call it.

        Raises:
            ConfigError: the ranks have different weights.
            OutputError: see `save`.
        """
        state = self.state
        try:
            same_everywhere(state.ranks, state.learner.to_dict() if state.ranks.size > 1 else {})
        except ConfigError:
            self.differs = True
            raise
        if state.ranks.is_first:
            self._everyone.on_checkpoint(state.step, self.save())
        else:
            self.saved = state.step

    def save(self) -> Path:
        """Writes a checkpoint, and the generators as `model.safetensors`; on the first rank, which asks no other.

        Raises:
            OutputError: they cannot be written, or the folder belongs to another training by now.
        """
        state = self.state
        if state.owner is not None:
            state.owner.hold()
        path = self.files.save(state.step, state.arrays(), description=state.description(), since=self.saved)
        self._save_model()
        self.saved = state.step
        self._say_how_to_resume()
        return path

    def _say_how_to_resume(self) -> None:
        """For a line about the death of the first rank, which it cannot write itself."""
        ranks, run = self.state.ranks, shell_word(short_path(self.state.folder))
        if ranks.size == 1 or not ranks.is_first:
            return
        if self.saved:
            ranks.can_resume(f"Resume from step {self.saved:,} with: {find_launch().resume(run)}")
        else:
            ranks.can_resume("No checkpoint was written yet: start it again.")

    def save_best(self, figures: Mapping[str, float]) -> None:
        """Writes a checkpoint that replaces the best one so far; `figures` are its evaluation."""
        state = self.state
        description = {**state.description(), "figures": dict(figures)}
        self.files.save_best(state.step, state.arrays(), description=description)

    def _save_model(self) -> None:
        state = self.state
        description = {"format": MODEL_FORMAT, "step": state.step, **state.model}
        save_arrays(state.folder / "model.safetensors", state.drawing(), description=description)

    def put_back(self, say: Callable[[str], None]) -> bool:
        """Makes the run folder anew if it was removed, with a checkpoint of the present step.

        Args:
            say: shows a line to the user.
        Returns:
            Whether it was removed.
        Raises:
            OutputError: the folder above it is missing, too, or cannot be written; or the folder belongs to another
                training by now.
        """
        folder, step = self.state.folder, self.state.step
        path = folder / "config.toml"
        if not self.state.config or not self.state.ranks.is_first:
            return False
        if path.exists():
            if self.state.owner is not None:
                self.state.owner.hold()
            return False
        if not folder.absolute().parent.exists():  # perhaps a disk was unmounted
            raise OutputError(
                f"cannot write {folder}: it was removed or moved together with the folder above it. "
                "If you have moved it, resume with: `minigan.open_run(FOLDER).resume()`"
            )
        make_folder(folder)
        if self.state.owner is not None:
            self.state.owner.hold()
        atomic_write(path, self.state.config.encode())
        self.save()
        say(f"{folder} was removed. It was made anew, with a checkpoint of step {step}.")
        return True

    def restore(self, path: Path | None = None) -> list[str]:
        """Restores a checkpoint: the next step is the one that an uninterrupted run would have done.

        Records and pictures of later steps are removed; later checkpoints, when the next one is written.

        Args:
            path: the checkpoint; None takes the newest, or begins at step 0 if training was stopped before the first.
        Returns:
            Warnings, if training begins at step 0, or the versions or the number of items in the data differ.
        Raises:
            CheckpointError: there is none, or it is damaged or of another network or data.
            ConfigError: it has more steps than the run in all. Nothing is changed, here or in the folder.
        """
        state, files = self.state, self.files
        log = state.folder / "log.jsonl"
        is_empty = path is None and not files.candidates() and not (state.folder / "model.safetensors").exists()
        if state.ranks.from_first(is_empty):
            if state.ranks.is_first:
                atomic_write(log, b"")
            return [f"{state.folder} has no checkpoint yet: training begins at step 0."]
        chosen, arrays, description = self._load(path)
        step = description["step"]
        if step > state.steps:
            raise ConfigError(
                f"{state.folder} has done {step:,} steps, expected at least as many in all, got {state.steps:,}. "
                "Give a larger number of `steps`, or start a new run."
            )
        kept = log_until(log, step)
        warnings = state.load(arrays, description, source=chosen)
        self.saved = step
        state.ranks.barrier()
        if not state.ranks.is_first:
            return warnings
        if kept is not None:
            atomic_write(log, kept)
        remove_pictures_after(state.folder, step)
        if path is None:
            files.tidy()
        self._save_model()  # perhaps training was stopped between a checkpoint and its model
        return warnings

    def _load(self, path: Path | None) -> tuple[Path, dict[str, np.ndarray], dict[str, Any]]:
        """A checkpoint, on all ranks the one that the first finds."""
        ranks = self.state.ranks
        if not ranks.is_first:
            return self.files.load(ranks.from_first(None))
        loaded = self.files.load(path)
        ranks.from_first(loaded[0])
        return loaded
