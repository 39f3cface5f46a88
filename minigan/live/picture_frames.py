"""A run on images as a frame: a fixed grid of fakes, D's pull on each, and a layer's activations for one of them."""

import math
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.data import Dataset
from minigan.data.pictures import to_pixels
from minigan.live.activations import activations, layer_names
from minigan.live.known_optimum import reading_of
from minigan.live.packing import packed_field, packed_pixels, rounded
from minigan.live.view import Unit, View
from minigan.losses import CoupledLoss
from minigan.losses.gradient_penalties import examples_together
from minigan.nn.layers import MinibatchStdDev
from minigan.nn.network import Sequential
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.training import AlternatingOptimizer

__all__ = ["LAYERS", "PictureFrames"]

LAYERS = ("pull",)
CHANNELS = 64  # of a layer that are shown


def judged_together(D: Sequential, most: int) -> int:
    """The largest number of images, at most so many, that are a batch for D: whole packs, and whole groups of them."""
    together = examples_together(D)
    groups = [layer.group for _, layer in D.walk() if isinstance(layer, MinibatchStdDev)]
    unit = together * math.lcm(*(group for group in groups if group * together <= most))
    return most - most % unit


class PictureFrames:
    """Makes the frames of a run on images.

    Args:
        recipe: draws the noise, and the classes.
        dataset: the images.
        seed: of the noise, which is the same in all frames.
    """

    kind = "pictures"
    layers = LAYERS
    first = LAYERS

    def __init__(self, recipe: NoiseRecipe, dataset: Dataset, *, seed: int) -> None:
        self.recipe = recipe
        side = max(dataset.shape[:2])
        self.count = 36 if side <= 32 else 16 if side <= 64 else 9
        labels = np.arange(self.count) % recipe.classes if recipe.conditional else None
        rng = np.random.default_rng([seed, 1])
        self.z, self.condition = recipe.sources(rng, self.count, label=None if labels is None else labels.tolist())
        self.real = np.asarray(dataset.read(np.arange(min(self.count, len(dataset)))))

    def about(self, game: AlternatingOptimizer) -> dict[str, Any]:
        """The data and the layers that frames may have: all that never changes."""
        fakes = self._drawn(game)[:1]
        judge, x = self._judge(game, fakes, slice(1))
        together = examples_together(game.D)
        networks = {"G": layer_names(self._generator(game, slice(1)), self._noise(game, slice(1)))}
        if together == 1:
            networks["D"] = layer_names(judge, x)
        return {
            "kind": self.kind,
            "real": packed_pixels(to_pixels(self.real)),
            "layers": list(LAYERS),
            "networks": networks,
        }

    def frame(self, game: AlternatingOptimizer, view: View) -> dict[str, Any]:
        """The present of a run, as far as somebody looks at it."""
        fakes = self._drawn(game)
        found: dict[str, Any] = {"images": packed_pixels(self._pixels(fakes))}
        found |= self._judged(game, fakes, need_pull="pull" in view.layers)
        if view.unit is not None and 0 <= view.unit.sample < self.count:
            found["units"] = self._units(game, fakes, view.unit)
        return found

    def _judged(self, game: AlternatingOptimizer, fakes: np.ndarray, *, need_pull: bool) -> dict[str, Any]:
        """D's opinion of each fake, in a batch as in training, and the change that G's loss asks for."""
        kernels, together = game.D.kernels, examples_together(game.D)
        count = judged_together(game.D, len(fakes))
        judge, x = self._judge(game, fakes[:count], slice(count))
        rng = np.random.default_rng(0)
        logits, tape = judge.forward(x, train=True, rng=rng)
        host = kernels.to_numpy(logits).reshape(count // together, -1).mean(axis=1).repeat(together)
        reading = reading_of(game.loss, host)
        found: dict[str, Any] = {"opinions": [rounded(float(p)) for p in reading.values], "words": reading.words}
        if not need_pull:
            return found
        if isinstance(game.loss, CoupledLoss):
            real = self.recipe.prepare(self.real[:count])
            given = judge.forward(kernels.asarray(real, dtype=game.D.dtype), train=True, rng=rng)[0]
            _, dlogits = game.loss.generator(given, logits)
        else:
            _, dlogits = game.loss.generator(logits)
        pull = -kernels.to_numpy(judge.backward(dlogits, tape, grads=None))
        largest = np.abs(np.nan_to_num(pull)).reshape(count, -1).max(axis=1)
        scale = np.maximum(largest, 1e-30).reshape(-1, 1, 1, 1)
        found["pull"] = packed_pixels(np.rint(127.5 + 127.5 * np.nan_to_num(pull) / scale).clip(0, 255))
        found["pulls"] = [rounded(float(one)) for one in largest * len(logits)]
        return found

    def _units(self, game: AlternatingOptimizer, fakes: np.ndarray, unit: Unit) -> dict[str, Any] | None:
        """A layer's channels for one fake."""
        rows = slice(unit.sample, unit.sample + 1)
        if unit.network == "G":
            found = activations(self._generator(game, rows), self._noise(game, rows), unit.layer)
        elif examples_together(game.D) == 1:
            judge, x = self._judge(game, fakes[rows], rows)
            found = activations(judge, x, unit.layer)
        else:
            found = None
        if found is None:
            return None
        if found.ndim == 2:  # units without a place: as one picture, nearly square
            count = found.shape[1]
            height = next(h for h in range(int(count**0.5), 0, -1) if count % h == 0)
            return packed_field(found.reshape(1, height, -1))
        return packed_field(found[0].transpose(2, 0, 1)[:CHANNELS])

    def _generator(self, game: AlternatingOptimizer, rows: slice) -> Sequential:
        return game.G.given(self._condition(game, rows))

    def _judge(self, game: AlternatingOptimizer, fakes: np.ndarray, rows: slice) -> tuple[Sequential, Array]:
        x = game.D.kernels.asarray(fakes, dtype=game.D.dtype)
        return game.D.given(self._condition(game, rows)), x

    def _condition(self, game: AlternatingOptimizer, rows: slice) -> Array | None:
        if self.condition is None:
            return None
        return game.G.kernels.asarray(self.condition[rows], dtype=game.G.dtype)

    def _noise(self, game: AlternatingOptimizer, rows: slice) -> Array:
        return game.G.kernels.asarray(self.z[rows], dtype=game.G.dtype)

    def _drawn(self, game: AlternatingOptimizer) -> np.ndarray:
        """G's outputs, in the range of the networks."""
        every = slice(self.count)
        y, _ = self._generator(game, every).forward(self._noise(game, every), train=False)
        return np.asarray(game.G.kernels.to_numpy(y))

    def _pixels(self, fakes: np.ndarray) -> np.ndarray:
        return to_pixels(np.nan_to_num(self.recipe.to_images(fakes)))
