"""Listeners of the trainer: the base class, and the events that they receive."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.training.learner import Values
from minigan.training.listeners.clock import Clock
from minigan.training.state import TrainingState

__all__ = ["AnyListener", "Listener", "Record", "Step", "Training"]

Record = dict[str, Any]  # a line of the log: JSON can hold it


class Step(NamedTuple):
    """A step that was just done.

    Attributes:
        number: counts from 1.
        values: the losses and other values; scalar arrays of the backend. On a GPU they may still be in the making:
            return True from `is_due` in order to read them.
        last: whether it is the last step of the training.
    """

    number: int
    values: Values
    last: bool

    def is_multiple(self, every: int) -> bool:
        """Whether the step's number is a multiple of `every`; never if that is 0."""
        return every > 0 and self.number % every == 0


class Listener:
    """Base class of listeners, which the trainer calls at each event. Override the events that you need.

        class Losses(minigan.training.Listener):
            def on_record(self, record):
                print(record)       # {"step": 20, "d_loss": 1.3, "g_loss": 0.7, ...}

        minigan.train("dcgan", listeners=[Losses()])

    The log, the progress bar, pictures, evaluation and checkpoints are listeners, too; see
    `minigan.training.listeners`. At each step the order is: log, progress, pictures, evaluation, your listeners, logs
    for other programs, checkpoints.

    An exception in your listener ends the training with a `ListenerError`, after a checkpoint has been saved.
    """

    def on_start(self, training: "Training") -> None:
        """Training begins, or is resumed. `training.state` has the networks and the run's folder."""

    def is_due(self, step: Step) -> bool:  # noqa: ARG002
        """Whether `on_step` reads numbers of this step: then the trainer waits for the GPU first."""
        return False

    def on_step(self, step: Step) -> None:
        """A step was done."""

    def on_record(self, record: Record) -> None:
        """A record was added to the log: `step`, and losses and rates or the figures of an evaluation."""

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        """A sample picture was drawn and saved: uint8, (H, W, C), C = 1 for grayscale or 3 for RGB."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """A checkpoint was written to that file."""

    def on_end(self) -> None:
        """Training has ended: it is complete, interrupted, or stopped by an error."""


@dataclass
class Training:
    """The running training, as listeners receive it in `on_start`.

    Attributes:
        state: networks, data, number of steps done, folder.
        everyone: all listeners, for a listener that sends an event itself.
        say: shows a line to the user.
        clock: time and speed.
    """

    state: TrainingState
    everyone: Listener
    say: Callable[[str], None]
    clock: Clock

    def __repr__(self) -> str:
        return f"<Training: {self.state!r}>"


AnyListener = Listener | Callable[[Record], object]  # an object, or a function that is called with each record
