"""Runs: a recipe, its data and a folder put together; and the trained generators that they leave."""

from minigan.runs.config import RunConfig, read_config
from minigan.runs.folders import new_folder, run_folder
from minigan.runs.prepare import PreparedRun, prepare_again, prepare_run, resume, run_data, start
from minigan.runs.run import Run, open_run, train
from minigan.runs.session import carry_out, new_config, start_run, take_up
from minigan.runs.trained_generator import TrainedGenerator, load_generator, save_generator

__all__ = [
    "PreparedRun",
    "Run",
    "RunConfig",
    "TrainedGenerator",
    "carry_out",
    "load_generator",
    "new_config",
    "new_folder",
    "open_run",
    "prepare_again",
    "prepare_run",
    "read_config",
    "resume",
    "run_data",
    "run_folder",
    "save_generator",
    "start",
    "start_run",
    "take_up",
    "train",
]


def __dir__() -> list[str]:
    return sorted(__all__)
