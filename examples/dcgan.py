"""A DCGAN written out: both networks layer by layer, and the alternating steps of `AlternatingOptimizer`.

    python examples/dcgan.py --steps 1000

Trains on the embedded digits and writes a grid of samples. The recipe `dcgan` has the same networks for other sizes.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, open_dataset
from minigan.losses import FAKE, REAL, NonSaturating, probability
from minigan.nn import (
    Adam,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Flatten,
    LeakyReLU,
    Normal,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
)
from minigan.training import generate, render, save_picture

LATENT, WIDTH = 64, 32
WEIGHTS, GAMMA = Normal(std=0.02), Normal(std=0.02, mean=1.0)


def networks() -> tuple[Sequential, Sequential]:
    G = Sequential(
        [
            Reshape((1, 1, LATENT)),
            ConvTranspose2D(2 * WIDTH, 7, padding="valid", bias=False, init=WEIGHTS),  # (7, 7, 64)
            BatchNorm(gamma_init=GAMMA),
            ReLU(),
            ConvTranspose2D(WIDTH, 4, stride=2, padding=1, bias=False, init=WEIGHTS),  # (14, 14, 32)
            BatchNorm(gamma_init=GAMMA),
            ReLU(),
            ConvTranspose2D(1, 4, stride=2, padding=1, bias=False, init=WEIGHTS),  # (28, 28, 1)
            Tanh(),
        ],
        name="G",
    )
    D = Sequential(
        [
            Conv2D(WIDTH, 4, stride=2, padding=1, bias=False, init=WEIGHTS),  # (14, 14, 32)
            LeakyReLU(0.2),
            Conv2D(2 * WIDTH, 4, stride=2, padding=1, bias=False, init=WEIGHTS),  # (7, 7, 64)
            BatchNorm(gamma_init=GAMMA),
            LeakyReLU(0.2),
            Conv2D(1, 7, padding="valid", bias=False, init=WEIGHTS),  # (1, 1, 1): a logit
            Flatten(),
        ],
        name="D",
    )
    return G, D


def main(steps: int, out: Path) -> None:
    rng = np.random.default_rng(0)
    G, D = networks()
    G.build((LATENT,), rng=rng)
    D.build((28, 28, 1), rng=rng)
    print(G.summary(), D.summary(), sep="\n\n")
    loss = NonSaturating()
    g_grads, d_grads = G.gradients(), D.gradients()
    g_optimizer, d_optimizer = (Adam(network.arena, lr=2e-4, beta1=0.5) for network in (G, D))

    with Loader(open_dataset("digits"), batch_size=64, seed=0) as batches:
        for step in range(1, steps + 1):
            real = D.kernels.asarray(next(batches), dtype=D.dtype)
            z = G.kernels.asarray(rng.standard_normal((len(real), LATENT)), dtype=G.dtype)
            fake, g_tape = G.forward(z, train=True)

            d_grads.zero()  # D's step: real and fake are separate batches, for BatchNorm
            for x, target in ((real, REAL), (fake, FAKE)):
                logits, tape = D.forward(x, train=True)
                _, dlogits = loss.discriminator(logits, target)
                D.backward(dlogits, tape, grads=d_grads, need_dx=False)
                D.commit_statistics(tape)
            d_optimizer.step(d_grads)

            g_grads.zero()  # G's step: through D, whose weights get no gradient at all
            logits, tape = D.forward(fake, train=True)
            value, dlogits = loss.generator(logits)
            dfake = D.backward(dlogits, tape, grads=None)
            G.backward(dfake, g_tape, grads=g_grads, need_dx=False)
            G.commit_statistics(g_tape)
            g_optimizer.step(g_grads)

            if step % 100 == 0 or step == steps:
                verdict = float(probability(logits).mean())
                print(f"step {step}: G's loss {float(value):.3f}, D's probability that fakes are real {verdict:.2f}")
    save_picture(out, render(generate(G, rng.standard_normal((64, LATENT))), extent=1.0))
    print(f"64 samples: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("dcgan.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
