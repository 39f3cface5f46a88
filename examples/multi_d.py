"""Three discriminators against one generator: the weight of each in G's loss.

    python examples/multi_d.py --steps 1500

The discriminators see the digits at 32, 16 and 8 pixels. G's loss is the sum of its three losses V_k weighted by
w_k = softmax(λ V): the strictest discriminator counts most.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, open_dataset
from minigan.losses import NonSaturating
from minigan.recipes import MultiD
from minigan.training import generate, render, save_picture


def main(steps: int, out: Path) -> None:
    recipe = MultiD(width=16, discriminators=3, multi_scale=True, weights="softmax", sharpness=2.0)
    digits = open_dataset("digits", size=32)
    rng = np.random.default_rng(0)
    gan = recipe.assemble(digits.shape, rng=rng)
    with Loader(digits, batch_size=recipe.batch_size, seed=0) as batches:
        for step in range(1, steps + 1):
            gan.step(batches, rng)
            if step % 50 == 0 or step == steps:
                fake = gan.G.kernels.asarray(generate(gan.G, recipe.noise(rng, 64)), dtype=gan.D.dtype)
                logits = gan.D.kernels.to_numpy(gan.D.forward(fake, train=True)[0])  # (64, 3)
                V = np.array([float(NonSaturating().generator(logits[:, k])[0]) for k in range(3)])
                w = np.exp(recipe.sharpness * V) / np.exp(recipe.sharpness * V).sum()
                print(f"step {step}: G's losses {V.round(2)}, their weights {w.round(2)}")
    save_picture(out, render(generate(gan.G, recipe.noise(rng, 64)), extent=1.0))
    print(f"64 samples: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("multi_d.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
