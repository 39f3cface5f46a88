"""Walks and projection of a trained generator, and samples that are drawn one by one."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import numpy as np

from minigan.data.one_picture import one_picture
from minigan.data.pictures import ImageBatch
from minigan.errors import ConfigError
from minigan.evaluation.classifier import Classifier
from minigan.evaluation.features import StackedClassifier
from minigan.latent.feature_distance import FeatureDistance
from minigan.latent.projection import Advance, Projection, Search, project_image
from minigan.latent.sources import Sources, expect_seeds, expect_truncation, seed_sources, settled
from minigan.latent.spaces import NoiseSpace, Space, StyleSpace
from minigan.latent.styles import StyleParts, expect_crossover, mixed_styles, style_parts
from minigan.latent.walk import walk_between, walk_length
from minigan.nn.network import Sequential
from minigan.recipes import Recipe
from minigan.support.arguments import flag, whole
from minigan.support.memory_limit import expect_room
from minigan.training.priors import UniformPrior
from minigan.training.sampling import LastingConstants, generate

__all__ = ["Label", "LatentTools", "label_list"]

Label = int | str | Sequence[int | str] | None


def label_list(label: Label) -> Label:
    """The same, with a list in place of a range or an array of classes."""
    return [*label] if isinstance(label, range | np.ndarray) and np.ndim(label) == 1 else label


class LatentTools(ABC):
    """Base of a trained generator: its tools for single latent vectors.

    Attributes:
        G: the network, built, with its weights.
        recipe: the recipe that trained it.
        unseen: numbers of the classes of which its training data had no images.
    """

    G: Sequential
    recipe: Recipe
    unseen: tuple[int, ...]
    _constants: LastingConstants

    @property
    @abstractmethod
    def batch_statistics(self) -> bool:
        """Whether BatchNorm uses each batch's statistics."""

    @abstractmethod
    def label(self, text: int | str) -> int:
        """The number of a class, from its name or from its number, also as text."""

    @abstractmethod
    def classes_of(self, label: Label, count: int) -> int | list[int] | None:
        """The number of the class of all samples, or of each; None for random classes."""

    def draw(self, z: np.ndarray, *, label: Label = None) -> np.ndarray:
        """Images (N, H, W, C) in [-1, 1] of latent vectors, or points (N, 2); each by itself.

        Args:
            z: (N, latent), or (latent,) for one.
            label: the class of all, or a list with the class of each; needed by a generator that is told classes.
        Raises:
            ConfigError: the generator draws from images, or there is no such class.
            ShapeError: z has another shape.
        """
        z, label = np.atleast_2d(z), label_list(label)
        if self.recipe.class_count and label is None:
            raise ConfigError(f"{self.recipe.name} was trained with classes, got none. Write label=0.")
        _, condition = self.recipe.sources(np.random.default_rng(0), len(z), label=self.classes_of(label, len(z)))
        return self.draw_alone(Sources(z, condition))

    def walk(
        self,
        frames: int,
        *,
        seeds: Sequence[int] = range(6),
        label: Label = None,
        truncation: float = 1.0,
        loop: bool = True,
    ) -> np.ndarray:
        """Images (N, H, W, C) in [-1, 1] on a path from seed to seed, each little different from the one before.

        The path is an arc between normal z, and a line between uniform ones and between styles, where there are some.
        Every `frames` + 1 images, from the first on, stands that of a seed, bit for bit as `sample` draws it.

        Args:
            frames: number of images between those of neighboring seeds.
            seeds: at least two; or one, and the path leads through classes alone.
            label: the class of the whole walk; or a list with the class at each seed, between which the condition
                changes evenly, to be given with as many seeds or with one. None takes the class that each seed draws.
            truncation: see `sample`.
            loop: whether the path returns from the last seed to the first.
        Raises:
            ConfigError: there is no such class, or nowhere to walk to; or as in `sample`.
            OutOfMemoryError: there is no room for so many images.
        """
        frames, loop, numbers, label = (
            whole(frames, "frames"),
            flag(loop, "loop"),
            expect_seeds(seeds),
            label_list(label),
        )
        if isinstance(label, list | tuple):
            if len(numbers) not in (1, len(label)):
                raise ConfigError(
                    f"a walk through {len(label)} classes has one seed, or as many, got {len(numbers)}. Name as many."
                )
            numbers = numbers * len(label) if len(numbers) == 1 else numbers
        self.expect_room_for(walk_length(len(numbers), frames=frames, loop=loop), remedy="Use a smaller `frames`.")
        labels = self.classes_of(label, len(numbers))
        points = seed_sources(
            self.recipe, numbers, label=labels, unseen=self.unseen, truncation=expect_truncation(truncation)
        )
        if self.recipe.has_styles:
            styles = Sources(self._parts(truncation, asked="a walk").styles(points), None)
            return self.draw_styles(walk_between(styles, prior=UniformPrior(), frames=frames, loop=loop).z)
        path = walk_between(points, prior=self.recipe.prior, frames=frames, loop=loop)
        return self.draw_alone(path, truncation=truncation)

    def project(
        self,
        picture: str | os.PathLike[str] | np.ndarray,
        *,
        label: int | str | None = None,
        classifier: Classifier | StackedClassifier | None = None,
        starts: int = 4,
        steps: int = 300,
        seed: int = 0,
        advance: Advance | None = None,
    ) -> Projection:
        """Finds the z from which G draws an image most like a picture; see `minigan.latent.projection`.

        Of a generator with styles it finds a style w, which `draw_styles` draws.

        Args:
            picture: the path of a file, or an array (H, W, C), uint8 or floats in [-1, 1]. Another size than G's is
                scaled and cropped, other channels are converted; the notes of the result say so.
            label: its class, the number or the name; None tries every class of the training and takes the best.
            classifier: of the same data, whose features are compared, too; None compares pixels alone.
            starts: number of places from which the search begins, for each class.
            steps: number of steps of the search.
            seed: of the starts.
            advance: called after each step: with the number of steps done, the images drawn for it, and the least loss.
        Raises:
            ConfigError: the generator draws points, or from images; there is no such class; or the picture or the
                classifier is of another kind.
            DataError: the picture cannot be read.
        """
        search = Search(whole(starts, "starts"), whole(steps, "steps"), whole(seed, "seed", least=0))
        image, notes = one_picture(picture, self.expect_projectable(label=label))
        count = self.recipe.class_count
        known = [number for number in range(count) if number not in self.unseen]
        self.expect_room_for(search.starts * (len(known) or 1 if label is None else 1), remedy="Use fewer `starts`.")
        distance = None if classifier is None else FeatureDistance(classifier, image)
        labels = None if not count else known if label is None else [self.label(label)]
        found = project_image(
            self._space(labels),
            self.recipe,
            image,
            labels=labels,
            distance=distance,
            search=search,
            advance=advance or (lambda *_: None),
        )
        return replace(found, notes=notes)

    def _space(self, labels: list[int] | None) -> Space:
        """The space that projection searches: styles, where there are some."""
        if not self.recipe.has_styles:
            return NoiseSpace(self._settled, self.recipe)
        return StyleSpace(style_parts(self._settled, self.recipe, asked="projection"), self.recipe, labels)

    def styles(self, seeds: Sequence[int], *, label: Label = None, truncation: float = 1.0) -> np.ndarray:
        """The styles w of seeds, float (N, F), of a generator with styles; each computed by itself.

        Args:
            seeds, label, truncation: see `sample`.
        Raises:
            ConfigError: the generator has no styles; or as in `sample`.
        """
        parts, numbers = self._parts(truncation, asked="a style"), expect_seeds(seeds)
        labels = self.classes_of(label_list(label), len(numbers))
        return parts.styles(seed_sources(self.recipe, numbers, label=labels, unseen=self.unseen))

    def draw_styles(self, styles: np.ndarray) -> np.ndarray:
        """Images (N, H, W, C) in [-1, 1] of styles w, each by itself.

        Args:
            styles: (F,) or (N, F), one for all layers of the synthesis; or (N, rows, F), one for each.
        Raises:
            ConfigError: the generator has no styles.
            ShapeError: these have another shape.
        """
        parts = self._parts(1.0, asked="drawing styles")
        w = np.atleast_2d(styles)
        if w.ndim == 2:
            w = w[:, None].repeat(parts.rows, axis=1)
        with self._constants.held():
            return self.images(generate(parts.synthesis, w, batch_size=1))

    def mix(
        self,
        rows: Sequence[int],
        columns: Sequence[int],
        *,
        crossover: int | None = None,
        label: Label = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """Images (len(rows) * len(columns), H, W, C) in [-1, 1] that mix styles, row by row.

        Each has the style of its row's seed in the first layers of the synthesis, which decide the coarse features, and
        that of its column's seed in the others.

        Args:
            rows, columns: seeds, from 0 up.
            crossover: the first layer with the column's style, from 1 to the number of layers - 1; None is the middle.
            label: the class of all; None takes the class that each seed draws.
            truncation: see `sample`.
        Raises:
            ConfigError: the generator has no styles, or no such layer; or as in `sample`.
        """
        parts = self._parts(truncation, asked="mixing styles")
        first = expect_crossover(crossover, parts.rows)
        if isinstance(label_list(label), list | tuple):
            raise ConfigError("mixing styles takes one class for all, got a list. Write label=3, or leave it out.")
        self.expect_room_for(len(rows) * len(columns))
        coarse, fine = (self.styles(seeds, label=label, truncation=truncation) for seeds in (rows, columns))
        return self.draw_styles(mixed_styles(coarse, fine, rows=parts.rows, crossover=first))

    def _parts(self, truncation: float, *, asked: str) -> StyleParts:
        """The mapping and the synthesis, with that truncation."""
        G = self.recipe.truncated_generator(self._settled, expect_truncation(truncation))
        return style_parts(G, self.recipe, asked=asked)

    def expect_projectable(self, *, label: int | str | None = None) -> tuple[int, int, int]:
        """The shape (H, W, C) of a picture that can be projected.

        Args:
            label: its class.
        Raises:
            ConfigError: none can: G draws points, or from images, or not by that class.
        """
        self.recipe.sources(np.random.default_rng(0), 1, label=None if label is None else self.label(label))  # raises
        if len(self.G.output_shape) != 3:
            raise ConfigError(
                f"{self.recipe.name} draws points here, onto which no picture is projected. Use a run of images."
            )
        H, W, C = self.G.output_shape
        return H, W, C

    def draw_alone(self, sources: Sources, *, truncation: float = 1.0) -> np.ndarray:
        """Samples drawn one by one, so that not even their last bits depend on each other.

        Args:
            truncation: of a generator with styles; of others it is in the sources.
        """
        G = self.recipe.truncated_generator(self._settled, truncation)
        with nullcontext() if self.batch_statistics else self._constants.held():
            return self.images(generate(G, *sources, batch_size=1))

    def images(self, samples: np.ndarray) -> np.ndarray:
        """G's outputs as images in [-1, 1], or as points."""
        images = self.recipe.to_images(samples)
        return images.view(ImageBatch) if len(self.G.output_shape) == 3 else images

    @cached_property
    def _settled(self) -> Sequential:
        """G, with fixed statistics where it has none of its own."""
        return settled(self.G, self.recipe) if self.batch_statistics else self.G

    def expect_room_for(self, count: int, *, remedy: str = "Use a smaller `count`.") -> None:
        """Refuses more samples than there is room for.

        Args:
            remedy: the end of the error.
        Raises:
            OutOfMemoryError: there are too many.
        """
        nbytes = 8 * count * (math.prod(self.G.input_shape) + math.prod(self.G.output_shape))
        expect_room(nbytes, what=f"{count:,} samples", remedy=remedy)
