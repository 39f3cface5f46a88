"""The command `minigan translate`: every picture of a folder through a trained generator."""

import argparse

from minigan.cli.generators import chosen_generator
from minigan.runs.translation import translate_folder
from minigan.support.output import Output

__all__ = ["translate"]


def translate(options: argparse.Namespace) -> int:
    """Translates a folder of pictures."""
    trained = chosen_generator(options)
    out = Output.of(options)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed, note=out.note)
    out.show(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    out.record({**trained.describe(), "pictures": count, "out": str(options.out)})
    return 0
