"""The first GAN on the ring: what D has learned, next to the best D against the same G."""

from typing import Any

import numpy as np
from drawing import plane, side_by_side
from ring_training import drawn, modes, training

from minigan.data import encode_png, ring
from minigan.live.known_optimum import fake_density, mixture_density, optimal_reading
from minigan.losses import NonSaturating, probability

NAME = "first-gan"
SHOWN = (0, 200, 1000, 4000)
EXTENT, SIDE, SCALE, BLUR = 1.5, 60, 3, 0.06


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Modes found, D's mean probability on real and on fake, at each step that is shown."""
    data, axis = ring(), np.linspace(-EXTENT, EXTENT, SIDE)
    real = data.read(np.arange(300))
    p = mixture_density(axis, data.centers, sigma=data.sigma, blur=BLUR)
    found: dict[str, list[Any]] = {"step": [], "modes": [], "on real": [], "on fake": []}
    rows: list[list[np.ndarray]] = [[], []]
    for step, gan in training(steps=SHOWN[1] if short else SHOWN[-1], every=SHOWN[1], loss="non-saturating"):
        if step not in SHOWN:
            continue
        fake = drawn(gan)
        found["step"].append(step)
        found["modes"].append(modes(gan))
        for name, x in (("on real", real), ("on fake", fake)):
            found[name].append(float(probability(gan.D.forward(x, train=False)[0]).mean()))
        places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
        learned = probability(gan.D.forward(places, train=False)[0]).reshape(SIDE, SIDE)
        best = optimal_reading(NonSaturating(), p, fake_density(axis, fake, blur=BLUR))
        assert best is not None
        for row, reading in zip(rows, (learned, best), strict=True):
            row.append(plane(reading, real=real, fake=fake[:300], extent=EXTENT, scale=SCALE))
    upper, lower = (side_by_side(row) for row in rows)
    gap = np.full((6, upper.shape[1], 3), 255, np.uint8)
    return found, {f"{NAME}.png": encode_png(np.concatenate([upper, gap, lower]))}


def draw(numbers: dict[str, Any]) -> dict[str, str]:  # noqa: ARG001 (a picture of points, made while measuring)
    return {}


def told(numbers: dict[str, Any]) -> list[str]:
    return ["at step " + ", ".join(f"{step:,}" for step in numbers["step"][:-1]) + f" and {numbers['step'][-1]:,}"]
