"""Worked examples: small arrays, everything computed from them, and each gradient checked before anything is shown.

A check compares with central differences in float64; an optimizer's step is compared with its formula evaluated number
by number. If one fails, `GradientCheckError` is raised: wrong numbers are never shown. The kinds of trials are in
`layer_trials`, `loss_trials` and `optimizer_trials`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minigan.errors import GradientCheckError
from minigan.inspection.document import Block, Facts, Matrices, Text
from minigan.inspection.noted_backend import NotedBackend
from minigan.nn.gradcheck import GradientCheck, check_gradient

__all__ = ["Board", "Trial", "Worked", "distinct", "small_numbers"]


class Worked(NamedTuple):
    """A worked example, checked.

    Attributes:
        blocks: to show.
        checks: one for each array that was checked.
        kernels: the backend's, in the order of their first calls.
        arrays: by name.
    """

    blocks: list[Block]
    checks: list[GradientCheck]
    kernels: tuple[str, ...]
    arrays: dict[str, np.ndarray]

    def record(self) -> dict[str, Any]:
        """Numbers and texts, which JSON can hold."""
        return {
            "arrays": {name: array.tolist() for name, array in self.arrays.items()},
            "checks": [{"gradient": check.what, "error": check.error} for check in self.checks],
            "kernels": list(self.kernels),
        }


class Trial(ABC):
    """Base of the makers of worked examples."""

    @abstractmethod
    def run(self) -> Worked:
        """Computes and checks.

        Raises:
            GradientCheckError: a gradient is wrong.
        """


class Board:
    """Collects the blocks, the arrays and the checks of an example.

    Args:
        path: the thing's name, for errors.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.backend = NotedBackend()
        self.rng = np.random.default_rng(0)
        self.blocks: list[Block] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.checks: list[GradientCheck] = []

    def say(self, text: str) -> None:
        self.blocks.append(Text(text))

    def show(self, arrays: Mapping[str, Any]) -> None:
        """Shows arrays as they are now, by name."""
        kept = {name: np.array(array, dtype=np.float64) for name, array in arrays.items()}
        self.arrays |= kept
        flat = [item for name, array in kept.items() for item in _planes(name, array)]
        self.blocks.append(Matrices(flat))

    def check(
        self, what: str, function: Callable[[], float], array: np.ndarray, gradient: Any, *, scale: float = 0.0
    ) -> None:
        """Compares a gradient with central differences of a function of the array.

        Args:
            scale: the size of the terms that the function adds up.
        """
        gradient = np.asarray(gradient)
        self.judge(check_gradient(function, array, gradient, path=self.path, what=what, rng=self.rng, scale=scale))

    def judge(self, found: GradientCheck) -> None:
        self.checks.append(found)
        if not found.passed:
            raise GradientCheckError(
                f"{self.path}: {found.what} of the worked example is wrong: relative error {found.error:.1e}. "
                "Nothing is shown; please report it, or mend the layer if it is your own."
            )

    def worked(self, *, against: str = "central differences in float64") -> Worked:
        rows = [(check.what, f"largest relative error {check.error:.1e}") for check in self.checks]
        self.blocks += [Text(f"Checked with {against}:"), Facts(rows)]
        kernels = tuple(dict.fromkeys(self.backend.noted))
        return Worked(self.blocks, self.checks, kernels, self.arrays)


def distinct(shape: tuple[int, ...], scale: float | None = None, *, seed: int) -> np.ndarray:
    """Different numbers, none of them 0, so that no layer has its kink or a tie there.

    Args:
        scale: the largest; None for whole numbers.
    """
    size = int(np.prod(shape))
    half = (size + 1) // 2
    numbers = np.array([*range(-half, 0), *range(1, half + 1)][:size], dtype=np.float64)
    mixed = np.random.default_rng(seed).permutation(numbers).reshape(shape)
    return mixed if scale is None else mixed * (scale / half)


def small_numbers(shape: tuple[int, ...], *, seed: int) -> np.ndarray:
    """Whole numbers from -2 to 2."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float64)


def _planes(name: str, array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """An array as matrices: a filter for each channel in and out, an image for each example and channel."""
    if array.ndim <= 2:
        return [(name, np.atleast_2d(array))]
    if array.ndim == 3:
        return [(f"{name}[{i}]", plane) for i, plane in enumerate(array)]
    if not re.search(r"(^|[.(])w\)?$", name):
        array = np.moveaxis(array, 0, 2)  # (N, H, W, C) with the examples where a filter has its input channels
    names = [""] if array.shape[2:] == (1, 1) else [f"[{c},{k}]" for c, k in np.ndindex(*array.shape[2:])]
    planes = array.reshape(*array.shape[:2], -1)
    return [(name + place, planes[..., i]) for i, place in enumerate(names)]
