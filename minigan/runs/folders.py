"""The folders of runs: which is free for a new one, and which one a file belongs to."""

import itertools
import os
from pathlib import Path

from minigan.checkpoints.folder import CheckpointFolder
from minigan.errors import CheckpointError, ConfigError, OutputError
from minigan.runs.config import read_config
from minigan.support.durable_files import make_folder, remove_stale

__all__ = ["check_free", "claim", "new_folder", "run_folder"]


def new_folder(recipe: str, data: str, *, root: Path = Path("runs")) -> Path:
    """The first of runs/recipe-data-1, -2, ... that is not there yet."""
    stem = f"{recipe}-{Path(data).resolve().name.split('.')[0].replace(':', '-')[:100] or 'data'}"
    return next(p for n in itertools.count(1) if not os.path.lexists(p := root / f"{stem}-{n}"))


def check_free(folder: Path) -> None:
    """Raises ConfigError if the folder holds a run with a checkpoint, or anything that is no run."""
    remove_stale(folder, "config.toml")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        read_config(folder)
    except CheckpointError:
        raise ConfigError(f"{folder} is not empty and holds no run. Choose another `out`, or empty it.") from None
    if CheckpointFolder(folder / "checkpoints").candidates():
        raise ConfigError(
            f"{folder} already holds a run. Resume it with: "
            f"`minigan.open_run({str(folder)!r}).resume()`, or choose another `out`."
        )


def claim(folder: Path) -> Path:
    """Creates a numbered folder, or the next that is free: of two runs that start at once each gets its own."""
    make_folder(folder.parent)
    stem, _, number = folder.name.rpartition("-")
    for n in itertools.count(int(number)):
        path = folder.with_name(f"{stem}-{n}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError.of(path, error) from None
        return path
    raise AssertionError("unreachable")


def run_folder(path: Path) -> Path:
    """A run's folder, from itself, its model file or one of its checkpoints."""
    if path.is_dir():
        return path
    return path.absolute().parent.parent if path.absolute().parent.name == "checkpoints" else path.parent
