"""The log: `log.jsonl`, one JSON object for each logged step."""

import json
from pathlib import Path

from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.errors import OutputError
from minigan.training.gradient_norms import gradient_norms
from minigan.training.listeners.base import Listener, Record, Step, Training

__all__ = ["Log", "has_figures"]


class Log(Listener):
    """Logs every so many steps, the first and the last: passes a record to all listeners, and writes it to the file.

    Args:
        every: steps from record to record.
        gradients: steps between records that include each layer's gradient norm; 0 is never.
    """

    def __init__(self, *, every: int, gradients: int = 0) -> None:
        self.every, self.gradients = every, gradients

    def on_start(self, training: Training) -> None:
        self.training = training

    def is_due(self, step: Step) -> bool:
        first = step.number == 1
        return first or step.last or step.is_multiple(self.every) or step.is_multiple(self.gradients)

    def on_step(self, step: Step) -> None:
        if self.is_due(step):
            self.training.clock.lap(step.number)
            self.training.everyone.on_record(self._measured(step))

    def on_record(self, record: Record) -> None:
        if not self.training.state.ranks.is_first:
            return
        path = self.training.state.folder / "log.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError.of(path, error) from None

    def _measured(self, step: Step) -> Record:
        learner, clock = self.training.state.learner, self.training.clock
        record: Record = {
            "step": step.number,
            **{name: float(value) for name, value in step.values._asdict().items()},
            **learner.rates(),
            **learner.measures(),
            "images_per_second": round(clock.images_per_second, 1),
            "seconds": round(clock.seconds, 3),
        }
        if (ranks := self.training.state.ranks.size) > 1:
            record["ranks"] = ranks
        if (memory := learner.G.kernels.memory()) is not None:
            record["gpu_memory"] = memory.held
        if step.is_multiple(self.gradients):
            record["gradients"] = gradient_norms(learner)
        return record


def has_figures(path: Path, step: int) -> bool:
    """Whether a log has the figures of that step's evaluation: neither losses with a speed, nor a change by hand."""
    records = map(logged, log_lines(path) or ())
    return any(record["step"] == step and not {"seconds", "live"} & record.keys() for record in records if record)
