"""Base of the GANs that learn to translate between two sets of images, none of which belong together."""

import contextlib
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from minigan.data import EMBEDDED, STACKED
from minigan.data.dataset import Collection
from minigan.data.enlarged import Enlarged
from minigan.data.unpaired import UnpairedDataset, UnpairedLoader
from minigan.data.unpaired_sources import Part, UnpairedSource, open_unpaired
from minigan.errors import ConfigError, MixedSizesError
from minigan.nn.network import Sequential
from minigan.recipes.bases.recipe import Recipe, Shape
from minigan.recipes.bases.sizes import scaling_in_words
from minigan.recipes.bases.translation import lasting_path
from minigan.training.cycle_consistent import Sides
from minigan.training.exhibit import RoundTrips

COLOR = 3
PAPERS_JITTER = 30 / 256  # images of 286 pixels, of which parts of 256 are cut out
JITTERED = 128  # pixels: images whose sides are at least as long are jittered unasked
SHOWN_SEED = 7  # decides which images are shown and measured


@dataclass(frozen=True, kw_only=True)
class UnpairedRecipe(Recipe):
    """Base of the GANs with two generators, G_AB from images of A to images of B and G_BA back, without pairs.

    Settings:
        batch_size: number of images of A, and of B, in a step.
        size: size of all images, a side or height and width (192x256); 0 takes the nearest to that of A that the
            generators can draw, with sides of at most 256.
        data_b: source of the images of B; "" finds both sides in the data: folders trainA and trainB, or an embedded
            pair.
        a_class, b_class: name or number of the only class to take of a labeled source; "" takes all.
        a_channels, b_channels: channels of the images of A and of B, 1 or 3; 0 takes `channels`, else the data's: both
            sides are taken in color if one of them is in color.
        jitter: share by which images are enlarged in training, where another part of their size is cut out every time;
            -1 takes the paper's 30 of 256 pixels for sides of at least 128, and none for smaller ones.
        held_back: number of images of each side held out of training, for pictures and figures; at most a tenth.
            Folders testA and testB hold out theirs instead.
    """

    from_images: ClassVar[bool] = True
    generator_names: ClassVar[tuple[str, ...]] = ("G_AB", "G_BA")
    before: ClassVar[Mapping[str, Any]] = {"jitter": 0.0}
    # Names of a picture's columns, for images of either side.
    columns: ClassVar[tuple[str, ...]] = ("image", "translated", "and back")

    usual_size = 256
    largest_size = 256

    batch_size: int = 1
    data_b: str = ""
    a_class: str = ""
    b_class: str = ""
    a_channels: int = 0
    b_channels: int = 0
    jitter: float = -1.0
    held_back: int = 200

    def __post_init__(self) -> None:
        if isinstance(self.data_b, os.PathLike):
            object.__setattr__(self, "data_b", os.fsdecode(self.data_b))  # frozen, but not yet in use
        for name in ("a_class", "b_class"):
            if isinstance(getattr(self, name), int):
                object.__setattr__(self, name, str(getattr(self, name)))
        super().__post_init__()
        self.check_from_zero("held_back")
        if not (self.jitter == -1 or 0 <= self.jitter <= 1):
            raise ConfigError(
                f"{self.name}: jitter must be a share in [0, 1], or -1 to choose by the size, got "
                f"jitter={self.jitter:g}. Use `jitter=0`."
            )
        for name in ("a_channels", "b_channels"):
            if getattr(self, name) not in (0, 1, COLOR):
                raise ConfigError(
                    f"{self.name}: {name} must be 1 or 3 (0 chooses by the data), got {name}={getattr(self, name)}."
                )

    # ------------------------------------------------------------------------------------------ to be written

    @abstractmethod
    def translator(self, name: str, image_shape: Shape) -> Sequential:
        """A generator of that name, not built: to images of that shape."""

    # ------------------------------------------------------------------------------------------ networks

    def generator(self, image_shape: Shape) -> Sequential:
        return self.translator("G_AB", image_shape)

    def source_shape(self, image_shape: Shape) -> Shape:
        """Shape of the images of A, for images of B of that shape."""
        return *image_shape[:2], self.a_channels or image_shape[2]

    def drawing(self, name: str, image_shape: Shape) -> tuple[Sequential, Shape]:
        a_shape = self.source_shape(image_shape)
        if name == "G_AB":
            return self.translator(name, image_shape), a_shape
        return self.translator(name, a_shape), image_shape

    def image_shape(self, dataset: UnpairedDataset) -> Shape:
        """Shape of the images of B."""
        return dataset.b_shape

    # ------------------------------------------------------------------------------------------ data

    def fit(self, dataset: UnpairedDataset) -> Self:  # type: ignore[override]
        """With the channels of both sides, and an absolute path, so that the run can be resumed from any folder."""
        embedded = self.data_b.removeprefix(STACKED) in EMBEDDED
        data_b = self.data_b if not self.data_b or embedded else lasting_path(self.data_b)
        a_channels, b_channels = dataset.a_shape[2], dataset.b_shape[2]
        return replace(super().fit(dataset), data_b=data_b, a_channels=a_channels, b_channels=b_channels)

    def with_data_b(self, data_b: str) -> Self:
        """This recipe with its images of B from another source; "" finds them in the source of A."""
        return replace(self, data_b=data_b)

    def open_data(self, source: str, *, seed: int) -> UnpairedDataset:
        natives: list[Shape] = []
        try:
            with contextlib.closing(self._open(source, None, (None, None), seed=seed)) as found:
                natives = [found.a_shape, found.b_shape]
            size = self.fit_size(natives[0][:2])  # type: ignore[arg-type]
        except MixedSizesError as error:
            size = self.fit_size(error.commonest)
        wanted = [self.a_channels or self.channels or None, self.b_channels or self.channels or None]
        if not natives or None in wanted:
            with contextlib.closing(self._open(source, size, wanted, seed=seed)) as found:
                own = [found.a_shape[2], found.b_shape[2]]
            if wanted == [None, None] and own[0] != own[1]:
                wanted = [COLOR, COLOR]
        dataset = self._jittered(source, size, wanted, seed=seed)
        if wanted == [COLOR, COLOR] and not self.channels and not self.a_channels:
            gray = "A" if own[0] == 1 else "B"
            dataset.note(f"{gray} is grayscale and is taken in color, like the other side")
        for letter, name, native in zip("AB", self.sides(source).both(), natives, strict=False):
            if name not in EMBEDDED and native[:2] != size:
                reason = "the size that was set" if self.size else f"the nearest size to A's that {self.name} can draw"
                dataset.note(f"{letter}: {scaling_in_words(native[:2], size, reason)}")  # type: ignore[arg-type]
        return dataset

    def enlarged_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of images of which parts of that size are cut out; the same if none are."""
        unasked = PAPERS_JITTER if min(size) >= JITTERED else 0.0
        share = 1 + (unasked if self.jitter < 0 else self.jitter)
        return round(size[0] * share), round(size[1] * share)

    def _jittered(
        self, source: str, size: tuple[int, int], channels: Sequence[int | None], *, seed: int
    ) -> UnpairedDataset:
        """The training data at that size, or larger and to be cut."""
        larger = self.enlarged_size(size)
        dataset = self._open(source, larger, channels, seed=seed)
        if larger == size:
            return dataset
        truths = (dataset.a_truth, dataset.b_truth)
        a_truth, b_truth = (None if truth is None else Enlarged(truth, size=size) for truth in truths)
        cut = UnpairedDataset(
            Enlarged(dataset.a, size=size), Enlarged(dataset.b, size=size), a_truth=a_truth, b_truth=b_truth
        )
        (high, wide), (height, width) = larger, size
        cut.note(
            f"each image is enlarged to {high}x{wide}, and a part of {height}x{width} is cut out of it at random; "
            "`jitter=0` trains without"
        )
        return cut

    def open_part(self, source: str, image_shape: Shape, *, part: Part = "held-out", seed: int) -> UnpairedDataset:
        """Opens data for trained generators, at their sizes.

        Args:
            source: see `minigan.data.open_unpaired`.
            image_shape: shape of the images of B.
            part: "train", or "held-out" for the images that training does not see.
            seed: of embedded data.
        """
        a_shape = self.source_shape(image_shape)
        return self._open(source, image_shape[:2], (a_shape[2], image_shape[2]), seed=seed, part=part)

    def held_out(self, source: str, dataset: Collection, *, seed: int) -> Collection:
        return self.open_part(source, self.image_shape(dataset), seed=seed)  # type: ignore[arg-type]

    def sides(self, source: str) -> UnpairedSource:
        """Where the images of A and of B are, with the images of A, or both, in that source."""
        return UnpairedSource(source, self.data_b, self.a_class, self.b_class)

    def _open(
        self,
        source: str,
        size: tuple[int, ...] | None,
        channels: Sequence[int | None],
        *,
        seed: int,
        part: Part = "train",
    ) -> UnpairedDataset:
        return open_unpaired(
            source,
            self.data_b,
            size=size,  # type: ignore[arg-type]
            a_channels=channels[0],
            b_channels=channels[1],
            a_class=self.a_class,
            b_class=self.b_class,
            part=part,
            held_back=self.held_back,
            seed=seed,
        )

    def loader(self, dataset: UnpairedDataset, *, seed: int, prefetch: int = 2, shuffle: bool = True) -> UnpairedLoader:
        smaller = min(dataset.a, dataset.b, key=len)
        self.expect_enough(len(smaller), smaller.name)
        return UnpairedLoader(
            dataset, batch_size=self.batch_size, seed=seed, prefetch=prefetch, shuffle=shuffle, mirror=self.mirror
        )

    def batch(self, item: Any, rng: np.random.Generator) -> Sides:  # noqa: ARG002
        return Sides(*item)

    # ------------------------------------------------------------------------------------------ pictures

    def exhibit(self, dataset: UnpairedDataset, *, rng: np.random.Generator, extent: float) -> RoundTrips:  # noqa: ARG002
        count = 4 if max(dataset.a_shape) > 128 else 8
        return self.round_trips(dataset, count)

    def round_trips(self, dataset: UnpairedDataset, count: int, *, names: Sequence[str] = ()) -> RoundTrips:
        """A picture of some images of each side, translated and back.

        Args:
            count: of each side.
            names: of the generators that begin; none for all.
        """
        begin = {"G_AB": dataset.a, "G_BA": dataset.b}
        return RoundTrips(
            {name: side.read(some(len(side), count)) for name, side in begin.items() if name in (names or begin)},
            back={"G_AB": "G_BA", "G_BA": "G_AB"},
        )


def some(total: int, count: int) -> np.ndarray:
    """Indices of up to `count` of `total` rows, drawn at random but the same each time: labels may run in turn."""
    rows = np.random.default_rng(SHOWN_SEED).permutation(total)[:count]
    return np.sort(rows)
