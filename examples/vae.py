"""A variational autoencoder: reconstructions of digits, samples, and interpolation between digits.

    python examples/vae.py --steps 1000

The picture's first two rows are digits and their reconstructions, and the third is drawn from the prior. In each of the
other rows one digit turns into another: the decoder's images along the straight line between their latent vectors.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, image_grid, open_dataset
from minigan.recipes import VAE
from minigan.training import generate, save_picture

COLUMNS = 10


def main(steps: int, out: Path) -> None:
    recipe = VAE(latent=16, width=16)
    digits = open_dataset("digits")
    rng = np.random.default_rng(0)
    vae = recipe.assemble(digits.shape, rng=rng)
    with Loader(digits, batch_size=recipe.batch_size, seed=0) as loader:
        batches = map(recipe.prepare, loader)
        for step in range(1, steps + 1):
            values = vae.step(batches, rng)
            if step % 100 == 0 or step == steps:
                print(
                    f"step {step}: reconstruction {float(values.reconstruction):.1f} + KL {float(values.kl):.1f} nats"
                )
    images = digits.read(np.arange(COLUMNS))
    means = generate(vae.encoder, recipe.prepare(images))[:, : recipe.latent]  # mu; logvar is the other half
    shares = np.linspace(0, 1, COLUMNS)[:, None]
    lines = [(1 - shares) * means[k] + shares * means[k + 1] for k in range(3)]
    z = np.concatenate([means, recipe.noise(rng, COLUMNS), *lines])
    drawn = recipe.to_images(generate(vae.G, z))
    save_picture(out, image_grid(np.concatenate([images, drawn]), columns=COLUMNS))
    print(f"digits, their reconstructions, samples, three interpolations: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("vae.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
