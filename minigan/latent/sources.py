"""Inputs of a generator that are told one by one: the noise of seeds, each by itself, and the classes."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.recipes import Recipe
from minigan.support.arguments import is_whole, kind_of, number
from minigan.training.sampling import standing_statistics

__all__ = ["Sources", "expect_seeds", "expect_truncation", "one_by_one", "random_sources", "seed_sources", "settled"]

STANDING_BATCHES = 50  # of 64 samples each


class Sources(NamedTuple):
    """G's inputs: z (N, latent), and the classes as one-hot vectors (N, classes), or None."""

    z: np.ndarray
    condition: np.ndarray | None

    def row(self, index: int) -> "Sources":
        """One of them, still with its axis N."""
        rows = slice(index, index + 1)
        return Sources(self.z[rows], None if self.condition is None else self.condition[rows])


def random_sources(
    recipe: Recipe,
    rng: np.random.Generator,
    count: int,
    *,
    label: int | Sequence[int] | None = None,
    unseen: Sequence[int] = (),
    truncation: float = 1.0,
) -> Sources:
    """Inputs of `count` samples from one stream of random numbers, of which each depends on those before it.

    Args:
        label: class of all samples, or of each; None takes random classes.
        unseen: classes that are not among the random ones.
        truncation: see `Recipe.truncated`; its numbers come from a stream of their own, so that z changes only where it
            must.
    Raises:
        ConfigError: G does not draw from noise, or not by that class.
    """
    z, condition = recipe.sources(rng, count, label=label, unseen=unseen)
    return Sources(z if truncation == 1 else recipe.truncated(z, truncation, rng.spawn(1)[0]), condition)


def seed_sources(
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    label: int | Sequence[int] | None = None,
    unseen: Sequence[int] = (),
    truncation: float = 1.0,
) -> Sources:
    """Inputs of one sample for each seed, which no other seed changes: the first that the seed's own stream draws.

    Args:
        label: class of all samples, or of each; None takes that which the seed draws after its z.
        unseen: classes that no seed draws.
        truncation: see `Recipe.truncated`.
    Raises:
        ConfigError: G does not draw from noise, or not by that class.
    """

    def draw(seed: int, each: int | None) -> Sources:
        rng = np.random.default_rng(seed)
        return random_sources(recipe, rng, 1, label=each, unseen=unseen, truncation=truncation)

    return one_by_one(draw, seeds, label)


def one_by_one(
    draw: Callable[[int, int | None], Sources], seeds: Sequence[int], label: int | Sequence[int] | None
) -> Sources:
    """Inputs of one sample for each seed.

    Args:
        draw: the inputs of one sample, of a seed and a class or None.
        label: class of all samples, or of each; None leaves it to `draw`.
    """
    labels = label if isinstance(label, Sequence) else [label] * len(seeds)
    drawn = [draw(seed, each) for seed, each in zip(seeds, labels, strict=True)]
    conditions = [one.condition for one in drawn if one.condition is not None]
    return Sources(np.concatenate([one.z for one in drawn]), np.concatenate(conditions) if conditions else None)


def settled(G: Sequential, recipe: Recipe) -> Sequential:
    """A copy of a G that draws with each batch's statistics, with fixed ones: the means of many batches.

    A picture alone has no statistics to speak of; with these it is the same whatever else is drawn.
    """
    copied = deepcopy(G)
    standing_statistics(
        copied,
        lambda rng, n: recipe.sources(rng, n),
        rng=np.random.default_rng(0),
        batches=STANDING_BATCHES,
    )
    return copied


def expect_truncation(value: float) -> float:
    """The value, if it is a truncation.

    Raises:
        ConfigError: it is no number in [0, 1].
    """
    remedy = "`truncation=1` leaves samples as they are, with `truncation=0.7` they vary less."
    return float(number(value, "truncation", least=0, most=1, remedy=remedy))


def expect_seeds(value: Any) -> list[int]:
    """The value as a list, if it is a list of seeds.

    Raises:
        ConfigError: it is something else, empty, or a seed is no integer from 0 up.
    """
    seeds = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(seeds, list | tuple | range) or not len(seeds):
        raise ConfigError(f"seeds must be a list of integers from 0 up, got {kind_of(value)}. Write seeds=[1, 5, 9].")
    for seed in seeds:
        if not is_whole(seed) or seed < 0:
            raise ConfigError(f"seeds must be integers from 0 up, got {kind_of(seed)}. Write seeds=range(1, 17).")
    return [int(seed) for seed in seeds]
