"""A small SNGAN: the effect of spectral normalization on a discriminator's weights.

    python examples/sngan.py --steps 400

Trains on the embedded shapes. For D's first convolutions it prints the largest singular value of the stored weight,
which is free to grow, and of the weight in use, which stays at 1.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, open_dataset
from minigan.nn import Sequential, SpectralNorm
from minigan.recipes import SNGAN
from minigan.training import generate, render, save_picture


def singular_values(D: Sequential) -> list[str]:
    """Lines with the largest singular values of D's first weights: of w, and of w divided by D's estimate sigma."""
    lines = []
    for name, layer in D.walk():
        if isinstance(layer, SpectralNorm) and len(lines) < 4:
            w = layer.kernels.to_numpy(layer.inner.w.value).reshape(-1, layer.inner.w.shape[-1])
            v = w @ layer.kernels.to_numpy(layer.u.value)
            estimate, exact = np.linalg.norm(v), np.linalg.norm(w, 2)
            lines.append(f"  D.{name[:-1]}: w {exact:.3f}, w / sigma {exact / estimate:.3f}")
    return lines


def main(steps: int, out: Path) -> None:
    recipe = SNGAN(width=32, batch_size=32, steps=steps)  # the rate falls to 0 at the last step
    shapes = open_dataset("shapes", size=32)
    rng = np.random.default_rng(0)
    gan = recipe.assemble(shapes.shape, rng=rng)
    with Loader(shapes, batch_size=recipe.batch_size, seed=0) as batches:
        for step in range(1, steps + 1):
            values = gan.step(batches, rng)  # 5 steps of D and one of G
            if step % 50 == 0 or step == steps:
                print(f"step {step}: D {float(values.d_loss):.3f}, G {float(values.g_loss):.3f}")
    print("largest singular values:", *singular_values(gan.D), sep="\n")
    save_picture(out, render(generate(gan.G, recipe.noise(rng, 64)), extent=1.0))
    print(f"64 samples: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("sngan.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
