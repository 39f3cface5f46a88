"""A small DCGAN on the embedded digits, from noise to digits."""

from itertools import count
from typing import Any

import numpy as np
from drawing import side_by_side

from minigan.data import encode_png, open_dataset
from minigan.recipes import DCGAN
from minigan.training import AlternatingOptimizer, generate, to_pixels

NAME = "digits"
SHOWN = (20, 100, 300, 1000)


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """D's loss and G's, and the mean brightness of the fakes, at each step that is shown."""
    digits, rng = open_dataset("digits", seed=0), np.random.default_rng(0)
    recipe = DCGAN(width=16, condition="none", ema=0.0, batch_size=32)
    gan = recipe.assemble(digits.shape, backend="reference", rng=rng)
    assert isinstance(gan, AlternatingOptimizer)
    batches = (digits.read(rng.integers(4000, size=32)) for _ in count())
    z = recipe.noise(np.random.default_rng(1), 16)
    found: dict[str, list[Any]] = {"step": [], "d_loss": [], "g_loss": [], "brightness": []}
    pictures = []
    for step in range(1, (SHOWN[0] if short else SHOWN[-1]) + 1):
        values = gan.step(batches, rng)
        if step in SHOWN:
            fakes = to_pixels(generate(gan.G, z))
            found["step"].append(step)
            found["d_loss"].append(float(values.d_loss))
            found["g_loss"].append(float(values.g_loss))
            found["brightness"].append(float(fakes.mean()) / 255)
            grid = fakes.reshape(4, 4, 28, 28).transpose(0, 2, 1, 3).reshape(112, 112, 1)
            pictures.append(grid)
    return found, {f"{NAME}.png": encode_png(side_by_side(pictures))}


def draw(numbers: dict[str, Any]) -> dict[str, str]:  # noqa: ARG001 (pictures, made while measuring)
    return {}


def told(numbers: dict[str, Any]) -> list[str]:
    return [f"G's loss is {numbers['g_loss'][1]:.2f} after 100 steps and {numbers['g_loss'][-1]:.2f} after 1,000"]
