"""StyleGAN2: images from styles, small enough for a CPU, or in two configurations of its authors.

Karras et al. 2020 ("Analyzing and Improving the Image Quality of StyleGAN"); classes, adaptive augmentation and the
configuration for CIFAR-10 Karras et al. 2020a ("Training Generative Adversarial Networks with Limited Data", ADA). A
mapping network turns z into a style w, which scales the channels of each layer of a synthesis network, from a learned
4x4 constant upwards. D is its mirror, plain or residual. All layers have equalized learning rates. Non-saturating loss
with R1 in every 16th step; Adam with lr .0025, β1 0 and β2 .99.

The default has 64 channels at most, a mapping of 2 layers, a plain D, and neither path length nor style mixing. The
authors' configurations are presets, for a GPU:

- `--set preset=cifar10`: the same with 512 channels throughout, γ = .01 and ADA: 19.9 million parameters in G and 20.7
  in D
- `--set preset=ffhq256`: the larger one of the paper for 256x256 pixels, with a mapping of 8 layers, a residual D, path
  lengths and style mixing

Classes (`condition=projection`, by default where the data have them): an embedding of the class, normalized, is joined
to the normalized z, and D's logit is the inner product of its features with a mapped embedding.

Styles are between z and the image. `minigan sample RUN --truncation .7` takes w nearer to the mean style, `--mix` draws
images with the coarse styles of one seed and the fine styles of another, and `minigan project` searches w.

Different from the authors' code:

- G's step judges the fakes that D's step has seen, in place of new ones, as all of minigan's GANs do.
- The mean path length counts as a constant in the gradient of its penalty.
- Where a network has no lazy regularization, its Adam is not slowed down for it: the authors' G has 4/5 of the rate
  without path length, too.
- Style mixing draws a layer for each image, not one for the batch.
- Augmentation is minigan's: color, translation, cutout.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from minigan.errors import ConfigError
from minigan.losses.path_length import PathLength
from minigan.nn.network import Sequential
from minigan.nn.network.mapping import MappingNetwork
from minigan.nn.network.stylegan import doublings, mapping_layers, style_discriminator, widths
from minigan.nn.network.synthesis import synthesis_network
from minigan.nn.optimizers import Optimizer
from minigan.nn.parameters import Arena
from minigan.nn.schedules import Schedule
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Recipe, Shape
from minigan.training.lazily_regularized import LazilyRegularized, lazy_share
from minigan.training.learner import Learner
from minigan.training.moving_average import HalfLife, MovingAverage

LARGEST = 256
UNUSED: Mapping[str, Any] = {"fake_pool": 0, "feature_matching": 0.0, "instance_noise": 0.0}  # settings of other GANs
AUTHORS: Mapping[str, Any] = {
    "latent": 512,
    "w_dim": 512,
    "channel_max": 512,
    "batch_size": 64,
    "channels": 3,
    "augment": "adaptive",
}
CIFAR10: Mapping[str, Any] = {
    **AUTHORS,
    "channel_base": 32_768,
    "size": 32,
    "penalty_weight": 0.01,
    "steps": 1_500_000,
}
FFHQ256: Mapping[str, Any] = {
    **AUTHORS,
    "channel_base": 16_384,
    "mapping": 8,
    "residual": True,
    "group": 8,
    "mixing": 0.9,
    "path_weight": 2.0,
    "size": 256,
    "mirror": True,
    "ema_images": 20_000.0,
    "ema_ramp": 0.0,
    "steps": 390_000,
}


@dataclass(frozen=True, kw_only=True)
class StyleGAN2(NoiseRecipe):
    """A GAN with styles, for images whose shorter side has 8, 16, 32 ... 256 pixels.

    Settings:
        w_dim: length of a style w.
        mapping: number of layers from z to w.
        channel_base: number of channels times the resolution; at r pixels there are channel_base / r,
        channel_max: but at most so many.
        residual: True gives D residual blocks.
        group: number of images whose deviation D sees; a smaller batch is one group.
        mixing: probability of style mixing in training.
        path_weight: weight of the path-length regularization of G; 0 leaves it out.
        path_interval: steps of G from one to the next.
        ema_images: half-life of the moving average of G's weights, in images; 0 keeps none but that of `ema`.
        ema_ramp: largest share of the images seen so far that this half-life may be; 0 is no limit.
    """

    name: ClassVar[str] = "stylegan2"
    largest_size = LARGEST
    usual_size = 32
    has_styles = True
    conditions = ("none", "projection")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {}, "cifar10": CIFAR10, "ffhq256": FFHQ256}

    latent: int = 64
    batch_size: int = 32
    steps: int = 5000
    lr: float = 0.0025
    beta1: float = 0.0
    beta2: float = 0.99
    penalty: str = "r1"
    penalty_weight: float = 1.0
    penalty_interval: int = 16
    w_dim: int = 64
    mapping: int = 2
    channel_base: int = 1024
    channel_max: int = 64
    residual: bool = False
    group: int = 32
    mixing: float = 0.0
    path_weight: float = 0.0
    path_interval: int = 4
    ema_images: float = 500_000.0
    ema_ramp: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("w_dim", "channel_base", "channel_max", "group", "path_interval")
        self.check_layers("mapping")
        self.check_from_zero("path_weight", "ema_images", "ema_ramp")
        if not 0 <= self.mixing <= 1:
            raise ConfigError(f"{self.name}: mixing must be in [0, 1], got {self._shown('mixing')}.")
        whole = min(self.group, self.batch_size)
        if self.batch_size % whole:
            fits = max(n for n in range(1, whole) if self.batch_size % n == 0)
            raise ConfigError(
                f"{self.name}: groups of {whole} images do not divide a batch of {self.batch_size}. Use "
                f"`group={fits}`, or `batch_size={self.batch_size // whole * whole}`."
            )
        for name, unused in UNUSED.items():
            if getattr(self, name) != unused:
                raise ConfigError(f"{self.name} has no use for {name}, got {self._shown(name)}. Leave it out.")
        if self.schedule != "constant":
            raise ConfigError(
                f"{self.name}: expected schedule=constant, since its optimizers also count the updates of lazy "
                f"regularization, got schedule={self.schedule}. Leave it out."
            )

    def check_size(self, size: tuple[int, int]) -> None:
        if doublings(size) is None or max(size) > LARGEST:
            raise ConfigError(
                f"{self.name}: expected images whose shorter side has 4 pixels times a power of two, from 8 up to "
                f"{LARGEST}, and whose longer side that power divides, got {size[0]}x{size[1]}. Use `size=32`."
            )

    # ------------------------------------------------------------------------------------------ networks

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        self.check_size((H, W))
        layers = mapping_layers(self.mapping, self.w_dim, classes=self.class_count)
        synthesis = synthesis_network((H, W), C, widths(self.channel_base, self.channel_max), features=self.w_dim)
        mapping = MappingNetwork(layers, rows=synthesis.rows, mixing=self.mixing)
        return Sequential([mapping, synthesis], name="G")

    def whole_generator(self, image_shape: Shape) -> Sequential:
        return Recipe.whole_generator(self, image_shape)  # the classes are joined to z after its normalization

    def discriminator(self, image_shape: Shape) -> Sequential:
        size = image_shape[0], image_shape[1]
        self.check_size(size)
        layers = style_discriminator(
            size,
            widths(self.channel_base, self.channel_max),
            residual=self.residual,
            group=self.group,
            classes=self.class_count,
        )
        return Sequential(layers, name="D")

    # ------------------------------------------------------------------------------------------ the game

    def learner(self, networks: Sequence[Sequential]) -> LazilyRegularized:
        G, D = networks
        penalty, path_length = self.gradient_penalty(), self.path_length()
        return LazilyRegularized(
            G,
            D,
            loss=self.adversarial_loss(),
            noise=self.noise,
            g_optimizer=self.lazy_optimizer(G.arena, lr=self.g_lr or self.lr, of=path_length),
            d_optimizer=self.lazy_optimizer(
                D.arena, lr=self.d_lr or self.lr, of=penalty, limit=self.clip_weights or np.inf
            ),
            n_critic=self.n_critic,
            penalty=penalty,
            path_length=path_length,
            accumulate=self.accumulate,
        )

    def path_length(self) -> PathLength | None:
        """The path-length penalty of G, or None."""
        return PathLength(weight=self.path_weight, interval=self.path_interval) if self.path_weight else None

    def game_rates(self) -> tuple[Schedule, Schedule]:
        regularizations = (self.g_lr, self.path_length()), (self.d_lr, self.gradient_penalty())
        g, d = (self.rate_schedule((lr or self.lr) * _share(of), 1) for lr, of in regularizations)
        return g, d

    def lazy_optimizer(self, arena: Arena, *, lr: float, of: Any, limit: float = np.inf) -> Optimizer:
        """The optimizer of a network's weights, slowed down for the updates that its regularization adds.

        Args:
            arena: the weights.
            lr: the rate without regularization.
            of: the regularization, with its `interval`; None for none.
            limit: largest absolute value of a weight.
        """
        share = _share(of)
        slowed = replace(self, beta1=self.beta1**share, beta2=self.beta2**share)
        return slowed.make_optimizer(arena, lr=lr * share, limit=limit)

    def moving_averages(self, learner: Learner, *, seed: int | Sequence[int]) -> dict[str, MovingAverage]:
        if self.ema or not self.ema_images:
            return super().moving_averages(learner, seed=seed)
        images = self.batch_size * self.accumulate
        if not self.ema_ramp and self.ema_images > images * self.steps:
            warnings.warn(
                f"the average has a half-life of {self.ema_images:,.0f} images, but the training sees "
                f"{images * self.steps:,}: its first weights will count most. Use `ema_ramp=0.05`, or fewer "
                "ema_images.",
                stacklevel=2,
            )
        G = learner.networks["G"]
        rng = np.random.default_rng(0)
        network = self.built_generator(G.output_shape, backend=G.kernels, dtype=G.dtype, rng=rng)
        decay = HalfLife(self.ema_images, batch_size=images, ramp=self.ema_ramp or np.inf)
        return {"G": MovingAverage(network, G, decay=decay, seed=seed)}

    def average_in_words(self) -> str:
        if self.ema or not self.ema_images:
            return super().average_in_words()
        ramp = f", at most {self.ema_ramp:.0%} of those seen" if self.ema_ramp else ""
        return f"with a half-life of {self.ema_images:,.0f} images{ramp}"

    # ------------------------------------------------------------------------------------------ styles

    def truncated(self, z: np.ndarray, truncation: float, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """z as it is: styles are truncated, by `truncated_generator`."""
        return z

    def truncated_generator(self, G: Sequential, truncation: float) -> Sequential:
        mapping = G.layers[0]
        if truncation == 1 or not isinstance(mapping, MappingNetwork):
            return G
        return G.with_layers([mapping.truncated(truncation), *G.layers[1:]])


def _share(of: Any) -> float:
    """The share of a rate for each update, of a network that has a regularization; 1 for None."""
    return 1.0 if of is None else lazy_share(of.interval)
