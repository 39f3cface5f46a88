"""Generator losses where D is sure, and the Dirac-GAN with and without R1."""

import math
from typing import Any

import numpy as np
from drawing import Axis, lines

from minigan.losses import get_loss

NAME = "saturation"
LOSSES = {"minimax": "log(1 - D)", "non-saturating": "-log D", "least-squares": "least squares", "hinge": "hinge"}
RATE, GAMMA, TURNS = 0.1, 0.5, 300


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:  # noqa: ARG001 (it is quick)
    """|dL/ds| of each loss of G over D's logit s, and the paths of the Dirac-GAN in the plane of theta and psi."""
    logits = np.linspace(-6, 6, 49)
    slopes = {name: np.abs([get_loss(name).generator(np.array([[s]]))[1].item() for s in logits]) for name in LOSSES}
    found: dict[str, Any] = {"logits": logits.tolist(), **{name: slope.tolist() for name, slope in slopes.items()}}
    for gamma in (0.0, GAMMA):
        path = [(1.0, 0.0)]
        for _ in range(TURNS):
            path.append(_step(*path[-1], gamma))
        found[f"gamma {gamma:g}"] = [list(coordinates) for coordinates in zip(*path, strict=True)]
    return found, {}


def _step(theta: float, psi: float, gamma: float) -> tuple[float, float]:
    """Both sides at once: D descends softplus(psi theta) and the penalty, G descends -softplus(psi theta)."""
    on_fake = 1 / (1 + math.exp(-psi * theta))
    return theta + RATE * on_fake * psi, psi - RATE * (on_fake * theta + gamma * psi)


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    curves = {words: (numbers["logits"], numbers[name]) for name, words in LOSSES.items()}
    x, y = Axis("D's logit s for a fake", -6, 6), Axis("|dL/ds|", 0, 1.5)
    paths = {
        "without penalty": tuple(numbers["gamma 0"]),
        f"R1, gamma {GAMMA:g}": tuple(numbers[f"gamma {GAMMA:g}"]),
    }
    theta, psi = Axis("θ, the place of the fake", -2, 2), Axis("ψ, D's slope", -2, 2)
    return {
        f"{NAME}.svg": lines("Gradient of G's loss where D is sure (left) and fooled (right)", curves, x, y),
        "dirac-gan.svg": lines("The Dirac-GAN from (1, 0): the real point lies at θ = 0", paths, theta, psi),
    }
