"""Styles of a generator that has them: from noise, mixed, and drawn.

Such a generator is a mapping from z to styles, a row for each layer of the synthesis, and the synthesis. Rows of
different styles in one image mix them: the first rows decide its coarse features, the last ones its colors and detail.

Source: Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 3.1.
"""

from typing import NamedTuple

import numpy as np

from minigan.errors import ConfigError
from minigan.latent.sources import Sources
from minigan.nn.network import Sequential
from minigan.nn.network.mapping import MappingNetwork
from minigan.recipes import Recipe
from minigan.support.arguments import is_whole, kind_of
from minigan.training.sampling import generate

__all__ = ["StyleParts", "expect_crossover", "mixed_styles", "style_parts"]


class StyleParts(NamedTuple):
    """A generator's two networks.

    Attributes:
        mapping: from z, and perhaps a condition, to styles (rows, F).
        synthesis: from styles to images.
        rows: the number of rows.
        features: F.
    """

    mapping: Sequential
    synthesis: Sequential
    rows: int
    features: int

    def styles(self, sources: Sources, *, batch_size: int = 1) -> np.ndarray:
        """The styles w of noise, (N, F).

        Args:
            batch_size: 1 computes each by itself, so that not even the last bits depend on the others.
        """
        rows: np.ndarray = np.asarray(generate(self.mapping, *sources, batch_size=batch_size))
        return rows[:, 0]


def style_parts(G: Sequential, recipe: Recipe, *, asked: str) -> StyleParts:
    """The two networks of a generator with styles.

    Args:
        asked: what styles are needed for: "mixing styles".
    Raises:
        ConfigError: the generator has none.
    """
    mapping = G.layers[0]
    if not isinstance(mapping, MappingNetwork):
        raise ConfigError(
            f"{asked} needs a generator with styles, but {recipe.name} has one network from its input to the image. "
            "Use a run of stylegan2."
        )
    rows, features = mapping.output_shape
    return StyleParts(G[:1], G[1:], rows, features)


def expect_crossover(value: int | None, rows: int) -> int:
    """The row from which on an image has the second style; the middle for None.

    Raises:
        ConfigError: there is no such row.
    """
    if value is None:
        return rows // 2
    if not is_whole(value) or not 0 < value < rows:
        found = value if is_whole(value) else kind_of(value)
        raise ConfigError(
            f"crossover must be a layer from 1 to {rows - 1}, from which on the second style is used, got {found}. "
            f"Use `crossover={rows // 2}`."
        )
    return int(value)


def mixed_styles(coarse: np.ndarray, fine: np.ndarray, *, rows: int, crossover: int) -> np.ndarray:
    """Each coarse style with each fine one: (len(coarse) * len(fine), rows, F), coarse by coarse.

    Args:
        coarse, fine: (N, F) and (M, F).
        crossover: the first row of the fine style.
    """
    mixed = np.empty((len(coarse), len(fine), rows, coarse.shape[1]), coarse.dtype)
    mixed[:, :, :crossover] = coarse[:, None, None]
    mixed[:, :, crossover:] = fine[None, :, None]
    return mixed.reshape(-1, rows, coarse.shape[1])
