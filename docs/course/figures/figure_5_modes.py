"""Modes of the ring that a GAN finds against a fast D, with three remedies or none."""

from typing import Any

from drawing import Axis, lines
from ring_training import modes, training

NAME = "lost-modes"
STEPS, EVERY, SEEDS = 4000, 200, 3
GAMES: dict[str, dict[str, Any]] = {
    "minimax": {},
    "minimax, R1": {"penalty": "r1", "penalty_weight": 0.1},
    "minimax, packs": {"pack": 4, "batch_size": 256},
    "non-saturating": {"loss": "non-saturating"},
}
COMMON = {"loss": "minimax", "d_lr": 5e-3}


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Modes found over the steps, of each game and seed."""
    found: dict[str, Any] = {}
    for name, settings in GAMES.items():
        found[name] = [
            [
                modes(gan)
                for _, gan in training(
                    steps=EVERY if short else STEPS, every=EVERY, seed=seed, **{**COMMON, **settings}
                )
            ]
            for seed in range(1 if short else SEEDS)
        ]
    return found, {}


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    steps = range(0, STEPS + 1, EVERY)
    curves = {
        name: (steps, [sum(seeds) / SEEDS for seeds in zip(*counts, strict=True)]) for name, counts in numbers.items()
    }
    x, y = Axis("step", 0, STEPS), Axis("modes found, of 8", 0, 8)
    return {f"{NAME}.svg": lines(f"Modes of the ring, mean of {SEEDS} seeds", curves, x, y)}


def told(numbers: dict[str, Any]) -> list[str]:
    """The rows of the lesson's table: modes at the end, and their mean over the second half."""
    rows = []
    for name, counts in numbers.items():
        late = [count for seed in counts for count in seed[len(seed) // 2 + 1 :]]
        last = ", ".join(str(int(seed[-1])) for seed in counts)
        rows.append(f"| {name} | {last} | {sum(late) / len(late):.1f} |")
    return rows
