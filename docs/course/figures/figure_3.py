"""Filter taps that reach each output pixel of a transposed convolution: even, or a checkerboard."""

from typing import Any

import numpy as np
from drawing import table

from minigan.nn import Constant, ConvTranspose2D

NAME = "checkerboard"
FILTERS = (3, 4)


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:  # noqa: ARG001 (it is quick)
    """Counts: a filter of ones on an image of ones adds one for each tap."""
    counts = {}
    for side in FILTERS:
        layer = ConvTranspose2D(1, side, stride=2, bias=False, init=Constant(1))
        layer.build((4, 4, 1), backend="reference", dtype="float64", rng=np.random.default_rng(0))
        y, _ = layer.forward(np.ones((1, 4, 4, 1)), train=False)
        counts[f"{side}x{side}"] = y[0, :, :, 0].tolist()
    return counts, {}


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    grids = {f"filter {name}, stride 2": np.array(counts) for name, counts in numbers.items()}
    return {f"{NAME}.svg": table("Taps that reach each output pixel, 4x4 pixels to 8x8", grids)}
