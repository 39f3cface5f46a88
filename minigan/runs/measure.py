"""Evaluation of a generator during training, always by samples of the same noise."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.distributed import ALONE, Ranks
from minigan.errors import ConfigError
from minigan.evaluation import Monitor, choose_features
from minigan.recipes import Recipe
from minigan.training.exhibit import picture_count
from minigan.training.listeners import Draw
from minigan.training.sampling import rows_of_rank

__all__ = ["FixedNoiseMeasure"]

COUNT = 2000  # images


class FixedNoiseMeasure:
    """Figures of a generator's samples, always of the same noise, compared with the same real examples.

    The classifier whose features are compared is trained, if necessary, at the first evaluation.

    Args:
        recipe: must draw from noise.
        dataset: images, or ring or grid.
        rng: of the noise, and of the classes of samples.
        seed: of the choice of real examples.
        best: the figure by which the best checkpoint is chosen, or "".
        ranks: that share the work: each draws and looks at its part of the samples.
    Raises:
        ConfigError: the recipe draws from images, or there is no such figure.
        DataError: the dataset has too few examples to compare with.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Any,
        *,
        rng: np.random.Generator,
        seed: int,
        best: str = "",
        ranks: Ranks = ALONE,
    ) -> None:
        if recipe.from_images:
            raise ConfigError(
                f"{recipe.name} draws from images, not from noise, and has no figures in training. "
                "Leave `evaluate_every` out."
            )
        self.recipe, self.dataset, self.seed, self.ranks = recipe, dataset, seed, ranks
        count = picture_count(recipe.image_shape(dataset), images=COUNT)
        self.z, self.condition = recipe.sources(rng, count)
        Monitor.check(dataset, count=count)
        if best and best not in (figures := Monitor.figures(dataset)):
            raise ConfigError(f"`best` must be one of {', '.join(figures)} with {dataset.name}, got {best}.")
        self.monitor: Monitor | None = None

    def __call__(self, draw: Draw, say: Callable[[str], None]) -> dict[str, float]:
        """The figures of the samples, by name; the same on all ranks, each of which calls it.

        Args:
            draw: (z, condition) -> samples in host memory.
            say: shows a line to the user when something takes long.
        """
        if self.monitor is None:
            images = len(self.dataset.shape) == 3
            features = choose_features(self.dataset, say=say, ranks=self.ranks) if images else None
            self.monitor = Monitor(self.dataset, features=features, count=len(self.z), seed=self.seed, ranks=self.ranks)
        rows = rows_of_rank(len(self.z), self.ranks)
        z, condition = self.z[rows], None if self.condition is None else self.condition[rows]
        if not len(z):  # more ranks than batches
            return self.monitor(np.empty((0, *self.dataset.shape)))
        return self.monitor(self.recipe.to_images(draw(z, condition)))
