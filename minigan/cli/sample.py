"""The command `minigan sample`: the choice of what it draws. Each kind of picture is in a file of its own."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from minigan.cli.generators import chosen_generator
from minigan.cli.given import refuse_given
from minigan.cli.image_samples import sample_pairs, sample_round_trips
from minigan.cli.mixed_samples import sample_mixed
from minigan.cli.noise_samples import grid_of_classes, sample_noise
from minigan.cli.training_film import training_film
from minigan.cli.walk import walk
from minigan.data.picture_files import expect_picture_name
from minigan.errors import ConfigError
from minigan.latent.sources import expect_truncation
from minigan.recipes import Recipe, TranslationRecipe, UnpairedRecipe
from minigan.runs import TrainedGenerator
from minigan.support.output import Output

__all__ = ["sample"]


class Job(NamedTuple):
    """A kind of picture.

    Attributes:
        draw: writes it.
        takes: the options that it uses, besides those of the generator and of the file.
        rule: why it has no use for others; {name} stands for the recipe's.
    """

    draw: Callable[[TrainedGenerator, argparse.Namespace], int]
    takes: frozenset[str]
    rule: str


SOURCES = ("data", "targets", "data_b", "split")
OF_SEVERAL = ("walk", "grid_of_classes", "classes", "no_loop", "mix", "crossover")
OF_NOISE = ("label", "seeds", "truncation", "portable", *OF_SEVERAL)
ENGINE = ("network", "last_weights", "backend", "precision")
OPTIONS = ("count", "seed", "direction", *SOURCES, *OF_NOISE)

JOBS: Mapping[str, Job] = {
    "samples": Job(
        sample_noise,
        frozenset({"count", "seed", "label", "seeds", "truncation", "portable"}),
        "{name} draws from noise",
    ),
    "walk": Job(
        walk,
        frozenset({"count", "seed", "label", "seeds", "truncation", "walk", "classes", "no_loop"}),
        "--walk makes a film",
    ),
    "grid": Job(
        grid_of_classes,
        frozenset({"count", "seed", "seeds", "truncation", "grid_of_classes", "classes", "portable"}),
        "--grid-of-classes has a column a class",
    ),
    "mix": Job(
        sample_mixed,
        frozenset({"seed", "label", "seeds", "truncation", "mix", "crossover"}),
        "--mix has a row for each coarse style and a column for each fine one",
    ),
    "pairs": Job(
        sample_pairs,
        frozenset({"count", "seed", "data", "targets", "split"}),
        "{name} draws from images",
    ),
    "round trips": Job(
        sample_round_trips,
        frozenset({"count", "data", "data_b", "direction"}),
        "{name} shows unpaired images, there and back",
    ),
}


def sample(options: argparse.Namespace) -> int:
    """Draws a picture of samples, or makes a film of the training's pictures."""
    if options.film is not None:
        refuse_given(options, (*OPTIONS, "out", *ENGINE), rule="--film shows the training's own pictures")
        return training_film(options)
    _expect_consistent(options)
    if options.walk is None:
        options.out = options.out or Path("samples.png")
        expect_picture_name(options.out)
    trained = chosen_generator(options)
    job = JOBS[_kind(trained.recipe, options)]
    _refuse_unused(options, job, trained.recipe)
    if not trained.recipe.from_images:
        options.truncation = expect_truncation(1.0 if options.truncation is None else options.truncation)
        options.label = None if options.label is None else trained.label(options.label)
        for label in {options.label, *map(trained.label, options.classes or ())} & {*trained.unseen}:
            name = trained.class_names([label])
            Output.of(options).note(f"class {name} had no images in training: its pictures mean nothing")
    return job.draw(trained, options)


def _kind(recipe: Recipe, options: argparse.Namespace) -> str:
    """The name of the job."""
    if isinstance(recipe, UnpairedRecipe):
        return "round trips"
    if isinstance(recipe, TranslationRecipe):
        return "pairs"
    if options.mix is not None and options.walk is None and not options.grid_of_classes:
        return "mix"
    return "walk" if options.walk is not None else "grid" if options.grid_of_classes else "samples"


def _refuse_unused(options: argparse.Namespace, job: Job, recipe: Recipe) -> None:
    """Refuses what the job would ignore.

    Raises:
        ConfigError: there is such an option.
    """
    foreign, why = (
        (OF_NOISE, "from images, not from noise") if recipe.from_images else (SOURCES, "from noise, not from images")
    )
    for names, rule in ((foreign, f"{recipe.name} draws {why}"), (OPTIONS, job.rule.format(name=recipe.name))):
        refuse_given(options, [name for name in names if name not in job.takes], rule=rule)


def _expect_consistent(options: argparse.Namespace) -> None:
    """Refuses options that exclude each other, or need another.

    Raises:
        ConfigError: there are such.
    """
    if options.seeds is not None:
        refuse_given(options, ("seed", "count"), rule="--seeds names the seed of each sample")
    if options.mix is None and options.crossover is not None:
        raise ConfigError("--crossover is for --mix, got none. Add --mix.")
    if options.walk is None and options.no_loop:
        raise ConfigError("--no-loop is for --walk, got none. Add --walk 15.")
    if options.classes:
        if options.walk is None and not options.grid_of_classes:
            raise ConfigError("--classes is for --walk and --grid-of-classes, got neither. Use --class for one class.")
        refuse_given(options, ("label",), rule="--classes names the classes")
