"""The choice of a generator, of a recipe with several."""

import argparse

from minigan.errors import ConfigError
from minigan.runs.unpaired import DIRECTIONS

__all__ = ["generator_name"]


def generator_name(options: argparse.Namespace) -> str:
    """The name of the generator that --network or --direction asks for; "" for the first.

    Raises:
        ConfigError: they disagree.
    """
    network, direction = options.network or "", options.direction
    if direction is None:
        return network
    if network not in ("", DIRECTIONS[direction]):
        raise ConfigError(
            f"--direction {direction} is that of {DIRECTIONS[direction]}, got --network {network}. Give one of them."
        )
    return DIRECTIONS[direction]
