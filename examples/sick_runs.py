"""Runs that are ill on purpose, and two healthy ones: what `minigan inspect` says of each.

    python examples/sick_runs.py --steps 2000

Each run has its own number of steps, a few hundred to 1,500; `--steps` is the most. A few minutes on two cores. The
picture has a row of fakes for each run that draws images.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigan
from minigan.inspection import Inspection, inspect_run

FEW = 200  # images to overfit
FAKES = 12


class Case(NamedTuple):
    """A run and its illness.

    Attributes:
        steps: after which it is inspected.
        expected: the word that `minigan inspect` is to find.
        why: what makes it ill.
        settings: of the recipe, and its data.
    """

    recipe: str
    steps: int
    expected: str
    why: str
    settings: dict[str, Any]


POINTS = {"mse_weight": 0, "instance_noise": 0, "hidden": 128}
CRITIC = {"loss": "wasserstein", "penalty": "wgan-gp", "n_critic": 5, "lr": 1e-3, "beta1": 0, "beta2": 0.9}
CASES = (
    Case("dcgan", 400, "healthy", "a DCGAN on digits", {"width": 32}),
    Case("mlp", 1200, "healthy", "a WGAN-GP on a ring of eight modes", {"data": "ring", **POINTS, **CRITIC}),
    Case(
        "sngan",
        60,
        "dead",
        "D's rate is a thousand times too high, and its rectifiers die",
        {"width": 8, "size": 32, "d_lr": 0.3, "batch_size": 32, "schedule": "constant"},
    ),
    Case(
        "mlp",
        400,
        "collapsed",
        "D hardly learns, so G draws the one picture that D likes best",
        {"loss": "non-saturating", "mse_weight": 0, "instance_noise": 0, "d_lr": 1e-6, "g_lr": 2e-3},
    ),
    Case(
        "minimax",
        300,
        "saturated",
        "G's rate is so high that its tanh is stuck at -1 and 1",
        {"loss": "non-saturating", "g_lr": 0.05, "hidden": 64, "dropout": 0},
    ),
    Case(
        "minimax",
        1500,
        "vanishing",
        "the minimax loss is flat where D is sure, and SGD does not make up for it",
        {"optimizer": "sgd", "lr": 0.02, "dropout": 0, "hidden": 128},
    ),
    Case("dcgan", 1500, "overfitting", f"D has seen {FEW} images again and again", {"width": 32, "lr": 1e-3}),
)


def inspected(case: Case, steps: int, folder: Path, seed: int) -> Inspection:
    """Trains a case, and inspects its last step."""
    settings, held_out = dict(case.settings), None
    if case.expected == "overfitting":
        settings["data"] = _few(folder / f"few-{seed}.npy", seed=seed, count=FEW)
        held_out = _few(folder / f"others-{seed}.npy", seed=seed + 1, count=2 * FEW)
    out = folder / f"{case.recipe}-{case.expected}-{seed}"
    run = minigan.train(case.recipe, steps=min(steps, case.steps), seed=seed, out=out, quiet=True, **settings)
    return inspect_run(run.folder, held_out=held_out)


def _few(path: Path, *, seed: int, count: int) -> Path:
    """A file of a few digits."""
    digits = minigan.open_dataset("digits", seed=seed)
    np.save(path, minigan.to_pixels(digits.read(np.arange(count))))
    return path


def main(steps: int, out: Path, seeds: int = 1) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for seed in range(seeds):
                found = inspected(case, steps, Path(folder), seed)
                right = "as expected" if case.expected in found.word.split(", ") else f"expected {case.expected}"
                print(f"{case.why} (seed {seed}): {found.word}; {right}")
                for check in found.ill:
                    print(f"    {check.where}: {check.finding}. {check.remedy}.")
            if found.fakes.shape[1:] == (28, 28, 1):
                rows.append(found.fakes[:FAKES])
    minigan.save_picture(out, np.concatenate([np.concatenate([*row], axis=1) for row in rows]))
    print(f"fakes, a row for each run that draws digits: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="most steps of a run (default 2000)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each kind (default 1)")
    parser.add_argument("--out", type=Path, default=Path("sick_runs.png"), help="picture (default sick_runs.png)")
    options = parser.parse_args()
    main(options.steps, options.out, options.seeds)
