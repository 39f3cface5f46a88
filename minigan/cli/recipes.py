"""The command `minigan recipes`, which lists or explains recipes, and the settings of the command line."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.recipes import RECIPES, Recipe, get_recipe
from minigan.recipes.bases.settings import preset_in_words
from minigan.runs.pretrained import PREFIX, PRETRAINED
from minigan.support.output import Output

__all__ = ["parse_settings", "recipes"]

NO_DOCSTRINGS = "Python -OO leaves explanations out. Run it without -OO."


def recipes(options: argparse.Namespace) -> int:
    """Lists the recipes, or explains one."""
    out = Output.of(options)
    if options.recipe is None:
        _list(out)
    else:
        recipe = get_recipe(options.recipe).from_settings(parse_settings(options.set))
        _explain(recipe, get_backend(options.backend, precision=options.precision), out)
    return 0


def _list(out: Output) -> None:
    # Without docstrings a dataclass describes itself by its arguments, at length.
    missing = sys.flags.optimize > 1
    summaries = {name: "" if missing else (recipe.__doc__ or "").partition("\n")[0] for name, recipe in RECIPES.items()}
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        out.show(f"{name:{width}} {summary}".rstrip())
    if missing:
        out.show(f"\n{NO_DOCSTRINGS}")
    out.show("\nTrained already, for sample, evaluate and export in place of a run:")
    for name, trained in PRETRAINED.items():
        out.show(f"{PREFIX}{name:{width}} {trained.about}")
    out.show("\nminigan recipes RECIPE explains one; minigan train RECIPE --set KEY=VALUE changes its settings.")
    ready = {f"{PREFIX}{name}": trained.about for name, trained in PRETRAINED.items()}
    out.record({"recipes": summaries, "pretrained": ready})


def _explain(recipe: Recipe, backend: Backend, out: Output) -> None:
    kind = type(recipe)
    networks = _networks(recipe, backend)
    text = (sys.modules[kind.__module__].__doc__ or NO_DOCSTRINGS).strip()
    out.show(f"{text}\n")
    settings = {
        name: {"value": getattr(recipe, name), "default": default, "meaning": kind.meanings.get(name, "")}
        for name, default in kind().settings().items()
    }
    out.show("Settings, their defaults and what they mean:")
    width = max(len(f"{name} = {of['default']}") for name, of in settings.items())
    for name, of in settings.items():
        default = f"{name} = {of['default']}"
        out.show(f"  {default:{width}}  {of['meaning']}".rstrip())
    if kind.presets:
        out.show("\nPresets, each a name for some settings; those set beside it win:")
    for name, chosen in kind.presets.items():
        out.show(f"  preset={name}  {preset_in_words(chosen)}")
    out.show("\n" + "\n\n".join(network.summary(batch_size=recipe.batch_size) for network in networks.values()))
    shapes = {name: _shape(network) for name, network in networks.items()}
    out.record({"name": recipe.name, "text": text, "settings": settings, "presets": kind.presets, "networks": shapes})


def _networks(recipe: Recipe, backend: Backend) -> Mapping[str, Sequential]:
    """The recipe's networks, for images of its size and number of channels: RGB by default."""
    image_shape = (*recipe.fit_size(None), recipe.channels or 3)
    return recipe.assemble(image_shape, backend=backend, rng=np.random.default_rng(0)).networks


def _shape(network: Sequential) -> dict[str, Any]:
    return {"input": network.input_shape, "output": network.output_shape, "parameters": len(network.arena)}


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Parses words KEY=VALUE to a dictionary.

    Raises:
        ConfigError: a word has another form.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            remedy = " Put the recipe before --set." if text in RECIPES else ""
            raise ConfigError(f"--set expects KEY=VALUE, got {text!r}.{remedy}")
        pairs[key] = value
    return pairs
