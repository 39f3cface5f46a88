"""Slope of a critic over a training on the ring: free, penalized, or spectrally normalized."""

from typing import Any

import numpy as np
from drawing import Axis, lines
from ring_training import drawn, training

from minigan.data import ring
from minigan.nn import Sequential

NAME = "slopes"
STEPS, EVERY = 1000, 50
COMMON = {"loss": "wasserstein", "beta1": 0.0, "beta2": 0.9}
GAMES: dict[str, dict[str, Any]] = {
    "no penalty": {},
    "WGAN-GP": {"penalty": "wgan-gp", "penalty_weight": 10.0},
    "R1, gamma 1": {"penalty": "r1", "penalty_weight": 1.0},
}


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Mean |dD/dx| at points between real and fake, over the steps of each game."""
    found: dict[str, Any] = {}
    for name, settings in GAMES.items():
        games = training(steps=EVERY if short else STEPS, every=EVERY, **{**COMMON, **settings})
        found[name] = [slope(gan.D, drawn(gan, 256)) for _, gan in games]
    return found, {}


def slope(D: Sequential, fake: np.ndarray) -> float:
    rng = np.random.default_rng(2)
    real = ring(count=256).read(np.arange(256))
    x = real + rng.uniform(size=(256, 1)).astype(np.float32) * (fake - real)
    s, tape = D.forward(x, train=False)
    dx = D.backward(np.ones_like(s), tape, grads=None)
    return float(np.linalg.norm(dx, axis=1).mean())


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    curves = {name: (range(0, STEPS + 1, EVERY), slopes) for name, slopes in numbers.items()}
    x, y = Axis("step", 0, STEPS), Axis("mean slope |∇D|", 0.1, 10, log=True)
    return {f"{NAME}.svg": lines("The critic's slope between real and fake", curves, x, y)}


def told(numbers: dict[str, Any]) -> list[str]:
    free, penalized, flat = (slopes[-1] for slopes in numbers.values())
    return [f"slope is {free:.1f} after 1,000 steps", f"WGAN-GP holds it at {penalized:.2f}, R1 at {flat:.2f}"]
