"""Runs: a recipe, its data and a folder put together; and the trained generators that they leave."""

from minigan.runs.config import RunConfig, read_config
from minigan.runs.run import Run, new_folder, open_run, reopen_run, resume, run_data, run_folder, start
from minigan.runs.trained_generator import TrainedGenerator, load_generator, save_generator

__all__ = [
    "Run",
    "RunConfig",
    "TrainedGenerator",
    "load_generator",
    "new_folder",
    "open_run",
    "read_config",
    "reopen_run",
    "resume",
    "run_data",
    "run_folder",
    "save_generator",
    "start",
]
