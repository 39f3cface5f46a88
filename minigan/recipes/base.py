"""What a recipe is: networks, losses and settings under one name."""

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.data import Loader, open_dataset
from minigan.data.dataset import Collection
from minigan.data.images import ImageFiles
from minigan.errors import ConfigError, MixedSizesError
from minigan.nn.network import Sequential
from minigan.recipes.optimizer_settings import OptimizerSettings
from minigan.training.learner import Learner
from minigan.training.moving_average import STATISTICS, MovingAverage, Noise, Statistics
from minigan.training.sampling import Exhibit

Shape = tuple[int, ...]
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Recipe(OptimizerSettings):
    """What can be trained by name; its fields are the settings that `--set` changes.

    Settings:
        batch_size: examples in a step.
        ema: decay of the moving average of G's weights, which then draws the samples; try .999. 0 keeps none.
        ema_statistics: BatchNorm's in the average: running, batch or standing, see `minigan.training.moving_average`.
        size: the images' side, or 0 to choose by the data.
        channels: 1 for greyscale, 3 for RGB, or 0 to choose by the data.
    Raises:
        ConfigError: a setting is out of range.
    """

    name: ClassVar[str]
    default_data: ClassVar[str] = "digits"  # an embedded dataset that suits
    sizes: ClassVar[tuple[int, ...]]  # sides of images that suit the networks, for data of other sizes
    usual_size: ClassVar[int] = 64  # side of images from data without one size
    largest_size: ClassVar[float] = math.inf  # images with a longer side are scaled down

    batch_size: int = 64
    ema: float = 0.0
    ema_statistics: Statistics = "running"
    size: int = 0
    channels: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("batch_size")
        self.check_share("ema")
        self.check_choice("ema_statistics", STATISTICS)
        if self.size < 0 or self.channels not in (0, 1, 3):
            raise ConfigError(
                f"{self.name}: size must be positive and channels 1 or 3 (0 chooses by the data), "
                f"got size={self.size}, channels={self.channels}."
            )
        if self.size:
            self.check_size((self.size, self.size))

    # ------------------------------------------------------------------------------------------ to be written

    @abstractmethod
    def generator(self, image_shape: Shape) -> Sequential:
        """G, not built: what draws image_shape."""

    @abstractmethod
    def source_shape(self, image_shape: Shape) -> Shape:
        """What G draws an image from: (latent,), or the shape of another image."""

    @abstractmethod
    def learner(self, networks: Sequence[Sequential]) -> Learner:
        """The learner that trains the networks of `networks`, which are built by now."""

    @abstractmethod
    def exhibit(self, dataset: Any, *, rng: np.random.Generator, extent: float) -> Exhibit:
        """What the pictures of a training on these data are drawn from.

        Args:
            extent: how far a picture of points is to reach.
        """

    # ------------------------------------------------------------------------------------------ with a default

    def networks(self, image_shape: Shape) -> list[tuple[Sequential, Shape]]:
        """All networks, not built, each with its input shape; their weights are drawn in this order."""
        return [(self.whole_generator(image_shape), self.source_shape(image_shape))]

    def check_size(self, size: tuple[int, int]) -> None:
        """Checks that the networks can draw images of that size (H, W); by default they draw any.

        Raises:
            ConfigError: they cannot.
        """

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """From images in [-1, 1] to what D sees and G draws."""
        return images

    def to_images(self, samples: np.ndarray) -> np.ndarray:
        """The inverse of `prepare`."""
        return samples

    @property
    def numbers(self) -> Literal["signed", "unit", "logits"]:
        """What `to_images` makes images of: of themselves, of images in [0, 1], or of logits of such."""
        return "signed"

    def batch(self, item: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002 (some draw what hides an image)
        """From the loader's batch to what the learner's step takes."""
        return self.prepare(item)

    def fit(self, dataset: Collection) -> Self:  # noqa: ARG002 (some have settings that the data decide)
        """This recipe with what the data decide.

        Raises:
            ConfigError: the data lack what the recipe needs.
        """
        return self

    def open_data(self, source: str, *, seed: int) -> Collection:
        """The source, its images scaled to a size that the recipe can draw."""
        channels = self.channels or None
        native: tuple[int, int] | None = None
        try:
            dataset = open_dataset(source, channels=channels, seed=seed)
        except MixedSizesError:
            pass
        else:
            if len(dataset.shape) == 1:
                self.check_points()
                return dataset
            native = dataset.shape[0], dataset.shape[1]
            # Of picture files only some were looked at: with a size given, others that are odd will be scaled.
            if self.fit_size(native) == native and not isinstance(dataset, ImageFiles):
                return dataset
            dataset.close()
        return open_dataset(source, size=self.fit_size(native), channels=channels, seed=seed)

    def held_out(self, source: str, dataset: Collection, *, seed: int) -> Collection:  # noqa: ARG002
        """The data that pictures are made of: what was kept from training, where the recipe keeps some.

        Args:
            dataset: what `open_data` opened of the source.
        """
        return dataset

    def loader(self, dataset: Any, *, seed: int, prefetch: int = 2, shuffle: bool = True) -> Loader[Any]:
        """Endless batches of the data, as `batch` takes them."""
        return Loader(dataset, batch_size=self.batch_size, seed=seed, prefetch=prefetch, shuffle=shuffle)

    def image_shape(self, dataset: Any) -> Shape:
        """Of what G is to draw."""
        shape: Shape = dataset.shape
        return shape

    def check_points(self) -> None:
        """Raises:
        ConfigError: the recipe draws images only.
        """
        raise ConfigError(f"{self.name} draws images, not points of the plane. Use the recipe mlp, or image data.")

    def sources(
        self,
        rng: np.random.Generator,  # noqa: ARG002
        count: int,  # noqa: ARG002
        *,
        label: int | None = None,  # noqa: ARG002
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """What G draws `count` samples from, and their condition: noise, and classes at random or of one `label`.

        Raises:
            ConfigError: G does not draw from noise, or not by class.
        """
        raise ConfigError(f"{self.name} draws from images, not from noise. See minigan sample and minigan evaluate.")

    def refuse_label(self, label: int | None) -> None:
        """Raises ConfigError if a class is asked for, of a generator that was told none."""
        if label is not None:
            raise ConfigError(
                f"this {self.name} was not told classes, so it cannot draw one. Train a GAN with --set "
                "condition=concatenation on labelled data."
            )

    def standing_noise(self) -> Noise | None:
        """What standing statistics are drawn from, if from noise alone."""
        return None

    # ------------------------------------------------------------------------------------------ for the caller

    def assemble(
        self,
        image_shape: Shape,
        *,
        backend: str | Backend = "auto",
        dtype: str = "float32",
        rng: np.random.Generator,
    ) -> Learner:
        """Builds and initialises all networks, with their optimisers, ready for the first step.

        Args:
            image_shape: shape of G's images: (H, W, C), or (2,) for points.
            backend: an object or a name; all networks share it.
            dtype: of the weights: float32 or float64.
            rng: draws the weights.
        Raises:
            ConfigError, ShapeError: the recipe cannot draw images of that shape.
        """
        backend = get_backend(backend)
        networks = self.networks(image_shape)
        return self.learner([net.build(shape, backend=backend, dtype=dtype, rng=rng) for net, shape in networks])

    def built_generator(
        self,
        image_shape: Shape,
        *,
        backend: str | Backend = "auto",
        dtype: str | np.dtype[Any] = "float32",
        rng: np.random.Generator,
    ) -> Sequential:
        """G, ready to draw."""
        G = self.whole_generator(image_shape)
        return G.build(self.source_shape(image_shape), backend=backend, dtype=dtype, rng=rng)

    def whole_generator(self, image_shape: Shape) -> Sequential:
        """G behind what joins its condition to what it draws from; not built."""
        return self.generator(image_shape)

    def moving_average(self, G: Sequential, *, seed: int | Sequence[int]) -> MovingAverage | None:
        """The average of G's weights, if the recipe keeps one.

        Args:
            seed: of the noise for standing statistics.
        """
        if not self.ema:
            return None
        rng = np.random.default_rng(0)
        network = self.built_generator(G.output_shape, backend=G.kernels, dtype=G.dtype, rng=rng)
        return MovingAverage(
            network, G, decay=self.ema, statistics=self.ema_statistics, noise=self.standing_noise(), seed=seed
        )

    def fit_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The image size (H, W) to train at: the setting, or the nearest to the data's that the networks can draw.

        Args:
            size: the data's size (H, W); None if it has no one size.
        """
        if self.size:
            return self.size, self.size
        if size is None:
            return self.usual_size, self.usual_size
        if max(size) <= self.largest_size and self._can_draw(size):
            return size
        side = min(self.sizes, key=lambda side: abs(side - min(size)))
        return side, side

    def _can_draw(self, size: tuple[int, int]) -> bool:
        try:
            self.check_size(size)
        except ConfigError:
            return False
        return True

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """A recipe with some settings given, as values or as text: `{"lr": "1e-4"}`.

        Raises:
            ConfigError: an unknown setting, or something that is no value of its type.
        """
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for key, value in settings.items():
            if key not in kinds:
                raise ConfigError(f"{cls.name} has no setting {key!r}: expected one of {', '.join(sorted(kinds))}.")
            values[key] = _convert(value, kinds[key], f"{cls.name}: {key}")
        return cls(**values)


def _convert(value: Any, kind: Any, what: str) -> Any:
    """A setting's value, perhaps given as text, in its type; an int is fine for a float, but not the reverse."""
    try:
        if isinstance(value, str):
            return _TRUTH[value.lower()] if kind is bool else kind(value)
        if type(value) is kind or (kind is float and type(value) is int):
            return kind(value)
    except (ValueError, KeyError, OverflowError):
        pass
    raise ConfigError(f"{what} must be {'an' if kind is int else 'a'} {kind.__name__}, got {value!r}.")
