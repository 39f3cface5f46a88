"""A run's game once more, from its checkpoints and its log: the frames of the live page for a report."""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.errors import CheckpointError, DataError
from minigan.live.changes import apply_settings, expect_game
from minigan.live.frames import Frames, frames_of
from minigan.live.history import Values
from minigan.live.journal import read_notes
from minigan.live.view import View
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.runs.config import read_config, with_engine
from minigan.runs.folders import run_folder
from minigan.runs.prepare import PreparedRun, prepare_run, source_missing
from minigan.support.package_files import packaged

__all__ = ["replay_of", "replay_script", "replay_style"]

MOST_FRAMES = 60
MOST_CHARACTERS = 1_500_000  # of all frames
MOST_VALUES = 400

Record = dict[str, Any]


def replay_of(
    run: str | os.PathLike[str], *, data: str | None = None, backend: str | None = None, precision: str | None = None
) -> Record:
    """The frames of a run's checkpoints, its losses and its changes, as the script of a page reads them.

    Args:
        run: the path of its folder.
        data: where its data are now; None as in its config.toml.
        backend, precision: for what is computed; None takes the run's own.
    Raises:
        ConfigError: it is no game of a G that draws from noise.
        CheckpointError: there is no run, or no checkpoint.
        DataError: the data are missing or others.
    """
    folder = run_folder(Path(run).expanduser())
    config = read_config(folder, data=data)
    files = CheckpointFolder(folder / "checkpoints")
    if not (paths := files.paths()):
        raise CheckpointError(f"{folder} has no checkpoint. Train it first.")
    try:
        prepared = prepare_run(with_engine(config, backend=backend, precision=precision), folder)
    except DataError as error:
        raise error if data is not None else source_missing(error, folder, config) from None
    with closing(prepared.dataset), prepared.trainer.state.loader:
        frames, game = frames_of(prepared), expect_game(prepared.recipe, prepared.trainer.state.learner)
        history = _history(folder)
        shown = _frames(prepared, frames, files, paths, history)
        about = {**frames.about(game), "networks": {}}
    notes = [note for note in read_notes(folder) if note.kind in ("set", "only")]
    return {
        "about": about,
        "first": [*frames.first, *(["manifold"] if about.get("mesh") else [])],
        "frames": shown,
        "history": [[_plain(value) for value in values] for values in history],
        "marks": [note.step for note in notes if note.kind == "set"],
        "changes": [_in_words(note.step, note.kind, note.value) for note in notes[-100:]],
    }


def _frames(
    prepared: PreparedRun, frames: Frames, files: CheckpointFolder, paths: Sequence[Path], history: Sequence[Values]
) -> list[Record]:
    """A frame for each checkpoint, with the settings of its time; some of them if there is no room for all."""
    game = expect_game(prepared.recipe, prepared.trainer.state.learner)
    found: list[Record] = []
    for path in _spread(paths, MOST_FRAMES):
        _, arrays, description = files.load(path)
        game.load_dict(arrays, source=str(path))
        apply_settings(game, _recipe_then(prepared, description))
        run = frames.frame(game, View(frames.layers, is_still=False))
        before = [values for values in history if values.step <= description["step"]]
        values = [_plain(value) for value in before[-1]] if before else None
        found.append({"step": description["step"], "runs": [{"values": values, **run}]})
    size = max(len(json.dumps(frame)) for frame in found)
    return _spread(found, max(1, MOST_CHARACTERS // size))


def _recipe_then(prepared: PreparedRun, description: Mapping[str, Any]) -> AdversarialRecipe:
    """The recipe with the settings that it had when a checkpoint was written."""
    recipe: Any = prepared.recipe
    try:
        settings = tomllib.loads(description["config"])["settings"]
    except (ValueError, KeyError):  # a checkpoint by a loop of the user's
        settings = {}
    then: AdversarialRecipe = recipe.from_stored({**recipe.settings(), **settings})
    return then


def _history(folder: Path) -> list[Values]:
    """Losses by step, spread evenly."""
    records = [logged(line) for line in log_lines(folder / "log.jsonl") or ()]
    names = Values._fields[1:]
    found = [
        Values(record["step"], *(float(record[name]) for name in names))
        for record in records
        if all(type(record.get(name)) in (int, float) and abs(record[name]) < 1e300 for name in names)
    ]
    return _spread(sorted(found), MOST_VALUES)


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """So many of some items, the last among them."""
    return [items[i] for i in np.unique(np.linspace(len(items) - 1, 0, min(count, len(items))).astype(int))]


def _plain(value: float) -> float | None:
    return value if isinstance(value, int) else float(f"{value:.5g}") if np.isfinite(value) else None


def _in_words(step: int, kind: str, value: Any) -> str:
    if kind == "only":
        return f"step {step:,}: {value} alone"
    return f"from step {step + 1:,}: {', '.join(f'{name} {one}' for name, one in value.items())}"[:200]


def replay_script() -> str:
    """The scripts that show replays: `view.js` draws, `replay.js` listens to the page's slider."""
    return packaged(__package__, "view.js") + packaged(__package__, "replay.js")


def replay_style() -> str:
    """The style sheet of what they draw."""
    return packaged(__package__, "view.css")
