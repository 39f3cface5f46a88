"""A GAN with classes: a column for each digit, a row for each noise vector.

    python examples/classes.py --steps 1500

The class is a one-hot vector c. `G.given(c)` is the generator with c held fixed, G(z | c), and can be used like any
network; so is D(x | c). Both networks are written out here: G gets c together with its noise, D gets it as ten more
channels of the image.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, image_grid, open_dataset
from minigan.losses import NonSaturating
from minigan.nn import (
    Adam,
    BatchNorm,
    ConcatCondition,
    Conv2D,
    Dense,
    Flatten,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
)
from minigan.nn import ConvTranspose2D as Up
from minigan.training import AlternatingOptimizer, Batch, generate, save_picture

CLASSES = np.eye(10, dtype=np.float32)
LATENT = 32


def networks(rng: np.random.Generator) -> tuple[Sequential, Sequential]:
    G = [ConcatCondition((10,)), Dense(7 * 7 * 64, bias=False), BatchNorm(), ReLU(), Reshape((7, 7, 64))]
    G += [Up(32, 4, stride=2, padding=1, bias=False), BatchNorm(), ReLU(), Up(1, 4, stride=2, padding=1), Tanh()]
    D = [ConcatCondition((10,)), Conv2D(32, 4, stride=2, padding=1), LeakyReLU()]
    D += [Conv2D(64, 4, stride=2, padding=1, bias=False), BatchNorm(), LeakyReLU(), Flatten(), Dense(1)]
    return (
        Sequential(G, name="G").build((LATENT,), rng=rng),
        Sequential(D, name="D").build((28, 28, 1), rng=rng),
    )


def main(steps: int, out: Path) -> None:
    rng = np.random.default_rng(0)
    G, D = networks(rng)
    gan = AlternatingOptimizer(
        G,
        D,
        loss=NonSaturating(),
        noise=lambda rng, n: rng.standard_normal((n, LATENT)),
        g_optimizer=Adam(G.arena, lr=2e-4, beta1=0.5),
        d_optimizer=Adam(D.arena, lr=2e-4, beta1=0.5),
    )
    with Loader(open_dataset("digits").with_labels(), batch_size=64, seed=0) as labeled:
        batches = (Batch(images, condition=CLASSES[labels]) for images, labels in labeled)
        for step in range(1, steps + 1):
            values = gan.step(batches, rng)
            if step % 100 == 0 or step == steps:
                print(f"step {step}: D {float(values.d_loss):.3f}, G {float(values.g_loss):.3f}")
    z = rng.standard_normal((8, LATENT)).repeat(10, axis=0)
    digits = generate(G, z, CLASSES[np.arange(80) % 10])
    save_picture(out, image_grid(digits, columns=10))
    print(f"a row for each z, a column for each class: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("classes.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
