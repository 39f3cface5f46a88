"""The health of a run: a step of it is done again from a checkpoint, measured, and judged."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.errors import ConfigError
from minigan.inspection.game_health import game_health
from minigan.inspection.health_checks import Check, StepHealth, checks
from minigan.inspection.layer_health import StepObserver, layer_rows
from minigan.inspection.replay import Replay, replayed
from minigan.recipes import Recipe
from minigan.runs.run import source_name
from minigan.support.arguments import whole
from minigan.support.representation import short_path
from minigan.training.alternating import AlternatingOptimizer

__all__ = ["Inspection", "inspect_run"]

SIDES = 8  # of the picture: at most so many fakes


@dataclass(frozen=True)
class Inspection:
    """A step of a run, measured and judged.

    Attributes:
        run: the run's folder, short.
        start: the step of the checkpoint that the replay began at.
        health: all measures.
        checks: each measure that applies, next to its limit.
        logged: the values of the step in the run's log; empty if it was not logged.
        notes: lines on how the run was understood.
        data: the source of its data, and its seed.
        fakes: some of G's fakes in the step, images in [-1, 1] or points; (N, ...).
        pull: the gradient of G's loss at these fakes; None without D.
    """

    run: str
    start: int
    health: StepHealth
    checks: tuple[Check, ...]
    logged: Mapping[str, float]
    notes: tuple[str, ...]
    data: tuple[str, int]
    fakes: np.ndarray
    pull: np.ndarray | None

    @property
    def step(self) -> int:
        """The number of the step."""
        return self.health.step

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.health.recipe

    @property
    def ill(self) -> tuple[Check, ...]:
        """The checks that found something; () for a healthy run."""
        return tuple(check for check in self.checks if check.ill)

    @property
    def word(self) -> str:
        """The verdict: `"healthy"`, or the words of what was found."""
        return ", ".join(dict.fromkeys(check.word for check in self.ill)) or "healthy"

    @property
    def differs(self) -> tuple[str, ...]:
        """The names of values whose record in the log is another number than the replay's."""
        values = self.health.values
        return tuple(name for name, value in self.logged.items() if name in values and values[name] != value)

    def __repr__(self) -> str:
        return f"<Inspection of {self.run} at step {self.step:,}: {self.word}>"

    def gradient_picture(self) -> np.ndarray:
        """Fakes, and to the right of each the change that G's loss asks for: -dL/dpixel, gray where it asks for none.

        Returns:
            Images in [-1, 1], (2N, H, W, C): a fake, its gradient, the next fake ...
        Raises:
            ConfigError: there is no D, or G draws points.
        """
        if self.pull is None or self.fakes.ndim != 4:
            raise ConfigError(
                f"{self.recipe.name} has no D that judges images, so there is no picture. Leave `out` out."
            )
        wanted = -self.pull / max(float(np.quantile(np.abs(self.pull), 0.995)), float(np.finfo(np.float32).tiny))
        pairs = np.stack([self.fakes, np.clip(wanted, -1, 1)], axis=1)
        return pairs.reshape(-1, *self.fakes.shape[1:])


def inspect_run(
    run: str | os.PathLike[str],
    *,
    step: int | None = None,
    data: str | os.PathLike[str] | None = None,
    targets: str | os.PathLike[str] | None = None,
    data_b: str | os.PathLike[str] | None = None,
    held_out: str | os.PathLike[str] | None = None,
    backend: str | Backend | None = None,
    precision: str | None = None,
) -> Inspection:
    """Inspects the health of a run by doing a step of it again, exactly, from a checkpoint.

        inspection = minigan.inspection.inspect_run("runs/dcgan-digits-1")
        print(minigan.inspection.as_text(inspection_document(inspection)))
        inspection.word     # "healthy"

    Nothing in the run's folder is changed.

    Args:
        run: the path of its folder, or of one of its checkpoints.
        step: the step to do again; None takes the one after the newest checkpoint. Steps from the nearest checkpoint
            before it are done on the way.
        data, targets, data_b: where the run's data are now, if they have moved.
        held_out: a source of examples that D has not seen; None takes those that the recipe holds out, or embedded data
            of another seed.
        backend: None takes the run's own, with which the step has the same bits.
        precision: of products; None takes the run's own on the run's backend, else the backend's default. A backend
            object brings its own.
    Returns:
        All measures, and what is to be said of them.
    Raises:
        CheckpointError: there is no run or no checkpoint, or a file of the run is damaged.
        ConfigError: no checkpoint leads to that step, or an argument is out of range.
        DataError: the data cannot be read.
        DivergenceError: the step diverges.
    """
    step = None if step is None else whole(step, "step")
    if isinstance(backend, Backend):
        chosen = get_backend(backend, precision=precision)
        backend, precision = chosen.name, chosen.precision
    moved = {"data": data, "targets": targets, "data_b": data_b}
    where = {name: None if path is None else source_name(path) for name, path in moved.items()}
    with replayed(run, step=step, **where, backend=backend, precision=precision) as replay:
        game, notes = game_health(replay, held_out=None if held_out is None else os.fspath(held_out))
        observer, rates = StepObserver(replay.learner), replay.learner.rates()
        with observer.watching():
            values = {name: float(value) for name, value in replay.run()._asdict().items()}
        health = StepHealth(
            replay.step,
            replay.prepared.recipe,
            replay.learner,
            tuple(layer_rows(observer)),
            game,
            _pull(replay, observer),
            None if observer.dfake is None else float(np.abs(observer.dfake).max()),
            values,
            rates,
        )
        return _judged(replay, health, observer, notes)


def _judged(replay: Replay, health: StepHealth, observer: StepObserver, notes: tuple[str, ...]) -> Inspection:
    fakes = (
        np.empty((0, *replay.learner.G.output_shape)) if observer.fake is None else observer.fake[: SIDES * SIDES // 2]
    )
    return Inspection(
        short_path(Path(replay.state.folder).absolute()),
        replay.start,
        health,
        tuple(checks(health)),
        replay.logged(),
        (*replay.notes, *notes, *_at_rest(health)),
        (replay.prepared.config.data, replay.prepared.config.seed),
        np.array(health.recipe.to_images(fakes)),
        None if observer.dfake is None else observer.dfake[: len(fakes)],
    )


def _at_rest(health: StepHealth) -> tuple[str, ...]:
    """A note on a step that changes nothing."""
    if any(health.rates.values()):
        return ()
    return ("the schedule has ended: all rates are 0, and no weight moves. An earlier step shows more.",)


def _pull(replay: Replay, observer: StepObserver) -> float | None:
    """The pull of G's loss, without the weight of the game in it."""
    learner = replay.learner
    if observer.pull is None or not isinstance(learner, AlternatingOptimizer) or not learner.adversarial_weight:
        return None
    return observer.pull / abs(learner.adversarial_weight)


def record(inspection: Inspection) -> dict[str, Any]:
    """An inspection as numbers and texts, which JSON can hold."""
    health, game = inspection.health, inspection.health.game
    return {
        "run": inspection.run,
        "recipe": health.recipe.name,
        "step": inspection.step,
        "checkpoint": inspection.start,
        "verdict": inspection.word,
        "checks": [check.record() for check in inspection.checks],
        "values": dict(health.values),
        "logged": dict(inspection.logged),
        "differs_from_log": list(inspection.differs),
        "rates": dict(health.rates),
        "layers": [row._asdict() for row in health.layers],
        "pull": health.pull,
        "game": None if game is None else _game_record(game),
        "notes": list(inspection.notes),
    }


def _game_record(game: Any) -> dict[str, Any]:
    arrays = {name: getattr(game, name) for name in ("real", "fake", "held_out", "slope_real", "slope_fake")}
    numbers = ("examples", "duplicates", "spread", "coverage", "memory", "memory_error")
    return {name: _five(array) for name, array in arrays.items() if array is not None} | {
        name: getattr(game, name) for name in numbers
    }


def _five(array: np.ndarray) -> dict[str, float]:
    """A distribution in five numbers."""
    low, middle, high = np.quantile(array, (0.05, 0.5, 0.95)).tolist()
    return {"mean": float(array.mean()), "std": float(array.std()), "q05": low, "median": middle, "q95": high}
