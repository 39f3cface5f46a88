"""SNGAN, small: what spectral normalisation does to the weights of a discriminator.

    python examples/sngan.py --steps 400

Trains on embedded pictures of shapes and prints, for D's first convolutions, the largest singular value of the weight
that is stored and of the one that is used: the first is free to grow, the second stays 1.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.backends import get_backend
from minigan.data import Loader, open_dataset
from minigan.nn.layers import SpectralNorm
from minigan.nn.network import Sequential
from minigan.recipes import SNGAN
from minigan.training.sampling import generate, render, save_picture


def singular_values(D: Sequential) -> list[str]:
    """Of D's first weights: of w, and of w divided by the sigma that its power iteration has come to."""
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
    gan = recipe.assemble(shapes.shape, backend=get_backend("auto"), rng=rng)
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
