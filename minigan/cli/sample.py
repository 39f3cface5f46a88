"""The commands `minigan sample` and `minigan translate`: pictures of a trained generator."""

import argparse
from pathlib import Path

from minigan.cli.flags import FLAGS
from minigan.cli.generators import generator_name
from minigan.cli.pictures import write_picture
from minigan.cli.walk import walk
from minigan.data.film_files import encode_film, expect_film_name, film_loss
from minigan.data.picture_files import expect_picture_name
from minigan.data.pictures import image_grid
from minigan.errors import ConfigError
from minigan.latent.sources import expect_truncation
from minigan.recipes import TranslationRecipe, UnpairedRecipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.film import film_of
from minigan.runs.folders import run_data, run_data_b, run_targets
from minigan.runs.translation import picture, translate_folder, translation_recipe
from minigan.runs.unpaired import DIRECTIONS, load_translators, round_trip_picture
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.support.representation import short_path
from minigan.training.exhibit import render

__all__ = ["sample", "translate"]

ROWS = 8  # of a grid of classes
MOST_COLUMNS = 100


def sample(options: argparse.Namespace) -> int:
    """Draws a picture of samples, or makes a film of the training's pictures."""
    if options.film is not None:
        return _film(options)
    _expect_consistent(options)
    if options.walk is None:
        options.out = options.out or Path("samples.png")
        expect_picture_name(options.out)
    trained = _generator(options)
    if isinstance(trained.recipe, TranslationRecipe):
        return _sample_pairs(trained, options)
    if isinstance(trained.recipe, UnpairedRecipe):
        return _sample_round_trips(options)
    if any(given is not None for given in (options.data, options.targets, options.data_b, options.split)):
        translation_recipe(trained, remedy="Sample it without `data`, `targets` and `split`.")
    options.truncation = expect_truncation(1.0 if options.truncation is None else options.truncation)
    options.label = None if options.label is None else trained.label(options.label)
    if options.walk is not None:
        return walk(trained, options)
    return _grid_of_classes(trained, options) if options.grid_of_classes else _samples(trained, options)


def _samples(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    seed = 0 if options.seed is None else options.seed
    samples = trained.sample(
        options.count,
        seed=seed,
        seeds=options.seeds,
        label=options.label,
        truncation=options.truncation,
        portable=options.portable,
    )
    out = Output.of(options)
    write_picture(options.out, render(samples, extent=trained.extent), out)
    weights = ", moving average" if trained.averaged else ""
    out.show(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    drawn = {"samples": len(samples), "seeds": options.seeds, "truncation": options.truncation}
    out.record({**trained.describe(), **drawn, "out": str(options.out)})
    return 0


def _grid_of_classes(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    """Draws a column for each class and a row for each seed, whose z all of its columns share."""
    count, name = trained.recipe.class_count, trained.recipe.name
    if not count or len(trained.G.output_shape) != 3:
        found = "draws points here" if count else "was trained without classes"
        raise ConfigError(
            f"{name} {found}, got --grid-of-classes. Use a run of images with `condition='concatenation'`."
        )
    classes = [trained.label(each) for each in options.classes or range(count)]
    if len(classes) > MOST_COLUMNS:
        raise ConfigError(
            f"a grid has at most {MOST_COLUMNS} columns, got {len(classes):,} classes. Add `classes=NAME`."
        )
    first = options.seed or 0
    seeds = options.seeds or list(range(first, first + (options.count or ROWS)))
    samples = trained.sample(
        seeds=[seed for seed in seeds for _ in classes],
        label=classes * len(seeds),
        truncation=options.truncation,
        portable=options.portable,
    )
    out = Output.of(options)
    write_picture(options.out, image_grid(samples, columns=len(classes)), out)
    names = ", ".join(trained.classes[each] if each < len(trained.classes) else str(each) for each in classes)
    out.show(f"{len(classes)} classes ({names}), {len(seeds)} seeds, {name} at step {trained.step}: {options.out}")
    drawn = {"classes": classes, "seeds": seeds, "truncation": options.truncation}
    out.record({**trained.describe(), **drawn, "out": str(options.out)})
    return 0


def _expect_consistent(options: argparse.Namespace) -> None:
    """Refuses options that exclude each other.

    Raises:
        ConfigError: there are such.
    """
    spread = options.walk is not None or options.grid_of_classes
    for wrong, found, rule in (
        (options.seeds and options.seed is not None, "--seed", "--seeds names the seed of each sample"),
        (options.seeds and options.count is not None, "--count", "--seeds names the seed of each sample"),
        (options.walk is not None and options.grid_of_classes, "--grid-of-classes", "--walk makes a film"),
        (options.grid_of_classes and options.label is not None, "--class", "--grid-of-classes has a column a class"),
        (options.classes and options.label is not None, "--class", "--classes names the classes"),
        (options.portable and options.walk is not None, "--portable", "a walk is between vectors of its own"),
    ):
        if wrong:
            raise ConfigError(f"{rule}, got {found} in addition. Leave it out.")
    if options.classes and not spread:
        raise ConfigError("--classes is for --walk and --grid-of-classes, got neither. Use --class for one class.")
    if options.no_loop and options.walk is None:
        raise ConfigError("--no-loop is for --walk, got none. Add --walk 15.")


def _film(options: argparse.Namespace) -> int:
    unused = (
        "count",
        "data",
        "targets",
        "data_b",
        "split",
        "label",
        "seed",
        "out",
        "precision",
        "network",
        "direction",
    )
    given = [FLAGS.get(name, f"--{name}") for name in unused if getattr(options, name) is not None]
    given += ["--last-weights"] * options.last_weights + _of_noise(options)
    given += ["--backend"] * (options.backend != "auto")
    if given:
        raise ConfigError(
            f"--film shows the training's own pictures, got {', '.join(given)} in addition. Leave it out."
        )
    expect_film_name(options.film)
    film = film_of(options.run)
    out = Output.of(options)
    if len(film.frames) < film.drawn:
        out.note(f"{film.drawn:,} pictures are too many for a film: {len(film.frames):,} of them, evenly spread.")
    atomic_write(options.film, encode_film(film.frames, options.film))
    if line := film_loss(options.film, film.frames):
        out.note(line)
    out.show(f"{len(film.frames)} pictures of steps {film.steps[0]:,} to {film.steps[-1]:,}: {options.film}")
    out.record({"run": short_path(options.run), "steps": list(film.steps), "out": str(options.film)})
    return 0


def _of_noise(options: argparse.Namespace) -> list[str]:
    """The options given that only noise and classes have."""
    named = ("seeds", "truncation", "walk", "classes")
    given = [f"--{name}" for name in named if getattr(options, name) is not None]
    flags = ("grid_of_classes", "no_loop", "portable")
    return given + [f"--{name.replace('_', '-')}" for name in flags if getattr(options, name)]


def _sample_pairs(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    if options.label is not None:
        raise ConfigError(f"{trained.recipe.name} draws from images, got --class {options.label}. Leave --class out.")
    if given := _of_noise(options):
        raise ConfigError(f"{trained.recipe.name} draws from images, not from noise, got {given[0]}. Leave it out.")
    options.seed = options.seed or 0
    source, data_seed = run_data(options.run, options.data)
    out = Output.of(options)
    shown, what = picture(
        trained,
        source,
        targets=run_targets(options.run, options.data, options.targets),
        split=options.split,
        count=options.count,
        data_seed=data_seed,
        seed=options.seed,
        note=out.note,
    )
    write_picture(options.out, shown, out)
    out.show(f"{trained.recipe.name} at step {trained.step}: {what}: {options.out}")
    out.record({**trained.describe(), "shown": what, "out": str(options.out)})
    return 0


def _sample_round_trips(options: argparse.Namespace) -> int:
    """A picture of unpaired images, translated and back."""
    for flag, given in (("--class", options.label), ("--targets", options.targets), ("--split", options.split)):
        if given is not None:
            raise ConfigError(f"{flag} is of no use to unpaired images, got {given}. Leave it out.")
    if given := _of_noise(options):
        raise ConfigError(f"cyclegan draws from images, not from noise, got {given[0]}. Leave it out.")
    name = generator_name(options)
    translators = load_translators(
        options.run, backend=options.backend, precision=options.precision, average=not options.last_weights
    )
    source, data_seed = run_data(options.run, options.data)
    out = Output.of(options)
    shown, what = round_trip_picture(
        translators,
        source,
        data_b=run_data_b(options.run, options.data_b),
        direction=next((way for way, network in DIRECTIONS.items() if network == name), None),
        count=options.count,
        data_seed=data_seed,
        note=out.note,
    )
    write_picture(options.out, shown, out)
    first = translators.first
    out.show(f"{first.recipe.name} at step {first.step}: {what}: {options.out}")
    out.record({**first.describe(), "shown": what, "out": str(options.out)})
    return 0


def _generator(options: argparse.Namespace) -> TrainedGenerator:
    return load_generator(
        options.run,
        backend=options.backend,
        precision=options.precision,
        average=not options.last_weights,
        name=generator_name(options),
    )


def translate(options: argparse.Namespace) -> int:
    """Translates a folder of pictures."""
    trained = _generator(options)
    out = Output.of(options)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed, note=out.note)
    out.show(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    out.record({**trained.describe(), "pictures": count, "out": str(options.out)})
    return 0
