"""The progress bar, or lines of progress."""

from minigan.support.progress import Progress
from minigan.training.listeners.base import Listener, Record, Step, Training

__all__ = ["ShowProgress"]


class ShowProgress(Listener):
    """Shows each step, the losses when they are logged, and passes each record to a program that reads JSON.

    Comes after the log, whose laps give the speed.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_start(self, training: Training) -> None:
        self.training = training

    def on_step(self, step: Step) -> None:
        clock = self.training.clock
        self.progress.advance(step.number, images_per_second=clock.images_per_second)
        if clock.lap_step == step.number:
            self.progress.values({name: float(value) for name, value in step.values.headline().items()})

    def on_record(self, record: Record) -> None:
        self.progress.record(record)
