"""Runs: a recipe, its data and a folder put together; and the trained generators that they leave."""

from minigan.runs.config import RunConfig, read_config
from minigan.runs.new_run import train
from minigan.runs.run import Run, open_run
from minigan.runs.trained_generator import TrainedGenerator, load_generator, save_generator

__all__ = [
    "Run",
    "RunConfig",
    "TrainedGenerator",
    "load_generator",
    "open_run",
    "read_config",
    "save_generator",
    "train",
]


def __dir__() -> list[str]:
    return sorted(__all__)
