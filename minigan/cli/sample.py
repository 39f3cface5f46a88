"""The commands `minigan sample` and `minigan translate`: pictures of a trained generator."""

import argparse

from minigan.cli.pictures import write_picture
from minigan.data.picture_files import expect_picture_name
from minigan.errors import ConfigError
from minigan.recipes import TranslationRecipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.folders import run_data, run_targets
from minigan.runs.translation import picture, translate_folder, translation_recipe
from minigan.support.output import Output
from minigan.training.exhibit import render

__all__ = ["sample", "translate"]


def sample(options: argparse.Namespace) -> int:
    """Draws a picture of samples."""
    expect_picture_name(options.out)
    trained = load_generator(options.run, backend=options.backend, average=not options.last_weights)
    if isinstance(trained.recipe, TranslationRecipe):
        return _sample_pairs(trained, options)
    if options.data is not None or options.targets is not None or options.split is not None:
        translation_recipe(trained, remedy="Sample it without `data`, `targets` and `split`.")
    label = None if options.label is None else trained.label(options.label)
    samples = trained.sample(options.count, seed=options.seed, label=label)
    out = Output.of(options)
    write_picture(options.out, render(samples, extent=trained.extent), out)
    weights = ", moving average" if trained.averaged else ""
    out.show(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    out.record({**trained.describe(), "samples": len(samples), "out": str(options.out)})
    return 0


def _sample_pairs(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    if options.label is not None:
        raise ConfigError(f"{trained.recipe.name} draws from images, got --class {options.label}. Leave --class out.")
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


def translate(options: argparse.Namespace) -> int:
    """Translates a folder of pictures."""
    trained = load_generator(options.run, backend=options.backend, average=not options.last_weights)
    out = Output.of(options)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed, note=out.note)
    out.show(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    out.record({**trained.describe(), "pictures": count, "out": str(options.out)})
    return 0
