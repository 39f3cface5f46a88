"""Fréchet distance of two samples of one distribution: it is not 0, and it falls with their number."""

from typing import Any

import numpy as np
from drawing import Axis, lines

from minigan.data import open_dataset
from minigan.evaluation import PixelFeatures
from minigan.evaluation.metrics import Moments, frechet_distance

NAME = "frechet-count"
COUNTS = [100, 200, 400, 800, 1600, 3200]


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The distance between two sets of digits of different seeds, for each number of digits, in 49 pixel features."""
    counts = COUNTS[:3] if short else COUNTS
    features = PixelFeatures(most=49)
    sets = [features(open_dataset("digits", seed=seed).read(np.arange(counts[-1]))) for seed in (0, 1)]
    noisy = sets[1] + 0.1 * np.random.default_rng(0).standard_normal(sets[1].shape)
    found: dict[str, Any] = {"count": counts, "digits": [], "noisy digits": []}
    for n in counts:
        for name, other in (("digits", sets[1]), ("noisy digits", noisy)):
            found[name].append(frechet_distance(Moments.of(sets[0][:n]), Moments.of(other[:n])))
    return found, {}


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    curves = {name: (numbers["count"], numbers[name]) for name in ("digits", "noisy digits")}
    x, y = Axis("digits in each set", 100, 3200, log=True), Axis("Fréchet distance", 0.001, 10, log=True)
    return {f"{NAME}.svg": lines("Digits against other digits", curves, x, y)}


def told(numbers: dict[str, Any]) -> list[str]:
    clean, noisy = numbers["digits"], numbers["noisy digits"]
    return [
        f"100 digits are at a distance of {clean[0]:.2f} from 100 others",
        f"3,200 at {clean[-1]:.3f}",
        f"goes from {clean[0]:.2f} to {noisy[0]:.2f}",
    ]
