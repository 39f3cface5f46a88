"""Inputs of a generator from portable noise, which other languages draw from the same seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.errors import ConfigError
from minigan.latent.sources import Sources, one_by_one
from minigan.recipes import Recipe
from minigan.support.arguments import is_whole, kind_of
from minigan.training.portable_noise import MOST_SEEDS, portable_classes, portable_normals

__all__ = ["portable_seed_sources", "portable_sources"]


def portable_sources(
    recipe: Recipe, seed: Any, count: int, *, label: int | Sequence[int] | None = None, truncation: float = 1.0
) -> Sources:
    """Inputs of `count` samples of one seed, each a function of the seed and of its number; see `portable_noise`.

    Args:
        seed: 64 bits.
        label: class of all samples, or of each; None takes those of portable noise.
        truncation: must be 1: exported generators know no other.
    Raises:
        ConfigError: the seed or the truncation is another, or G does not draw from normal noise, or not by that class.
    """
    if not is_whole(seed) or not 0 <= seed < MOST_SEEDS:
        raise ConfigError(
            f"portable noise needs a seed from 0 to 2**64 - 1, got {kind_of(seed)}. Write seed=0, or portable=False."
        )
    if truncation != 1:
        raise ConfigError(
            f"portable noise is what other languages draw, untruncated, got `truncation={truncation:g}`. "
            "Leave one of the two out."
        )
    if label is None and recipe.class_count:
        label = portable_classes(int(seed), count, recipe.class_count).tolist()
    z, condition = recipe.sources(np.random.default_rng(0), count, label=label)
    if recipe.prior.name != "normal":
        raise ConfigError(
            f"portable noise is normal, {recipe.name} draws from {recipe.prior.name} noise. Leave `portable=True` out."
        )
    return Sources(portable_normals(int(seed), *z.shape), condition)


def portable_seed_sources(
    recipe: Recipe, seeds: Sequence[int], *, label: int | Sequence[int] | None = None, truncation: float = 1.0
) -> Sources:
    """Inputs of one sample for each seed, the first that portable noise has for it; see `portable_sources`."""

    def draw(seed: int, each: int | None) -> Sources:
        return portable_sources(recipe, seed, 1, label=each, truncation=truncation)

    return one_by_one(draw, seeds, label)
