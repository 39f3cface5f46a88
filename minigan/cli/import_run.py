"""The command `minigan import`: a run from the weights of PyTorch networks."""

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigan.cli.settings import chosen_settings
from minigan.errors import CheckpointError, ConfigError
from minigan.export import load_state_dict, read_state_dict, weight_shapes
from minigan.nn.network import Sequential
from minigan.recipes import DCGAN, CycleGAN, NoiseRecipe, Recipe, get_recipe
from minigan.runs.config import new_config
from minigan.runs.folders import new_folder
from minigan.runs.prepare import create_folder, prepare_run
from minigan.support.output import Output
from minigan.support.representation import short_path
from minigan.support.words import shell_word

__all__ = ["import_run"]

Tensors = dict[str, np.ndarray]
Files = dict[str, tuple[str, Tensors]]  # the file and the tensors of each network


def import_run(options: argparse.Namespace) -> int:
    """Makes a run from the weights of PyTorch networks: at step 0, with new optimizers.

    Settings of a DCGAN or a CycleGAN that are not given are found from the weights' shapes.
    """
    settings = chosen_settings(options)
    kind = get_recipe(options.recipe)
    first = kind.generator_names[0]
    files = _state_dicts(_named_files(options, kind), first)
    recipe = kind.from_settings({**_settings_of(files, kind, kind.with_preset(settings)), **settings})
    config = new_config(
        recipe, data=options.data, seed=options.seed, backend=options.backend, precision=options.precision
    )
    prepared = prepare_run(config, options.out or new_folder(recipe.name, options.weights.stem))
    state = prepared.trainer.state
    networks = state.learner.networks
    out = Output.of(options)
    with contextlib.closing(prepared.dataset):
        for name, (path, tensors) in files.items():
            if name not in networks:
                raise ConfigError(f"{recipe.name} has no {name}: expected one of {', '.join(networks)}.")
            load_state_dict(networks[name], tensors, source=path)
        for average in state.averages.values():
            average.restart()
        with create_folder(prepared, numbered=options.out is None):
            prepared.trainer.checkpoints.save()
    origins = " and ".join(f"{name} from {files[name][0]}" for name in networks if name in files)
    folder = state.folder
    out.show(f"{recipe.name} {_size(networks[first])}, {origins}: {folder}")
    if anew := [name for name in networks if name not in files]:
        remedy = "--discriminator FILE" if anew == ["D"] else f"--networks {' '.join(f'{name}=FILE' for name in anew)}"
        what = anew[0] if len(anew) == 1 else "them"
        out.show(f"{' and '.join(anew)} with new weights: give {remedy} to import {what}.")
    run = shell_word(short_path(folder))
    out.show(f"more: minigan sample {run}, minigan train --resume {run} [--data SOURCE]")
    out.record({"recipe": recipe.name, "from": {name: path for name, (path, _) in files.items()}, "run": str(folder)})
    return 0


def _named_files(options: argparse.Namespace, kind: type[Recipe]) -> list[tuple[Path, str, bool]]:
    """Each file with the network that it is meant for, and whether the user has named that.

    Raises:
        ConfigError: --networks has another form, or D is given to a recipe with several.
    """
    files = [(options.weights, kind.generator_names[0], False)]
    if options.discriminator is not None:
        if len(kind.generator_names) > 1:
            raise ConfigError(f"{kind.name} has no network D, got --discriminator. Write --networks NAME=FILE.")
        files.append((options.discriminator, "D", False))
    for text in options.networks:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"--networks expects NAME=FILE, got {text!r}. Write --networks D=netD.safetensors.")
        files.append((Path(file), name, True))
    return files


def _state_dicts(named: list[tuple[Path, str, bool]], first: str) -> Files:
    """The tensors of each network.

    Args:
        named: each file with the network it is meant for, and whether the user has named that.
        first: the name of the first generator, which must be among them.
    Raises:
        CheckpointError, ConfigError: a file is damaged, or holds others; or a network is missing, or given twice.
    """
    files: Files = {}
    for path, meant, chosen in named:
        found = read_state_dict(path)
        if chosen and len(found) > 1:
            raise ConfigError(f"{path} holds {' and '.join(found)}, got it as {meant} alone. Save them one by one.")
        for name, tensors in found.items():
            network = meant if chosen or (name == "G" and first != "G") else name or meant
            if network in files:
                raise ConfigError(f"{path} and {files[network][0]} both hold {network}. Give each network once.")
            files[network] = (str(path), tensors)
    if first not in files:
        others = " and ".join(files)
        raise CheckpointError(
            f"{named[0][0]}: expected the weights of {first}, found those of {others} only. Name {first}'s file first."
        )
    return files


def _settings_of(files: Files, kind: type[Recipe], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a DCGAN or a CycleGAN found from its weights; for other recipes only that G knows no classes."""
    if issubclass(kind, CycleGAN):
        return _cyclegan_settings(files)
    source, tensors = files[kind.generator_names[0]]
    return _noise_settings(source, tensors, kind, given)


def _cyclegan_settings(files: Files) -> dict[str, Any]:
    """Width, blocks and channels of the generators, width and halvings of the discriminators."""
    shapes = {name: weight_shapes(tensors, source=source) for name, (source, tensors) in files.items()}
    found: dict[str, Any] = {}
    G = shapes["G_AB"]
    ends = 6  # convolutions outside of the blocks, which have two each
    if len(G) >= ends + 2 and not len(G) % 2 and all(len(shape) == 4 for shape in G):
        a_channels, b_channels = G[0][1], G[-1][0]
        found |= {"width": G[0][0], "blocks": (len(G) - ends) // 2}
        if {a_channels, b_channels} <= {1, 3}:
            found |= {"a_channels": a_channels, "b_channels": b_channels}
            found |= {"identity": 0.0} if a_channels != b_channels else {}
    D = shapes.get("D_A") or shapes.get("D_B")
    if D and 3 <= len(D) <= 5 and all(len(shape) == 4 for shape in D):
        found |= {"d_width": D[0][0], "halvings": len(D) - 2}
    return found


def _noise_settings(source: str, tensors: Tensors, kind: type[Recipe], given: Mapping[str, Any]) -> dict[str, Any]:
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
