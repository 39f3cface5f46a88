"""Spaces that projection searches: noise z, and the styles w of a generator that has them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from minigan.backends import Array, array_module
from minigan.latent.sources import Sources
from minigan.latent.styles import StyleParts
from minigan.nn.network import Sequential
from minigan.recipes import Recipe

__all__ = ["NoiseSpace", "Space", "StyleSpace"]

KNOWN_STYLES = 1000  # from which the mean style and the spread of styles are taken
FARTHEST = 3.0  # of a style, in standard deviations above the root of its length; as `NormalPrior` has it


class Space(ABC):
    """A space of vectors that a network draws from.

    Attributes:
        name: z or w.
        G: the network; `inputs` makes its inputs of vectors.
    """

    name: ClassVar[str]
    G: Sequential

    @abstractmethod
    def sources(self, rng: np.random.Generator, count: int, *, label: int | None) -> Sources:
        """Random vectors of that class, (count, F), with a condition where G takes one."""

    @abstractmethod
    def hold(self, vectors: Array) -> None:
        """Moves vectors that are no typical draws to the nearest typical place, in place."""

    def inputs(self, vectors: Array) -> Array:
        """G's inputs of vectors (N, F)."""
        return vectors

    def gradient(self, dx: Array) -> Array:
        """The gradient of vectors from that of G's inputs."""
        return dx


class NoiseSpace(Space):
    """G's noise z."""

    name: ClassVar[str] = "z"

    def __init__(self, G: Sequential, recipe: Recipe) -> None:
        self.G, self.recipe = G, recipe

    def sources(self, rng: np.random.Generator, count: int, *, label: int | None) -> Sources:
        return Sources(*self.recipe.sources(rng, count, label=label))

    def hold(self, vectors: Array) -> None:
        self.recipe.prior.hold(vectors)


class StyleSpace(Space):
    """The styles w, one for all layers of the synthesis; the class of an image is in its style.

    Styles stay where the mapping sends noise: each number is measured by its mean and its standard deviation over many
    of them, and no style is farther from the mean than nearly all normal vectors of its length are from 0.

    Source: Karras et al. 2020 (StyleGAN2), appendix D, which starts from the mean style.
    """

    name: ClassVar[str] = "w"

    def __init__(self, parts: StyleParts, recipe: Recipe, labels: Sequence[int] | None) -> None:
        self.G, self.parts, self.recipe = parts.synthesis, parts, recipe
        classes: list[int | None] = [*labels] if labels else [None]
        rng = np.random.default_rng(0)
        known = [self.sources(rng, -(-KNOWN_STYLES // len(classes)), label=label).z for label in classes]
        styles = np.concatenate(known)
        kernels, dtype = self.G.kernels, self.G.dtype
        self._mean = kernels.asarray(styles.mean(axis=0), dtype=dtype)
        self._spread = kernels.asarray(np.maximum(styles.std(axis=0), 1e-6), dtype=dtype)

    def sources(self, rng: np.random.Generator, count: int, *, label: int | None) -> Sources:
        noise = Sources(*self.recipe.sources(rng, count, label=label))
        return Sources(self.parts.styles(noise, batch_size=64), None)

    def hold(self, vectors: Array) -> None:
        xp = array_module(vectors)
        apart = (vectors - self._mean) / self._spread
        lengths = xp.sqrt((apart * apart).sum(axis=1, keepdims=True))
        share = xp.minimum(1, (vectors.shape[1] ** 0.5 + FARTHEST) / xp.maximum(lengths, 1e-12))
        vectors[...] = self._mean + share * apart * self._spread

    def inputs(self, vectors: Array) -> Array:
        return vectors[:, None].repeat(self.parts.rows, axis=1)

    def gradient(self, dx: Array) -> Array:
        return dx.sum(axis=1)
