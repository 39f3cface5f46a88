"""R3GAN: a residual GAN without tricks, whose loss is well-posed.

The baseline of Huang et al. 2024 ("The GAN is dead; long live the GAN! A Modern GAN Baseline"): D tells each real image
from the fake that it is paired with, and R1 and R2 keep its slope small at both, in each step. Then the game converges
near its rest, modes cannot be left out at no cost, and what older GANs need against both has no place: no
normalization, no tanh, no noise inputs, no minibatch statistics.

- A block of width C: a 1x1 convolution to twice as many channels, bias, LeakyReLU .2; a 3x3 convolution in groups of
  16 channels, bias, LeakyReLU .2; a 1x1 convolution back; the input added. These are the only biases. The last
  convolution starts at zero, so that each block starts as the identity.
- G: z, and an embedding of the class, through a dense layer to the weights of a basis of 4x4 images
  (`GenerativeBasis`); blocks; then, for each doubling, a 1x1 convolution where the width changes, a low-pass filter
  that enlarges (`FIRUpSampling2D`), and blocks; a 1x1 convolution to the image, linear.
- D is its mirror image: at the end a depthwise 4x4 filter (`DiscriminativeBasis`) and a dense layer. With classes, the
  logit is the inner product of a dense layer's output with an embedding of the class.
- Over the first images the weight of the penalties and the learning rate fall, and Adam's β2, the half-life of the
  average and the probability of augmentation rise, each by half a cosine wave.

Two things are not as in the paper's text. D's embedding of classes starts smaller by the root of its length, so that
its logits start as large as those without classes. And G's step judges the fakes that D's step has seen, in place of
new ones, as all of minigan's GANs do; its real images are new.

The default is small, for a CPU and 32x32 pixels. The authors' two trainings on small images are presets, for a GPU:

- `--set preset=cifar10`: 21 million parameters in each network, for CIFAR-10 with its classes
- `--set preset=ffhq64`: 22 million, for faces of 64x64 pixels
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from minigan.data.dataset import Collection
from minigan.errors import ConfigError
from minigan.losses.gradient_penalties import GradientPenalty, get_penalty
from minigan.nn.initializers import Constant, FanInNormal
from minigan.nn.layers import (
    ConcatCondition,
    Conv2D,
    Dense,
    DiscriminativeBasis,
    FIRDownSampling2D,
    FIRUpSampling2D,
    GenerativeBasis,
    InnerProduct,
    Layer,
    LeakyReLU,
)
from minigan.nn.layers.augmentation import Augmentation, ScheduledAugmentation, augmentations
from minigan.nn.network import Residual, Sequential
from minigan.nn.optimizers import Adam, AdamW, Optimizer
from minigan.nn.parameters import Arena
from minigan.nn.schedules import CosineRamp, Schedule
from minigan.recipes.bases.noise import AUTO, NoiseRecipe
from minigan.recipes.bases.recipe import Shape
from minigan.training.moving_average import HalfLife

SMALLEST = 4  # pixels of the shorter side at the basis
SLOPE = 0.2
USUAL_WIDTHS = (64, 64, 32, 16)  # from the smallest image up; the last one for all larger ones
AUTHORS: Mapping[str, Any] = {
    "blocks": 2,
    "steps": 78_125,
    "batch_size": 256,
    "ramp_images": 20_000_000,
    "lr": 2e-4,
    "lr_end": 5e-5,
    "augment": "flip,turns,translation,color,cutout",
}
CIFAR10: Mapping[str, Any] = {
    **AUTHORS,
    "widths": "768,768,768,768",
    "size": 32,
    "channels": 3,
    "steps": 39_063,
    "batch_size": 512,
    "penalty_weight": 0.05,
    "penalty_weight_end": 0.005,
    "ema_half_life": 5_000_000.0,
    "augment_p": 0.55,
}
FFHQ64: Mapping[str, Any] = {
    **AUTHORS,
    "widths": "768,768,768,768,384",
    "size": 64,
    "channels": 3,
    "condition": "none",
    "penalty_weight": 2.0,
    "penalty_weight_end": 0.2,
    "ema_half_life": 500_000.0,
    "augment_p": 0.3,
}


@dataclass(frozen=True, kw_only=True)
class R3GAN(NoiseRecipe):
    """A modern residual GAN for images whose sides are 4 pixels times a power of two, such as 32 or 64.

    Settings:
        widths: numbers of channels from the 4x4 images up, joined by commas; "" takes 64,64,32,16, and 16 for larger
            images.
        blocks: residual blocks at each size, in G and in D.
        group: channels of a group of the 3x3 convolutions; divides twice each width.
        ramp_images: images over which weights, rates and probabilities go from their first value to their last; 0 takes
            those of the whole training.
        penalty_weight_end: γ at their end; penalty_weight is the first.
        lr_end: learning rate at their end; lr is the first, and g_lr and d_lr fall by the same share.
        beta2_end: Adam's β2 at their end; beta2 is the first.
        ema_half_life: images after which weights count half in the average that draws samples, at the end of the ramp;
            it begins with 0. 0 leaves the average to `ema`.
        augment: augmentations of D's images, some of flip, turns, color, translation, cutout, joined by commas.
        augment_p: probability of each of them at the end of the ramp; it begins with 0.
    """

    name: ClassVar[str] = "r3gan"
    usual_size = 32
    largest_size = 64
    conditions = ("none", "projection")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {}, "cifar10": CIFAR10, "ffhq64": FFHQ64}

    latent: int = 64
    steps: int = 12_000
    batch_size: int = 16
    loss: str = "relativistic-pairing"
    penalty: str = "r1+r2"
    penalty_weight: float = 2.0
    penalty_weight_end: float = 1.0
    lr: float = 1e-3
    lr_end: float = 5e-4
    beta1: float = 0.0
    beta2: float = 0.9
    beta2_end: float = 0.99
    ramp_images: int = 0
    ema_half_life: float = 5000.0
    augment: str = ""
    augment_p: float = 0.3
    widths: str = ""
    blocks: int = 1
    group: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("penalty_weight_end", "lr_end", "group")
        self.check_from_zero("ema_half_life", "ramp_images")
        self.check_share("beta2_end")
        self.check_layers("blocks")
        if self.widths:
            self._check_widths()

    def _check_widths(self) -> None:
        """The setting's numbers, and their groups.

        Raises:
            ConfigError: they are no positive numbers, or groups do not divide twice each of them.
        """
        parts = [part.strip() for part in self.widths.split(",")]
        if not all(part.isascii() and part.isdigit() and 0 < int(part) < 10**6 for part in parts):
            raise ConfigError(
                f"{self.name}: widths must be numbers of channels joined by commas, got {self.widths!r}. Write "
                "`widths='64,64,32,16'`."
            )
        for width in map(int, parts):
            if 2 * width % self.group:
                raise ConfigError(
                    f"{self.name}: groups of {self.group} channels do not divide the {2 * width} of a block of width "
                    f"{width}. Use `group={_divisor(2 * width, self.group)}`, or other widths."
                )

    def check_size(self, size: tuple[int, int]) -> None:
        self.widths_of(size)

    def widths_of(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Numbers of channels from the smallest image up.

        Raises:
            ConfigError: the shorter side is no power of two times 4, the other is not divided by the same power, or
                `widths` are of another number of sizes.
        """
        n = max(0, min(size) // SMALLEST).bit_length() - 1
        if n < 0 or min(size) != SMALLEST << n or any(side % (1 << n) for side in size):
            raise ConfigError(
                f"{self.name}: expected images whose sides are a power of two times 4 pixels, such as 32 or 64, got "
                f"{size[0]}x{size[1]}. Use `size=32`."
            )
        if not self.widths:
            return tuple(USUAL_WIDTHS[min(k, len(USUAL_WIDTHS) - 1)] for k in range(n + 1))
        widths = tuple(int(part) for part in self.widths.split(","))
        if len(widths) != n + 1:
            raise ConfigError(
                f"{self.name}: expected {n + 1} widths for images of {size[0]}x{size[1]}, one for each size from "
                f"{SMALLEST} pixels up, got widths={self.widths!r}. Use `size={SMALLEST << (len(widths) - 1)}`, or "
                "give as many widths."
            )
        return widths

    # ------------------------------------------------------------------------------------------ networks

    def whole_generator(self, image_shape: Shape) -> Sequential:
        G = self.generator(image_shape)
        if not self.conditional:
            return G
        return G.behind([ConcatCondition((self.classes,), embedding=self.latent, init=FanInNormal())])

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, channels = image_shape
        widths = self.widths_of((H, W))
        n = len(widths) - 1
        layers: list[Layer] = [
            Dense(widths[0], bias=False, init=FanInNormal()),
            GenerativeBasis((H >> n, W >> n)),
            *self._blocks(widths, 0),
        ]
        for k in range(1, n + 1):
            layers += [*_narrowed(widths[k - 1], widths[k]), FIRUpSampling2D(), *self._blocks(widths, k)]
        return Sequential([*layers, _pointwise(channels)], name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:
        widths = self.widths_of((image_shape[0], image_shape[1]))
        layers: list[Layer] = [_pointwise(widths[-1])]
        for k in reversed(range(1, len(widths))):
            layers += [*self._blocks(widths, k), FIRDownSampling2D(), *_narrowed(widths[k], widths[k - 1])]
        layers += [*self._blocks(widths, 0), DiscriminativeBasis(init=FanInNormal())]
        if not self.conditional:
            return Sequential([*layers, Dense(1, bias=False, init=FanInNormal())], name="D")
        # The embedding stands as the weight of a dense layer that scores all classes, of which one is kept.
        scores = Dense(self.classes, bias=False, init=FanInNormal(self.classes**-0.5))
        head = [Dense(widths[0], bias=False, init=FanInNormal()), scores, InnerProduct(self.classes)]
        return Sequential([*layers, *head], name="D")

    def _blocks(self, widths: tuple[int, ...], k: int) -> list[Layer]:
        """The blocks at the k-th size. Their first two convolutions start smaller the more blocks a network has."""
        gain = (2 / (1 + SLOPE**2)) ** 0.5 * (self.blocks * len(widths)) ** -0.25
        return [block(widths[k], group=self.group, gain=gain) for _ in range(self.blocks)]

    # ------------------------------------------------------------------------------------------ over the images

    @property
    def ramp_steps(self) -> float:
        """Steps of G in which the images of the ramp are shown."""
        return max(1.0, self.ramp_images / (self.batch_size * self.accumulate)) if self.ramp_images else self.steps

    def _ramp(self, start: float, end: float, per_step: int = 1) -> CosineRamp:
        return CosineRamp(start, end, self.ramp_steps * per_step)

    def gradient_penalty(self) -> GradientPenalty | None:
        if self.penalty == "none":
            return None
        weight = self._ramp(self.penalty_weight, self.penalty_weight_end, self.n_critic)
        return get_penalty(self.penalty, weight=weight, interval=self.penalty_interval)

    def rate_schedule(self, rate: float, per_step: int) -> Schedule:
        if self.schedule != "constant":
            return super().rate_schedule(rate, per_step)
        return self._ramp(rate, rate * self.lr_end / self.lr, per_step)

    def make_optimizer(
        self, arena: Arena, *, lr: float, updates_per_step: int = 1, limit: float = float("inf")
    ) -> Optimizer:
        optimizer = super().make_optimizer(arena, lr=lr, updates_per_step=updates_per_step, limit=limit)
        if isinstance(optimizer, Adam | AdamW):
            optimizer.beta2 = self._ramp(self.beta2, self.beta2_end, updates_per_step)
        return optimizer

    def average_decay(self) -> float | Callable[[int], float]:
        if not self.ema_half_life:
            return self.ema
        return HalfLife(self._ramp(0.0, self.ema_half_life), batch_size=self.batch_size * self.accumulate)

    def average_in_words(self) -> str:
        if not self.ema_half_life:
            return super().average_in_words()
        return f"with a half-life that rises to {self.ema_half_life:,.0f} images"

    def _augmentations(self) -> list[Augmentation]:
        if not 0 <= self.augment_p <= 1:
            raise ConfigError(f"{self.name}: augment_p must be in [0, 1], got {self._shown('augment_p')}.")
        layers = super()._augmentations()
        if not layers or self.augment.startswith("adaptive"):
            return layers
        steps = self.ramp_steps * self.n_critic
        return [ScheduledAugmentation(augmentations(self.augment), start=0.0, end=self.augment_p, steps=steps)]

    def fit(self, dataset: Collection) -> Self:
        if self.condition != AUTO:  # which becomes another, and then is fitted
            self._note_half_life(dataset)
        return super().fit(dataset)

    def _note_half_life(self, dataset: Collection) -> None:
        """A note if the average would remember more than the training shows."""
        images = self.steps * self.batch_size * self.accumulate
        reached = self.ema_half_life and self._ramp(0.0, self.ema_half_life)(self.steps)
        if reached > images:
            dataset.note(
                f"the average's half-life of {reached:,.0f} images is longer than the training of {images:,}: it draws "
                f"with weights from its beginning. `ema_half_life={max(1, images // 20)}` suits"
            )


def block(width: int, *, group: int, gain: float) -> Residual:
    """A residual block of twice as many channels inside, in groups of `group`."""
    inside = 2 * width
    return Residual(
        [
            Conv2D(inside, 1, init=FanInNormal(gain)),
            LeakyReLU(SLOPE),
            Conv2D(inside, 3, groups=inside // group, init=FanInNormal(gain)),
            LeakyReLU(SLOPE),
            Conv2D(width, 1, bias=False, init=Constant(0)),
        ]
    )


def _pointwise(channels: int) -> Conv2D:
    return Conv2D(channels, 1, bias=False, init=FanInNormal())


def _narrowed(before: int, after: int) -> list[Layer]:
    """A 1x1 convolution where the width changes."""
    return [] if before == after else [_pointwise(after)]


def _divisor(channels: int, group: int) -> int:
    """The largest divisor that is at most `group`."""
    return max(n for n in range(1, group + 1) if channels % n == 0)
