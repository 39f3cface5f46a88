"""Base of the GANs that draw from noise: images or points, with or without classes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from minigan.data import Loader
from minigan.data.dataset import Collection
from minigan.errors import ConfigError
from minigan.losses.feature_matching import FeatureMatching
from minigan.nn.layers import ConcatCondition, Layer
from minigan.nn.layers.augmentation import Augmentation, augmentations
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Sequential
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.classes import (
    class_count,
    class_frequencies,
    expect_labels,
    few,
    unseen_classes,
    why_not_told,
)
from minigan.recipes.bases.recipe import Shape
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.exhibit import Exhibit, picture_count
from minigan.training.fake_pool import FakePool
from minigan.training.generator_term import GeneratorTerm
from minigan.training.sampling import Noise

LABELS = 0x1AB  # the stream of random numbers that draw classes as often as the data have them
AUTO = "auto"
MOST_COLUMNS = 16


@dataclass(frozen=True, kw_only=True)
class NoiseRecipe(AdversarialRecipe):
    """Base of the recipes whose generator draws from noise.

    Settings:
        latent: length of the noise vector z.
        condition: class condition of G and D: none, concatenation or, in some recipes, projection; auto takes the
            last of these that the recipe has where the data have classes, and none elsewhere.
        classes: number of classes; the data decide it.
        feature_matching: weight of feature matching in G's loss; 0 leaves it out.
        augment: augmentation of D's images, for small datasets: some of flip, turns, color, translation, cutout,
            joined by commas;
            adaptive, or adaptive:color,cutout, applies each with a probability that rises while D overfits; made for
            a D with `penalty=r1`.
        augment_over: number of real images over which that probability can rise from 0 to 1; fewer for short trainings.
        augment_target: mean sign of D's logits on real images that it aims at, in (0, 1).
        fake_pool: number of earlier fakes that are kept; half of D's fakes are then taken from them. 0 keeps none.
        pack: number of examples that D judges together, against mode collapse (PacGAN); must divide batch_size.
    """

    conditions: ClassVar[Sequence[str]] = ("none", "concatenation")  # the last one is what auto takes
    before: ClassVar[Mapping[str, Any]] = {"condition": "none"}

    latent: int = 100
    condition: str = AUTO
    classes: int = 10
    feature_matching: float = 0.0
    augment: str = ""
    augment_over: int = 500_000
    augment_target: float = 0.6
    fake_pool: int = 0
    pack: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("latent", "classes", "augment_over")
        if not 0 < self.augment_target < 1:
            raise ConfigError(f"{self.name}: augment_target must be in (0, 1), got {self._shown('augment_target')}.")
        self.check_from_zero("feature_matching", "fake_pool")
        self.check_choice("condition", (AUTO, *self.conditions))
        self._augmentations()
        if self.pack < 1 or self.batch_size % self.pack:
            raise ConfigError(
                f"{self.name}: pack must divide batch_size, got pack={self.pack}, batch_size={self.batch_size}."
            )
        if self.conditional and (name := self.blind_to_classes(self.condition)):
            raise ConfigError(f"{self.name}: {name} cannot be used with classes. Use it with `condition='none'`.")

    @property
    def conditional(self) -> bool:
        """True if G and D are given classes; with condition=auto they are not until `fit` has seen the data."""
        return self.condition not in (AUTO, "none")

    def blind_to_classes(self, condition: str) -> str:  # noqa: ARG002 (it matters to some recipes)
        """A setting of this recipe that cannot be used with a condition; "" if there is none."""
        if self.ema and self.ema_statistics == "standing":
            return "ema_statistics=standing"
        names = ("pack", "fake_pool", "feature_matching")
        return next((name for name in names if getattr(self, name) != getattr(type(self), name)), "")

    @property
    def together(self) -> int:
        return self.pack

    @property
    def class_count(self) -> int:
        return self.classes if self.conditional else 0

    @property
    def inputs(self) -> int:
        """Length of the input of G's first layer: z, and the class as a one-hot vector."""
        return self.latent + (self.classes if self.conditional else 0)

    # ------------------------------------------------------------------------------------------ networks

    def source_shape(self, image_shape: Shape) -> Shape:  # noqa: ARG002
        return (self.latent,)

    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws n latent vectors from the prior, N(0, 1) if the recipe has no other: float64 (n, latent)."""
        return self.prior.draw(rng, n, self.latent)

    def whole_generator(self, image_shape: Shape) -> Sequential:
        front = [ConcatCondition((self.classes,))] if self.conditional else []
        return super().whole_generator(image_shape).behind(front)

    def judge(self, image_shape: Shape) -> Sequential:
        """The discriminator after the layers that augment its images and join them with classes or with each other."""
        if self.augment and len(image_shape) != 3:
            raise ConfigError(f"{self.name}: augment needs images, got points. Leave `augment={self.augment!r}` out.")
        front: list[Layer] = [*self._augmentations()]
        if self.condition == "concatenation":
            front.append(ConcatCondition((self.classes,)))
        if self.pack > 1:
            front.append(Pack(self.pack))
        return self.discriminator((*image_shape[:-1], self.pack * image_shape[-1])).behind(front)

    def _augmentations(self) -> list[Augmentation]:
        return augmentations(self.augment, target=self.augment_target, over=self.augment_over)

    def learner(self, networks: Sequence[Sequential]) -> AlternatingOptimizer:
        G, D = networks
        pool = FakePool(G, size=self.fake_pool) if self.fake_pool else None
        return self.game(G, D, noise=self.noise, terms=self._matching(D), fake_pool=pool)

    def _matching(self, D: Sequential) -> tuple[GeneratorTerm, ...]:
        if not self.feature_matching:
            return ()
        # Without augmentation: real and fake images would be augmented in different ways.
        plain = Sequential([layer for layer in D.layers if not isinstance(layer, Augmentation)], name=D.path)
        return (GeneratorTerm(self.feature_matching, FeatureMatching(plain)),)

    def standing_noise(self) -> Noise | None:
        return None if self.conditional else self.noise

    # ------------------------------------------------------------------------------------------ data

    def fit(self, dataset: Collection) -> Self:
        if self.condition == AUTO and len(getattr(dataset, "shape", ())) > 1:  # points stay as they are: without
            return self._with_condition_of(dataset).fit(dataset)
        if not self.conditional:
            return self
        expect_labels(dataset, recipe=self.name, condition=self.condition)
        found = class_count(dataset)
        missing = np.array(unseen_classes(dataset))
        if missing.size:
            warnings.warn(
                f"{dataset.name} has no images for {missing.size} of {found} classes ({few(missing)}). Their samples "
                "are meaningless; pictures and random classes leave them out, exported generators do not. Number the "
                "labels without gaps.",
                stacklevel=2,
            )
        return replace(self, classes=found)

    def _with_condition_of(self, dataset: Collection) -> Self:
        """This recipe with the condition that `auto` stands for; a note of the data tells it."""
        taken, reason = (
            self.conditions[-1],
            why_not_told(dataset, remedy=f"`condition={self.conditions[-1]!r}` tells them"),
        )
        if reason is None and (setting := self.blind_to_classes(taken)):
            reason = f"{setting} cannot be used with them"
        if reason is None:
            dataset.note(
                f"G and D are told the {class_count(dataset)} classes (condition={taken}); `condition='none'` trains "
                "without them"
            )
            return replace(self, condition=taken)
        if reason:
            dataset.note(f"G and D are not told the classes: {reason}")
        return replace(self, condition="none")

    def loader(self, dataset: Any, *, seed: int, prefetch: int = 2, shuffle: bool = True) -> Loader[Any]:
        data = dataset.with_labels() if self.conditional else dataset
        return super().loader(data, seed=seed, prefetch=prefetch, shuffle=shuffle)

    def batch(self, item: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002
        if not self.conditional:
            return self.prepare(item)
        images, labels = item
        return Batch(self.prepare(images), condition=self.one_hot(labels))

    def one_hot(self, labels: np.ndarray) -> np.ndarray:
        """Classes (N,) as one-hot vectors: float32 (N, classes)."""
        rows: np.ndarray = np.eye(self.classes, dtype=np.float32)[labels]
        return rows

    # ------------------------------------------------------------------------------------------ pictures

    def sources(
        self,
        rng: np.random.Generator,
        count: int,
        *,
        label: int | Sequence[int] | None = None,
        unseen: Sequence[int] = (),
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if not self.conditional:
            self.refuse_label(label)
            return self.noise(rng, count), None
        wrong = [n for n in ([] if label is None else np.ravel(label)) if not 0 <= n < self.classes]
        if wrong:
            raise ConfigError(f"{self.name}: expected a class from 0 to {self.classes - 1}, got {wrong[0]}.")
        if label is not None:
            return self.noise(rng, count), self.one_hot(np.full(count, label))
        known = np.setdiff1d(np.arange(self.classes), unseen)
        labels, z = np.empty(count, np.intp), np.empty((count, self.latent))
        for k in range(count):  # a class right after its z: the first ten are the same, however many are drawn
            z[k], labels[k] = self.noise(rng, 1)[0], known[rng.integers(len(known))]
        return z, self.one_hot(labels)

    def unseen(self, dataset: Collection) -> tuple[int, ...]:
        return unseen_classes(dataset) if self.conditional else ()

    def labels_like(self, dataset: Collection, count: int, *, seed: int) -> list[int] | None:
        shares = class_frequencies(dataset, self.class_count)
        if shares is None:
            return None
        drawn: list[int] = np.random.default_rng([seed, LABELS]).choice(self.classes, count, p=shares).tolist()
        return drawn

    def exhibit(self, dataset: Any, *, rng: np.random.Generator, extent: float) -> Exhibit:
        if not self.conditional:
            return Exhibit(self.noise(rng, picture_count(dataset.shape)), extent=extent)
        # A column for each class with images, a row for each z.
        known = np.setdiff1d(np.arange(self.classes), unseen_classes(dataset))
        columns = len(known) if len(known) <= MOST_COLUMNS else MOST_COLUMNS // 2
        rows = 8
        labels = known[np.arange(rows * columns) % len(known)]
        z = self.noise(rng, rows).repeat(columns, axis=0)
        return Exhibit(z, condition=self.one_hot(labels), extent=extent, columns=columns)
