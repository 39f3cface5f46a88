"""A GAN on the ring of eight Gaussians, on the reference backend, looked at from time to time."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from minigan.data import ring
from minigan.evaluation.metrics import mode_coverage
from minigan.recipes import MLP
from minigan.training import AlternatingOptimizer, generate

COUNT = 2500  # fakes in which modes are counted
LEAST = 25  # of them that make a mode found: a twelfth of its share


def training(*, steps: int, every: int, seed: int = 0, **settings: Any) -> Iterator[tuple[int, AlternatingOptimizer]]:
    """Yields the GAN before its first step, and after each `every` of them."""
    recipe = MLP(**{"mse_weight": 0.0, "instance_noise": 0.0, "latent": 2, "hidden": 64, "lr": 1e-3, **settings})
    data, rng = ring(), np.random.default_rng(seed)
    gan = recipe.assemble(data.shape, backend="reference", rng=rng)
    assert isinstance(gan, AlternatingOptimizer)
    batches = (data.read(rng.integers(len(data), size=recipe.batch_size)) for _ in count())
    yield 0, gan
    for step in range(1, steps + 1):
        gan.step(batches, rng)
        if step % every == 0:
            yield step, gan


def drawn(gan: AlternatingOptimizer, number: int = COUNT) -> np.ndarray:
    """Fakes of always the same noise: (number, 2)."""
    return generate(gan.G, np.random.default_rng(1).standard_normal((number, *gan.G.input_shape)))


def modes(gan: AlternatingOptimizer) -> int:
    """The number of modes with at least `LEAST` fakes within ten standard deviations, a tenth of the ring's radius."""
    data = ring(count=1)
    found = mode_coverage(drawn(gan), centers=data.centers, sigma=data.sigma * 10 / 3)  # it counts within three
    return int((found.histogram >= LEAST).sum())
