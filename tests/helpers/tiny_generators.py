"""Small generators with random weights, whose images differ from z to z."""

import numpy as np

from minigan.recipes import get_recipe
from minigan.runs import TrainedGenerator

SMALL = {"latent": 6}
WIDTHS = {"dcgan": {"width": 2}, "mlp": {"hidden": 24}, "vae": {"width": 2}, "pacgan": {}, "sngan": {"width": 4}}


def tiny_generator(
    name="mlp", *, shape=(8, 8, 1), dtype="float32", scale=3.0, averaged=False, classes=(), **settings
) -> TrainedGenerator:
    """A generator on the reference backend; `scale` multiplies its weights, so that its images have contrast."""
    recipe = get_recipe(name)(**(SMALL | WIDTHS.get(name, {}) | settings))
    G = recipe.built_generator(shape, backend="reference", dtype=dtype, rng=np.random.default_rng(3))
    G.arena.flat[...] *= scale
    G.arena.updated()
    return TrainedGenerator(G, recipe, 5, 1.0, tuple(classes), averaged)
