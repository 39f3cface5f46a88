"""The loop around the alternating optimizer: logs, pictures, checkpoints, interruption, resumption."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.folder import CheckpointFolder, resume_command
from minigan.checkpoints.format import MODEL_FORMAT, network_arrays, save_arrays
from minigan.checkpoints.resume_checks import check_model, checked_rng, items_warning, log_until, versions_warning
from minigan.data import Loader
from minigan.errors import CheckpointError, ConfigError, DataError, DivergenceError, MiniganError, OutputError
from minigan.evaluation import rank
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.interruption import Interruption
from minigan.support.progress import Progress
from minigan.training.learner import Learner, Values
from minigan.training.moving_average import MovingAverage
from minigan.training.out_of_memory import out_of_memory
from minigan.training.sampling import Exhibit, generate, save_picture
from minigan.training.stepper import Stepper

__all__ = ["Draw", "Keep", "Monitor", "Rhythm", "Trainer"]


@dataclass(frozen=True)
class Rhythm:
    """Every how many steps something is done; evaluating takes time, and is left out with 0."""

    log_every: int = 20
    sample_every: int = 250
    checkpoint_every: int = 500
    evaluate_every: int = 0


@dataclass(frozen=True)
class Keep:
    """Which checkpoints stay: the last few, and the best by a figure of the monitor, "" for its first."""

    last: int = 3
    best: str = ""


Draw = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # (z, condition) -> what G draws, in host memory
Monitor = Callable[[Draw, Callable[[str], None]], dict[str, float]]  # (draw, what to say on the way) -> figures


class Trainer:
    """Trains until all steps are done, and leaves a run folder.

    Args:
        learner: networks and optimisers.
        loader: batches of the data, images in [-1, 1].
        rng: of all that is random in a step: noise, dropout.
        exhibit: what the sample pictures are drawn from.
        folder: the run's; exists.
        steps: when training is done.
        rhythm: when to log, draw and save.
        prepare: from the loader's batch, and `rng`, to what the learner's step takes.
        to_images: from G's output to [-1, 1].
        model: what stands in the description of `model.safetensors`, enough to rebuild G.
        average: of G's weights; then the pictures are its.
        monitor: looks at what is drawn, and returns figures for the log.
        keep: which checkpoints stay.
        config: the text of the run's config.toml: each checkpoint has it, and a folder that was removed gets it again.
    """

    def __init__(
        self,
        learner: Learner,
        loader: Loader[Any],
        *,
        rng: np.random.Generator,
        exhibit: Exhibit,
        folder: Path,
        steps: int,
        rhythm: Rhythm,
        prepare: Callable[[Any, np.random.Generator], Any],
        to_images: Callable[[np.ndarray], np.ndarray],
        model: dict[str, Any],
        average: MovingAverage | None = None,
        monitor: Monitor | None = None,
        keep: Keep = Keep(),
        config: str = "",
    ) -> None:
        self.learner = learner
        self.loader = loader
        self.rng = rng
        self.exhibit = exhibit
        self.folder = folder
        self.steps = steps
        self.rhythm = rhythm
        self.prepare = prepare
        self.to_images = to_images
        self.model = model
        self.average = average
        self.monitor = monitor
        self.keep = keep
        self.config = config
        self.step = 0
        self._saved: int | None = None  # the step of the newest checkpoint

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The run folder's."""
        return CheckpointFolder(self.folder / "checkpoints", keep=self.keep.last)

    def run(self, progress: Progress, interruption: Interruption) -> None:
        """Trains from where it stands to the last step, or until interrupted; leaves a checkpoint either way.

        Raises:
            DataError: an item cannot be read; a checkpoint was saved.
            DivergenceError: a number became NaN or infinite; names the step, the place and the last good checkpoint.
            OutputError: the run folder cannot be written; names the checkpoint that is left.
        """
        try:
            self._run(progress, interruption)
        except OutputError as error:
            if self._put_back(progress):
                return self.run(progress, interruption)
            left = self.checkpoints.last_step()
            raise OutputError(str(error) if left is None else f"{error} {resume_command(self.folder, left)}") from None

    def _run(self, progress: Progress, interruption: Interruption) -> None:
        batches = (self.prepare(item, self.rng) for item in self.loader)
        images_per_step = self.loader.batch_size * self.learner.n_critic
        began, speed = time.monotonic(), 0.0
        # The last log: the speed is that since then, without the first step's compiling.
        marked, mark = began, self.step
        stepper = Stepper(self.learner, batches, self.rng, average=self.average)
        while self.step < self.steps and not interruption.requested:
            values = self._one_step(stepper)
            self.step += 1
            last = self.step == self.steps
            logs = self.step % self.rhythm.log_every == 0 or last or self.step == 1
            if logs or self._is_due(last=last):
                self._look(stepper)
                self._put_back(progress)
            if logs:
                now = time.monotonic()
                speed = (self.step - mark) * images_per_step / max(now - marked, 1e-9)
                marked, mark = now, self.step
            progress.advance(self.step, images_per_second=speed)
            if logs:
                self._log(values, seconds=marked - began, speed=speed, progress=progress)
            if self.step % self.rhythm.sample_every == 0 or last:
                self._sample()
            if self.monitor is not None and (self.step % self.rhythm.evaluate_every == 0 or last):
                paused = time.monotonic()
                self._evaluate(self.monitor, progress)
                marked += time.monotonic() - paused  # no part of the speed
            if self.step % self.rhythm.checkpoint_every == 0:  # at the end: what is due at its step has been done
                self.save()
        if self._saved != self.step:
            self._look(stepper)
            self._put_back(progress)
            self.save()

    def _is_due(self, *, last: bool) -> bool:
        """Whether what was trained is drawn, saved or evaluated after this step."""
        every = [self.rhythm.sample_every, self.rhythm.checkpoint_every]
        every += [self.rhythm.evaluate_every] if self.monitor is not None else []
        return last or any(self.step % n == 0 for n in every)

    def save(self) -> Path:
        """Writes a checkpoint, and the generator as `model.safetensors`."""
        path = self.checkpoints.save(self.step, self._arrays(), description=self._description())
        self._save_model()
        self._saved = self.step
        return path

    def _arrays(self) -> dict[str, np.ndarray]:
        """Everything that training has changed."""
        if self.average is None:
            return self.learner.to_dict()
        self.average.settle()
        return self.learner.to_dict() | self.average.to_dict()

    def _description(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "loader": self.loader.state(),
            "model": self.model,
            "config": self.config,
        }

    def _save_model(self) -> None:
        arrays = network_arrays(self.learner.G, "G")
        if self.average is not None:
            arrays |= network_arrays(self.average.network, "average")
        description = {"format": MODEL_FORMAT, "step": self.step, **self.model}
        save_arrays(self.folder / "model.safetensors", arrays, description=description)

    def _put_back(self, progress: Progress) -> bool:
        """Makes the run folder anew if somebody removed it, so that what was trained has a place to go.

        Returns:
            Whether it was removed.
        Raises:
            OutputError: the folder above it is gone, too, or cannot be written.
        """
        path = self.folder / "config.toml"
        if not self.config or path.exists():
            return False
        if not self.folder.absolute().parent.exists():  # perhaps a disk that is not there any more
            raise OutputError(
                f"cannot write {self.folder}: it was removed or moved together with the folder above it. "
                "If it still is somewhere, go on with: minigan train --resume FOLDER"
            )
        make_folder(self.folder)
        atomic_write(path, self.config.encode())
        self.save()
        progress.message(f"{self.folder} was removed. It is there again, with a checkpoint of step {self.step}.")
        return True

    def restore(self, path: Path | None = None) -> list[str]:
        """Goes back to a checkpoint: the next step is the one an uninterrupted run would have done.

        Args:
            path: the checkpoint; None takes the newest, or the beginning if training was stopped before the first.
        Returns:
            Warnings, if it is the beginning, or the versions or the number of items in the data are others.
        Raises:
            CheckpointError: there is none, or it is damaged or of another network or data.
            ConfigError: it is further on than the run is to go. Nothing is changed, here or in the folder.
        """
        if path is None and not self.checkpoints.candidates() and not (self.folder / "model.safetensors").exists():
            atomic_write(self.folder / "log.jsonl", b"")
            return [f"{self.folder} has no checkpoint yet: training begins at step 0."]
        chosen, arrays, description = self.checkpoints.load(path)
        step = description["step"]
        if step > self.steps:
            raise ConfigError(
                f"{self.folder} has done {step:,} steps, expected at least as many in all, got {self.steps:,}. "
                "Give a larger --steps, or start a new run."
            )
        check_model(description["model"], self.model, chosen)
        rng_state = checked_rng(description["rng"], self.rng, chosen)
        log = log_until(self.folder / "log.jsonl", step)
        before = self.loader.state()
        try:
            self.loader.restore(description["loader"], same_items=False)
            self._load(arrays, source=str(chosen))
        except ConfigError as error:
            raise CheckpointError(f"{chosen}: {error}") from None
        except MiniganError as error:
            self.loader.restore(before)
            raise CheckpointError(str(error)) from None
        self.rng.bit_generator.state = rng_state
        extent = description["model"]["extent"]  # pictures go on as they were
        self.model, self.exhibit = {**self.model, "extent": extent}, replace(self.exhibit, extent=extent)
        self.step = self._saved = step
        if log is not None:
            atomic_write(self.folder / "log.jsonl", log)
        if path is None:
            self.checkpoints.tidy()
        self._save_model()  # perhaps training was stopped between a checkpoint and its model
        warnings = (
            versions_warning(description.get("versions", {})),
            items_warning(description["loader"]["items"], before["items"]),
        )
        return [warning for warning in warnings if warning is not None]

    def _load(self, arrays: dict[str, np.ndarray], *, source: str) -> None:
        """What training and averaging have changed; all of it or nothing."""
        before = self.learner.to_dict()
        self.learner.load_dict(arrays, source=source)
        try:
            if self.average is not None:
                self.average.load_dict(arrays, source=source)
        except MiniganError:
            self.learner.load_dict(before, source=source)
            raise

    def _one_step(self, stepper: Stepper) -> Values:
        try:
            # Overflow and NaN are looked for, and explained, by the learner.
            with np.errstate(all="ignore"):
                return stepper.step()
        except MemoryError as error:
            raise out_of_memory(error, self.learner.networks, batch_size=self.loader.batch_size) from None
        except DataError as error:
            self._look(stepper)
            raise self._saved_before(error) from None
        except DivergenceError as error:
            raise self._diverged(error, step=self.step + 1) from None

    def _look(self, stepper: Stepper) -> None:
        """Waits until all steps are done, and makes sure that they were sound."""
        try:
            stepper.look()
        except DivergenceError as error:
            raise self._diverged(error, step=self.step - error.steps_ago) from None

    def _diverged(self, error: DivergenceError, *, step: int) -> DivergenceError:
        paths = self.checkpoints.paths()
        kept = f"The last good checkpoint is {paths[-1]}." if paths else "No checkpoint was written yet."
        return DivergenceError(
            f"training diverged at step {step}: {error} {kept} Try a lower learning rate (--set lr=...)."
        )

    def _log(self, values: Values, *, seconds: float, speed: float, progress: Progress) -> None:
        numbers = {name: float(value) for name, value in values._asdict().items()}
        progress.values({name: float(value) for name, value in values.headline().items()})
        record = {
            "step": self.step,
            **numbers,
            **self.learner.rates(),
            "images_per_second": round(speed, 1),
            "seconds": round(seconds, 3),
        }
        if (memory := self.learner.G.kernels.memory()) is not None:
            record["gpu_memory"] = memory.held
        self._append(record, progress)

    def _evaluate(self, monitor: Monitor, progress: Progress) -> None:
        draw = partial(generate, self.learner.G) if self.average is None else self.average.draw
        try:
            figures = monitor(draw, progress.message)
        except DataError as error:
            raise self._saved_before(error) from None
        best, by = self.checkpoints.best_figures(), self.keep.best
        is_best = best is None or best.keys() != figures.keys() or rank(figures, by=by) > rank(best, by=by)
        text = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        progress.message(f"step {self.step}: {text}" + ", the best so far" * is_best)
        self._append({"step": self.step, **figures}, progress)
        if is_best:
            description = {**self._description(), "figures": figures}
            self.checkpoints.save_best(self.step, self._arrays(), description=description)

    def _saved_before(self, error: DataError) -> DataError:
        """The error, after what was trained until then is safe."""
        self.save()
        return DataError(
            f"{error} Step {self.step} is saved: replace or remove what is named there, then go on with: "
            f"minigan train --resume {self.folder}"
        )

    def _append(self, record: dict[str, Any], progress: Progress) -> None:
        """One more line of the log."""
        path = self.folder / "log.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError.of(path, error) from None
        progress.record(record)

    def _sample(self) -> None:
        if self.average is None:
            samples = self.exhibit.draw(self.learner.G)
        elif self.exhibit.as_in_training:
            samples = self.exhibit.draw(self.average.network)
        else:
            samples = self.average.draw(self.exhibit.z, self.exhibit.condition)
        picture = self.exhibit.picture(self.to_images(samples))
        make_folder(self.folder / "samples", parents=False)
        save_picture(self.folder / "samples" / f"step-{self.step:06}.png", picture)
