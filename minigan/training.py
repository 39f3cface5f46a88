"""The loop around the alternating optimizer: logs, pictures, checkpoints, interruption, resumption."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np

from minigan.alternating import AlternatingOptimizer, StepValues
from minigan.checkpoint import CheckpointFolder, network_arrays, save_arrays
from minigan.data import Loader
from minigan.data.dataset import FloatArray
from minigan.errors import CheckpointError, DivergenceError, OutputError
from minigan.files import atomic_write, make_folder
from minigan.report.progress import Progress
from minigan.sampling import generate, render, save_picture

__all__ = ["MODEL_FORMAT", "Interruption", "Rhythm", "Trainer"]

MODEL_FORMAT = "minigan-model/1"


@dataclass(frozen=True)
class Rhythm:
    """Every how many steps something is done."""

    log_every: int = 20
    sample_every: int = 250
    checkpoint_every: int = 500


class Interruption:
    """While entered, Ctrl-C and SIGTERM set a flag instead of tearing a step apart.

    A second Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self.requested = False
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


class Trainer:
    """Trains until all steps are done, and leaves a run folder.

    Args:
        alternating: networks and optimisers.
        loader: real batches, in [-1, 1].
        rng: of all that is random in a step: noise, dropout.
        fixed_z: latent vectors of the sample pictures.
        folder: the run's; exists.
        steps: when training is done.
        rhythm: when to log, draw and save.
        prepare: from the loader's batch to what D sees.
        to_images: from G's output to [-1, 1].
        model: what stands in the description of `model.safetensors`, enough to rebuild G.
    """

    def __init__(
        self,
        alternating: AlternatingOptimizer,
        loader: Loader[FloatArray],
        *,
        rng: np.random.Generator,
        fixed_z: np.ndarray,
        folder: Path,
        steps: int,
        rhythm: Rhythm,
        prepare: Callable[[np.ndarray], np.ndarray],
        to_images: Callable[[np.ndarray], np.ndarray],
        model: dict[str, Any],
    ) -> None:
        self.alternating = alternating
        self.loader = loader
        self.rng = rng
        self.fixed_z = fixed_z
        self.folder = folder
        self.steps = steps
        self.rhythm = rhythm
        self.prepare = prepare
        self.to_images = to_images
        self.model = model
        self.checkpoints = CheckpointFolder(folder / "checkpoints")
        self.step = 0

    def run(self, progress: Progress, interruption: Interruption) -> None:
        """Trains from where it stands to the last step, or until interrupted; leaves a checkpoint either way.

        Raises:
            DivergenceError: a number became NaN or infinite; names the step, the place and the last good checkpoint.
            OutputError: the run folder cannot be written.
        """
        reals = map(self.prepare, self.loader)
        images_per_step = self.loader.batch_size * self.alternating.n_critic
        began, first = time.monotonic(), self.step
        while self.step < self.steps and not interruption.requested:
            values = self._one_step(reals)
            self.step += 1
            last = self.step == self.steps
            seconds = time.monotonic() - began
            speed = (self.step - first) * images_per_step / max(seconds, 1e-9)
            progress.advance(self.step, images_per_second=speed)
            if self.step % self.rhythm.log_every == 0 or last or self.step == 1:
                self._log(values, seconds=seconds, speed=speed, progress=progress)
            if self.step % self.rhythm.sample_every == 0 or last:
                self._sample()
            if self.step % self.rhythm.checkpoint_every == 0 or last or interruption.requested:
                self.save()

    def save(self) -> Path:
        """Writes a checkpoint, and the generator as `model.safetensors`."""
        description = {
            "rng": self.rng.bit_generator.state,
            "loader": self.loader.state(),
            "model": self.model,
        }
        path = self.checkpoints.save(self.step, self.alternating.to_dict(), description=description)
        save_arrays(
            self.folder / "model.safetensors",
            network_arrays(self.alternating.G, "G"),
            description={"format": MODEL_FORMAT, "step": self.step, **self.model},
        )
        return path

    def restore(self) -> Path:
        """Goes back to the newest checkpoint: the next step is the one an uninterrupted run would have done.

        Raises:
            CheckpointError: there is none, or it is damaged or of another network.
        """
        path, arrays, description = self.checkpoints.load_last()
        if description["model"] != self.model:
            made, said = _flat(description["model"]), _flat(self.model)
            differing = sorted(key for key in made | said if made.get(key) != said.get(key))
            raise CheckpointError(
                f"{path} was made with {', '.join(f'{key}={made.get(key)}' for key in differing)}, the run's "
                f"config.toml says {', '.join(f'{key}={said.get(key)}' for key in differing)}. Restore config.toml."
            )
        self.alternating.load_dict(arrays, source=str(path))
        self.rng.bit_generator.state = description["rng"]
        self.loader.restore(description["loader"])
        self.step = description["step"]
        self._forget_log_after(self.step)
        return path

    def _one_step(self, reals: Iterator[np.ndarray]) -> StepValues:
        try:
            # Overflow and NaN are looked for, and explained, by the alternating optimizer.
            with np.errstate(all="ignore"):
                return self.alternating.step(reals, self.rng)
        except DivergenceError as error:
            paths = self.checkpoints.paths()
            kept = f"The last good checkpoint is {paths[-1]}." if paths else "No checkpoint was written yet."
            raise DivergenceError(
                f"training diverged at step {self.step + 1}: {error} {kept} Try a lower learning rate (--set lr=...)."
            ) from None

    def _log(self, values: StepValues, *, seconds: float, speed: float, progress: Progress) -> None:
        numbers = {name: float(value) for name, value in values._asdict().items()}
        progress.values(
            {
                "D": numbers["d_loss"],
                "G": numbers["g_loss"],
                "D(x)": numbers["d_real"],
                "D(G(z))": numbers["d_fake"],
            }
        )
        record = {
            "step": self.step,
            **numbers,
            "g_lr": self.alternating.g_optimizer.lr,
            "d_lr": self.alternating.d_optimizer.lr,
            "images_per_second": round(speed, 1),
            "seconds": round(seconds, 3),
        }
        path = self.folder / "log.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError.of(path, error) from None

    def _forget_log_after(self, step: int) -> None:
        """Drops what a run that went further than its last checkpoint had logged, and a torn last line."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                continue
        atomic_write(path, "".join(kept).encode())

    def _sample(self) -> None:
        samples = self.to_images(generate(self.alternating.G, self.fixed_z))
        make_folder(self.folder / "samples")
        picture = render(samples, extent=self.model["extent"])
        save_picture(self.folder / "samples" / f"step-{self.step:06}.png", picture)


def _flat(model: dict[str, Any]) -> dict[str, Any]:
    """A model's description with its settings beside the rest."""
    return {key: value for key, value in model.items() if key != "settings"} | dict(model["settings"])
