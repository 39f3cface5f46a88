"""All listeners as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigan.training.listeners.base import Listener, Record, Step, Training

__all__ = ["Everyone"]


class Everyone(Listener):
    """All listeners as one: passes each event to them in order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = tuple(listeners)

    def on_start(self, training: Training) -> None:
        for listener in self.listeners:
            listener.on_start(training)

    def is_due(self, step: Step) -> bool:
        asked = [listener.is_due(step) for listener in self.listeners]  # ask each of them, at each step
        return any(asked)

    def on_step(self, step: Step) -> None:
        for listener in self.listeners:
            listener.on_step(step)

    def on_record(self, record: Record) -> None:
        for listener in self.listeners:
            listener.on_record(record)

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        for listener in self.listeners:
            listener.on_picture(step, picture)

    def on_checkpoint(self, step: int, path: Path) -> None:
        for listener in self.listeners:
            listener.on_checkpoint(step, path)

    def on_end(self) -> None:
        for listener in self.listeners:
            listener.on_end()
