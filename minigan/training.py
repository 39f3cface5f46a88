"""The loop around the alternating optimizer: logs, pictures, checkpoints, interruption, resumption."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np

from minigan.checkpoint import MODEL_FORMAT, CheckpointFolder, network_arrays, save_arrays
from minigan.data import Loader
from minigan.ema import MovingAverage
from minigan.errors import CheckpointError, ConfigError, DataError, DivergenceError, MiniganError, OutputError
from minigan.files import atomic_write, make_folder
from minigan.learner import Learner, Values
from minigan.memory import out_of_memory
from minigan.report.progress import Progress
from minigan.sampling import Exhibit, generate, save_picture
from minigan.stepping import Stepper

__all__ = ["Draw", "Interruption", "Monitor", "Rhythm", "Trainer"]


@dataclass(frozen=True)
class Rhythm:
    """Every how many steps something is done; evaluating takes time, and is left out with 0."""

    log_every: int = 20
    sample_every: int = 250
    checkpoint_every: int = 500
    evaluate_every: int = 0


Draw = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # (z, condition) -> what G draws, in host memory
Monitor = Callable[[Draw, Callable[[str], None]], dict[str, float]]  # (draw, what to say on the way) -> figures


class Interruption:
    """While entered, Ctrl-C and SIGTERM set a flag instead of tearing a step apart.

    A second Ctrl-C interrupts at once.

    Args:
        announce: is told, in a thread of its own, what the first Ctrl-C does.
    """

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        self.requested = False
        self._announce = announce
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        except ValueError:  # not the main thread: a program that embeds training handles its signals itself
            pass
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._announce is not None:
            # Not here: the signal may have come in the middle of a print, which cannot be entered twice.
            text = "saving after this step; Ctrl-C again stops at once"
            threading.Thread(target=self._announce, args=(text,), daemon=True).start()


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
        self.step = 0
        self._saved: int | None = None  # the step of the newest checkpoint

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.folder / "checkpoints")

    def run(self, progress: Progress, interruption: Interruption) -> None:
        """Trains from where it stands to the last step, or until interrupted; leaves a checkpoint either way.

        Raises:
            DataError: an item cannot be read; a checkpoint was saved.
            DivergenceError: a number became NaN or infinite; names the step, the place and the last good checkpoint.
            OutputError: the run folder cannot be written.
        """
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
            if logs:
                now = time.monotonic()
                speed = (self.step - mark) * images_per_step / max(now - marked, 1e-9)
                marked, mark = now, self.step
            progress.advance(self.step, images_per_second=speed)
            if logs:
                self._log(values, seconds=marked - began, speed=speed, progress=progress)
            if self.step % self.rhythm.sample_every == 0 or last:
                self._sample()
            if self.step % self.rhythm.checkpoint_every == 0:
                self.save()
            if self.monitor is not None and (self.step % self.rhythm.evaluate_every == 0 or last):
                paused = time.monotonic()
                self._evaluate(self.monitor, progress)
                marked += time.monotonic() - paused  # no part of the speed
        if self._saved != self.step:
            self._look(stepper)
            self.save()

    def _is_due(self, *, last: bool) -> bool:
        """Whether what was trained is drawn, saved or evaluated after this step."""
        every = [self.rhythm.sample_every, self.rhythm.checkpoint_every]
        every += [self.rhythm.evaluate_every] if self.monitor is not None else []
        return last or any(self.step % n == 0 for n in every)

    def save(self) -> Path:
        """Writes a checkpoint, and the generator as `model.safetensors`."""
        description = {
            "rng": self.rng.bit_generator.state,
            "loader": self.loader.state(),
            "model": self.model,
        }
        arrays, model = self.learner.to_dict(), network_arrays(self.learner.G, "G")
        if self.average is not None:
            self.average.settle()
            arrays |= self.average.to_dict()
            model |= network_arrays(self.average.network, "average")
        path = self.checkpoints.save(self.step, arrays, description=description)
        save_arrays(
            self.folder / "model.safetensors",
            model,
            description={"format": MODEL_FORMAT, "step": self.step, **self.model},
        )
        self._saved = self.step
        return path

    def restore(self) -> str | None:
        """Goes back to the newest checkpoint: the next step is the one an uninterrupted run would have done.

        Returns:
            A warning, if the data have another number of items than they had.
        Raises:
            CheckpointError: there is none, or it is damaged or of another network or data.
            ConfigError: it is further on than the run is to go. Nothing is changed, here or in the folder.
        """
        path, arrays, description = self.checkpoints.load_last()
        step = description["step"]
        if step > self.steps:
            raise ConfigError(
                f"{self.folder} has done {step:,} steps, expected at least as many in all, got {self.steps:,}. "
                "Give a larger --steps, or start a new run."
            )
        self._check_model(description["model"], path)
        rng_state = _checked_rng(description["rng"], self.rng, path)
        log = self._log_until(step)
        before = self.loader.state()
        try:
            self.loader.restore(description["loader"], same_items=False)
            self._load(arrays, source=str(path))
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from None
        except MiniganError as error:
            self.loader.restore(before)
            raise CheckpointError(str(error)) from None
        self.rng.bit_generator.state = rng_state
        extent = description["model"]["extent"]  # pictures go on as they were
        self.model, self.exhibit = {**self.model, "extent": extent}, replace(self.exhibit, extent=extent)
        self.step = self._saved = step
        if log is not None:
            atomic_write(self.folder / "log.jsonl", log)
        return _items_warning(description["loader"]["items"], before["items"])

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

    def _check_model(self, made: dict[str, Any], path: Path) -> None:
        """Raises CheckpointError if a checkpoint's model is not the one that is to be trained.

        A setting that came after the checkpoint was made is not in it.
        """
        was, said = _flat(made), _flat(self.model)
        differing = sorted(key for key in was if was[key] != said.get(key) and key != "extent")
        if differing == ["shape"]:
            raise CheckpointError(
                f"{path} was made with items of shape {tuple(was['shape'])}, the data have {tuple(said['shape'])}. "
                "Resume with data of the same shape (--data SOURCE)."
            )
        if differing:
            raise CheckpointError(
                f"{path} was made with {', '.join(f'{key}={was.get(key)}' for key in differing)}, the run's "
                f"config.toml says {', '.join(f'{key}={said.get(key)}' for key in differing)}. Restore config.toml."
            )

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
        self._append(record)

    def _evaluate(self, monitor: Monitor, progress: Progress) -> None:
        draw = partial(generate, self.learner.G) if self.average is None else self.average.draw
        try:
            figures = monitor(draw, progress.message)
        except DataError as error:
            raise self._saved_before(error) from None
        progress.message(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        self._append({"step": self.step, **figures})

    def _saved_before(self, error: DataError) -> DataError:
        """The error, after what was trained until then is safe."""
        self.save()
        return DataError(
            f"{error} Step {self.step} is saved: replace or remove what is named there, then go on with: "
            f"minigan train --resume {self.folder}"
        )

    def _append(self, record: dict[str, Any]) -> None:
        """One more line of the log."""
        path = self.folder / "log.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError.of(path, error) from None

    def _log_until(self, step: int) -> bytes | None:
        """The log without what a run that went further than its last checkpoint wrote, and without odd lines."""
        path = self.folder / "log.jsonl"
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror}. Move it out of the way.") from None
        return b"".join(line + b"\n" for line in lines if _logged_step(line) <= step)

    def _sample(self) -> None:
        if self.average is None:
            samples = self.exhibit.draw(self.learner.G)
        elif self.exhibit.as_in_training:
            samples = self.exhibit.draw(self.average.network)
        else:
            samples = self.average.draw(self.exhibit.z, self.exhibit.condition)
        picture = self.exhibit.picture(self.to_images(samples))
        make_folder(self.folder / "samples")
        save_picture(self.folder / "samples" / f"step-{self.step:06}.png", picture)


def _flat(model: dict[str, Any]) -> dict[str, Any]:
    """A model's description with its settings beside the rest."""
    return {key: value for key, value in model.items() if key != "settings"} | dict(model["settings"])


def _logged_step(line: bytes) -> float:
    """The step of a line of the log; infinity if it is none."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
    return step if type(step) is int else math.inf


def _checked_rng(state: dict[str, Any], rng: np.random.Generator, path: Path) -> dict[str, Any]:
    """A state that fits the generator's kind."""
    try:
        type(rng.bit_generator)().state = state
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CheckpointError(f"{path}: 'rng' is no state of random numbers ({error!r}). Use another one.") from None
    return state


def _items_warning(before: int, now: int) -> str | None:
    if before == now:
        return None
    return f"the data had {before:,} items and now have {now:,}; from here on their order is new."
