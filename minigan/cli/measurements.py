"""Measurements of whole training steps and of sampling, for `minigan bench`.

`benchmarks/` measures the same models in the same way, and compares with other engines.
"""

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minigan.backends import Backend
from minigan.distributed import dealt
from minigan.recipes import DCGAN, MLP, R3GAN, AdversarialRecipe, Recipe, StyleGAN2
from minigan.training.learner import Values
from minigan.training.sampling import generate
from minigan.training.stepper import Stepper

__all__ = [
    "MODELS",
    "Measurement",
    "kinds_of_step",
    "measure",
    "measure_model",
    "medians",
    "training_step",
    "warm_up",
]

PAUSE = 0.05  # seconds between two turns
Step = Callable[[np.ndarray], Any]
Name = TypeVar("Name", bound=Hashable)


class Model(NamedTuple):
    """A recipe with an image shape."""

    recipe: Recipe
    shape: tuple[int, ...]


PAPER = DCGAN.from_settings({"preset": "paper"})  # the networks that the engines compared with have
WGAN_GP = replace(PAPER, loss="wasserstein", penalty="wgan-gp", d_norm="none")
MODELS: Mapping[str, Model] = {
    "mlp": Model(MLP(instance_noise=0), (28, 28, 1)),  # as in the engines compared with
    "dcgan28": Model(PAPER, (28, 28, 1)),
    "dcgan32": Model(PAPER, (32, 32, 3)),
    "dcgan64": Model(PAPER, (64, 64, 3)),
    "dcgan128": Model(PAPER, (128, 128, 3)),
    "wgan-gp32": Model(WGAN_GP, (32, 32, 3)),
    "wgan-gp64": Model(WGAN_GP, (64, 64, 3)),
    "r3gan-small": Model(R3GAN.from_settings({"preset": "small", "condition": "none", "augment": ""}), (32, 32, 3)),
    "stylegan2-small": Model(StyleGAN2.from_settings({"preset": "small", "condition": "none"}), (32, 32, 3)),
}


class Measurement(NamedTuple):
    """Speed of one kind of work: medians over the rounds."""

    model: str
    work: str  # "train" or "sample"
    batch_size: int
    milliseconds: float
    images_per_second: float


def kinds_of_step(model: str) -> dict[Model, float]:
    """The kinds of step that a training has, each as a model of which all steps are such, with their shares.

    Most models have one. With a lazy penalty one step in `penalty_interval` takes longer, and what a step takes on
    average is the mean of both by their shares.
    """
    recipe, shape = MODELS[model]
    if not isinstance(recipe, AdversarialRecipe) or recipe.penalty == "none" or recipe.penalty_interval == 1:
        return {MODELS[model]: 1.0}
    k = recipe.penalty_interval
    plain, regularized = replace(recipe, penalty="none", penalty_interval=1), replace(recipe, penalty_interval=1)
    return {Model(plain, shape): 1 - 1 / k, Model(regularized, shape): 1 / k}


def training_step(model: str | Model, backend: Backend) -> Step:
    """Returns a function that trains both networks of a model on one batch of images (N, H, W, C); or on a rank's.

    A step that takes several batches is given this one again.
    """
    recipe, shape = MODELS[model] if isinstance(model, str) else model
    rng = np.random.default_rng(0)
    learner, given = recipe.assemble(shape, backend=backend, rng=rng), deque[np.ndarray]()
    stepper = Stepper(learner, (given.popleft() for _ in itertools.count()), dealt(rng, backend.ranks))

    def step(images: np.ndarray) -> Values:
        given.extend([images] * learner.batches_per_step)
        return stepper.step()

    return step


def sampling_step(model: str, backend: Backend) -> Step:
    """Returns a function that draws as many images as it is given."""
    recipe, shape = MODELS[model]
    rng = np.random.default_rng(0)
    G = recipe.built_generator(shape, backend=backend, dtype="float32", rng=rng)
    return lambda images: generate(G, *recipe.sources(rng, len(images)), batch_size=len(images))


def random_images(model: str, batch_size: int) -> np.ndarray:
    """A batch of noise for a model, in [0, 1], float32."""
    return np.random.default_rng(1).uniform(0, 1, (batch_size, *MODELS[model].shape)).astype(np.float32)


def measure(
    calls: Mapping[Name, Callable[[], Any]], *, rounds: int, seconds: float, finish: Callable[[], None] = lambda: None
) -> dict[Name, list[float]]:
    """Measures functions in turns.

    A turn begins with a pause: for some milliseconds after an engine's call its idle threads spin and would take a core
    from the next engine. An untimed call follows, unless a turn has a single call.

    Args:
        calls: the functions by name.
        rounds: number of turns of each function.
        seconds: approximate length of a turn; it has at least one call.
        finish: waits until a turn's calls are done, if they return earlier.
    Returns:
        For each function and round the mean time of a call, in seconds.
    """
    repeats = {}
    for name, call in calls.items():
        for _ in range(2):  # some engines compile at the first call, some capture at the second
            call()
        finish()
        began = time.perf_counter()
        call()
        finish()
        repeats[name] = max(1, round(seconds / (time.perf_counter() - began)))
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(PAUSE)
            if repeats[name] > 1:
                call()
            finish()
            began = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            finish()
            times[name].append((time.perf_counter() - began) / repeats[name])
    return times


def medians(times: Mapping[Name, list[float]]) -> dict[Name, float]:
    """Median over the rounds, by name."""
    return {name: statistics.median(values) for name, values in times.items()}


def measure_model(model: str, backend: Backend, *, batch_size: int, rounds: int, seconds: float) -> list[Measurement]:
    """Measures a training step and the sampling of a batch."""
    images, kinds = random_images(model, batch_size), kinds_of_step(model)
    calls: dict[Hashable, Callable[[], Any]] = {
        **{kind: partial(training_step(kind, backend), images) for kind in kinds},
        "sample": partial(sampling_step(model, backend), images),
    }
    times = medians(measure(calls, rounds=rounds, seconds=seconds, finish=backend.synchronize))
    by_work = {"train": sum(share * times[kind] for kind, share in kinds.items()), "sample": times["sample"]}
    return [Measurement(model, work, batch_size, 1e3 * t, batch_size / t) for work, t in by_work.items()]


def warm_up(backend: Backend) -> float:
    """Compiles every kernel that the recipes use, and leaves them in the backend's cache.

    Returns:
        The time it took, in seconds.
    """
    began = time.perf_counter()
    backend.compile_ahead()
    for model in ("mlp", "dcgan28", "dcgan32"):
        # Large enough that no kernel takes its shortcut for small arrays.
        training_step(model, backend)(random_images(model, 32))
        sampling_step(model, backend)(random_images(model, 4))
    return time.perf_counter() - began
