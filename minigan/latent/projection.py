"""Projection: the z, or the style w, from which a trained generator draws a picture most like a given one.

G stays as it is, and Adam moves z: the gradient goes from the loss through the image and G's backward pass to its
input, with no weight's gradient computed (`grads=None`). Such a loss has many hollows, so that there are several
starts: the best of many random samples. In a first third of the steps they all descend, afterwards only the best few,
of several classes one each.

The loss is the mean absolute difference of the pixels, and the distance in a classifier's features if there is one.
z stays where the prior's draws lie, as far from it G draws what it was never trained for. Of a generator with styles a
style w is searched in place of z, which lies nearer to the image and has fewer hollows (`minigan.latent.spaces`).

Source: Creswell & Bharath 2018, "Inverting the Generator of a Generative Adversarial Network"; for features in the loss
Karras et al. 2020 (StyleGAN2), appendix D.
"""

import html
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Array, array_module
from minigan.data.pictures import ImageBatch, html_image, image_grid
from minigan.data.png import encode_png
from minigan.evaluation.metrics import psnr
from minigan.latent.feature_distance import FeatureDistance
from minigan.latent.sources import Sources
from minigan.latent.spaces import Space
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Adam
from minigan.nn.parameters import Arena, Parameter
from minigan.nn.schedules import LinearDecay
from minigan.recipes import Recipe
from minigan.training.sampling import generate

# Called after each step: with the number of steps done, the images drawn for it, and the least loss.
Advance = Callable[[int, int, float], None]

__all__ = ["Advance", "Projection", "Search", "project_image"]

RATE = 0.1  # Adam's, at first
FEATURE_WEIGHT = 0.1  # of the classifier's distance, next to the pixels'
SCREENED = 512  # samples among which starts are chosen, of all classes together
MOST_ROWS = 64  # starts that descend together; bounds memory and time


@dataclass(frozen=True)
class Projection:
    """A picture, and the nearest that a generator was found to draw.

    Attributes:
        z: the latent vector found, float64 (latent,); or the style, (F,).
        label: its class; None for a generator without classes.
        target: the picture, (H, W, C) in [-1, 1].
        image: G's image of z.
        l1: mean absolute difference of both, where black and white differ by 2.
        psnr: the same as a signal-to-noise ratio, in decibels.
        features: squared distance in the classifier's features, 1 being that of no features at all; None without it.
        start_l1, start_features: the same of the best random sample, before any step.
        notes: lines on how the picture was read and scaled.
        space: z, or w if a style was searched.
    """

    z: np.ndarray
    label: int | None
    target: np.ndarray
    image: np.ndarray
    l1: float
    psnr: float
    features: float | None
    start_l1: float
    start_features: float | None
    notes: tuple[str, ...] = ()
    space: str = "z"

    def picture(self) -> np.ndarray:
        """Target and image side by side: uint8 (H, W, C)."""
        return image_grid(np.stack([self.target, self.image]), columns=2)

    def figures(self) -> dict[str, Any]:
        """How near it came, as values that JSON has."""
        names = ("space", "label", "l1", "psnr", "features", "start_l1", "start_features")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        label = "" if self.label is None else f"class {self.label}, "
        near = "" if self.features is None else f", features {self.features:.3g}"
        return f"<Projection: {label}{self.space} {self.z.shape}, L1 {self.l1:.3g}, {self.psnr:.1f} dB{near}>"

    def _repr_html_(self) -> str:
        """Target and image with the same text, for a notebook."""
        shown = html_image(encode_png(self.picture()), text=repr(self))
        return f"<div>{shown}<pre>{html.escape(repr(self))}</pre></div>"


class Search(NamedTuple):
    """Extent of a search.

    Attributes:
        starts: number of starts of each class.
        steps: number of Adam's steps in all.
        seed: of the starts.
    """

    starts: int = 4
    steps: int = 300
    seed: int = 0


class _Found(NamedTuple):
    """Latent vectors with their conditions, classes and losses, row by row."""

    sources: Sources
    labels: list[int | None]
    losses: np.ndarray

    def best(self, count: int, *, of_a_class: int | None = None) -> "_Found":
        """The rows of least loss, of a class at most so many."""
        ordered = np.argsort(self.losses, kind="stable").tolist()
        seen: Counter[int | None] = Counter()
        rows = []
        for row in ordered:
            seen[self.labels[row]] += 1
            if of_a_class is None or seen[self.labels[row]] <= of_a_class:
                rows.append(row)
        rows = rows[:count]
        c = self.sources.condition
        sources = Sources(self.sources.z[rows], None if c is None else c[rows])
        return _Found(sources, [self.labels[row] for row in rows], self.losses[rows])


def project_image(
    space: Space,
    recipe: Recipe,
    target: np.ndarray,
    *,
    labels: list[int] | None,
    distance: FeatureDistance | None,
    search: Search,
    advance: Advance,
) -> Projection:
    """Finds the vector from which a generator draws an image most like the target.

    Args:
        space: that is searched, of a network of images that draws without the batch's statistics.
        recipe: of the generator.
        target: (H, W, C) in [-1, 1], of G's shape.
        labels: classes to try; None for a G without classes.
        distance: in features, to this target.
        search: its extent.
        advance: called after each step.
    Raises:
        ConfigError: G does not draw from noise, or not by such a class.
    """
    loss = _Loss(space, recipe, target, distance)
    starts = _starts(loss, labels, search)
    first = search.steps // 3
    found = _descend(loss, starts, steps=first, advance=advance)
    left = found.best(search.starts) if labels is None or len(labels) == 1 else found.best(search.starts, of_a_class=1)
    found = _descend(loss, left, steps=search.steps - first, begun=first, advance=advance)
    best = found.best(1)
    image, l1, features = loss.measured(best.sources)
    _, start_l1, start_features = loss.measured(starts.best(1).sources)
    ratio = float(psnr(image[None], target[None])[0])
    return Projection(
        z=best.sources.z[0],
        label=best.labels[0],
        target=target.view(ImageBatch),
        image=image.view(ImageBatch),
        l1=l1,
        psnr=ratio,
        features=features,
        start_l1=start_l1,
        start_features=start_features,
        space=space.name,
    )


class _Loss:
    """The loss of images G(z), row by row, and its gradient with respect to z."""

    def __init__(self, space: Space, recipe: Recipe, target: np.ndarray, distance: FeatureDistance | None) -> None:
        self.space, self.recipe, self.distance = space, recipe, distance
        G = self.G = space.G
        self.target = G.kernels.asarray(target[None], dtype=G.dtype)

    def with_gradient(self, G: Sequential, z: Array) -> tuple[Array, Array]:
        """The losses (N,) of latent vectors (N, latent), and the gradient, of z's shape.

        Args:
            G: the network, with its condition.
        """
        y, tape = G.forward(self.space.inputs(z), train=False)
        images = self.recipe.to_images(y)
        values, dimages = self._of_images(images)
        dx = G.backward(dimages * self._slope(images), tape, grads=None)
        return values, self.space.gradient(dx)

    def drawn(self, sources: Sources) -> np.ndarray:
        """The images of vectors."""
        inputs = self.space.inputs(sources.z)
        return np.asarray(self.recipe.to_images(generate(self.G, inputs, sources.condition)))

    def _of_images(self, images: Array) -> tuple[Array, Array]:
        xp = array_module(images)
        difference = images - self.target
        values, dimages = xp.abs(difference).mean(axis=(1, 2, 3)), xp.sign(difference) / self.target.size
        if self.distance is not None:
            distances, dx = self.distance(images)
            values, dimages = values + FEATURE_WEIGHT * distances, dimages + FEATURE_WEIGHT * dx
        return values, dimages

    def _slope(self, images: Array) -> Any:
        """The derivative of `to_images`."""
        match self.recipe.numbers:
            case "unit":  # 2 y - 1
                return 2
            case "logits":  # tanh(y / 2)
                return (1 - images * images) / 2
            case "signed":
                return 1

    def of_rows(self, sources: Sources) -> np.ndarray:
        """The losses (N,) of many, a batch at a time."""
        kernels = self.G.kernels
        drawn = self.drawn(sources)
        parts = np.array_split(drawn, -(-len(drawn) // MOST_ROWS))
        return np.concatenate([kernels.to_numpy(self._of_images(kernels.asarray(part))[0]) for part in parts])

    def measured(self, sources: Sources) -> tuple[np.ndarray, float, float | None]:
        """The image of one z, its mean absolute difference from the target, and its distance in features."""
        images = self.drawn(sources)
        x = self.G.kernels.asarray(images)
        l1 = float(array_module(x).abs(x - self.target).mean())
        return images[0], l1, None if self.distance is None else float(self.distance(x)[0][0])


def _starts(loss: _Loss, labels: list[int] | None, search: Search) -> _Found:
    """The best of many random samples of each class; the same z in each."""
    classes: list[int | None] = [None] if labels is None else [*labels]
    count = max(search.starts, SCREENED // len(classes))
    chosen: list[_Found] = []
    for label in classes:
        sources = loss.space.sources(np.random.default_rng(search.seed), count, label=label)
        chosen.append(_Found(sources, [label] * count, loss.of_rows(sources)).best(search.starts))
    conditions = [one.sources.condition for one in chosen if one.sources.condition is not None]
    z = np.concatenate([one.sources.z for one in chosen])
    return _Found(
        Sources(z, np.concatenate(conditions) if conditions else None),
        [label for one in chosen for label in one.labels],
        np.concatenate([one.losses for one in chosen]),
    ).best(max(MOST_ROWS, search.starts))


def _descend(loss: _Loss, found: _Found, *, steps: int, begun: int = 0, advance: Advance) -> _Found:
    """Adam's steps on all rows at once, which do not touch each other: for each row the best z that it came by.

    Args:
        steps: number of steps.
        begun: number of steps before these, for `advance`.
    """
    if not steps:
        return found
    kernels, (z, condition) = loss.G.kernels, found.sources
    place = Parameter("z", z.shape, lambda _, __: z)
    arena = Arena({"z": place}, backend=kernels, dtype=loss.G.dtype, rng=np.random.default_rng(0))
    optimizer, grads = Adam(arena, lr=LinearDecay(RATE, 0, steps)), arena.gradients()
    G = loss.G.given(None if condition is None else kernels.asarray(condition, dtype=loss.G.dtype))
    best, least = z.copy(), found.losses.copy()
    for step in range(steps + 1):
        values, dz = loss.with_gradient(G, place.value)
        values = kernels.to_numpy(values)
        better = values < least
        best[better], least[better] = kernels.to_numpy(place.value)[better], values[better]
        if step == steps:
            break
        grads[place][...] = dz
        optimizer.step(grads)
        loss.space.hold(place.value)
        advance(begun + step + 1, len(z), float(least.min()))
    return _Found(Sources(best, condition), found.labels, least)
