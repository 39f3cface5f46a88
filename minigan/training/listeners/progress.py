"""The progress bar, or lines of progress, with a word of verdict."""

from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.support.progress import Progress
from minigan.training.listeners.base import Listener, Record, Step, Training
from minigan.training.log_verdict import LogVerdict

__all__ = ["ShowProgress"]

PAST = 100  # records: at most so many are judged


class ShowProgress(Listener):
    """Shows each step, losses and verdict when they are logged, and passes each record to a program that reads JSON.

    Comes after the log, whose laps give the speed.

    Attributes:
        word: the verdict on the last records of the log; "" while there are too few.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.word = ""

    def on_start(self, training: Training) -> None:
        self.training = training
        self._verdict = LogVerdict(training.state.model.get("settings", {}))
        for line in (log_lines(training.state.folder / "log.jsonl") or [])[-PAST:]:  # of a training that is resumed
            if record := logged(line):
                self.word = self._verdict.add(record)

    def on_step(self, step: Step) -> None:
        clock = self.training.clock
        self.progress.advance(step.number, images_per_second=clock.images_per_second)
        if clock.lap_step == step.number:
            self.progress.values({name: float(value) for name, value in step.values.headline().items()}, word=self.word)

    def on_record(self, record: Record) -> None:
        self.progress.record(record)
        if "seconds" in record:  # not an evaluation's
            self.word = self._verdict.add(record)
