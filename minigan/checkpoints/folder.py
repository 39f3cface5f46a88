"""A run's checkpoints: the last few and the best."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.format import CHECKPOINT_FORMAT, Arrays, load_checkpoint, save_arrays, versions
from minigan.errors import CheckpointError
from minigan.support.durable_files import make_folder, remove_stale

__all__ = ["CheckpointFolder", "resume_from"]

_NAME = re.compile(r"step-(\d+)\.safetensors", re.ASCII)


class CheckpointFolder:
    """The last few checkpoints of a run, one file a step, and the best one beside them.

    Args:
        folder: created when the first checkpoint is written, in a folder that exists.
        keep: how many stay; older ones are removed after a newer one is safely there.
    Attributes:
        best: the file of the best one, which may be missing.
    """

    def __init__(self, folder: Path, *, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep
        self.best = folder / "best.safetensors"

    def paths(self) -> list[Path]:
        """The last checkpoints, oldest first."""
        found = [path for path in self.folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
        return sorted((path for path in found if path.is_file()), key=_step)

    def last_step(self) -> int | None:
        """Of which step the newest one is."""
        return _step(paths[-1]) if (paths := self.paths()) else None

    def candidates(self) -> list[Path]:
        """Checkpoints to resume from, nearest to where the run was first."""
        return [*reversed(self.paths()), *([self.best] if self.best.is_file() else [])]

    def save(self, step: int, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> Path:
        """Writes a step's checkpoint. Those of later steps, which a run that went back has given up, are removed.

        Args:
            description: what JSON can hold, beside the step, the format and the versions.
        Returns:
            Its path.
        Raises:
            OutputError: it cannot be written. The others are as they were.
        """
        path = self.folder / f"step-{step:08}.safetensors"
        self._write(path, step, arrays, description)
        _remove([later for later in self.paths() if _step(later) > step])
        self.tidy()
        return path

    def save_best(self, step: int, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> None:
        """Writes a checkpoint in the place of the best one so far.

        Args:
            description: has the key `figures`, by which it is the best.
        Raises:
            OutputError: it cannot be written. The one before is as it was.
        """
        self._write(self.best, step, arrays, description)

    def best_figures(self) -> dict[str, float] | None:
        """By which the best one is the best, if there is one that can be read."""
        if not self.best.exists():
            return None
        try:
            figures = load_checkpoint(self.best)[1].get("figures")
        except CheckpointError:
            return None
        return figures if isinstance(figures, dict) else None

    def load(self, path: Path | None = None) -> tuple[Path, Arrays, dict[str, Any]]:
        """That checkpoint, or the newest.

        Raises:
            CheckpointError: there is none, or it is damaged; then one that is whole is named, if there is one.
        """
        candidates = self.candidates()
        if path is None and not candidates:
            raise CheckpointError(f"no checkpoint in {self.folder}. Name a run folder that training has written to.")
        path = candidates[0] if path is None else path
        try:
            return path, *load_checkpoint(path)
        except CheckpointError as error:
            raise CheckpointError(f"{error} {self._offer(path)}") from None

    def tidy(self) -> None:
        """Removes what is more than is kept, and what a killed process had begun."""
        remove_stale(self.folder, "*.safetensors")
        _remove(self.paths()[: -self.keep])

    def _write(self, path: Path, step: int, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
        make_folder(self.folder, parents=False)
        whole = {"format": CHECKPOINT_FORMAT, "step": step, "versions": versions(), **description}
        save_arrays(path, arrays, description=whole)

    def _offer(self, damaged: Path) -> str:
        for path in self.candidates():
            if path.resolve() != damaged.resolve():
                with contextlib.suppress(CheckpointError):
                    return resume_from(path, load_checkpoint(path)[1]["step"])
        return "No other checkpoint of this run is whole: start a new run."


def resume_from(path: Path, step: int) -> str:
    """How training is resumed from a checkpoint or a run folder."""
    return f"Resume from step {step:,} with: `minigan.open_run({str(path)!r}).resume()`"


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # one too many does no harm
            path.unlink()


def _step(path: Path) -> int:
    """Of which step a checkpoint is, by its name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1
