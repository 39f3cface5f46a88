"""Pictures that `minigan sample` draws from images: pairs with outputs, and unpaired images there and back."""

import argparse

from minigan.cli.generators import generator_name
from minigan.cli.pictures import write_picture
from minigan.runs import TrainedGenerator
from minigan.runs.folders import run_data, run_data_b, run_targets
from minigan.runs.translation import picture
from minigan.runs.unpaired import DIRECTIONS, load_translators, round_trip_picture
from minigan.support.output import Output

__all__ = ["sample_pairs", "sample_round_trips"]


def sample_pairs(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    """Draws source, output and target of pairs."""
    source, data_seed = run_data(options.run, options.data)
    out = Output.of(options)
    shown, what = picture(
        trained,
        source,
        targets=run_targets(options.run, options.data, options.targets),
        split=options.split,
        count=options.count,
        data_seed=data_seed,
        seed=options.seed or 0,
        note=out.note,
    )
    write_picture(options.out, shown, out)
    out.show(f"{trained.recipe.name} at step {trained.step}: {what}: {options.out}")
    out.record({**trained.describe(), "shown": what, "out": str(options.out)})
    return 0


def sample_round_trips(trained: TrainedGenerator, options: argparse.Namespace) -> int:  # noqa: ARG001 (one of two)
    """Draws unpaired images, translated and back."""
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
