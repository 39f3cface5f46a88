"""Evaluation of generators during training, always on the same noise or the same held-out images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigan.data.dataset import Collection
from minigan.data.unpaired import UnpairedDataset
from minigan.distributed import ALONE, Ranks
from minigan.errors import ConfigError
from minigan.evaluation import FeatureFunction, Likeness, MapScore, Monitor, choose_features
from minigan.evaluation.report import Figure
from minigan.evaluation.unpaired_scores import LEAST, RoundTrip, cycle_figures, likeness_figures, look_figures
from minigan.recipes import Recipe, TranslationRecipe, UnpairedRecipe
from minigan.recipes.bases.translation import spread
from minigan.recipes.bases.unpaired import some
from minigan.runs.translation import score_of
from minigan.training.exhibit import picture_count
from minigan.training.listeners import Draws
from minigan.training.sampling import rows_of_rank

__all__ = ["FixedNoiseMeasure", "PairMeasure", "RoundTripMeasure", "measure_of"]

COUNT = 2000  # images drawn from noise
HELD_OUT = 200  # images, of each side
MOST_BYTES = 2**26  # of the held-out images of a side, which stay in memory
DIRECTIONS = (("AtoB", "G_AB", "G_BA"), ("BtoA", "G_BA", "G_AB"))  # with the generators there and back


def measure_of(
    recipe: Recipe,
    dataset: Any,
    held_out: Any,
    *,
    rng: np.random.Generator,
    seed: int,
    best: str = "",
    ranks: Ranks = ALONE,
) -> "FixedNoiseMeasure | PairMeasure | RoundTripMeasure":
    """The measure of a recipe's generators.

    Args:
        dataset: the training data.
        held_out: those held out of training, or the same if there are none.
        rng: of the noise.
        seed: of every choice.
        best: the figure by which the best checkpoint is chosen, or "".
        ranks: among which samples drawn from noise are shared; those of images are few, and each draws all.
    Raises:
        ConfigError: there is no such figure, or the recipe is of another kind.
        DataError: there are too few examples.
    """
    if isinstance(recipe, UnpairedRecipe):
        return RoundTripMeasure(recipe, dataset, held_out, best=best, ranks=ranks)
    if isinstance(recipe, TranslationRecipe):
        return PairMeasure(recipe, held_out, seed=seed, best=best)
    return FixedNoiseMeasure(recipe, dataset, rng=rng, seed=seed, best=best, ranks=ranks)


def _expect_figure(best: str, figures: Sequence[str], data: str) -> None:
    """Refuses a figure that is not measured.

    Raises:
        ConfigError: it is not.
    """
    if best and best not in figures:
        raise ConfigError(f"`best` must be one of {', '.join(figures)} with {data}, got {best}.")


def _modest(count: int, shape: tuple[int, ...]) -> int:
    """The number of images of that shape to keep in memory."""
    return max(1, min(count, HELD_OUT, MOST_BYTES // (4 * int(np.prod(shape)))))


class RoundTripMeasure:
    """Figures of two generators that undo each other, on held-out images.

    PSNR to the true translations where these are known, else the Fréchet distance of translations from their target;
    and the error of the way there and back.

    Args:
        recipe: of the generators.
        dataset: the training data, whose labels may train a classifier.
        held_out: images that training does not see; read here.
        best: see `measure_of`.
        ranks: among which the first trains the classifier; each draws all images.
    Raises:
        ConfigError: there is no such figure.
    """

    def __init__(
        self,
        recipe: UnpairedRecipe,
        dataset: UnpairedDataset,
        held_out: UnpairedDataset,
        *,
        best: str = "",
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.dataset, self.ranks = recipe, dataset, ranks
        self.known = held_out.a_truth is not None
        self.images: dict[str, np.ndarray] = {}
        self.truths: dict[str, np.ndarray] = {}
        sides = (("AtoB", held_out.a, held_out.a_truth), ("BtoA", held_out.b, held_out.b_truth))
        for direction, images, truth in sides:
            rows = some(len(images), _modest(len(images), images.shape))
            self.images[direction] = images.read(rows)
            if truth is not None:
                self.truths[direction] = truth.read(rows)
        self.looks = not self.truths and min(map(len, self.images.values())) >= LEAST
        first = "psnr" if self.truths else "fid"
        looks = [f"{first}_{direction}" for direction in self.images] if self.truths or self.looks else []
        _expect_figure(best, [*looks, "cycle_A", "cycle_B"], held_out.name)
        self.features: dict[str, FeatureFunction] = {}

    def __call__(self, draws: Draws, say: Callable[[str], None]) -> dict[str, float]:
        """The figures by name, those of the look first.

        Args:
            draws: of G_AB and G_BA.
            say: shows a line to the user when something takes long.
        """
        looks: list[Figure] = []
        cycles: list[Figure] = []
        for direction, there, back in DIRECTIONS:
            images = self.images[direction]
            translated = draws[there](images, None)
            trip = RoundTrip(images, *(self._shown(x) for x in (translated, draws[back](translated, None))))
            if self.truths:
                looks += likeness_figures(trip, self.truths[direction], direction=direction)[:1]
            elif self.looks:
                other = self.images["BtoA" if direction == "AtoB" else "AtoB"]
                looks += look_figures(trip, other, self._features(direction, say), direction=direction)[:1]
            cycles += cycle_figures(trip, side=direction[0])
        return {figure.name: float(figure.value) for figure in [*looks, *cycles]}

    def _shown(self, drawn: np.ndarray) -> np.ndarray:
        images: np.ndarray = np.clip(self.recipe.to_images(drawn), -1, 1)
        return images

    def _features(self, direction: str, say: Callable[[str], None]) -> FeatureFunction:
        """The features of a direction's target, chosen at the first evaluation."""
        if direction not in self.features:
            target = self.dataset.b if direction == "AtoB" else self.dataset.a
            self.features[direction] = choose_features(target, say=say, ranks=self.ranks)
        return self.features[direction]


class PairMeasure:
    """Figures of a generator from image to image on held-out pairs: PSNR and SSIM, or the agreement of class maps.

    Args:
        recipe: of the generator.
        held_out: pairs, or images to make pairs of, that training does not see; read here.
        seed: of noise, holes and the like.
        best: see `measure_of`.
    Raises:
        ConfigError: there is no such figure.
    """

    def __init__(self, recipe: TranslationRecipe, held_out: Collection, *, seed: int, best: str = "") -> None:
        self.recipe = recipe
        rows = spread(len(held_out), _modest(len(held_out), recipe.image_shape(held_out)))
        self.source, self.target = recipe.examples(held_out, rows, seed=seed)
        self.new_score: Callable[[], Likeness | MapScore] = score_of(recipe, held_out, seed=seed)
        _expect_figure(best, [*self._figures(self.target)], held_out.name)

    def __call__(self, draws: Draws, say: Callable[[str], None]) -> dict[str, float]:  # noqa: ARG002
        """The figures by name.

        Args:
            draws: of the recipe's generator.
            say: unused.
        """
        return self._figures(self.recipe.to_images(draws[self.recipe.generator_names[0]](self.source, None)))

    def _figures(self, output: np.ndarray) -> dict[str, float]:
        score = self.new_score()
        score.add(np.clip(output, -1, 1), self.target, None)
        return {figure.name: float(figure.value) for figure in score.figures()}


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
        self.z, self.condition = recipe.sources(rng, count, label=recipe.labels_like(dataset, count, seed=seed))
        Monitor.check(dataset, count=count)
        _expect_figure(best, Monitor.figures(dataset), dataset.name)
        self.monitor: Monitor | None = None

    def __call__(self, draws: Draws, say: Callable[[str], None]) -> dict[str, float]:
        """The figures of the samples, by name; the same on all ranks, each of which calls it.

        Args:
            draws: of the generators; the first one's samples are measured.
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
        return self.monitor(self.recipe.to_images(draws[self.recipe.generator_names[0]](z, condition)))
