"""WGAN-GP by hand: the gradient penalty, its second order, and the slope that it keeps at 1.

    python examples/wgan_gp.py --steps 200

Algorithm 1 of Gulrajani et al. 2017, with the critic's step written out. The penalty depends on the norm of D's
gradient dx, so its own gradient is the derivative of a derivative: `backward_recorded` goes down to dx and records each
layer's cotangent, and `double_backward` goes up again with v = dP/d(dx) and adds dP/dw to the gradients.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minigan.data import Loader, open_dataset
from minigan.nn import Adam, Gradients, Sequential
from minigan.recipes import DCGAN
from minigan.training import generate, render, save_picture

CRITIC_STEPS, WEIGHT = 5, 10.0


def add_penalty(D: Sequential, real: np.ndarray, fake: np.ndarray, *, grads: Gradients, rng: np.random.Generator):
    """Adds the gradient of WEIGHT * mean (|dx| - 1)² to grads; returns the mean slope |dx|."""
    share = rng.uniform(size=(len(real), 1, 1, 1)).astype(real.dtype)  # one for each example
    logits, tape = D.forward(real + share * (fake - real), train=True)
    dx, record = D.backward_recorded(np.ones_like(logits), tape)
    slopes = np.sqrt((dx**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-12)  # (N, 1, 1, 1)
    v = WEIGHT * 2 * (slopes - 1) / slopes * dx / len(dx)
    D.double_backward(v.astype(dx.dtype), record, tape, grads=grads)
    return float(slopes.mean())


def critic_step(
    D: Sequential, optimizer: Adam, real: np.ndarray, fake: np.ndarray, *, grads: Gradients, rng: np.random.Generator
) -> tuple[float, float]:
    """One update of D; returns its estimate of the distance between real and fake, and its slope."""
    grads.zero()
    distance = 0.0
    for x, sign in ((real, 1), (fake, -1)):  # D minimizes mean D(fake) - mean D(real)
        logits, tape = D.forward(x, train=True)
        distance += sign * float(logits.mean())
        D.backward(np.full_like(logits, -sign / len(x)), tape, grads=grads, need_dx=False)
    slope = add_penalty(D, real, fake, grads=grads, rng=rng)
    optimizer.step(grads)
    return distance, slope


def train(G: Sequential, D: Sequential, reals: Iterator[np.ndarray], recipe: DCGAN, *, steps: int) -> None:
    rng = np.random.default_rng(1)
    g_optimizer, d_optimizer = (Adam(network.arena, lr=1e-4, beta1=0.0, beta2=0.9) for network in (G, D))
    g_grads, d_grads = G.gradients(), D.gradients()
    for step in range(1, steps + 1):
        for _ in range(CRITIC_STEPS):
            real = next(reals)
            fake, g_tape = G.forward(recipe.noise(rng, len(real)).astype(np.float32), train=True)
            distance, slope = critic_step(D, d_optimizer, real, fake, grads=d_grads, rng=rng)
        g_grads.zero()
        logits, tape = D.forward(fake, train=True)
        dfake = D.backward(np.full_like(logits, -1 / len(logits)), tape, grads=None)
        G.backward(dfake, g_tape, grads=g_grads, need_dx=False)
        G.commit_statistics(g_tape)
        g_optimizer.step(g_grads)
        if step % 20 == 0 or step == steps:
            print(f"step {step}: distance {distance:.2f}, slope {slope:.2f}")


def main(steps: int, out: Path) -> None:
    recipe = DCGAN(width=32, d_norm="none")  # BatchNorm in D would make each slope depend on the whole batch
    digits = open_dataset("digits")
    rng = np.random.default_rng(0)
    G = recipe.built_generator(digits.shape, rng=rng)
    D = recipe.discriminator(digits.shape).build(digits.shape, rng=rng)
    with Loader(digits, batch_size=64, seed=0) as reals:
        train(G, D, reals, recipe, steps=steps)
    save_picture(out, render(generate(G, recipe.noise(rng, 64)), extent=1.0))
    print(f"64 samples: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("wgan_gp.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
