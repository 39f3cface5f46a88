"""The minimax game with either loss of G, from the same start: how the first loss saturates.

    python examples/minimax.py --steps 2000

The same networks, weights and digits are trained twice by plain gradient descent. Where D is sure that a fake is a
fake, log(1 - D) has hardly any gradient and -log D has its largest; the printed norms show it. (Adam divides a gradient
by its own size, so with Adam the first loss trains as well: `minigan train minimax`.)
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, open_dataset
from minigan.recipes import MinimaxGame
from minigan.training import AlternatingOptimizer, generate, render, save_picture


def train(loss: str, steps: int) -> AlternatingOptimizer:
    recipe = MinimaxGame(loss=loss, hidden=256, dropout=0, optimizer="sgd", lr=0.02)
    rng = np.random.default_rng(0)
    digits = open_dataset("digits")
    gan = recipe.assemble(digits.shape, rng=rng)
    with Loader(digits, batch_size=recipe.batch_size, seed=0) as batches:
        for step in range(1, steps + 1):
            values = gan.step(batches, rng)
            if step % 250 == 0 or step == steps:
                norm = float(np.linalg.norm(gan.G.kernels.to_numpy(gan.g_grads.flat)))
                print(f"{loss:15} step {step:5}: D(G(z)) {float(values.d_fake):.4f}, norm of G's gradient {norm:.1e}")
    return gan


def main(steps: int, out: Path) -> None:
    pictures = []
    for loss in ("minimax", "non-saturating"):
        gan = train(loss, steps)
        pictures.append(render(generate(gan.G, gan.noise(np.random.default_rng(1), 36)), extent=1.0))
    save_picture(out, np.concatenate(pictures, axis=1))
    print(f"samples, minimax on the left and non-saturating on the right: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("minimax.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
