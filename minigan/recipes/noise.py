"""GANs that draw from noise, for images and points; with classes, if the data have them."""

import warnings
from collections.abc import Sequence
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
from minigan.recipes.adversarial import AdversarialRecipe
from minigan.recipes.base import Shape
from minigan.training.alternating import AlternatingOptimizer, Batch, GeneratorTerm
from minigan.training.fake_pool import FakePool
from minigan.training.moving_average import Noise
from minigan.training.sampling import Exhibit, picture_count

MOST_COLUMNS = 16
MOST_CLASSES = 10_000


@dataclass(frozen=True, kw_only=True)
class NoiseRecipe(AdversarialRecipe):
    """A GAN that draws from noise.

    Settings:
        latent: length of the noise vector z.
        condition: how G and D are told an image's class: none, concatenation or (not every recipe) projection.
        classes: how many; the data decide.
        feature_matching: weight of feature matching in G's loss; 0 leaves it out.
        augment: how D's images are changed: some of color, translation, cutout, joined by commas; for few data.
        fake_pool: how many earlier fakes are kept, half of what D learns from; 50 is usual, 0 keeps none.
        pack: how many examples D judges at once, against modes that G forgets (PacGAN); divides batch_size.
    """

    conditions: ClassVar[Sequence[str]] = ("none", "concatenation")

    latent: int = 100
    condition: str = "none"
    classes: int = 10
    feature_matching: float = 0.0
    augment: str = ""
    fake_pool: int = 0
    pack: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("latent", "classes")
        self.check_from_zero("feature_matching", "fake_pool")
        self.check_choice("condition", self.conditions)
        augmentations(self.augment)
        if self.pack < 1 or self.batch_size % self.pack:
            raise ConfigError(
                f"{self.name}: pack must divide batch_size, got pack={self.pack}, batch_size={self.batch_size}."
            )
        if self.conditional:
            for name in ("pack", "fake_pool", "feature_matching"):
                if getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(f"{self.name}: {name} takes no account of classes. Use it with condition=none.")

    @property
    def conditional(self) -> bool:
        """Whether the networks are told classes."""
        return self.condition != "none"

    @property
    def inputs(self) -> int:
        """How many numbers G's first layer is given: z, and the class as a one-hot vector."""
        return self.latent + (self.classes if self.conditional else 0)

    # ------------------------------------------------------------------------------------------ networks

    def source_shape(self, image_shape: Shape) -> Shape:  # noqa: ARG002
        return (self.latent,)

    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n latent vectors from N(0, 1): float64, (n, latent)."""
        return rng.standard_normal((n, self.latent))

    def whole_generator(self, image_shape: Shape) -> Sequential:
        front = [ConcatCondition((self.classes,))] if self.conditional else []
        return super().whole_generator(image_shape).behind(front)

    def judge(self, image_shape: Shape) -> Sequential:
        """The discriminator behind what changes and joins the images it is shown."""
        if self.augment and len(image_shape) != 3:
            raise ConfigError(f"{self.name}: augment changes images, got points. Leave augment={self.augment} out.")
        front: list[Layer] = [*augmentations(self.augment)]
        if self.condition == "concatenation":
            front.append(ConcatCondition((self.classes,)))
        if self.pack > 1:
            front.append(Pack(self.pack))
        return self.discriminator((*image_shape[:-1], self.pack * image_shape[-1])).behind(front)

    def learner(self, networks: Sequence[Sequential]) -> AlternatingOptimizer:
        G, D = networks
        pool = FakePool(G, size=self.fake_pool) if self.fake_pool else None
        return self.game(G, D, noise=self.noise, terms=self._matching(D), fake_pool=pool)

    def _matching(self, D: Sequential) -> tuple[GeneratorTerm, ...]:
        if not self.feature_matching:
            return ()
        # Of the images as they are: two passes would be changed in two ways.
        plain = Sequential([layer for layer in D.layers if not isinstance(layer, Augmentation)], name=D.path)
        return (GeneratorTerm(self.feature_matching, FeatureMatching(plain)),)

    def standing_noise(self) -> Noise | None:
        return None if self.conditional else self.noise

    # ------------------------------------------------------------------------------------------ data

    def fit(self, dataset: Collection) -> Self:
        if not self.conditional:
            return self
        if dataset.labels is None:
            raise ConfigError(
                f"{self.name}: condition={self.condition} needs the class of each image, but {dataset.name} has no "
                "labels. Use condition=none, or data with labels: a folder for each class will do."
            )
        first, last = int(dataset.labels.min()), int(dataset.labels.max())
        if first < 0 or last >= MOST_CLASSES:
            raise ConfigError(
                f"{self.name}: expected classes counted from 0, at most {MOST_CLASSES:,}, but the labels of "
                f"{dataset.name} are from {first} to {last}. Number them anew, or use condition=none."
            )
        found = last + 1 if dataset.classes is None else len(dataset.classes)
        missing = np.setdiff1d(np.arange(found), dataset.labels)
        if missing.size:
            warnings.warn(
                f"{dataset.name} has no images of {missing.size} of {found} classes ({_few(missing)}). Samples of them "
                "mean nothing, and among samples of classes at random there are some. Number the labels without gaps.",
                stacklevel=2,
            )
        return replace(self, classes=found)

    def loader(self, dataset: Any, *, seed: int, prefetch: int = 2, shuffle: bool = True) -> Loader[Any]:
        data = dataset.with_labels() if self.conditional else dataset
        return super().loader(data, seed=seed, prefetch=prefetch, shuffle=shuffle)

    def batch(self, item: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002
        if not self.conditional:
            return self.prepare(item)
        images, labels = item
        return Batch(self.prepare(images), condition=self.one_hot(labels))

    def one_hot(self, labels: np.ndarray) -> np.ndarray:
        """Class numbers (N,) as rows of 0 with a 1: float32, (N, classes)."""
        rows: np.ndarray = np.eye(self.classes, dtype=np.float32)[labels]
        return rows

    # ------------------------------------------------------------------------------------------ pictures

    def sources(
        self, rng: np.random.Generator, count: int, *, label: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if not self.conditional:
            self.refuse_label(label)
            return self.noise(rng, count), None
        if label is not None and not 0 <= label < self.classes:
            raise ConfigError(f"{self.name}: expected a class from 0 to {self.classes - 1}, got {label}.")
        labels = rng.integers(self.classes, size=count) if label is None else np.full(count, label)
        return self.noise(rng, count), self.one_hot(labels)

    def exhibit(self, dataset: Any, *, rng: np.random.Generator, extent: float) -> Exhibit:
        if not self.conditional:
            return Exhibit(self.noise(rng, picture_count(dataset.shape)), extent=extent)
        # A column for each class, a row for each z.
        columns = self.classes if self.classes <= MOST_COLUMNS else MOST_COLUMNS // 2
        rows = 8
        labels = np.arange(rows * columns) % self.classes
        z = self.noise(rng, rows).repeat(columns, axis=0)
        return Exhibit(z, condition=self.one_hot(labels), extent=extent, columns=columns)


def _few(numbers: np.ndarray) -> str:
    """The first few of some numbers, for a message."""
    return ", ".join(map(str, numbers[:3])) + (" ..." if numbers.size > 3 else "")
