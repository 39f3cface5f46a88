"""Images as D sees them: as they are, with `mirror=true`, and with `augment=adaptive` while its p rises from 0 to 1.

    python examples/augmented.py --steps 3

The first row holds images of the data, the second the same from a loader that flips each with probability 1/2. The
rows below are D's layer of augmentation at p = 1/3, 2/3 and 1: brightness, saturation and contrast, a shift, and a
square cut out, each with probability p (Karras et al. 2020a, "Training Generative Adversarial Networks with Limited
Data", over the layers of Zhao et al. 2020). In a training p follows the signs of D's logits; here it is set by hand.
"""

import argparse
from pathlib import Path

import numpy as np

import minigan
from minigan.data import Loader
from minigan.recipes import DCGAN
from minigan.training import render, save_picture

COLUMNS = 8


def main(steps: int, out: Path, data: str = "tinted") -> None:
    images = minigan.open_dataset(data, count=COLUMNS)
    rows = []
    for mirror in (False, True):
        with Loader(images, batch_size=COLUMNS, seed=0, shuffle=False, mirror=mirror, prefetch=0) as batches:
            rows.append(next(batches))
    gan = DCGAN(width=4, augment="adaptive").assemble(images.shape, backend="reference", rng=np.random.default_rng(0))
    (augmentation,) = gan.augmenting
    for step in range(1, steps + 1):
        augmentation.p.value[...] = step / steps
        seen, _ = augmentation.forward(rows[0], train=True, rng=np.random.default_rng(step))
        print(f"p = {step / steps:.2f}: changes pixels by {np.abs(seen - rows[0]).mean():.3f} on average")
        rows.append(seen)
    save_picture(out, render(np.concatenate(rows), extent=1.0, columns=COLUMNS))
    print(f"images, mirrored, then a row for each p: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("augmented.png"))
    parser.add_argument("--data", default="tinted", help="images of 28, 32, 64 or 128 pixels a side")
    options = parser.parse_args()
    main(options.steps, options.out, options.data)
