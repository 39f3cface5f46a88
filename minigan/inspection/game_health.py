"""Measures of the game between G and D: the logits of real, fake and held-out examples, D's slope, G's variety."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.data import EMBEDDED, STACKED
from minigan.data.dataset import Collection
from minigan.errors import ConfigError, DivergenceError
from minigan.evaluation.metrics.distances import kth_nearest, nearest
from minigan.inspection.replay import Replay
from minigan.recipes import Recipe
from minigan.recipes.bases.translation import PairRecipe
from minigan.training.alternating import AlternatingOptimizer

__all__ = ["GameHealth", "game_health"]

EXAMPLES = 256  # of each kind, if batches are not larger
MOST_BATCHES = 16
OTHER_SEED = 7919  # added to the run's, for embedded data that it has not seen
CLOSE = 0.5  # of the distance of close real examples
NEAR = 0.2  # of the data's standard deviation


@dataclass(frozen=True)
class GameHealth:
    """Measures of the game before a step, each of `examples` examples. A number that does not apply is None.

    Attributes:
        examples: of each kind.
        real, fake, held_out: D's logits, flat; None for held-out examples if there are none.
        slope_real, slope_fake: norm of the gradient of D's logits at each example, (N,).
        duplicates: share of fakes that have another fake near; near is half of the distance at which the closest
            twentieth of real examples have a neighbor.
        spread: variance of the fakes over that of real examples.
        coverage: share of real points that have a fake within a fifth of the data's standard deviation (images: None).
        memory: how far D tells training examples from held-out ones, (E[real] - E[held-out]) / (E[real] - E[fake]); the
            r_v of Karras et al. 2020 (ADA), equation 1. None without held-out examples, or if D tells nothing apart.
        memory_error: standard error of `memory`.
    """

    examples: int
    real: np.ndarray
    fake: np.ndarray
    held_out: np.ndarray | None
    slope_real: np.ndarray
    slope_fake: np.ndarray
    duplicates: float
    spread: float
    coverage: float | None
    memory: float | None
    memory_error: float | None


def game_health(replay: Replay, *, held_out: str | None = None) -> tuple[GameHealth | None, tuple[str, ...]]:
    """Plays the game without a step: nothing of the run is changed, its random numbers included.

    Args:
        replay: of a run, before its step.
        held_out: a source of examples that D has not seen; None takes those that the recipe or the embedded data have.
    Returns:
        The measures, None for a learner without D; and notes.
    Raises:
        ConfigError, DataError: the held-out examples cannot be used.
        DivergenceError: D's logits or its slope are not finite.
    """
    learner = replay.learner
    if not isinstance(learner, AlternatingOptimizer):
        if held_out is not None:
            raise ConfigError(f"{replay.prepared.recipe.name} has no D to judge held-out images. Leave `held_out` out.")
        return None, ()
    rng = np.random.default_rng([replay.prepared.config.seed, replay.step])
    with np.errstate(all="ignore"):
        parts = [_judged(learner, batch, rng) for batch in _batches(replay, replay.state.loader.dataset, rng)]
    real, fake, on_real, on_fake, slope_real, slope_fake = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not all(np.isfinite(array).all() for array in (fake, on_real, on_fake, slope_real, slope_fake)):
        raise DivergenceError(f"the run has diverged: at step {replay.step} D's logits are not finite.")
    on_held_out, notes = _judged_held_out(replay, learner, held_out, rng)
    memory = memory_error = None
    if on_held_out is not None:
        memory, memory_error = _memory(on_real, on_fake, on_held_out)
    return GameHealth(
        len(real),
        on_real.ravel(),
        on_fake.ravel(),
        None if on_held_out is None else on_held_out.ravel(),
        slope_real,
        slope_fake,
        *_variety(real.reshape(len(real), -1), fake.reshape(len(fake), -1)),
        memory,
        memory_error,
    ), notes


# ------------------------------------------------------------------------------------------ playing


def _batches(replay: Replay, data: Any, rng: np.random.Generator) -> Iterator[Any]:
    """A few batches of different examples, as the learner takes them."""
    size = replay.state.loader.batch_size
    count = min(MOST_BATCHES, max(1, EXAMPLES // size), max(1, len(data) // size))
    rows = rng.permutation(len(data))[: count * size]
    for start in range(0, count * size, size):
        yield replay.prepared.trainer.prepare(data.read(rows[start : start + size]), rng)


def _judged(learner: AlternatingOptimizer, batch: Any, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Real and fake examples, D's logits for them, and the norms of D's slope."""
    host = learner.G.kernels.to_numpy
    (G, z), (D, real) = learner.inputs(batch, rng)
    fake, _ = G.forward(z, train=True, rng=rng)
    logits, slopes = [], []
    for x in (real, fake):
        y, tape = D.forward(learner.seen(x, rng), train=True, rng=rng)
        dx = host(D.backward(D.kernels.xp.ones_like(y), tape, grads=None, release=True))
        logits.append(np.asarray(host(y), np.float64).reshape(len(y), -1))
        slopes.append(np.linalg.norm(dx.reshape(len(dx), -1).astype(np.float64), axis=1) / logits[-1].shape[1])
    return np.array(host(real)), np.array(host(fake)), *logits, *slopes


def _judged_held_out(
    replay: Replay, learner: AlternatingOptimizer, source: str | None, rng: np.random.Generator
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """D's logits for held-out examples, or None, and a note on which they are."""
    opened = _open_held_out(replay, source)
    if opened is None:
        return None, ("no held-out images are known. Name some with `held_out=SOURCE`, to see whether D overfits.",)
    data, note = opened
    recipe, size = replay.prepared.recipe, replay.state.loader.batch_size
    with closing(data):
        if len(data) < size and source is None:
            return None, (f"{len(data):,} held-out images are fewer than a batch of {size}: left out.",)
        _expect_alike(recipe, data, learner, replay)
        with recipe.loader(data, seed=0, prefetch=0) as loader:
            logits = []
            for batch in _batches(replay, loader.dataset, rng):
                _, (D, x) = learner.inputs(batch, rng)
                y, _ = D.forward(learner.seen(x, rng), train=True, rng=rng)
                logits.append(np.asarray(D.kernels.to_numpy(y), np.float64).reshape(len(y), -1))
    return np.concatenate(logits), (note,)


def _open_held_out(replay: Replay, source: str | None) -> tuple[Collection, str] | None:
    """Examples that D has not seen, and a line on them; None if none are known."""
    recipe, config = replay.prepared.recipe, replay.prepared.config
    if source is not None:
        if isinstance(recipe, PairRecipe):
            recipe = recipe.with_targets("")  # those of the training do not belong to it
        return recipe.open_data(source, seed=config.seed + OTHER_SEED), f"held out: {source}"
    if isinstance(recipe, PairRecipe) or type(recipe).held_out is not Recipe.held_out:
        data = recipe.held_out(config.data, replay.prepared.dataset, seed=config.seed)
        return None if data is replay.prepared.dataset else (data, "held out: the pairs that training does not see")
    name = config.data.removeprefix(STACKED)
    if name not in EMBEDDED:
        return None
    return recipe.open_data(config.data, seed=config.seed + OTHER_SEED), f"held out: {name} drawn with another seed"


def _expect_alike(recipe: Recipe, data: Collection, learner: AlternatingOptimizer, replay: Replay) -> None:
    """Refuses held-out examples of another shape, or fewer than a batch.

    Raises:
        ConfigError: they cannot be judged as D judges its own.
    """
    if (shape := recipe.image_shape(data)) != learner.D.input_shape:
        raise ConfigError(
            f"the held-out images are {shape}, the run's {learner.D.input_shape}. Name images like those of the run."
        )
    if len(data) < (size := replay.state.loader.batch_size):
        raise ConfigError(f"expected at least a batch of {size} held-out images, got {len(data):,}. Name more.")


# ------------------------------------------------------------------------------------------ measuring


def _memory(real: np.ndarray, fake: np.ndarray, held_out: np.ndarray) -> tuple[float | None, float | None]:
    """The share of the way from real to fake on which held-out examples lie, and its standard error."""
    means = [x.mean(axis=1) for x in (real, fake, held_out)]
    distance = float(means[0].mean() - means[1].mean())
    noise = math.sqrt(sum(float(m.var()) / len(m) for m in (means[0], means[2])))
    apart = math.sqrt(sum(float(m.var()) / len(m) for m in means[:2]))
    if not distance > 3 * apart:
        return None, None
    return float(means[0].mean() - means[2].mean()) / distance, noise / distance


def _variety(real: np.ndarray, fake: np.ndarray) -> tuple[float, float, float | None]:
    """Near-duplicates, spread and coverage of fakes; vectors (N, F) of both."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    close = CLOSE * float(np.quantile(_to_nearest(real), 0.05))
    duplicates = float((_to_nearest(fake) < close).mean()) if len(fake) > 1 else 0.0
    total = float(real.var(axis=0).sum())
    spread = float(fake.var(axis=0).sum()) / total if total else math.nan
    coverage = None
    if real.shape[1] <= 3:
        _, found = nearest(real, fake, k=1)
        coverage = float((found[:, 0] <= NEAR * math.sqrt(total)).mean())
    return duplicates, spread, coverage


def _to_nearest(x: np.ndarray) -> np.ndarray:
    """The distance of each vector to the nearest other one; infinite for a single one."""
    return kth_nearest(x, k=1) if len(x) > 1 else np.full(len(x), np.inf)
