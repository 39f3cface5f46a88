"""The command `minigan export`: a trained network for other programs."""

import argparse
import contextlib
import dataclasses
from pathlib import Path

import numpy as np

from minigan.backends import get_backend
from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import load_network
from minigan.cli.generators import generator_name, run_recipe
from minigan.errors import ConfigError, MiniganError
from minigan.evaluation.data_and_features import open_like
from minigan.export import FORMATS, ExportOptions, Subject
from minigan.recipes import NoiseRecipe, get_recipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.folders import run_data, run_folder
from minigan.runs.pretrained import expect_run
from minigan.support.output import Output

__all__ = ["export_run"]


def export_run(options: argparse.Namespace) -> int:
    """Writes a trained network for another program."""
    format = FORMATS[options.to]
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(ExportOptions)}
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen.keys() - set(format.options):
        takers = ", ".join(to for to, other in FORMATS.items() if name in other.options)
        raise ConfigError(f"--{name} can be used with --to {takers}, got --to {options.to}. Leave it out.")
    name = generator_name(options)
    if name in ("", "G") or name in run_recipe(options).generator_names:
        subject = _generator(options, name)
    elif format.networks:
        expect_run(options.run)
        subject = _other_network(run_folder(options.run), name)
    else:
        raise ConfigError(f"--to {options.to} writes generators, got --network {name}. Use --to torch.")
    told = format.write(subject, options.out, ExportOptions(**chosen))
    out = Output.of(options)
    for line in filter(None, (f"{subject.title}: {options.out}", told, subject.remark)):
        out.show(line)
    out.record({"network": subject.title, "format": options.to, "out": str(options.out)})
    return 0


def _generator(options: argparse.Namespace, name: str) -> Subject:
    """A generator with which `minigan sample` draws; "" for the first."""
    trained = load_generator(options.run, backend="reference", average=not options.last_weights, name=name)
    weights = ", moving average" if trained.averaged else ""
    recipe = trained.recipe
    classes = recipe.classes if isinstance(recipe, NoiseRecipe) and recipe.conditional else 0
    return Subject(
        trained.G,
        f"{trained.name} of {recipe.name} at step {trained.step}{weights}",
        numbers="signed" if len(trained.G.output_shape) == 1 else recipe.numbers,
        from_noise=not recipe.from_images,
        classes=classes,
        remark=_remark(trained),
        class_names=trained.classes if classes else (),
        real=lambda count: _real(options.run, trained.G.output_shape, count),
    )


def _real(path: Path, shape: tuple[int, ...], count: int) -> np.ndarray | None:
    """Some of the run's own data, evenly spread; None where they cannot be read any more."""
    try:
        source, seed = run_data(path, None)
        with contextlib.closing(open_like(shape, source, seed=seed)) as dataset:
            return dataset.read(np.unique(np.linspace(0, len(dataset) - 1, count).astype(np.intp)))
    except MiniganError:
        return None


def _remark(trained: TrainedGenerator) -> str:
    """A remark on how the exported network, which evaluates, differs from minigan's own drawing; "" if it does not."""
    if not (trained.recipe.as_in_training or trained.batch_statistics):
        return ""
    return (
        "minigan draws with the statistics of each batch, and with Dropout if G has any; the exported network uses the "
        "running statistics and no Dropout."
    )


def _other_network(run: Path, name: str) -> Subject:
    """A network that is stored in the run's checkpoints only."""
    path, arrays, description = CheckpointFolder(run / "checkpoints").load()
    model = description["model"]
    recipe = get_recipe(model["recipe"]).from_stored(model["settings"])
    learner = recipe.assemble(
        tuple(model["shape"]), backend=get_backend("reference"), dtype=model["dtype"], rng=np.random.default_rng(0)
    )
    if name not in learner.networks:
        raise ConfigError(f"{recipe.name} has no {name}: expected one of {', '.join(learner.networks)}.")
    load_network(learner.networks[name], arrays, name, source=str(path))
    return Subject(learner.networks[name], f"{name} of {recipe.name} at step {description['step']}")
