"""PacGAN on the ring of 8 Gaussians: does G find more modes if D sees two points at once?

    python examples/pacgan.py --steps 20000

Trains with packs of one and of two points and counts modes as in the paper (Lin et al. 2018): of 2,500 samples those
within 3 standard deviations of a mode are of high quality, and a mode with at least one of them is found. The paper
trains for 400,000 steps and repeats this 10 times; so does `python -m benchmarks.modes`.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, ring
from minigan.evaluation.metrics import mode_coverage
from minigan.recipes import PacGAN
from minigan.training import generate, render, save_picture


def main(steps: int, out: Path) -> None:
    data = ring()
    pictures = []
    for pack in (1, 2):
        recipe = PacGAN(pack=pack, batch_size=100 * pack)
        rng = np.random.default_rng(0)
        gan = recipe.assemble(data.shape, rng=rng)
        with Loader(data, batch_size=recipe.batch_size, seed=0) as batches:
            for _ in range(steps):
                gan.step(batches, rng)
        points = generate(gan.G, recipe.noise(rng, 2500))
        found = mode_coverage(points, centers=data.centers, sigma=data.sigma)
        print(f"packs of {pack}: {found.modes} of {found.of} modes, {found.high_quality:.1%} of high quality")
        pictures.append(render(points, extent=1.5))
    save_picture(out, np.concatenate(pictures, axis=1))
    print(f"density of the samples, without packs on the left and with packs on the right: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--out", type=Path, default=Path("pacgan.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
