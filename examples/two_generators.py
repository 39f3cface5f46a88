"""A learner of one's own: two generators that share the modes of the ring, saved, resumed, sampled and exported.

    python examples/two_generators.py --steps 4000

D has three answers: real, from G_1, from G_2. Each generator wants "real"; as D learns to tell the two apart, they move
to different modes (MAD-GAN: Ghosh et al. 2018, "Multi-Agent Diverse Generative Adversarial Networks"). The learner says
which of its networks draw samples; the recipe puts it together, and everything else is minigan's own: the run folder,
resuming bit for bit, both moving averages, samples and exports.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minigan
from minigan.evaluation.metrics import mode_coverage
from minigan.export import FORMATS, ExportOptions, Subject
from minigan.losses import softmax_cross_entropy
from minigan.nn import Dense, LeakyReLU, Sequential
from minigan.recipes import RECIPES, DenseRecipe
from minigan.training import Learner, render, save_picture

NAMES = ("G_1", "G_2")


class Losses(NamedTuple):
    """Values of a step: D's loss, and the sum of the generators'."""

    d_loss: np.ndarray
    g_loss: np.ndarray

    def headline(self) -> dict[str, np.ndarray]:
        """Values for the progress bar."""
        return {"D": self.d_loss, "G": self.g_loss}

    def losses(self) -> list[tuple[str, np.ndarray]]:
        """Values that must stay finite."""
        return [("D's loss", self.d_loss), ("the generators' loss", self.g_loss)]


class TwoGenerators(Learner):
    """Trains two generators against one discriminator with an answer for each of them."""

    def step(self, batches: Iterator[np.ndarray], rng: np.random.Generator) -> Losses:
        """One update of D and of both generators."""
        kernels, n = self.G.kernels, len(batch := next(batches))
        real = kernels.asarray(batch, dtype=self.G.dtype)
        noise = [kernels.asarray(rng.standard_normal((n, *self.G.input_shape)), dtype=self.G.dtype) for _ in NAMES]
        return self.update("D", *NAMES, gradients=lambda: self._gradients(real, noise), rng=rng)

    def _gradients(self, real: np.ndarray, noise: list[np.ndarray]) -> Losses:
        for grads in self.grads.values():
            grads.zero()
        D, n = self.networks["D"], len(real)
        fakes = [self.networks[name].forward(z, train=True) for name, z in zip(NAMES, noise, strict=True)]
        d_loss = g_loss = 0.0
        for answer, x in enumerate((real, *(fake for fake, _ in fakes))):
            logits, tape = D.forward(x, train=True)
            value, dlogits = softmax_cross_entropy(logits, np.full(n, answer))
            D.backward(dlogits, tape, grads=self.grads["D"], need_dx=False)
            d_loss = d_loss + value
        for name, (fake, g_tape) in zip(NAMES, fakes, strict=True):
            logits, tape = D.forward(fake, train=True)
            value, dlogits = softmax_cross_entropy(logits, np.zeros(n, int))
            dfake = D.backward(dlogits, tape, grads=None)
            self.networks[name].backward(dfake, g_tape, grads=self.grads[name], need_dx=False)
            g_loss = g_loss + value
        return Losses(d_loss, g_loss)

    def inputs(self, batch: np.ndarray, rng: np.random.Generator) -> list[tuple[Sequential, np.ndarray]]:
        """Each network with an input, for `minigan gradcheck`."""
        z = rng.standard_normal((len(batch), *self.G.input_shape))
        return [*((self.networks[name], z) for name in NAMES), (self.networks["D"], np.asarray(batch))]


@dataclass(frozen=True, kw_only=True)
class Recipe(DenseRecipe):
    """The two generators and their discriminator, as a recipe."""

    name = "two-generators"
    generator_names = NAMES

    latent: int = 8
    ema: float = 0.99
    lr: float = 1e-3

    def generator(self, image_shape: tuple[int, ...]) -> Sequential:
        """A generator of points."""
        return Sequential([*self._hidden(), Dense(*image_shape)], name="G_1")

    def discriminator(self, image_shape: tuple[int, ...]) -> Sequential:  # noqa: ARG002
        """D, with an answer for real points and one for each generator."""
        return Sequential([*self._hidden(), Dense(1 + len(NAMES))], name="D")

    def _hidden(self) -> list:
        return [Dense(64), LeakyReLU(0.2), Dense(64), LeakyReLU(0.2)]

    def networks(self, image_shape: tuple[int, ...]) -> list[tuple[Sequential, tuple[int, ...]]]:
        """All networks, each with its input shape; those that draw are named as in `generator_names`."""
        generators = [Sequential(self.generator(image_shape).layers, name=name) for name in NAMES]
        return [*((G, (self.latent,)) for G in generators), (self.discriminator(image_shape), image_shape)]

    def learner(self, networks: Sequence[Sequential]) -> TwoGenerators:
        """The learner of these networks, built."""
        names = (*NAMES, "D")
        return TwoGenerators(
            {
                name: (net, self.make_optimizer(net.arena, lr=self.lr))
                for name, net in zip(names, networks, strict=True)
            },
            generators=NAMES,
        )


def main(steps: int, out: Path) -> None:
    RECIPES[Recipe.name] = Recipe  # a resumed run, and the command line, find it by its name
    ring = minigan.open_dataset("ring")
    with tempfile.TemporaryDirectory() as folder:
        run = minigan.train(Recipe(), data="ring", steps=max(1, steps // 2), out=Path(folder) / "run")
        run.resume(steps=steps)  # as if it had never stopped
        pictures = []
        for name, trained in run.generators.items():  # their moving averages
            points = trained.sample(2500, seed=1)
            modes = mode_coverage(points, centers=ring.centers, sigma=ring.sigma).histogram
            print(f"{name}: points near each mode {modes.tolist()}")
            pictures.append(render(points, extent=trained.extent))
            subject = Subject(trained.G, f"{name} at step {trained.step}", from_noise=True)
            print(FORMATS["numpy"].write(subject, Path(folder) / name, ExportOptions()))
    save_picture(out, np.concatenate(pictures, axis=1))
    print(f"points of G_1 and of G_2: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("two_generators.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
