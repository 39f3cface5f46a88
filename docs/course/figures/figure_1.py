"""Error of a numeric gradient over its step: too large a step bends, too small a one rounds."""

from typing import Any

import numpy as np
from drawing import Axis, lines

NAME = "numeric-gradient"
STEPS = [10.0**power for power in np.arange(-14, 0.01, 0.5)]


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:  # noqa: ARG001 (it is quick)
    """The relative error of central differences of tanh(1 + h) in float64 and float32, for each h."""
    errors: dict[str, list[float]] = {}
    for dtype in (np.float64, np.float32):
        exact = 1 - np.tanh(1.0) ** 2
        errors[np.dtype(dtype).name] = [max(abs(_central(dtype(step), dtype) - exact) / exact, 1e-16) for step in STEPS]
    return {"h": STEPS, **errors}, {}


def _central(h: Any, dtype: Any) -> float:
    one = dtype(1)
    return float((np.tanh(one + h) - np.tanh(one - h)) / (2 * h))


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    curves = {name: (numbers["h"], numbers[name]) for name in ("float64", "float32")}
    x, y = Axis("step h", 1e-14, 1, log=True), Axis("relative error", 1e-12, 10, log=True)
    return {f"{NAME}.svg": lines("Error of (L(x + h) - L(x - h)) / 2h for L = tanh at x = 1", curves, x, y)}


def expect_same(kept: dict[str, Any], made: dict[str, Any]) -> None:
    """Compares errors by their order of magnitude: rounding differs from machine to machine."""
    for name in ("float64", "float32"):
        decades = np.abs(np.log10(np.divide(kept[name], made[name])))
        assert np.median(decades) < 0.5, name
        assert decades[-5:].max() < 0.01, name
