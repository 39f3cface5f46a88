"""Listeners of the trainer: the log, progress, pictures, evaluation, checkpoints, and a user's own."""

from minigan.training.listeners.base import AnyListener, Listener, Record, Step, Training
from minigan.training.listeners.checkpoints import Checkpoints
from minigan.training.listeners.evaluation import Draw, Draws, Evaluation, Measure
from minigan.training.listeners.log import Log
from minigan.training.listeners.pictures import Pictures
from minigan.training.listeners.progress import ShowProgress

__all__ = [
    "AnyListener",
    "Checkpoints",
    "Draw",
    "Draws",
    "Evaluation",
    "Listener",
    "Log",
    "Measure",
    "Pictures",
    "Record",
    "ShowProgress",
    "Step",
    "Training",
]
