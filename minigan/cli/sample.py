"""The commands `minigan sample` and `minigan translate`: pictures of a trained generator."""

import argparse
from pathlib import Path

from minigan.cli.flags import FLAGS
from minigan.cli.pictures import write_picture
from minigan.data.film_files import encode_film, expect_film_name, film_loss
from minigan.data.picture_files import expect_picture_name
from minigan.errors import ConfigError
from minigan.recipes import TranslationRecipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.film import film_of
from minigan.runs.folders import run_data, run_targets
from minigan.runs.translation import picture, translate_folder, translation_recipe
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.support.representation import short_path
from minigan.training.exhibit import render

__all__ = ["sample", "translate"]


def sample(options: argparse.Namespace) -> int:
    """Draws a picture of samples, or makes a film of the training's pictures."""
    if options.film is not None:
        return _film(options)
    options.out = options.out or Path("samples.png")
    options.seed = options.seed or 0
    expect_picture_name(options.out)
    trained = _generator(options)
    if isinstance(trained.recipe, TranslationRecipe):
        return _sample_pairs(trained, options)
    if options.data is not None or options.targets is not None or options.split is not None:
        translation_recipe(trained, remedy="Sample it without `data`, `targets` and `split`.")
    label = None if options.label is None else trained.label(options.label)
    samples = trained.sample(options.count, seed=options.seed, label=label, portable=options.portable)
    out = Output.of(options)
    write_picture(options.out, render(samples, extent=trained.extent), out)
    weights = ", moving average" if trained.averaged else ""
    out.show(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    out.record({**trained.describe(), "samples": len(samples), "out": str(options.out)})
    return 0


def _film(options: argparse.Namespace) -> int:
    unused = ("count", "data", "targets", "split", "label", "seed", "out", "precision")
    given = [FLAGS[name] for name in unused if getattr(options, name) is not None]
    given += ["--last-weights"] * options.last_weights + ["--portable"] * options.portable
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


def _sample_pairs(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    if options.label is not None:
        raise ConfigError(f"{trained.recipe.name} draws from images, got --class {options.label}. Leave --class out.")
    if options.portable:
        raise ConfigError(f"{trained.recipe.name} draws from images, got --portable. Leave it out.")
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


def _generator(options: argparse.Namespace) -> TrainedGenerator:
    return load_generator(
        options.run, backend=options.backend, precision=options.precision, average=not options.last_weights
    )


def translate(options: argparse.Namespace) -> int:
    """Translates a folder of pictures."""
    trained = _generator(options)
    out = Output.of(options)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed, note=out.note)
    out.show(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    out.record({**trained.describe(), "pictures": count, "out": str(options.out)})
    return 0
