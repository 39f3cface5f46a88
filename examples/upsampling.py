"""A DCGAN for images of any size: 60x100 pixels, neither square nor a power of two.

    python examples/upsampling.py --steps 500

The recipe dcgan-keras enlarges images by upsampling and convolution: 60 = 4·1·3·5 and 100 = 4·1·5·5 pixels.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, open_dataset
from minigan.recipes import DCGANKeras
from minigan.training import generate, render, save_picture


def main(steps: int, out: Path) -> None:
    recipe = DCGANKeras(width=8, batch_size=32)
    shapes = open_dataset("shapes", size=(60, 100))
    rng = np.random.default_rng(0)
    gan = recipe.assemble(shapes.shape, rng=rng)
    print(gan.G.summary(batch_size=recipe.batch_size))
    with Loader(shapes, batch_size=recipe.batch_size, seed=0) as batches:
        for step in range(1, steps + 1):
            values = gan.step(batches, rng)
            if step % 50 == 0 or step == steps:
                print(f"step {step}: D {float(values.d_loss):.3f}, G {float(values.g_loss):.3f}")
    save_picture(out, render(generate(gan.G, recipe.noise(rng, 24)), extent=1.0))
    print(f"24 samples: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("upsampling.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
