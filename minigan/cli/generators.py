"""The generator that a command draws with."""

import argparse

from minigan.errors import ConfigError
from minigan.recipes import Recipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.unpaired import DIRECTIONS

__all__ = ["chosen_generator", "generator_name", "run_recipe"]


def chosen_generator(options: argparse.Namespace) -> TrainedGenerator:
    """The generator that the options name, on their backend."""
    return load_generator(
        options.run,
        backend=options.backend,
        precision=options.precision,
        average=not options.last_weights,
        name=generator_name(options),
    )


def generator_name(options: argparse.Namespace) -> str:
    """The name of the generator that --network or --direction asks for; "" for the first.

    Raises:
        ConfigError: they disagree, or the recipe has no directions.
    """
    network, direction = options.network or "", options.direction
    if direction is None:
        return network
    named, recipe = DIRECTIONS[direction], run_recipe(options)
    if named not in recipe.generator_names:
        raise ConfigError(f"{recipe.name} has one generator, got --direction {direction}. Leave it out.")
    if network not in ("", named):
        raise ConfigError(f"--direction {direction} is that of {named}, got --network {network}. Give one of them.")
    return named


def run_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe that trained a run's generators."""
    return load_generator(options.run, backend="reference").recipe
