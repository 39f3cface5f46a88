"""The commands `minigan export` and `minigan import`: networks for other programs, and from them."""

import argparse
import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import get_backend
from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import load_network
from minigan.cli.generators import generator_name, run_recipe
from minigan.cli.settings import chosen_settings
from minigan.errors import CheckpointError, ConfigError
from minigan.export import FORMATS, ExportOptions, Subject, load_state_dict, read_state_dict, weight_shapes
from minigan.nn.network import Sequential
from minigan.recipes import DCGAN, NoiseRecipe, Recipe, get_recipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.config import new_config
from minigan.runs.folders import new_folder, run_folder
from minigan.runs.prepare import create_folder, prepare_run
from minigan.runs.pretrained import expect_run
from minigan.support.output import Output
from minigan.support.representation import short_path
from minigan.support.words import shell_word

__all__ = ["export_run", "import_run"]

# ---------------------------------------------------------------------------------------------- out of minigan


def export_run(options: argparse.Namespace) -> int:
    """Writes a trained network for another program."""
    format = FORMATS[options.to]
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(ExportOptions)}
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen.keys() - set(format.options):
        takers = " and ".join(f"--to {to}" for to, other in FORMATS.items() if name in other.options)
        raise ConfigError(f"--{name} can be used with {takers}, got --to {options.to}. Leave it out.")
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
    return Subject(
        trained.G,
        f"{trained.name} of {recipe.name} at step {trained.step}{weights}",
        numbers="signed" if len(trained.G.output_shape) == 1 else recipe.numbers,
        from_noise=not recipe.from_images,
        classes=recipe.classes if isinstance(recipe, NoiseRecipe) and recipe.conditional else 0,
        remark=_remark(trained),
    )


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


# ---------------------------------------------------------------------------------------------- into minigan


def import_run(options: argparse.Namespace) -> int:
    """Makes a run from the weights of PyTorch networks: at step 0, with new optimizers.

    A DCGAN's settings that are not given are found from the weights' shapes.
    """
    settings = chosen_settings(options)
    files = _state_dicts(options.weights, options.discriminator)
    kind = get_recipe(options.recipe)
    recipe = kind.from_settings({**_settings_of(*files["G"], kind, kind.with_preset(settings)), **settings})
    config = new_config(
        recipe, data=options.data, seed=options.seed, backend=options.backend, precision=options.precision
    )
    prepared = prepare_run(config, options.out or new_folder(recipe.name, options.weights.stem))
    state = prepared.trainer.state
    networks = state.learner.networks
    with contextlib.closing(prepared.dataset):
        for name, (path, tensors) in files.items():
            if name not in networks:
                raise ConfigError(f"{recipe.name} has no {name}: expected one of {', '.join(networks)}.")
            load_state_dict(networks[name], tensors, source=path)
        for average in state.averages.values():
            average.restart()
        with create_folder(prepared, numbered=options.out is None):
            prepared.trainer.checkpoints.save()
    anew = [name for name in networks if name not in files]
    origins = " and ".join(f"{name} from {files[name][0]}" for name in networks if name in files)
    out, folder = Output.of(options), state.folder
    out.show(f"{recipe.name} {_size(networks['G'])}, {origins}: {folder}")
    if anew:
        out.show(f"{' and '.join(anew)} with new weights: give --discriminator FILE to import D.")
    run = shell_word(short_path(folder))
    out.show(f"more: minigan sample {run}, minigan train --resume {run} [--data SOURCE]")
    out.record({"recipe": recipe.name, "from": {name: path for name, (path, _) in files.items()}, "run": str(folder)})
    return 0


def _state_dicts(weights: Path, discriminator: Path | None) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """The file and the tensors of each network."""
    files: dict[str, tuple[str, dict[str, np.ndarray]]] = {}
    for path, meant in ((weights, "G"), (discriminator, "D")):
        if path is None:
            continue
        for name, tensors in read_state_dict(path).items():
            network = name or meant
            if network in files:
                raise ConfigError(f"{path} and {files[network][0]} both hold {network}. Give each network once.")
            files[network] = (str(path), tensors)
    if "G" not in files:
        raise CheckpointError(f"{weights}: expected the weights of G, found those of D only. Name G's file first.")
    return files


def _settings_of(
    source: str, tensors: dict[str, np.ndarray], kind: type[Recipe], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings of a DCGAN found from the shapes of its weights; for other recipes only that G knows no classes.

    Without a mapping layer, which is minigan's own, it is the paper's DCGAN, to be trained on as such.
    """
    shapes = weight_shapes(tensors, source=source)
    found: dict[str, Any] = {"condition": "none"} if issubclass(kind, NoiseRecipe) else {}
    if not issubclass(kind, DCGAN):
        return found
    inputs = shapes[0][1] if shapes and len(shapes[0]) == 2 else 0  # of a dense layer, (out, in): the mapping
    ladder = shapes[1:] if inputs else shapes
    if len(ladder) < 2 or any(len(shape) != 4 for shape in ladder):
        return found
    first, _, height, width = ladder[0]
    hidden, channels, _, _ = ladder[-1]
    if channels not in (1, 3):
        return found  # not a network for images: the comparison of shapes will say so
    halvings = len(ladder) - 1
    found |= {"mapping": first} if inputs else kind.presets["paper"]
    found |= {"width": hidden, "channels": channels, "size": f"{height << halvings}x{width << halvings}"}
    if given.get("condition", "none") == "none":
        found["latent"] = inputs or first
    return found


def _size(G: Sequential) -> str:
    return "x".join(map(str, G.output_shape))
