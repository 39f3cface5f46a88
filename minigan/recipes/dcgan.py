"""DCGAN: the deep convolutional GAN, the default recipe.

The networks of Radford, Metz & Chintala 2016 ("Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", section 3 and figure 1): 4x4 convolutions with stride 2 and no pooling, BatchNorm
everywhere except in G's last and D's first layer, ReLU in G, LeakyReLU .2 in D, weights from N(0, .02), Adam with
lr 2e-4 and β1 .5.

Corrections to the usual tutorial code:

- The generator *grows* images: from z to a small image with many channels, which each transposed convolution doubles.
- Real and fake go through D as separate batches, so that each has its own BatchNorm statistics.
- D ends in a logit; the sigmoid is in the loss, where log(sigmoid) cannot overflow.
- G's step computes no gradient of D's weights, and uses the same fakes as D's step.
- The filters are 4x4 with stride 2: the stride divides the filter, so no checkerboard is built in.

Variants:

- Classes: `--set condition=concatenation` or `condition=projection` trains on labelled data, and
  `minigan sample RUN --class 3` draws one class.
- WGAN-GP, algorithm 1 of Gulrajani et al. 2017:
  `--set loss=wasserstein penalty=wgan-gp d_norm=none n_critic=5 lr=1e-4 beta1=0 beta2=0.9`
- Spectral normalization with the hinge loss, Miyato et al. 2018: `--set loss=hinge d_norm=spectral`
- The R1 penalty, Mescheder et al. 2018: `--set penalty=r1 d_norm=none`
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.initializers import INITIALIZERS, Normal, get_initializer
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Flatten,
    GlobalSumPooling2D,
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


@dataclass(frozen=True, kw_only=True)
class DCGAN(NoiseRecipe):
    """A convolutional GAN for images of 28, 32, 64 or 128 pixels, greyscale or RGB.

    Settings:
        width: number of channels of the largest hidden image; each halving of the image doubles it.
        d_norm: normalization in D: batch (BatchNorm), spectral (SpectralNorm on every layer) or none, for wgan-gp.
        init: initial weights: normal (N(0, .02), as in the paper), orthogonal, he or glorot.
    """

    name: ClassVar[str] = "dcgan"
    largest_size = max(SIZES)
    conditions = ("none", "concatenation", "projection")

    steps: int = 4000
    width: int = 64
    d_norm: str = "batch"
    init: str = "normal"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width")
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
        layers = [
            Reshape((1, 1, self.inputs)),
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
        if self.condition == "projection":
            layers += [GlobalSumPooling2D(), projection(self.classes, wrap=wrap)]
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
