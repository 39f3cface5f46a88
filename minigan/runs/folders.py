"""Run folders: the next free one, the one that a file belongs to, and the data that it names."""

import itertools
import os
from pathlib import Path

from minigan.checkpoints.folder import CheckpointFolder
from minigan.errors import CheckpointError, ConfigError, OutputError
from minigan.recipes.bases.translation import lasting_path
from minigan.runs.config import lasting_source, read_config
from minigan.runs.pretrained import PRETRAINED, pretrained_name
from minigan.support.durable_files import make_folder, remove_stale
from minigan.support.folder_owner import LOCK_FILE
from minigan.support.representation import python_text, short_path

LONGEST_NAME = 100  # bytes of the data's name in a folder's; the system allows 255, and a letter may take four

__all__ = ["check_free", "claim", "expect_free", "new_folder", "run_data", "run_data_b", "run_folder", "run_targets"]


def new_folder(recipe: str, data: str, *, root: Path = Path("runs")) -> Path:
    """The first of runs/RECIPE-DATA-1, -2, ... that does not exist."""
    name = Path(os.path.realpath(data)).name.split(".")[0].replace(":", "-")
    while len(os.fsencode(name)) > LONGEST_NAME:
        name = name[:-1]
    stem = f"{recipe}-{name or 'data'}"
    return next(p for n in itertools.count(1) if not os.path.lexists(p := root / f"{stem}-{n}"))


def check_free(folder: Path) -> None:
    """Refuses a folder that is in use; a run without a checkpoint may be overwritten.

    Raises:
        ConfigError: the folder holds a run with a checkpoint, or files that are no run.
    """
    remove_stale(folder, "config.toml")
    expect_free(folder)


def expect_free(folder: Path) -> None:
    """The same as `check_free`, but leaves what a killed process left."""
    if not folder.is_dir() or all(path.name == LOCK_FILE or _is_left(path) for path in folder.iterdir()):
        return
    try:
        read_config(folder)
    except CheckpointError:
        raise ConfigError(
            f"{short_path(folder)} is not empty and holds no run that can be read. Choose another `out`, or empty it."
        ) from None
    if CheckpointFolder(folder / "checkpoints").candidates():
        raise ConfigError(
            f"{short_path(folder)} already holds a run. Resume it with: "
            f"`minigan.open_run({python_text(short_path(folder))}).resume()`, or choose another `out`."
        )


def _is_left(path: Path) -> bool:
    """Whether a file is a config.toml that was being written."""
    return path.name.startswith(".config.toml.") and path.suffix == ".tmp"


def claim(folder: Path) -> Path:
    """Creates a numbered folder, or the next free one, so that two runs that start at once get different folders."""
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
    """A run's folder, from itself, its model file or one of its checkpoints.

    That of `pretrained:digits`, in which nothing can be written, is `pretrained-digits` here.
    """
    if name := pretrained_name(path):
        return Path(f"pretrained-{name}")
    if path.is_dir():
        return path
    return path.absolute().parent.parent if path.absolute().parent.name == "checkpoints" else path.parent


def run_data(path: Path, data: str | None) -> tuple[str, int]:
    """The source of a run's data, and the seed of an embedded one.

    Args:
        path: of the run's folder, its model file or one of its checkpoints.
        data: the source to use instead; needed if the file lies in no run folder.
    Raises:
        ConfigError: there is neither.
    """
    if name := pretrained_name(path):
        own = PRETRAINED[name].data
        if data is None and not own:
            raise ConfigError(f"the data of {path} do not come with minigan. Add `data=SOURCE`.")
        return (own, 0) if data is None else (lasting_source(data), 0)
    try:
        config = read_config(run_folder(path))
    except CheckpointError:
        if data is None:
            raise ConfigError(f"{path} lies in no run folder that names its data. Add `data=SOURCE`.") from None
        return lasting_source(data), 0
    return lasting_source(data) if data is not None else config.data, config.seed


def run_targets(path: Path, data: str | None, targets: str | None) -> str:
    """The folder or zip of the targets that belong to the source of `run_data`; "" if the source has its own.

    Args:
        path: of the run's folder, its model file or one of its checkpoints.
        data: the source to use in place of the run's; the run's targets do not belong to it.
        targets: those to use in place of the run's.
    """
    if targets is not None or data is not None:
        return lasting_path(targets) if targets else ""
    try:
        return str(read_config(run_folder(path)).settings.get("targets", ""))
    except CheckpointError:
        return ""


def run_data_b(path: Path, data_b: str | None) -> str:
    """The source of the images of B, for a run on unpaired data; "" if the source of A has both.

    Args:
        path: of the run's folder, its model file or one of its checkpoints.
        data_b: the source to use in place of the run's.
    """
    if data_b is not None:
        return lasting_source(data_b) if data_b else ""
    try:
        return str(read_config(run_folder(path)).settings.get("data_b", ""))
    except CheckpointError:
        return ""
