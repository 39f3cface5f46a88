"""A training that is not done: what `minigan train` would do, found by preparing it and doing a few steps in memory."""

import contextlib
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.checkpoints.folder import CheckpointFolder
from minigan.errors import CheckpointError, DivergenceError
from minigan.inspection.real_step import RealStep
from minigan.inspection.step_marks import memory_of
from minigan.recipes import Recipe
from minigan.runs.config import RunConfig, new_config, read_config
from minigan.runs.folders import expect_free, new_folder, run_folder
from minigan.runs.new_run import recipe_with_settings
from minigan.runs.prepare import OTHER_FOLDER, PreparedRun, prepare_from_folder, prepare_run
from minigan.support.arguments import path as expect_path
from minigan.support.arguments import whole
from minigan.support.durable_files import expect_makeable
from minigan.support.folder_owner import refuse_if_owned
from minigan.support.memory_limit import memory_limit
from minigan.support.representation import duration, memory_size, short_path
from minigan.training.failures import at_step
from minigan.training.out_of_memory import out_of_memory
from minigan.training.stepper import Stepper

__all__ = ["DryRun", "Timing", "dry_resume", "dry_run", "dry_run_of"]

WARM = 3  # steps before the clock: compiled, and on a GPU captured and replayed once
SECONDS, MOST = 4.0, 50  # of the timed steps


class Timing(NamedTuple):
    """The time of steps.

    Attributes:
        first: seconds of the first step, with compiling.
        each: seconds of a step afterwards, the median.
        steps: the number of steps that this is the median of.
    """

    first: float
    each: float
    steps: int


@dataclass(frozen=True)
class DryRun:
    """Findings on a training that was not done; nothing of it was written or kept.

    Attributes:
        config: the run's.
        folder: where it would be; of a new run the next free one.
        data: the data in a line.
        notes: how the source was understood.
        engine: the backend in words.
        parameters: the number of each network's parameters.
        batch: images in a step of G, those of all of D's steps and accumulated batches included.
        step, steps: done before, and in all.
        lasting: bytes that are there all the time, by what they are.
        peak: bytes that a step adds at its peak, measured in one step.
        scratch: bytes that the backend keeps for later steps, in addition.
        available: bytes that this process may use; None if no limit is known.
        timing: of a few real steps.
    """

    config: RunConfig
    folder: Path
    data: str
    notes: tuple[str, ...]
    engine: str
    parameters: Mapping[str, int]
    batch: int
    step: int
    steps: int
    lasting: Mapping[str, int]
    peak: int
    scratch: int
    available: int | None
    timing: Timing

    @property
    def memory(self) -> int:
        """Bytes in all, without Python, its libraries and decoded data."""
        return sum(self.lasting.values()) + self.peak + self.scratch

    @property
    def seconds(self) -> float:
        """Seconds of the whole training, without pictures, checkpoints and evaluations."""
        return self.timing.each * (self.steps - self.step)

    def __repr__(self) -> str:
        return f"<DryRun: {self.config.recipe} on {self.config.data}, {duration(self.seconds)}, {self.folder}>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The same for people."""
        networks = ", ".join(f"{name} {count:,}" for name, count in self.parameters.items())
        lasting = ", ".join(f"{name} {memory_size(size)}" for name, size in self.lasting.items())
        kept = f", scratch {memory_size(self.scratch)}" if self.scratch else ""
        total, timing = memory_size(self.memory), self.timing
        left = f"steps {self.step + 1:,} to {self.steps:,}" if self.step else f"{self.steps:,} steps"
        images = f"{self.batch:,} image{'s' * (self.batch != 1)}"
        remaining = f"{left} of {images} take {duration(self.seconds)}"
        if self.step >= self.steps:
            remaining = f"all {self.steps:,} steps are done, and `steps=N` with a larger N trains on"
        pace = f"{timing.each:.3g} s a step"
        measured = f"median of {timing.steps} real steps after {timing.first:.2g} s for the first"
        lines = [
            f"{self.config.recipe} on {self.data}",
            self.engine,
            f"parameters: {networks}",
            f"memory: {lasting}; a step's arrays {memory_size(self.peak)}, measured in one step{kept}; {total} in all",
            f"time: {pace} ({measured}); {remaining}",
            f"run folder: {short_path(self.folder)}",
        ]
        if self.available is not None and self.memory > self.available:
            lines.append(f"too much: only {memory_size(self.available)} are available. Use a smaller `batch_size`.")
        return [*lines, "nothing was written"]

    def record(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "dry_run": True,
            "recipe": self.config.recipe,
            "settings": self.config.settings,
            "data": self.data,
            "notes": list(self.notes),
            "engine": self.engine,
            "run": str(self.folder),
            "parameters": dict(self.parameters),
            "images_per_step": self.batch,
            "step": self.step,
            "steps": self.steps,
            "memory": {**self.lasting, "step": self.peak, "scratch": self.scratch, "total": self.memory},
            "memory_measured_in": "1 step",
            "memory_available": self.available,
            "first_step_seconds": self.timing.first,
            "seconds_per_step": self.timing.each,
            "measured_steps": self.timing.steps,
            "seconds": self.seconds,
        }


def dry_run(
    recipe: str | type[Recipe] | Recipe = "dcgan",
    *,
    settings: Mapping[str, Any] | None = None,
    data: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    seed: int = 0,
    backend: str = "auto",
    precision: str | None = None,
    out: str | os.PathLike[str] | None = None,
) -> DryRun:
    """Says what `minigan.train` with these arguments would do, and writes nothing.

        print(minigan.inspection.dry_run("dcgan", data="photos", settings={"width": 32}))

    The data are opened, the networks built, and a few steps done in memory: at most 50, or 4 seconds of them after the
    first. No random number elsewhere changes. Numba keeps what it compiles in its cache, as it always does.

    Args:
        recipe, data, steps, seed, backend, precision, out: see `minigan.train`.
        settings: the recipe's, by name.
    Raises:
        MiniganError: the training would not begin, or would stop at once: an unknown setting, data that cannot be read,
            a folder that is taken, too little memory, divergence.
    """
    given = dict(settings or {}) | ({} if steps is None else {"steps": whole(steps, "steps")})
    config = new_config(
        recipe_with_settings(recipe, given),
        data=None if data is None else os.fspath(data),
        seed=whole(seed, "seed", least=0),
        backend=backend,
        precision=precision,
    )
    return dry_run_of(config, None if out is None else expect_path(out, "out"))


def dry_run_of(config: RunConfig, out: Path | None = None, *, root: Path = Path("runs")) -> DryRun:
    """The same for a run's configuration.

    Args:
        out: the folder; None takes the next of RECIPE-DATA-1, -2, ... in `root`.
    """
    if out is not None:
        refuse_if_owned(out, remedy=OTHER_FOLDER)
        expect_free(out)
    folder = (out or new_folder(config.recipe, config.data, root=root)).absolute()
    expect_makeable(folder)
    return _measured(prepare_run(config, folder))


def dry_resume(
    path: Path,
    *,
    steps: int | None = None,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
    precision: str | None = None,
) -> DryRun:
    """The same for a run that would be resumed from its newest checkpoint, or from the one named.

    Args:
        path: of the run's folder, or of one of its checkpoints.
        steps, data, targets, data_b, precision: see `minigan.runs.session.resume_run`.
    """
    checkpoint = path if path.is_file() else None
    folder = path if checkpoint is None else run_folder(checkpoint)
    read_config(folder)  # raises, if there is no run
    refuse_if_owned(folder, remedy="Wait until it has ended, or stop it first.")
    prepared = prepare_from_folder(folder, steps=steps, data=data, targets=targets, data_b=data_b, precision=precision)
    with contextlib.ExitStack() as on_error:
        on_error.callback(prepared.dataset.close)
        files, state = CheckpointFolder(folder / "checkpoints"), prepared.trainer.state
        if checkpoint is not None or files.candidates():
            found, arrays, description = files.load(checkpoint)
            state.load(arrays, description, source=found)
            if state.step > state.steps:
                raise CheckpointError(
                    f"{short_path(folder)} has done {state.step:,} steps, expected at least as many in all, got "
                    f"{state.steps:,}. Give a larger number of `steps`."
                )
        on_error.pop_all()
    return _measured(prepared)


def _measured(prepared: PreparedRun) -> DryRun:
    """The findings on a prepared training; closes its data."""
    state, backend, dataset = prepared.trainer.state, prepared.backend, prepared.dataset
    done = state.step
    with contextlib.closing(dataset), state.loader:
        try:
            real = RealStep(prepared, title="")
            timing = _timing(prepared)
            peak = _peak(real)
        except MemoryError as error:
            raise out_of_memory(error, state.learner.networks, batch_size=state.loader.batch_size) from None
    most = memory_limit()[0]
    device = backend.memory()
    available = device.total if device is not None else most
    return DryRun(
        config=prepared.config,
        folder=state.folder,
        data=dataset.describe(),
        notes=dataset.notes,
        engine=backend.describe(),
        parameters={name: len(network.arena) for name, network in state.learner.networks.items()},
        batch=state.loader.batch_size * state.learner.batches_per_step,
        step=done,
        steps=state.steps,
        lasting=real.lasting(),
        peak=peak,
        scratch=getattr(getattr(backend, "workspace", None), "nbytes", 0),
        available=available if available < 2**62 else None,
        timing=timing,
    )


def _timing(prepared: PreparedRun) -> Timing:
    """Does the first steps of the training as it would, but for logs, pictures and checkpoints."""
    trainer, state = prepared.trainer, prepared.trainer.state
    batches = (trainer.prepare(item, state.rng) for item in state.loader)
    stepper = Stepper(state.learner, batches, state.rng, averages=state.averages.values())
    times: list[float] = []
    with np.errstate(all="ignore"):
        while len(times) < WARM + MOST and (len(times) < 2 or sum(times[1:]) < SECONDS):
            began = time.perf_counter()
            try:
                stepper.step()
            except DivergenceError as error:
                raise at_step(error, state.step + len(times) + 1) from None
            prepared.backend.synchronize()
            times.append(time.perf_counter() - began)
        stepper.check()
    after = times[WARM:] or times[1:]  # of slow steps fewer than would be warm
    return Timing(times[0], statistics.median(after), len(after))


def _peak(real: RealStep) -> int:
    """Bytes that one step adds at its peak to what is there before and after it."""
    backend = real.backend
    if backend.memory() is not None:
        use = backend.memory()
        return 0 if use is None else max(0, use.peak - sum(real.lasting().values()))
    with memory_of(backend) as read:
        before, _ = read()
        real.run()
        return max(0, read()[1] - before)
