"""How fast minigan is here: whole training steps and sampling, no peer needed.

The same models and the same measuring serve `benchmarks/train_step.py`, which adds PyTorch.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Backend
from minigan.recipes import DCGAN, MLP, Recipe
from minigan.sampling import generate

__all__ = ["MODELS", "Measurement", "bench", "measure", "training_step", "warm_up"]

Step = Callable[[np.ndarray], Any]


class Model(NamedTuple):
    """A recipe at one image shape."""

    recipe: Recipe
    shape: tuple[int, ...]


MODELS: Mapping[str, Model] = {
    "mlp": Model(MLP(), (28, 28, 1)),
    "dcgan28": Model(DCGAN(), (28, 28, 1)),
    "dcgan32": Model(DCGAN(), (32, 32, 3)),
    "dcgan64": Model(DCGAN(), (64, 64, 3)),
    "dcgan128": Model(DCGAN(), (128, 128, 3)),
}


class Measurement(NamedTuple):
    """Medians over the rounds."""

    model: str
    work: str  # "train" or "sample"
    batch_size: int
    milliseconds: float
    images_per_second: float


def training_step(model: str, backend: Backend) -> Step:
    """A function that trains both networks of a model on one batch of images (N, H, W, C)."""
    recipe, shape = MODELS[model]
    rng = np.random.default_rng(0)
    alternating = recipe.assemble(shape, backend=backend, rng=rng)
    return lambda images: alternating.step(iter([images]), rng)


def sampling_step(model: str, backend: Backend) -> Step:
    """A function that draws as many images as it is given."""
    recipe, shape = MODELS[model]
    rng = np.random.default_rng(0)
    G = recipe.generator(shape).build((recipe.latent,), backend=backend, rng=rng)
    return lambda images: generate(G, recipe.noise(rng, len(images)), batch_size=len(images))


def random_images(model: str, batch_size: int) -> np.ndarray:
    """A batch of noise for a model, in [0, 1], float32."""
    return np.random.default_rng(1).uniform(0, 1, (batch_size, *MODELS[model].shape)).astype(np.float32)


def measure(steps: Mapping[str, Step], images: np.ndarray, *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds a call of each function, in turns.

    Args:
        steps: by name; each is called a few times before it is timed.
        rounds: how many turns each one has.
        seconds: about how long a turn lasts.
    """
    repeats = {}
    for name, step in steps.items():
        for _ in range(2):
            step(images)
        began = time.perf_counter()
        step(images)
        repeats[name] = max(1, round(seconds / (time.perf_counter() - began)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(repeats[name]):
                step(images)
            times[name].append((time.perf_counter() - began) / repeats[name])
    return times


def bench(model: str, backend: Backend, *, batch_size: int, rounds: int, seconds: float) -> list[Measurement]:
    """A training step and the drawing of a batch."""
    steps = {"train": training_step(model, backend), "sample": sampling_step(model, backend)}
    times = measure(steps, random_images(model, batch_size), rounds=rounds, seconds=seconds)
    medians = {work: statistics.median(values) for work, values in times.items()}
    return [Measurement(model, work, batch_size, 1e3 * t, batch_size / t) for work, t in medians.items()]


def warm_up(backend: Backend) -> float:
    """Compiles every kernel that the recipes use, and keeps them where the backend keeps such things.

    Returns:
        Seconds it took.
    """
    began = time.perf_counter()
    backend.compile_ahead()
    for model in ("mlp", "dcgan28", "dcgan32"):
        # Large enough that no kernel takes a way round for small arrays.
        training_step(model, backend)(random_images(model, 32))
        sampling_step(model, backend)(random_images(model, 4))
    return time.perf_counter() - began
