"""DCGAN: the deep convolutional GAN, the default recipe.

The networks of Radford, Metz & Chintala 2016 ("Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", section 3 and figure 1): 4x4 convolutions with stride 2 and no pooling, BatchNorm
everywhere except in G's last and D's first layer, ReLU in G, LeakyReLU .2 in D, weights from N(0, .02), Adam with
β1 .5.

Different from the paper, each for the reason that docs/digits.md measures (`--set preset=paper` takes all of it back):

- A hidden dense layer stands between z and G's first image (`mapping`), and one between D's last image and its logit
  (`head`). At 28x28 the paper's ladder has two steps only: without them G's first image is linear in z, D's logit is
  linear in what two convolutions see, and neither knows a digit as a whole.
- Samples are drawn with a moving average of G's weights (`ema`), which Adam's last steps do not shake.
- The learning rate is twice the paper's 2e-4, which the average allows, and so there are fewer steps.
- Where the data have classes, G and D are told them (`condition`).

Corrections to the usual tutorial code:

- The generator *grows* images: from z to a small image with many channels, which each transposed convolution doubles.
- Real and fake go through D as separate batches, so that each has its own BatchNorm statistics.
- D ends in a logit; the sigmoid is in the loss, where log(sigmoid) cannot overflow.
- G's step computes no gradient of D's weights, and uses the same fakes as D's step.
- The filters are 4x4 with stride 2: the stride divides the filter, so no checkerboard is built in.

Variants:

- Classes: told by `condition=concatenation` (the default, where the data have them) or `condition=projection`;
  `minigan sample RUN --class 3` draws one class, and `--set condition=none` trains without.
- The paper's own settings: `--set preset=paper`
- WGAN-GP, algorithm 1 of Gulrajani et al. 2017: `--set preset=wgan-gp`
- Spectral normalization with the hinge loss, Miyato et al. 2018: `--set loss=hinge d_norm=spectral`
- The R1 penalty, Mescheder et al. 2018: `--set penalty=r1 d_norm=none`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from minigan.errors import ConfigError
from minigan.nn.initializers import INITIALIZERS, Normal, get_initializer
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    GlobalSumPooling2D,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    SpectralNorm,
    Tanh,
)
from minigan.nn.network import Sequential
from minigan.nn.network.residual_blocks import plain, projection
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Shape

SIZES = (28, 32, 64, 128)
GAMMA = Normal(std=0.02, mean=1.0)
PAPER: Mapping[str, Any] = {"mapping": 0, "head": 0, "ema": 0.0, "lr": 2e-4, "steps": 4000, "condition": "none"}
WASSERSTEIN: Mapping[str, Any] = {"loss": "wasserstein", "penalty": "wgan-gp", "d_norm": "none", "n_critic": 5}
WGAN_GP: Mapping[str, Any] = {**PAPER, **WASSERSTEIN, "lr": 1e-4, "beta1": 0.0, "beta2": 0.9}


@dataclass(frozen=True, kw_only=True)
class DCGAN(NoiseRecipe):
    """A convolutional GAN for images of 28, 32, 64 or 128 pixels, greyscale or RGB.

    Settings:
        width: number of channels of the largest hidden image; each halving of the image doubles it.
        d_norm: normalization in D: batch (BatchNorm), spectral (SpectralNorm on every layer) or none, for wgan-gp.
        init: initial weights: normal (N(0, .02), as in the paper), orthogonal, he or glorot.
        mapping: number of units of a hidden dense layer between z and G's first image; 0 is none, as in the paper.
        head: number of units of a hidden dense layer between D's last image and its logit; 0 is none, as in the paper.
    """

    name: ClassVar[str] = "dcgan"
    largest_size = max(SIZES)
    conditions = ("none", "projection", "concatenation")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": PAPER, "wgan-gp": WGAN_GP}
    before: ClassVar[Mapping[str, Any]] = {**NoiseRecipe.before, "mapping": 0, "head": 0, "ema": 0.0}

    steps: int = 2500
    lr: float = 4e-4
    ema: float = 0.998
    width: int = 64
    d_norm: str = "batch"
    init: str = "normal"
    mapping: int = 128
    head: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width")
        self.check_from_zero("mapping", "head")
        self.check_choice("d_norm", ("batch", "spectral", "none"))
        self.check_choice("init", INITIALIZERS)

    def check_size(self, size: tuple[int, int]) -> None:
        halvings(size)

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        n = halvings((H, W))
        smallest = (H >> n, W >> n)
        channels = self.width << (n - 1)
        init = get_initializer(self.init)
        layers: list[Layer] = []
        if self.mapping:
            layers += [Dense(self.mapping, bias=False, init=init), BatchNorm(gamma_init=GAMMA), ReLU()]
        layers += [
            Reshape((1, 1, self.mapping or self.inputs)),
            ConvTranspose2D(channels, smallest, padding="valid", bias=False, init=init),
            BatchNorm(gamma_init=GAMMA),
            ReLU(),
        ]
        for k in range(1, n):
            layers += [
                ConvTranspose2D(channels >> k, 4, stride=2, padding=1, bias=False, init=init),
                BatchNorm(gamma_init=GAMMA),
                ReLU(),
            ]
        layers += [ConvTranspose2D(C, 4, stride=2, padding=1, bias=False, init=init), Tanh()]
        return Sequential(layers, name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:
        H, W, _ = image_shape
        n = halvings((H, W))
        init = get_initializer(self.init)
        wrap = SpectralNorm if self.d_norm == "spectral" else plain
        batch = self.d_norm == "batch"
        layers = [wrap(Conv2D(self.width, 4, stride=2, padding=1, bias=False, init=init)), LeakyReLU(0.2)]
        for k in range(1, n):
            layers += [
                wrap(Conv2D(self.width << k, 4, stride=2, padding=1, bias=not batch, init=init)),
                *([BatchNorm(gamma_init=GAMMA)] if batch else []),
                LeakyReLU(0.2),
            ]
        if self.head:
            layers += [Flatten(), wrap(Dense(self.head, bias=not batch, init=init))]
            layers += [*([BatchNorm(gamma_init=GAMMA)] if batch else []), LeakyReLU(0.2)]
        elif self.condition == "projection":
            layers += [GlobalSumPooling2D()]
        if self.condition == "projection":
            layers += [projection(self.classes, wrap=wrap)]
        elif self.head:
            layers += [wrap(Dense(1, init=init))]
        else:
            layers += [wrap(Conv2D(1, (H >> n, W >> n), padding="valid", bias=False, init=init)), Flatten()]
        return Sequential(layers, name="D")


def halvings(size: tuple[int, int]) -> int:
    """Number of halvings after which an image's shorter side has 4 to 7 pixels.

    Raises:
        ConfigError: a side cannot be halved that often, or has more than 128 pixels.
    """
    n = 0
    while min(size) >> n > 7:
        n += 1
    fits = n > 0 and min(size) >> n >= 4 and all(side % (1 << n) == 0 for side in size)
    if not fits or max(size) > max(SIZES):
        raise ConfigError(
            f"expected images whose sides are 4 to 7 pixels times a power of two, up to {max(SIZES)} "
            f"(best {', '.join(map(str, SIZES))}), got {size[0]}x{size[1]}. Use `size=64`."
        )
    return n
