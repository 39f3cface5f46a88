"""A run on points of the plane as a frame: samples, D's surface, its slope, G's manifold, and the pull on each fake."""

from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.data import Dataset
from minigan.data.points import GaussianMixture
from minigan.evaluation.metrics.modes import mode_coverage
from minigan.live.activations import activations, layer_names
from minigan.live.known_optimum import fake_density, mixture_density, optimal_reading, reading_of
from minigan.live.packing import packed_field, packed_points, rounded
from minigan.live.view import View
from minigan.losses import CoupledLoss
from minigan.losses.gradient_penalties import examples_together, in_packs
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.training import AlternatingOptimizer

__all__ = ["LAYERS", "PlaneFrames"]

LAYERS = ("surface", "slope", "optimal", "manifold", "arrows", "penalty")
FAKES, ARROWS, PENALIZED = 320, 64, 96
COARSE, FINE, UNITS = 24, 80, 24  # points of the grid in each direction: moving, still, of a unit
MESH = 15  # lines of the manifold's net
BLUR = 0.035  # of the extent
LEAST_REACH = 0.01


class PlaneFrames:
    """Makes the frames of a run on points.

    Args:
        recipe: draws the noise.
        dataset: the points.
        extent: the plane is shown from -extent to extent.
        seed: of the noise, which is the same in all frames.
    """

    kind = "plane"
    layers = LAYERS
    first = ("surface", "optimal", "arrows")

    def __init__(self, recipe: NoiseRecipe, dataset: Dataset, *, extent: float, seed: int) -> None:
        self.extent, self.seed = extent, seed
        self.real = np.asarray(dataset.read(np.arange(min(FAKES, len(dataset)))), np.float32)
        self.mixture = dataset if isinstance(dataset, GaussianMixture) else None
        self.z = recipe.noise(np.random.default_rng([seed, 1]), FAKES)
        self.net = _net(recipe)
        self._densities: dict[int, np.ndarray] = {}  # of the mixture, by the side of the grid
        self._grids: dict[int, np.ndarray] = {}

    def about(self, game: AlternatingOptimizer) -> dict[str, Any]:
        """The data and the layers that frames may have: all that never changes."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "extent": self.extent,
            "real": packed_points(self.real, unit=self.extent),
            "mesh": MESH if self.net is not None else 0,
            "slice": self.z.shape[1] > 2,
            "layers": [layer for layer in LAYERS if layer != "optimal" or self.mixture is not None],
            "networks": {"D": layer_names(game.D, _like(game, self._grid(2), game.D.kernels))},
        }
        if self.mixture is not None:
            found["centers"], found["sigma"] = self.mixture.centers.tolist(), self.mixture.sigma
        return found

    def frame(self, game: AlternatingOptimizer, view: View) -> dict[str, Any]:
        """The present of a run, as far as somebody looks at it."""
        fakes = np.nan_to_num(self._drawn(game, self.z))
        found: dict[str, Any] = {"fake": packed_points(fakes, unit=self.extent)}
        if self.mixture is not None:
            coverage = mode_coverage(fakes, centers=self.mixture.centers, sigma=self.mixture.sigma)
            found["modes"] = {
                "hit": coverage.histogram.tolist(),
                "modes": coverage.modes,
                "of": coverage.of,
                "high_quality": rounded(coverage.high_quality),
            }
        found |= self._fields(game, view, fakes)
        if "manifold" in view.layers and self.net is not None:
            found["manifold"] = packed_points(np.nan_to_num(self._drawn(game, self.net)), unit=self.extent)
        if "arrows" in view.layers:
            found["arrows"] = self._arrows(game, fakes)
        if "penalty" in view.layers and game.penalty is not None:
            found["penalty"] = self._penalty(game, fakes)
        if view.unit is not None:
            grid = _like(game, self._grid(UNITS), game.D.kernels)
            found["units"] = _as_maps(activations(game.D, grid, view.unit.layer), UNITS)
        return found

    def _fields(self, game: AlternatingOptimizer, view: View, fakes: np.ndarray) -> dict[str, Any]:
        """D, its slope and the best D on a grid."""
        side = FINE if view.is_still else COARSE
        found: dict[str, Any] = {}
        if not {"surface", "slope", "optimal"} & set(view.layers):
            return found
        logits, slope = self._judged(game, self._grid(side), need_slope="slope" in view.layers)
        reading = reading_of(game.loss, logits)
        if "surface" in view.layers:
            # Around the middle, as far as D's opinion reaches: a D that hardly decides is seen, too.
            reach = max(LEAST_REACH, float(np.abs(np.nan_to_num(reading.values - 0.5)).max()))
            found["surface"] = packed_field(reading.values.reshape(side, side), low=0.5 - reach, high=0.5 + reach)
            found["words"] = reading.words
        if slope is not None:
            found["slope"] = packed_field(slope.reshape(side, side), low=0)
        if "optimal" in view.layers and self.mixture is not None:
            found["optimal"] = self._optimal(game, fakes, side)
        return found

    def _optimal(self, game: AlternatingOptimizer, fakes: np.ndarray, side: int) -> dict[str, Any] | None:
        """The best D against the mixture and G's density; G's is known from samples only, so both are blurred."""
        if self.mixture is None:
            return None
        axis, blur = self._axis(side), BLUR * self.extent
        if side not in self._densities:
            self._densities[side] = mixture_density(axis, self.mixture.centers, sigma=self.mixture.sigma, blur=blur)
        best = optimal_reading(game.loss, self._densities[side], fake_density(axis, fakes, blur=blur))
        return None if best is None else {**packed_field(best, low=0, high=1), "blur": rounded(blur)}

    def _arrows(self, game: AlternatingOptimizer, fakes: np.ndarray) -> dict[str, Any]:
        """The way that G's loss asks fakes to go: -dL/dx of each, scaled to the longest."""
        kernels, together = game.D.kernels, examples_together(game.D)
        count = ARROWS - ARROWS % together
        x = _like(game, fakes[:count], kernels)
        logits, tape = game.D.forward(x, train=False)
        if isinstance(game.loss, CoupledLoss):
            real = game.D.forward(_like(game, self.real[:count], kernels), train=False)[0]
            _, dlogits = game.loss.generator(real, logits)
        else:
            _, dlogits = game.loss.generator(logits)
        pull = np.nan_to_num(kernels.to_numpy(game.D.backward(dlogits, tape, grads=None))) * -len(logits)
        lengths = np.linalg.norm(pull, axis=1)
        longest = float(lengths.max()) or 1.0
        return {
            **packed_points(pull, unit=longest),
            "longest": rounded(longest),
            "mean": rounded(float(lengths.mean())),
        }

    def _penalty(self, game: AlternatingOptimizer, fakes: np.ndarray) -> dict[str, Any]:
        """Points like those at which the penalty is taken, with D's slope there."""
        kernels, together = game.D.kernels, examples_together(game.D)
        count = PENALIZED - PENALIZED % together
        real, fake = (in_packs(_like(game, x[:count], kernels), together) for x in (self.real, fakes))
        rng = np.random.default_rng([self.seed, 2])
        if game.penalty is None or len(real) != len(fake):
            return {}
        x = game.penalty.points(real, fake, rng, kernels).reshape(-1, 2)
        logits, tape = game.D.forward(x, train=False)
        dx = kernels.to_numpy(game.D.backward(kernels.xp.ones_like(logits), tape, grads=None))
        slopes = np.linalg.norm(in_packs(dx, together).reshape(len(logits), -1), axis=1).repeat(together)
        points = kernels.to_numpy(x)
        return {"at": packed_points(points, unit=self.extent), "slope": packed_field(slopes, low=0)}

    def _judged(
        self, game: AlternatingOptimizer, points: np.ndarray, *, need_slope: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """D's logits at points, and its slope there; a D of packs is given packs of equal points."""
        kernels, together = game.D.kernels, examples_together(game.D)
        x = _like(game, points if together == 1 else points.repeat(together, axis=0), kernels)
        logits, tape = game.D.forward(x, train=False)
        means = kernels.to_numpy(logits).reshape(len(points), -1).mean(axis=1)
        if not need_slope:
            return means, None
        dx = kernels.to_numpy(game.D.backward(kernels.xp.full_like(logits, 1 / logits[0].size), tape, grads=None))
        return means, np.linalg.norm(dx.reshape(len(points), together, 2).sum(axis=1), axis=1)

    def _drawn(self, game: AlternatingOptimizer, z: np.ndarray) -> np.ndarray:
        kernels = game.G.kernels
        return np.asarray(kernels.to_numpy(game.G.forward(kernels.asarray(z, dtype=game.G.dtype), train=False)[0]))

    def _axis(self, side: int) -> np.ndarray:
        return ((np.arange(side) + 0.5) * (2 * self.extent / side) - self.extent).astype(np.float32)

    def _grid(self, side: int) -> np.ndarray:
        """The middles of the cells, row by row from the lowest y: (side * side, 2)."""
        if side not in self._grids:
            axis = self._axis(side)
            self._grids[side] = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
        return self._grids[side]


def _like(game: AlternatingOptimizer, x: np.ndarray, kernels: Any) -> Array:
    return kernels.asarray(x, dtype=game.D.dtype)


def _net(recipe: NoiseRecipe) -> np.ndarray | None:
    """z on a net over the first two of its numbers, of equal probability from line to line; the others are 0."""
    if recipe.latent < 2:
        return None
    axis = np.array([recipe.prior.quantile(p) for p in np.linspace(0.02, 0.98, MESH)])
    net = np.zeros((MESH * MESH, recipe.latent))
    net[:, :2] = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return net


def _as_maps(units: np.ndarray | None, side: int) -> dict[str, Any] | None:
    """Units over the grid, each a picture of its own; the first sixty-four."""
    if units is None or units.ndim != 2 or len(units) != side * side:
        return None
    largest = float(np.abs(np.nan_to_num(units)).max()) or 1.0
    return packed_field(units.T[:64].reshape(-1, side, side), low=-largest, high=largest)
