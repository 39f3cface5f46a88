"""Base of all recipes: networks, losses and settings under one name."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.data import EMBEDDED, STACKED, Loader, open_dataset
from minigan.data.dataset import Collection
from minigan.data.image_files import ImageFiles
from minigan.errors import ConfigError, MixedSizesError
from minigan.nn.network import Sequential
from minigan.recipes.bases.optimizer_settings import OptimizerSettings
from minigan.recipes.bases.settings import from_text
from minigan.recipes.bases.sizes import Size, as_pair, as_size, nearest_size, plain_size, scaling_in_words
from minigan.support.arguments import kind_of
from minigan.training.exhibit import Shown
from minigan.training.learner import Learner
from minigan.training.moving_average import STATISTICS, MovingAverage, Statistics, average_name
from minigan.training.priors import NormalPrior, Prior
from minigan.training.sampling import Noise

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Recipe(OptimizerSettings):
    """Base of everything that can be trained by name; its fields are the settings that `--set` changes.

    Settings:
        batch_size: number of examples in a step.
        accumulate: number of batches whose mean gradient makes one update of each network: a large batch in the memory
            of a small one. A step takes that many times as long.
        mirror: True flips each image of the data left to right with probability 1/2; both pictures of a pair together.
        ema: decay of the moving average of G's weights, such as .999; samples are then drawn with it. 0 keeps none.
        ema_statistics: its BatchNorm statistics: running, batch or standing, see `minigan.training.moving_average`.
        size: size of the images, a side or height and width (48x64); 0 takes the nearest to the data's that G can draw.
        channels: 1 for grayscale, 3 for RGB; 0 chooses by the data.
    Raises:
        ConfigError: a setting is out of range.
    """

    name: ClassVar[str]
    generator_names: ClassVar[tuple[str, ...]] = ("G",)  # of the networks that draw samples, as the learner has them
    has_styles: ClassVar[bool] = False  # whether G begins with a mapping network, whose styles can be mixed
    from_images: ClassVar[bool] = False  # whether generators draw from images, not from noise
    # True if trained generators draw with Dropout and each batch's own statistics, as in training.
    as_in_training: ClassVar[bool] = False
    default_data: ClassVar[str] = "digits"  # an embedded dataset that suits
    usual_size: ClassVar[int] = 64  # side of images from data without one size
    largest_size: ClassVar[int] = 256  # images with a longer side are scaled down, unless the setting says more
    prior: ClassVar[Prior] = NormalPrior()  # distribution of z, if G draws from noise

    batch_size: int = 64
    accumulate: int = 1
    mirror: bool = False
    ema: float = 0.0
    ema_statistics: Statistics = "running"
    size: Size = 0
    channels: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("batch_size", "accumulate")
        self.check_share("ema")
        self.check_choice("ema_statistics", STATISTICS)
        if self.channels not in (0, 1, 3):
            raise ConfigError(
                f"{self.name}: channels must be 1 or 3 (0 chooses by the data), got channels={self.channels}."
            )
        if self.size:
            self.check_size(as_pair(self.size))

    def _typed(self, name: str, kind: type) -> Any:
        return as_size(self.size, of=self.name) if name == "size" else super()._typed(name, kind)

    # ------------------------------------------------------------------------------------------ to be written

    @abstractmethod
    def generator(self, image_shape: Shape) -> Sequential:
        """G, not built; its output has the shape image_shape."""

    @abstractmethod
    def source_shape(self, image_shape: Shape) -> Shape:
        """Shape of G's input for an image of that shape: (latent,), or the shape of another image."""

    @abstractmethod
    def learner(self, networks: Sequence[Sequential]) -> Learner:
        """The learner that trains the networks of `networks`, given built and in that order."""

    @abstractmethod
    def exhibit(self, dataset: Any, *, rng: np.random.Generator, extent: float) -> Shown:
        """The inputs and the layout of the pictures of a training on these data.

        Args:
            dataset: the training data.
            rng: draws the noise.
            extent: a picture of points shows [-extent, extent].
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
        """Converts images in [-1, 1] to the range in which the networks work."""
        return images

    def to_images(self, samples: np.ndarray) -> np.ndarray:
        """Converts G's outputs to images in [-1, 1]; the inverse of `prepare`."""
        return samples

    @property
    def numbers(self) -> Literal["signed", "unit", "logits"]:
        """Kind of G's outputs: images in [-1, 1] (signed), images in [0, 1] (unit), or logits of the latter."""
        return "signed"

    def batch(self, item: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002 (some draw noise or holes)
        """Converts a batch of the loader to a batch for the learner."""
        return self.prepare(item)

    def fit(self, dataset: Collection) -> Self:  # noqa: ARG002 (the data decide some settings)
        """This recipe with the settings that the data decide, such as the number of classes.

        Raises:
            ConfigError: the data do not suit the recipe.
        """
        return self

    def open_data(self, source: str, *, seed: int) -> Collection:
        """Opens a source, its images scaled to a size that the recipe can draw; a note tells how.

        Args:
            source: see `minigan.open_dataset`.
            seed: of embedded data.
        Raises:
            DataError, ConfigError: the source cannot be read, or does not suit the recipe.
        """
        channels = self.channels or None
        native: tuple[int, int] | None = None
        try:
            dataset = open_dataset(source, channels=channels, seed=seed)
        except MixedSizesError as error:
            size = self.fit_size(error.commonest)
        else:
            if len(dataset.shape) == 1:
                self.check_points()
                return dataset
            native = dataset.shape[0], dataset.shape[1]
            # Of very many picture files only some were examined: with a size given, others will be scaled.
            complete = not isinstance(dataset, ImageFiles) or dataset.complete
            size = self.fit_size(native)
            if size == native and complete:
                return dataset
            dataset.close()
        dataset = open_dataset(source, size=size, channels=channels, seed=seed)
        self.note_scaling(dataset, source, native, dataset.shape[:2])
        return dataset

    def note_scaling(
        self, dataset: Collection, source: str, native: tuple[int, int] | None, size: tuple[int, ...]
    ) -> None:
        """Notes how a dataset's images were scaled, if they were.

        Args:
            source: as given to `open_data`; embedded images are drawn at any size.
            native: their own size (H, W); None if they differ in size.
            size: that of the dataset.
        """
        height, width = size
        if source.removeprefix(STACKED) in EMBEDDED or native == (height, width):
            return
        files = isinstance(dataset, ImageFiles)  # these tell of several sizes and of what is cut off themselves
        if native is None and files:
            return
        if native is None:
            dataset.note(f"images of several sizes, each scaled to {height}x{width} and cropped to that shape")
            return
        limit = f" up to {self.largest_size} pixels a side" if max(native) > self.largest_size else ""
        reason = f"the nearest size{limit} that {self.name} can draw"
        reason = "the size that was set" if self.size else reason
        dataset.note(scaling_in_words(native, (height, width), reason, crop=not files))

    def held_out(self, source: str, dataset: Collection, *, seed: int) -> Collection:  # noqa: ARG002
        """The data for pictures: those held out of training, if the recipe holds some out.

        Args:
            source: as given to `open_data`.
            dataset: as returned by `open_data`.
            seed: of embedded data.
        """
        return dataset

    def loader(self, dataset: Any, *, seed: int, prefetch: int = 2, shuffle: bool = True) -> Loader[Any]:
        """A loader of endless batches, each to be converted by `batch`; see `minigan.data.Loader`.

        Raises:
            ConfigError: the data are fewer than a batch or than an update takes, or points that are to be mirrored.
        """
        if self.mirror and len(getattr(dataset, "shape", ())) == 1:
            raise ConfigError(f"{self.name}: mirror flips images, got points of the plane. Leave `mirror=True` out.")
        self.expect_enough(len(dataset), dataset.name)
        return Loader(
            dataset, batch_size=self.batch_size, seed=seed, prefetch=prefetch, shuffle=shuffle, mirror=self.mirror
        )

    def expect_enough(self, items: int, name: str) -> None:
        """Checks that an update does not take more items than there are; `batch_size` alone is the loader's to check.

        Args:
            items: number of items to train on.
            name: of the data.
        Raises:
            ConfigError: the accumulated batches are more than all of them.
        """
        most = max(1, items // self.batch_size)
        if self.accumulate > most:
            taken = self.accumulate * self.batch_size
            raise ConfigError(
                f"{self.name}: accumulate={self.accumulate} batches of {self.batch_size:,} take {taken:,} items for an "
                f"update, but {name} holds {items:,}. Set at most `accumulate={most}`, or use more data."
            )

    @property
    def together(self) -> int:
        """Neighbors of a batch that stay on one rank, since a network joins them: the examples of a pack."""
        return 1

    def image_shape(self, dataset: Any) -> Shape:
        """Shape of G's images for this dataset."""
        shape: Shape = dataset.shape
        return shape

    def check_points(self) -> None:
        """Checks that the recipe can draw points; by default it cannot.

        Raises:
            ConfigError: it draws images only.
        """
        raise ConfigError(f"{self.name} draws images, got points of the plane. Use the recipe mlp, or image data.")

    def sources(
        self,
        rng: np.random.Generator,  # noqa: ARG002
        count: int,  # noqa: ARG002
        *,
        label: int | Sequence[int] | None = None,  # noqa: ARG002
        unseen: Sequence[int] = (),  # noqa: ARG002
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draws G's inputs for samples: noise, and a condition if G is conditional.

        Each sample's numbers are drawn after those of the one before, so that a sample does not depend on how many
        follow.

        Args:
            rng: draws the noise and the classes.
            count: number of samples.
            label: class of all samples, or of each; None takes random classes.
            unseen: classes that are not among the random ones.
        Returns:
            The noise (count, latent), and classes as one-hot vectors (count, classes) or None.
        Raises:
            ConfigError: G does not draw from noise, or not by class.
        """
        raise ConfigError(
            f"{self.name} draws from images, not from noise, so it has no samples of its own. Translate "
            "images: `minigan.generate(run.generator.G, images)`."
        )

    @property
    def class_count(self) -> int:
        """The number of classes that G can be asked for; 0 if it is told none."""
        return 0

    def unseen(self, dataset: Collection) -> tuple[int, ...]:  # noqa: ARG002
        """The classes that G can be asked for though no item of its training data has them; by default none."""
        return ()

    def labels_like(self, dataset: Collection, count: int, *, seed: int) -> list[int] | None:  # noqa: ARG002
        """Classes of samples that are to be compared with data: at random, each as often as the data have it.

        Args:
            seed: of the choice.
        Returns:
            None where `sources` may choose: all are equally frequent, G is told none, or the data have others.
        """
        return None

    def truncated(self, z: np.ndarray, truncation: float, rng: np.random.Generator) -> np.ndarray:
        """Latent vectors nearer to the middle of what G knows: samples look more alike, and mostly better.

        Args:
            z: (N, latent), as `sources` draws it.
            truncation: in [0, 1]. Each number of z that lies outside the middle share of this size of its distribution
                is drawn again. 1 keeps z as it is, with 0 it is 0.
            rng: draws the new numbers.
        """
        return self.prior.truncated(z, truncation, rng)

    def truncated_generator(self, G: Sequential, truncation: float) -> Sequential:  # noqa: ARG002
        """G as it draws with that truncation: a G with styles takes these nearer to their mean, in place of z.

        Args:
            G: built.
            truncation: in [0, 1]; 1 leaves it as it is.
        """
        return G

    def refuse_label(self, label: int | Sequence[int] | None) -> None:
        """Checks that no class is asked for, since G was trained without classes.

        Raises:
            ConfigError: a class is given.
        """
        if label is not None:
            raise ConfigError(
                f"this {self.name} was trained without classes, got the class {label}. Train a GAN on labeled data "
                "with `condition='concatenation'`."
            )

    def standing_noise(self) -> Noise | None:
        """The noise for standing statistics; None if G does not draw from noise alone."""
        return None

    # ------------------------------------------------------------------------------------------ for the caller

    def assemble(
        self,
        image_shape: Shape,
        *,
        backend: str | Backend = "auto",
        precision: str | None = None,
        dtype: str = "float32",
        rng: np.random.Generator,
    ) -> Learner:
        """Builds and initializes all networks, with their optimizers, ready for the first step.

        Args:
            image_shape: shape of G's images: (H, W, C), or (2,) for points.
            backend: an object or a name; all networks share it.
            precision: of products, see `minigan.backends.get_backend`.
            dtype: of the weights: float32 or float64.
            rng: draws the weights.
        Raises:
            ConfigError, ShapeError: the recipe cannot draw images of that shape.
        """
        image_shape, backend = self._expect_shape(image_shape), get_backend(backend, precision=precision)
        networks = self.networks(image_shape)
        built = [net.build(shape, backend=backend, dtype=dtype, rng=rng) for net, shape in networks]
        learner = self.learner(built)
        if learner.accumulate != self.accumulate:  # of a recipe of one's own that knows nothing of it
            raise ConfigError(
                f"{self.name}: accumulate={self.accumulate} is not for this recipe, whose learner takes one batch for "
                "an update. Use `batch_size`."
            )
        return learner

    def built_generator(
        self,
        image_shape: Shape,
        *,
        name: str = "",
        backend: str | Backend = "auto",
        precision: str | None = None,
        dtype: str | np.dtype[Any] = "float32",
        rng: np.random.Generator,
    ) -> Sequential:
        """A generator, built and with random weights.

        Args:
            image_shape: shape of the images of the first generator: (H, W, C), or (2,) for points.
            name: of the generator, one of `generator_names`; "" is the first.
            backend: an object or a name.
            precision: of products, see `minigan.backends.get_backend`.
            dtype: of the weights: float32 or float64.
            rng: draws the weights.
        Raises:
            ConfigError, ShapeError: the recipe cannot draw images of that shape.
        """
        image_shape = self._expect_shape(image_shape)
        G, shape = self.drawing(name or self.generator_names[0], image_shape)
        return G.build(shape, backend=backend, precision=precision, dtype=dtype, rng=rng)

    def _expect_shape(self, shape: Any) -> Shape:
        """The shape, if it is one of images that the networks can draw, or of points if they draw points.

        Raises:
            ConfigError: it is not.
        """
        sides = tuple(shape) if isinstance(shape, tuple | list) else ()
        whole = all(isinstance(side, int | np.integer) and side > 0 for side in sides)
        if not whole or len(sides) not in (1, 3):
            raise ConfigError(
                f"{self.name}: image_shape must be (H, W, C), or (2,) for points, got {kind_of(shape)}. "
                "Write image_shape=(28, 28, 1)."
            )
        if len(sides) == 1:
            self.check_points()
        return tuple(map(int, sides))

    def whole_generator(self, image_shape: Shape) -> Sequential:
        """G, not built, after the layer that joins noise and condition, if there is a condition."""
        return self.generator(image_shape)

    def drawing(self, name: str, image_shape: Shape) -> tuple[Sequential, Shape]:
        """A generator, not built, and the shape of its input.

        Args:
            name: one of `generator_names`.
            image_shape: shape of the images of the first generator.
        """
        if name == self.generator_names[0]:
            return self.whole_generator(image_shape), self.source_shape(image_shape)
        return next((network, shape) for network, shape in self.networks(image_shape) if network.path == name)

    def expect_generator(self, name: str) -> str:
        """The name of a generator; "" is the first.

        Raises:
            ConfigError: there is none of that name.
        """
        if name and name not in self.generator_names:
            known = " or ".join(self.generator_names)
            raise ConfigError(f"{self.name} has no generator {name}: expected {known}. Choose one of them.")
        return name or self.generator_names[0]

    def moving_averages(self, learner: Learner, *, seed: int | Sequence[int]) -> dict[str, MovingAverage]:
        """The moving averages of the weights of all generators, by their names; none if the recipe keeps none.

        Raises:
            ConfigError: their statistics are to be those of samples from noise, which G does not draw from alone.
        """
        if self.average_decay() and self.ema_statistics == "standing" and self.standing_noise() is None:
            raise ConfigError(
                f"{self.name}: ema_statistics=standing takes the statistics of samples from noise, but "
                f"{self.name} draws from {'images' if self.from_images else 'more than noise'}. Use "
                "`ema_statistics='running'` or `ema_statistics='batch'`."
            )
        return {name: self._average(learner, name, seed=seed) for name in self.generator_names if self.average_decay()}

    def average_decay(self) -> float | Callable[[int], float]:
        """The decay of the moving averages, or a function of their updates; 0 keeps none."""
        return self.ema

    def average_in_words(self) -> str:
        """How long the average remembers: "of decay 0.999"; "" if there is none."""
        return f"of decay {self.ema:g}" if self.ema else ""

    def _average(self, learner: Learner, name: str, *, seed: int | Sequence[int]) -> MovingAverage:
        G, first = learner.networks[name], learner.networks[self.generator_names[0]]
        rng = np.random.default_rng(0)
        network = self.built_generator(first.output_shape, name=name, backend=G.kernels, dtype=G.dtype, rng=rng)
        return MovingAverage(
            network,
            G,
            decay=self.average_decay(),
            statistics=self.ema_statistics,
            noise=self.standing_noise(),
            seed=seed,
            name=average_name(name, self.generator_names),
        )

    def fit_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The image size (H, W) to train at: the setting, or the nearest to the data's that the networks can draw.

        See `nearest_size` in `minigan.recipes.bases.sizes`. The sides are at most `largest_size`.

        Args:
            size: the data's size (H, W), or that of most of its images; None if there is none.
        """
        if self.size:
            return as_pair(self.size)
        usual = self.usual_size, self.usual_size
        if size is None:
            return usual
        if max(size) <= self.largest_size and self._can_draw(size):
            return size
        return nearest_size(size, self._can_draw, largest=self.largest_size) or usual

    def _can_draw(self, size: tuple[int, int]) -> bool:
        try:
            self.check_size(size)
        except ConfigError:
            return False
        return True

    def settings(self) -> dict[str, Any]:
        """Values of all settings by name, as files keep them: numbers, strings and truth values."""
        return {**dataclasses.asdict(self), "size": plain_size(self.size)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """A recipe with some settings changed.

        Args:
            settings: values by name, in their types or as text: `{"lr": "1e-4"}`; `preset` names a set of them.
        Raises:
            ConfigError: a name or a preset is unknown, or a value has another type or is out of range.
        """
        values = cls.with_preset(settings)
        cls.expect_names(values)
        kinds = cls.kinds()
        for name, value in values.items():
            if isinstance(value, str) and name != "size":
                values[name] = from_text(value, name, kinds[name], of=cls.name)
        return cls(**values)

    @classmethod
    def from_stored(cls, settings: Mapping[str, Any]) -> Self:
        """The recipe of settings that a file keeps; one that is missing is as it was before there was that setting.

        Raises:
            ConfigError: as in `from_settings`.
        """
        return cls.from_settings({**cls.before, **settings})
