"""Worked examples of optimizers, and of kernels that change an array in place: compared number by number."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minigan.inspection.trials import Board, Trial, Worked, distinct
from minigan.nn import Dense, Optimizer
from minigan.nn.gradcheck import GradientCheck

__all__ = ["OptimizerTrial", "StepTrial"]

EXACT = 1e-12  # the largest relative difference of two ways to compute the same in float64


class StepTrial(Trial):
    """A kernel that changes an array in place.

    Args:
        kernel: its name.
        arrays: its arguments by name, the first of which is changed.
        options: numbers by name.
        formula: the changed array from the arguments, written with Python's numbers.
    """

    def __init__(
        self,
        kernel: str,
        arrays: Mapping[str, Sequence[float]],
        options: Mapping[str, float],
        formula: Callable[..., list[float]],
    ) -> None:
        self.kernel, self.arrays, self.options, self.formula = kernel, arrays, options, formula

    def run(self) -> Worked:
        """Computes and compares."""
        board = Board(self.kernel)
        arrays = {name: np.array(numbers, np.float64) for name, numbers in self.arrays.items()}
        expected = self.formula(*self.arrays.values(), *self.options.values())
        board.say(f"{self.kernel} with {', '.join(f'{name}={value:g}' for name, value in self.options.items())}:")
        board.show(arrays)
        getattr(board.backend, self.kernel)(*arrays.values(), **self.options)
        changed = next(iter(arrays))
        board.show({f"{changed} afterwards": arrays[changed]})
        board.judge(_same(f"{changed} afterwards", arrays[changed], expected))
        return board.worked(against="the formula, number by number")


class OptimizerTrial(Trial):
    """Three steps of an optimizer on five weights.

    Args:
        make: makes the optimizer of an arena.
        formula: the same update of one number: (w, dw, memory, step) -> (w, memory).
        names: of the memory.
    """

    def __init__(
        self,
        make: Callable[[Any], Optimizer],
        formula: Callable[[float, float, tuple[float, ...], int], tuple[float, tuple[float, ...]]],
        names: tuple[str, ...],
    ) -> None:
        self.make, self.formula, self.names = make, formula, names

    def run(self) -> Worked:
        """Computes and compares."""
        board = Board("the optimizer")
        layer = Dense(5, bias=False).build((1,), backend=board.backend, dtype="float64", rng=np.random.default_rng(0))
        layer.w.value[...] = [[1.0, -2.0, 0.5, 3.0, -1.0]]
        optimizer, grads = self.make(layer.arena), layer.gradients()
        board.path = type(optimizer).__name__
        board.backend.noted.clear()
        expected = [(w, (0.0,) * len(self.names)) for w in layer.w.value[0].tolist()]
        board.say(f"{optimizer.title().partition(', 0 steps')[0]} on five weights w:")
        board.show({"w": layer.w.value})
        for step in (1, 2, 3):
            dw = distinct((1, 5), 1.0, seed=step)
            grads.zero()
            grads[layer.w][...] = dw
            optimizer.step(grads)
            expected = [self.formula(w, d, memory, step) for (w, memory), d in zip(expected, dw[0], strict=True)]
            found = {f"w after step {step}": layer.w.value}
            found |= {name: optimizer.buffers[name][:5] for name in self.names}
            board.show({f"dw of step {step}": dw, **found})
            here = [np.concatenate([[w], memory]) for w, memory in expected]
            for index, (name, array) in enumerate(found.items()):
                board.judge(_same(name if index == 0 else f"{name} after step {step}", array, [n[index] for n in here]))
        return board.worked(against="the formula, number by number")


def _same(what: str, found: Any, expected: Sequence[float]) -> GradientCheck:
    error = float(np.abs(np.ravel(found) - expected).max() / max(np.abs(expected).max(), EXACT))
    return GradientCheck("optimizer", what, error, error <= EXACT)
