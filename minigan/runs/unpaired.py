"""Using two trained generators that undo each other: pictures there and back, and figures."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from minigan.backends import Backend
from minigan.data.dataset import Dataset
from minigan.data.unpaired import UnpairedDataset
from minigan.errors import ConfigError
from minigan.evaluation import Report, choose_features
from minigan.evaluation.report import Figure
from minigan.evaluation.unpaired_scores import (
    BASELINE,
    RoundTrip,
    cycle_figures,
    likeness_figures,
    look_figures,
)
from minigan.recipes import UnpairedRecipe
from minigan.recipes.bases.unpaired import some
from minigan.runs.trained_generator import TrainedGenerator, load_generator
from minigan.runs.translation import outputs

__all__ = ["DIRECTIONS", "Translators", "evaluate_unpaired", "load_translators", "round_trip_picture"]

# The generator of each direction.
DIRECTIONS: Mapping[str, str] = {"AtoB": "G_AB", "BtoA": "G_BA"}
MOST = 1000  # images of a side in an evaluation
REFERENCE = 5000  # images of a target that translations are compared with
SHOWN = 8  # images of a side in a picture


class Translators(NamedTuple):
    """The two generators of a run, by name, and their recipe."""

    generators: Mapping[str, TrainedGenerator]
    recipe: UnpairedRecipe

    @property
    def first(self) -> TrainedGenerator:
        """The generator from A to B."""
        return self.generators["G_AB"]


def load_translators(
    path: str | os.PathLike[str],
    *,
    backend: str | Backend = "auto",
    precision: str | None = None,
    average: bool = True,
) -> Translators:
    """Both generators of a run; arguments as those of `load_generator`.

    Raises:
        ConfigError: the run's generators do not translate between unpaired images.
    """
    first = load_generator(path, backend=backend, precision=precision, average=average)
    recipe = first.recipe
    if not isinstance(recipe, UnpairedRecipe):
        raise ConfigError(f"{recipe.name} does not translate between unpaired images. Sample it instead.")
    others = {
        name: load_generator(path, backend=first.G.kernels, average=average, name=name)
        for name in recipe.generator_names[1:]
    }
    return Translators({first.name: first, **others}, recipe)


def round_trip_picture(
    translators: Translators,
    source: str,
    *,
    data_b: str | None = None,
    direction: str | None = None,
    count: int | None = None,
    data_seed: int = 0,
    note: Callable[[str], None],
) -> tuple[np.ndarray, str]:
    """A picture of some held-out images of each side, translated and back, and a line that names its columns.

    Args:
        source, data_b: of A and of B; None takes the recipe's B.
        direction: shows the images of one side alone; None both.
        count: of each side.
        data_seed: of an embedded source.
        note: called with each note of the data.
    Returns:
        (H, W, C) uint8, and the line.
    """
    dataset = _open(translators, source, data_b=data_b, seed=data_seed)
    with contextlib.closing(dataset):
        _tell(dataset, note)
        return _picture(translators, dataset, direction, count or SHOWN), _columns(translators.recipe, direction)


def _columns(recipe: UnpairedRecipe, direction: str | None) -> str:
    shown = [*DIRECTIONS] if direction is None else [direction]
    return ", ".join(f"{name[0]}: {' | '.join(recipe.columns)}" for name in shown)


def _picture(translators: Translators, dataset: UnpairedDataset, direction: str | None, count: int) -> np.ndarray:
    names = () if direction is None else (DIRECTIONS[direction],)
    trips = translators.recipe.round_trips(dataset, count, names=names)
    networks = {name: trained.G for name, trained in translators.generators.items()}
    return trips.picture(networks, translators.recipe.to_images)


def _open(translators: Translators, source: str, *, data_b: str | None, seed: int) -> UnpairedDataset:
    recipe = translators.recipe if data_b is None else translators.recipe.with_data_b(data_b)
    return recipe.open_part(source, translators.first.G.output_shape, seed=seed)


def evaluate_unpaired(
    translators: Translators,
    source: str,
    *,
    data_b: str | None = None,
    count: int | None = None,
    data_seed: int = 0,
    seed: int = 0,
    features: str | None = None,
    backend: str | Backend = "auto",
    say: Callable[[str], None],
    note: Callable[[str], None],
) -> tuple[Report, np.ndarray]:
    """Figures of both directions on held-out images, and a picture of some.

    Where the true map is known, PSNR and SSIM of the translations to the true ones; then the error of the way there
    and back, and how far translations look like their target. The baseline is the image as it is.

    Args:
        source, data_b: of A and of B; None takes the recipe's B.
        count: images of each side; None takes up to 1,000.
        data_seed: of an embedded source.
        seed: of the choice of the target's images.
        features: "classifier" or "pixels"; None takes a classifier where the target has labels for one.
        backend: of the classifier.
        say: shows a line to the user.
        note: called with each note of the data.
    """
    recipe, shape = translators.recipe, translators.first.G.output_shape
    dataset = _open(translators, source, data_b=data_b, seed=data_seed)
    training = (recipe if data_b is None else recipe.with_data_b(data_b)).open_part(
        source, shape, part="train", seed=data_seed
    )
    with contextlib.closing(dataset), contextlib.closing(training):
        say(f"{recipe.name} at step {translators.first.step}: {dataset.describe()}")
        _tell(dataset, note)
        figures: list[Figure] = []
        named: list[str] = []
        sides = (("AtoB", dataset.a, dataset.a_truth, training.b), ("BtoA", dataset.b, dataset.b_truth, training.a))
        for direction, images, truth, target in sides:
            rows = some(len(images), count or MOST)
            trip = _round_trip(translators, direction, images.read(rows))
            if truth is not None:
                figures += likeness_figures(trip, truth.read(rows), direction=direction)
            figures += cycle_figures(trip, side=direction[0])
            chosen = choose_features(target, features, backend=backend, say=say)
            named.append(f"{direction}: {chosen}")
            figures += look_figures(trip, _some(target, seed=seed), chosen, direction=direction)
        shown = _picture(translators, dataset, None, SHOWN)
    remarks = [f"columns of the picture: {_columns(recipe, None)}"]
    if dataset.a_truth is None:
        remarks.append("the true translations are not known: no figure tells whether an image became the right one")
    return Report(tuple(figures), seed, "; ".join(named), remarks=tuple(remarks), baseline=BASELINE), shown


def _round_trip(translators: Translators, direction: str, images: np.ndarray) -> RoundTrip:
    there = translators.generators[DIRECTIONS[direction]]
    back = next(trained for trained in translators.generators.values() if trained is not there)
    translated = outputs(there, images)
    return RoundTrip(images, translated, outputs(back, translated))


def _some(images: Dataset, *, seed: int) -> np.ndarray:
    """Images of a target to compare with."""
    rows = np.random.default_rng(seed).permutation(len(images))[:REFERENCE]
    return images.read(np.sort(rows))


def _tell(dataset: UnpairedDataset, note: Callable[[str], None]) -> None:
    for line in dataset.notes:
        note(line)
