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
from minigan.support.representation import python_text, short_path

__all__ = ["CheckpointFolder", "resume_from", "step_of"]

LISTINGS = 5  # of a folder that seems to be empty
_NAME = re.compile(r"step-(\d+)\.safetensors", re.ASCII)


class CheckpointFolder:
    """The last few checkpoints of a run, one file a step, and the best one next to them.

    Args:
        folder: created when the first checkpoint is written, in a folder that exists.
        keep: how many stay; older ones are removed once a newer one is safely written.
    Attributes:
        best: path of the best one, which may be missing.
    """

    def __init__(self, folder: Path, *, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep
        self.best = folder / "best.safetensors"

    def paths(self) -> list[Path]:
        """The last checkpoints, oldest first."""
        for _ in range(LISTINGS):
            named = [path for path in self.folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
            if found := sorted((path for path in named if path.is_file()), key=_step):
                return found
            # Perhaps a training has removed what was listed, and the newer one came too late for the list: once more.
        return []

    def last_step(self) -> int | None:
        """Step of the newest one; None if there is none."""
        return _step(paths[-1]) if (paths := self.paths()) else None

    def candidates(self) -> list[Path]:
        """Checkpoints to resume from, nearest to the run's last step first."""
        return [*reversed(self.paths()), *([self.best] if self.best.is_file() else [])]

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any], since: int | None = None
    ) -> Path:
        """Writes a step's checkpoint, and removes those of later steps, which a run that went back has given up.

        Args:
            description: an object for JSON; step, format and versions are added to it.
            since: the step of the run's last checkpoint before this one; those in between are given up as well.
        Returns:
            Its path.
        Raises:
            OutputError: it cannot be written. The others stay as they were.
        """
        path = self.folder / f"step-{step:08}.safetensors"
        self._write(path, step, arrays, description)
        given_up = step if since is None else min(step, since)
        _remove([later for later in self.paths() if _step(later) > given_up and later != path])
        self.tidy()
        return path

    def save_best(self, step: int, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> None:
        """Writes a checkpoint in place of the best one so far.

        Args:
            description: has the key `figures`: those that make it the best.
        Raises:
            OutputError: it cannot be written. The earlier one stays as it was.
        """
        self._write(self.best, step, arrays, description)

    def best_figures(self) -> dict[str, float] | None:
        """Figures that make the best one the best; None if there is none that can be read."""
        if not self.best.exists():
            return None
        try:
            figures = load_checkpoint(self.best)[1].get("figures")
        except CheckpointError:
            return None
        return figures if isinstance(figures, dict) else None

    def load(self, path: Path | None = None) -> tuple[Path, Arrays, dict[str, Any]]:
        """The checkpoint of that path, or the newest.

        Raises:
            CheckpointError: there is none, or it is damaged; then names an intact one, if there is one.
        """
        if path is None:
            return self._load_newest()
        try:
            return path, *load_checkpoint(path)
        except CheckpointError as error:
            raise CheckpointError(f"{error} {self._offer(path)}") from None

    def _load_newest(self) -> tuple[Path, Arrays, dict[str, Any]]:
        """The newest checkpoint. One that a training has removed since it was listed has a newer one in its place."""
        while candidates := self.candidates():
            path = candidates[0]
            try:
                return path, *load_checkpoint(path)
            except CheckpointError as error:
                if path.exists():
                    raise CheckpointError(f"{error} {self._offer(path)}") from None
        raise CheckpointError(f"no checkpoint in {self.folder}. Name a run folder that training has written to.")

    def tidy(self) -> None:
        """Removes checkpoints beyond those to keep, and half-written files of killed processes."""
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
        return "No other checkpoint of this run is intact: start a new run."


def resume_from(path: Path, step: int) -> str:
    """The call that resumes from a checkpoint or a run folder, for error messages."""
    return f"Resume from step {step:,} with: `minigan.open_run({python_text(short_path(path))}).resume()`"


def step_of(path: Path) -> int:
    """The step of a checkpoint, from its name, or for the best one from its description.

    Raises:
        CheckpointError: it is damaged, or no checkpoint.
    """
    return _step(path) if _NAME.fullmatch(path.name) else int(load_checkpoint(path)[1]["step"])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # one too many does no harm
            path.unlink()


def _step(path: Path) -> int:
    """Step of a checkpoint, by its name; -1 if the name has none."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1
