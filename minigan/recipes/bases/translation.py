"""Bases of the GANs from image to image: of all of them, and of those that learn from pairs of pictures."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from minigan.data import PairDataset, open_pairs
from minigan.data.dataset import Collection
from minigan.data.pairs import DIRECTIONS, PairFiles
from minigan.errors import ConfigError, MixedSizesError
from minigan.losses import l1
from minigan.nn.layers import ConcatCondition
from minigan.nn.network import Sequential
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.recipes.bases.recipe import Recipe, Shape
from minigan.training.batch import Batch
from minigan.training.exhibit import Exhibit
from minigan.training.generator_term import GeneratorTerm
from minigan.training.learner import Learner
from minigan.training.supervised import Supervised

FRESH = 1_000_000_007  # added to the seed of embedded pairs that training never sees
HELD_OUT_SPLITS = ("val", "test")
ImagePair = tuple[np.ndarray, np.ndarray]  # sources and targets of a batch


@dataclass(frozen=True, kw_only=True)
class TranslationRecipe(AdversarialRecipe):
    """Base of the GANs from image to image: G minimizes adversarial * (adversarial loss) + l1 * mean |G(x) - y|.

    Source: Isola et al. 2017, equations 1, 3 and 4.

    Settings:
        l1: weight of the mean of |G(x) - y| in G's loss.
        adversarial: weight of the adversarial loss in G's loss; 0 trains the same G without a D.
        conditional: True shows D the source x together with y or G(x), as in a conditional GAN; False only y or G(x).
    """

    from_images: ClassVar[bool] = True
    # Names of a picture's columns.
    columns: ClassVar[tuple[str, ...]] = ("source", "output", "target")
    # Name of the answer without a network, see `baseline`; "" if there is none.
    baseline_name: ClassVar[str] = ""

    batch_size: int = 1
    l1: float = 100.0
    adversarial: float = 1.0
    conditional: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_from_zero("l1", "adversarial")
        if not self.l1 and not self.adversarial:
            raise ConfigError(f"{self.name}: l1=0 and adversarial=0 leave G nothing to minimize. Set one of them.")

    # ------------------------------------------------------------------------------------------ to be written

    @abstractmethod
    def pair(self, item: np.ndarray | ImagePair, rng: np.random.Generator) -> ImagePair:
        """Sources and targets of a batch from the loader; rng draws noise, holes and the like."""

    @abstractmethod
    def open_split(self, source: str, image_shape: Shape, *, split: str | None, seed: int) -> Collection:
        """Opens data for a trained G, at its size.

        Args:
            source: see `minigan.open_pairs` and `minigan.open_dataset`.
            image_shape: shape of G's images, (H, W, C).
            split: name of the part to open; None takes the images held out of training.
            seed: of embedded data.
        Raises:
            ConfigError: there is no such split.
        """

    # ------------------------------------------------------------------------------------------ with a default

    def baseline(self, source: np.ndarray) -> np.ndarray | None:  # noqa: ARG002
        """Answers without a network, as images like the targets; None if there are none."""
        return None

    def shown(self, source: np.ndarray) -> tuple[np.ndarray, ...]:
        """Sources as images of the targets' size, for the columns of a picture left of the output."""
        return (source,)

    def condition(self, source: np.ndarray) -> np.ndarray:
        """Sources as D is shown them, at the targets' size."""
        return source

    def with_targets(self, targets: str) -> Self:
        """This recipe with its targets in another folder or zip, see `minigan.open_pairs`; "" for none.

        Raises:
            ConfigError: it makes the targets itself.
        """
        if targets:
            raise ConfigError(f"{self.name} makes pairs from single images, got `targets`. Leave it out.")
        return self

    # ------------------------------------------------------------------------------------------ training

    def generator_terms(self) -> tuple[GeneratorTerm, ...]:
        return (GeneratorTerm(self.l1, l1),) if self.l1 else ()

    def judge(self, image_shape: Shape) -> Sequential:
        D = self.discriminator(image_shape)
        if not self.conditional:
            return D
        shape = self.condition(np.empty((1, *self.source_shape(image_shape)), np.float32)).shape[1:]
        return D.behind([ConcatCondition(shape)])

    def networks(self, image_shape: Shape) -> list[tuple[Sequential, Shape]]:
        return super().networks(image_shape) if self.adversarial else Recipe.networks(self, image_shape)

    def learner(self, networks: Sequence[Sequential]) -> Learner:
        if self.adversarial:
            G, D = networks
            return self.game(G, D, adversarial_weight=self.adversarial)
        (G,) = networks
        optimizer = self.make_optimizer(G.arena, lr=self.g_lr or self.lr)
        return Supervised(G, terms=self.generator_terms(), optimizer=optimizer, accumulate=self.accumulate)

    def batch(self, item: Any, rng: np.random.Generator) -> Batch:
        source, target = self.pair(item, rng)
        return Batch(target, condition=self.condition(source) if self.conditional else None, source=source)

    # ------------------------------------------------------------------------------------------ pictures

    def examples(self, dataset: Collection, rows: np.ndarray, *, seed: int) -> ImagePair:
        """Pairs of a dataset, the same each time: the random part of a pair depends only on the seed and its row.

        Args:
            rows: indices into the dataset.
            seed: of noise, holes and the like.
        Returns:
            Sources (N, ...) and targets (N, H, W, C), float32.
        """
        pairs = [self.pair(dataset.read([row]), np.random.default_rng([seed, int(row)])) for row in rows]
        sources, targets = zip(*pairs, strict=True)
        return np.concatenate(sources), np.concatenate(targets)

    def exhibit(self, dataset: Any, *, rng: np.random.Generator, extent: float) -> Exhibit:
        count = 5 if max(self.image_shape(dataset)) > 128 else 12
        return self.exhibit_rows(dataset, spread(len(dataset), count), seed=int(rng.integers(2**31)), extent=extent)

    def exhibit_rows(self, dataset: Collection, rows: np.ndarray, *, seed: int, extent: float = 1.0) -> Exhibit:
        """A picture of sources, outputs and targets side by side, for some rows of a dataset."""
        source, target = self.examples(dataset, rows, seed=seed)
        return Exhibit(
            source,
            before=self.shown(source),
            after=(target,),
            extent=extent,
            as_in_training=self.as_in_training,
            batch_size=self.batch_size if self.as_in_training else 16,
        )


@dataclass(frozen=True, kw_only=True)
class PairRecipe(TranslationRecipe):
    """Base of the GANs that learn from pairs of pictures of one shape, in files or `shapes`; see `minigan.open_pairs`.

    Settings:
        size: size of the images, a side or height and width (192x256); 0 takes the nearest to the data's that G can
            draw, with sides of at most 256.
        direction: AtoB makes A the source, the left half of a file or the first folder; BtoA makes B the source.
        targets: folder or zip of the pictures B, for data that hold A alone; "" finds both in the data.
    """

    default_data: ClassVar[str] = "shapes"
    usual_size = 256
    largest_size = 256

    direction: str = "AtoB"
    targets: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.targets, os.PathLike):
            object.__setattr__(self, "targets", os.fsdecode(self.targets))  # frozen, but not yet in use
        super().__post_init__()
        self.check_choice("direction", DIRECTIONS)

    def with_targets(self, targets: str) -> Self:
        return replace(self, targets=targets)

    def fit(self, dataset: Collection) -> Self:
        """With an absolute path, so that the run can be resumed from any folder."""
        return replace(super().fit(dataset), targets=lasting_path(self.targets) if self.targets else "")

    def source_shape(self, image_shape: Shape) -> Shape:
        return image_shape

    def image_shape(self, dataset: PairDataset) -> Shape:
        return dataset.b_shape

    def pair(self, item: np.ndarray | ImagePair, rng: np.random.Generator) -> ImagePair:  # noqa: ARG002
        source, target = item
        return source, target

    def open_data(self, source: str, *, seed: int) -> PairDataset:
        native: tuple[int, int] | None = None
        try:
            dataset = self._open(source, size=None, seed=seed)
        except MixedSizesError as error:
            size = self.fit_size(error.commonest)
        else:
            native = dataset.b_shape[:2]
            size = self.fit_size(native)
            dataset.close()
        dataset = self._open(source, size=size, seed=seed)
        self.note_scaling(dataset, source, native, dataset.b_shape[:2])
        if isinstance(dataset, PairFiles) and dataset.splits.isdisjoint(HELD_OUT_SPLITS):
            dataset.note(
                "no pairs are held out: pictures show those of the training. Keep some in a folder named val or test"
            )
        return dataset

    def open_split(self, source: str, image_shape: Shape, *, split: str | None, seed: int) -> PairDataset:
        H, W, channels = image_shape
        if source == "shapes":
            if split not in (None, "train", "val"):
                raise ConfigError(f"shapes: expected the split train or val, got {split!r}. Choose one of them.")
            return self._open(source, size=(H, W), seed=seed + FRESH * (split != "train"))
        for name in HELD_OUT_SPLITS if split is None else (split,):
            try:
                return self._open(source, size=(H, W), seed=seed, channels=channels, split=name)
            except ConfigError:
                if split is not None:
                    raise
        raise ConfigError(
            f"{source}: expected held-out pairs in a folder named {' or '.join(HELD_OUT_SPLITS)}, found neither. "
            "Keep some pairs out of training there, or name another part: `split='train'`."
        )

    def held_out(self, source: str, dataset: Collection, *, seed: int) -> Collection:
        try:
            return self.open_split(source, self.image_shape(dataset), split=None, seed=seed)  # type: ignore[arg-type]
        except ConfigError:
            return dataset

    def _open(
        self,
        source: str,
        *,
        size: tuple[int, int] | None,
        seed: int,
        channels: int | None = None,
        split: str | None = None,
    ) -> PairDataset:
        channels = channels or self.channels or None
        return open_pairs(
            source,
            targets=self.targets or None,
            size=size,
            channels=channels,
            direction=self.direction,
            split=split,
            seed=seed,
        )


def lasting_path(path: str) -> str:
    """A path from the root, which leads to the same place from any folder; `~` is the home folder."""
    return os.path.abspath(path if os.path.exists(path) else os.path.expanduser(path))


def spread(total: int, count: int) -> np.ndarray:
    """Indices of up to `count` of `total` rows, evenly spread."""
    count = min(count, total)
    return np.arange(count) * total // count
