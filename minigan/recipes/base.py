"""What a recipe is: networks, losses and settings under one name."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from minigan.alternating import AlternatingOptimizer, GeneratorTerm, InstanceNoise
from minigan.augment import Augmentation, augmentations
from minigan.backends import Backend
from minigan.ema import STATISTICS, MovingAverage, Statistics
from minigan.errors import ConfigError
from minigan.fake_pool import FakePool
from minigan.layers.packing import Pack
from minigan.losses import LOSSES, get_loss
from minigan.matching import FeatureMatching
from minigan.network import Sequential
from minigan.penalties import PENALTIES, GradientPenalty, get_penalty
from minigan.recipes.optimizers import OptimizerSettings

Shape = tuple[int, ...]
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Recipe(OptimizerSettings, ABC):
    """A GAN that can be trained by name; its fields are the settings that `--set` changes.

    Settings:
        latent: length of the noise vector z.
        batch_size: real images in a step of D, and fakes.
        steps: of G, in a whole training.
        n_critic: steps of D for each step of G.
        loss: minimax, non-saturating, squared-probability, least-squares, wasserstein, hinge or relativistic-average.
        label_smoothing: how much less than 1 D is to say of real images, for losses with labels: .1 is usual.
        feature_matching: weight of feature matching in G's loss; 0 leaves it out.
        penalty: on D's slope: none, wgan-gp, dragan, r1 or r2.
        penalty_weight: λ of wgan-gp and dragan, γ of r1 and r2.
        penalty_interval: steps of D from one with the penalty to the next, which has it so many times as heavy.
        instance_noise: standard deviation, at first, of noise on all that D sees.
        instance_noise_steps: steps of G over which that noise fades to nothing.
        ema: decay of the moving average of G's weights, which then draws the samples; try .999. 0 keeps none.
        ema_statistics: BatchNorm's in the average: running, batch or standing, see `minigan.ema`.
        augment: how D's images are changed: some of color, translation, cutout, joined by commas; for few data.
        fake_pool: how many earlier fakes are kept, half of what D learns from; 50 is usual, 0 keeps none.
        pack: how many examples D judges at once, against modes that G forgets (PacGAN); divides batch_size.
        size: the images' side, or 0 to choose by the data.
        channels: 1 for greyscale, 3 for RGB, or 0 to choose by the data.
    Raises:
        ConfigError: a setting is out of range.
    """

    name: ClassVar[str]

    latent: int = 100
    batch_size: int = 64
    steps: int = 2000
    n_critic: int = 1
    loss: str = "non-saturating"
    label_smoothing: float = 0.0
    feature_matching: float = 0.0
    penalty: str = "none"
    penalty_weight: float = 10.0
    penalty_interval: int = 1
    instance_noise: float = 0.0
    instance_noise_steps: int = 2000
    ema: float = 0.0
    ema_statistics: Statistics = "running"
    augment: str = ""
    fake_pool: int = 0
    pack: int = 1
    size: int = 0
    channels: int = 0

    def __post_init__(self) -> None:
        for name in (
            *("latent", "batch_size", "steps", "n_critic"),
            *("penalty_weight", "penalty_interval", "instance_noise_steps"),
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{self.name}: {name} must be positive, got {getattr(self, name)}.")
        for name in ("instance_noise", "feature_matching"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{self.name}: {name} must not be negative, got {getattr(self, name)}.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{self.name}: {name} must be in [0, 1), got {getattr(self, name)}.")
        self.check_optimizers()
        if self.ema_statistics not in STATISTICS:
            raise ConfigError(
                f"{self.name}: ema_statistics must be one of {', '.join(STATISTICS)}, got {self.ema_statistics!r}."
            )
        augmentations(self.augment)
        if self.fake_pool < 0:
            raise ConfigError(f"{self.name}: fake_pool must not be negative, got {self.fake_pool}.")
        if self.pack < 1 or self.batch_size % self.pack:
            raise ConfigError(
                f"{self.name}: pack must divide batch_size, got pack={self.pack}, batch_size={self.batch_size}."
            )
        if self.size < 0 or self.channels not in (0, 1, 3):
            raise ConfigError(
                f"{self.name}: size must be positive and channels 1 or 3 (0 chooses by the data), "
                f"got size={self.size}, channels={self.channels}."
            )
        if self.loss not in LOSSES:
            raise ConfigError(f"{self.name}: loss must be one of {', '.join(LOSSES)}, got {self.loss!r}.")
        if self.penalty not in ("none", *PENALTIES):
            raise ConfigError(
                f"{self.name}: penalty must be one of none, {', '.join(PENALTIES)}, got {self.penalty!r}."
            )
        try:
            get_loss(self.loss, label_smoothing=self.label_smoothing)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None

    # ------------------------------------------------------------------------------------------ to be written

    @abstractmethod
    def generator(self, image_shape: Shape) -> Sequential:
        """G, not built: (latent,) to image_shape."""

    @abstractmethod
    def discriminator(self, image_shape: Shape) -> Sequential:
        """D, not built: image_shape to (1,) logits."""

    @abstractmethod
    def nearest_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The image size (H, W) to train at, for data of that size; None where the data has no one size."""

    # ------------------------------------------------------------------------------------------ with a default

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """From images in [-1, 1] to what D sees and G draws."""
        return images

    def to_images(self, samples: np.ndarray) -> np.ndarray:
        """The inverse of `prepare`."""
        return samples

    def generator_terms(self) -> tuple[GeneratorTerm, ...]:
        """What is added to G's adversarial loss."""
        return ()

    # ------------------------------------------------------------------------------------------ for the caller

    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n latent vectors from N(0, 1): float64, (n, latent)."""
        return rng.standard_normal((n, self.latent))

    def assemble(
        self,
        image_shape: Shape,
        *,
        backend: Backend,
        dtype: str = "float32",
        rng: np.random.Generator,
    ) -> AlternatingOptimizer:
        """Both networks built and initialised, with their optimisers, ready for the first step."""
        G, D = self.generator(image_shape), self._judge(image_shape)
        G.build((self.latent,), backend=backend, dtype=dtype, rng=rng)
        D.build(image_shape, backend=backend, dtype=dtype, rng=rng)
        g_optimizer, d_optimizer = self.optimizers(G.arena, D.arena)
        terms = self.generator_terms()
        if self.feature_matching:  # of the images as they are: two passes would be changed in two ways
            plain = Sequential([layer for layer in D.layers if not isinstance(layer, Augmentation)], name=D.path)
            terms = (*terms, GeneratorTerm(self.feature_matching, FeatureMatching(plain)))
        return AlternatingOptimizer(
            G,
            D,
            loss=get_loss(self.loss, label_smoothing=self.label_smoothing),
            noise=self.noise,
            g_optimizer=g_optimizer,
            d_optimizer=d_optimizer,
            n_critic=self.n_critic,
            generator_terms=terms,
            penalty=self.gradient_penalty(),
            instance_noise=InstanceNoise(self.instance_noise, self.instance_noise_steps),
            fake_pool=FakePool(G, size=self.fake_pool) if self.fake_pool else None,
        )

    def gradient_penalty(self) -> GradientPenalty | None:
        """What is added to D's loss."""
        if self.penalty == "none":
            return None
        return get_penalty(self.penalty, weight=self.penalty_weight, interval=self.penalty_interval)

    def _judge(self, image_shape: Shape) -> Sequential:
        """The discriminator, not built, behind what changes and joins the images it is shown."""
        if self.augment and len(image_shape) != 3:
            raise ConfigError(f"{self.name}: augment changes images, got points. Leave augment={self.augment} out.")
        front = augmentations(self.augment)
        if self.pack > 1:
            front.append(Pack(self.pack))
        D = self.discriminator((*image_shape[:-1], self.pack * image_shape[-1]))
        return Sequential([*front, *D.layers], name=D.path) if front else D

    def moving_average(self, G: Sequential, *, seed: int | Sequence[int]) -> MovingAverage | None:
        """The average of G's weights, if the recipe keeps one.

        Args:
            seed: of the noise for standing statistics.
        """
        if not self.ema:
            return None
        network = self.generator(G.output_shape)
        network.build(G.input_shape, backend=G.kernels, dtype=G.dtype, rng=np.random.default_rng(0))
        return MovingAverage(network, G, decay=self.ema, statistics=self.ema_statistics, noise=self.noise, seed=seed)

    def fit_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The image size (H, W) to train at: the setting, or what suits data of that size."""
        return (self.size, self.size) if self.size else self.nearest_size(size)

    def check_points(self) -> None:
        """Raises:
        ConfigError: the recipe draws images only.
        """
        raise ConfigError(f"{self.name} draws images, not points of the plane. Use the recipe mlp, or image data.")

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
    except (ValueError, KeyError):
        pass
    raise ConfigError(f"{what} must be {'an' if kind is int else 'a'} {kind.__name__}, got {value!r}.")
