"""Evaluation during training: figures in the log, and the checkpoint that is best by one of them."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from minigan.evaluation import rank
from minigan.training.listeners.base import Listener, Step, Training
from minigan.training.listeners.checkpoints import Checkpoints
from minigan.training.listeners.log import has_figures
from minigan.training.sampling import generate

__all__ = ["Draw", "Draws", "Evaluation", "Measure"]

Draw = Callable[[np.ndarray, np.ndarray | None], np.ndarray]  # (z, condition) -> G's outputs, in host memory
Draws = Mapping[str, Draw]  # of each generator, by its name, with its average if there is one
Measure = Callable[[Draws, Callable[[str], None]], dict[str, float]]  # (draws, say) -> figures


class Evaluation(Listener):
    """Evaluates the generators every so many steps, and after the last. The time it takes does not count as training.

    Args:
        measure: evaluates what the generators draw, and returns figures.
        every: steps from evaluation to evaluation.
        checkpoints: keeps the best one.
        best: the figure by which checkpoints are compared; "" is the first.
        as_in_training: size of batches drawn with Dropout and their own statistics, see `generate`; 0 draws without.
    """

    def __init__(
        self,
        measure: Measure,
        *,
        every: int,
        checkpoints: Checkpoints,
        best: str = "",
        as_in_training: int = 0,
    ) -> None:
        self.measure, self.every, self.checkpoints, self.best = measure, every, checkpoints, best
        self.as_in_training = as_in_training

    def on_start(self, training: Training) -> None:
        self.training = training

    def is_due(self, step: Step) -> bool:
        return step.last or step.is_multiple(self.every)

    def on_step(self, step: Step) -> None:
        if self.is_due(step):
            with self.training.clock.paused():
                self._evaluate(step.number)

    def make_up(self) -> None:
        """Evaluates the present step, if the log lacks its figures: the training may have ended in between."""
        state = self.training.state
        step, log = state.step, state.folder / "log.jsonl"
        if step and step % self.every == 0 and not state.ranks.from_first(has_figures(log, step)):
            with self.training.clock.paused():
                self._evaluate(step)

    def _evaluate(self, step: int) -> None:
        state, say = self.training.state, self.training.say
        figures = self.measure({name: self._draw(name) for name in state.learner.generators}, say)
        if not state.ranks.is_first:
            self.training.everyone.on_record({"step": step, **figures})
            return
        best, by = self.checkpoints.files.best_figures(), self.best
        is_best = best is None or best.keys() != figures.keys() or rank(figures, by=by) > rank(best, by=by)
        text = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        say(f"step {step}: {text}" + ", the best so far" * is_best)
        self.training.everyone.on_record({"step": step, **figures})
        if is_best:
            self.checkpoints.save_best(figures)

    def _draw(self, name: str) -> Draw:
        """Draws with a generator, or with its average if there is one."""
        state = self.training.state
        average = state.averages.get(name)
        if not self.as_in_training:
            return partial(generate, state.learner.networks[name]) if average is None else average.draw
        if average is not None:
            average.settle()
        network = state.learner.networks[name] if average is None else average.network
        rng = np.random.default_rng(0)
        return partial(generate, network, batch_size=self.as_in_training, batch_statistics=True, rng=rng)
