"""Training on several ranks against training on one: the same steps, values and weights."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from thread_ranks import on_ranks

from minigan.backends import Backend, get_backend
from minigan.distributed.dealt import dealt
from minigan.distributed.ranks import ALONE, Ranks
from minigan.recipes import RECIPES, Recipe
from minigan.training import Learner

SEED = 0
STEPS = 20
# Whatever a recipe calls its sizes: small ones, of those that it has.
SMALL = {
    **dict.fromkeys(("width", "d_width"), 2),
    **dict.fromkeys(("hidden", "g_hidden", "d_hidden", "dense", "head", "mapping", "latent"), 4),
    "batch_size": 8,
    "blocks": 1,
    "pool": 12,
    "size": 16,
    "n_critic": 1,
    "ema": 0.0,
}
OWN = {  # of what these recipes refuse
    "pix2pix": {"size": 32},
    "segment": {"size": 32},
    "dcgan-cifar": {"size": 32},
    # a rank's images are a group of their own
    "stylegan2": {"size": 8, "mapping": 2, "w_dim": 4, "channel_base": 32, "channel_max": 4, "group": 2},
}


class Trace(NamedTuple):
    """Everything that a training has measured and learned.

    Attributes:
        values: of each step.
        arrays: the learner's, at the end.
        digests: of its networks after each step.
        drawn: the state of the random numbers at the end.
    """

    values: np.ndarray
    arrays: dict[str, np.ndarray]
    digests: list[str]
    drawn: Any


def small(name: str, **settings: Any) -> Recipe:
    """A recipe of the registry with small networks, in a batch that four ranks share."""
    recipe = RECIPES[name]
    known = {field.name for field in dataclasses.fields(recipe)}
    sizes = {key: value for key, value in (SMALL | OWN.get(name, {})).items() if key in known}
    return recipe.from_settings({**sizes, **settings})


def trained(
    recipe: Recipe,
    ranks: Ranks = ALONE,
    *,
    steps: int = STEPS,
    backend: str | Backend = "reference",
    dtype: str = "float64",
    source: str = "",
    change: Callable[[Learner], object] = vars,
) -> Trace:
    """Trains a recipe on this rank.

    Args:
        change: is called with the learner before the first step.
    """
    kernels = get_backend(backend)
    kernels.ranks = ranks
    dataset = recipe.open_data(source or recipe.default_data, seed=SEED)
    try:
        recipe = recipe.fit(dataset)
        ranks.deal(recipe.batch_size, together=recipe.together)
        rng = np.random.default_rng([SEED, 0])
        learner = recipe.assemble(recipe.image_shape(dataset), backend=kernels, dtype=dtype, rng=rng)
        change(learner)
        loader = recipe.loader(dataset, seed=SEED, prefetch=0)
        loader.share(ranks)
        own = dealt(rng, ranks)
        batches = (recipe.batch(item, own) for item in loader)
        values, digests = [], []
        with np.errstate(all="ignore"):
            for _ in range(steps):
                values.append([float(value) for value in learner.step(batches, own)])
                digests.append(digest(learner))
    finally:
        dataset.close()
    return Trace(np.array(values), learner.to_dict(), digests, rng.bit_generator.state)


def digest(learner: Learner) -> str:
    """Stands for all bits that a learner saves."""
    total = hashlib.sha256()
    for array in learner.to_dict().values():
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def on_threads(size: int, recipe: Recipe, **arguments: Any) -> Trace:
    """The same on so many threads, all of which must have the same bits after each step."""
    first, *others = on_ranks(size, lambda ranks: trained(recipe, ranks, **arguments))
    for other in others:
        assert other.digests == first.digests
        assert np.array_equal(other.values, first.values)
        assert other.drawn == first.drawn
    return first


def distances(found: Trace, expected: Trace) -> tuple[float, float]:
    """How far two trainings are apart: in values, and in weights and statistics.

    Relative to what is larger than 1. (A bias in front of BatchNorm has rounding errors for gradients, and Adam makes
    the most of them: such weights are compared absolutely.)
    """
    of_values = np.abs(found.values - expected.values) / np.maximum(1, np.abs(expected.values))
    assert found.arrays.keys() == expected.arrays.keys()
    of_arrays = [
        np.abs(found.arrays[name] - array).max() / max(1, np.abs(array).max())
        for name, array in expected.arrays.items()
        if "optimizer" not in name and array.size
    ]
    return float(of_values.max()), float(max(of_arrays))


def expect_same(found: Trace, expected: Trace) -> None:
    """Values to 1e-12, weights to 1e-9; and the same random numbers."""
    of_values, of_arrays = distances(found, expected)
    assert of_values < 1e-12, of_values
    assert of_arrays < 1e-9, of_arrays
    assert found.drawn == expected.drawn
