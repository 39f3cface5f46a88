"""DCGAN: the deep convolutional GAN, the default recipe.

The networks of Radford, Metz & Chintala 2016 ("Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", section 3 and figure 1): 4x4 convolutions with stride 2 and no pooling, BatchNorm
everywhere except in G's last and D's first layer, ReLU in G, LeakyReLU .2 in D, weights from N(0, .02), Adam with
β1 .5.

Different from the paper, each for the reason that docs/digits.md measures (`--set preset=paper` takes all of it back):

- Small images have narrow networks (`width`): 16 channels at 28x28 and 32 at 32x32, where the paper has 64. A step
  takes a fraction of the time, and in the same time more steps draw better images.
- At 28x28 and below, a hidden dense layer stands between z and G's first image (`mapping`), and one between D's last
  image and its logit (`head`). The paper's ladder has two steps there: without them G's first image is linear in z, D's
  logit is linear in what two convolutions see, and neither knows a digit as a whole. Longer ladders need no such
  layers.
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
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

from minigan.data.dataset import Collection
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
PAPER: Mapping[str, Any] = {
    "width": 64,
    "mapping": 0,
    "head": 0,
    "condition": "none",
    "ema": 0.0,
    "lr": 2e-4,
    "steps": 4000,
}
WASSERSTEIN: Mapping[str, Any] = {"loss": "wasserstein", "penalty": "wgan-gp", "d_norm": "none", "n_critic": 5}
WGAN_GP: Mapping[str, Any] = {**PAPER, **WASSERSTEIN, "lr": 1e-4, "beta1": 0.0, "beta2": 0.9}
BY_SIZE = -1  # in place of a number of units: the size of the images decides it


class Usual(NamedTuple):
    """Sizes of networks that suit images which are halved a number of times."""

    width: int
    units: int  # of the hidden dense layers


USUAL: Mapping[int, Usual] = {1: Usual(16, 128), 2: Usual(16, 128), 3: Usual(32, 0)}  # by the number of halvings
LARGE = Usual(64, 0)  # of more


@dataclass(frozen=True, kw_only=True)
class DCGAN(NoiseRecipe):
    """A convolutional GAN for images of 28, 32, 64 or 128 pixels, grayscale or RGB.

    Settings:
        width: number of channels of the largest hidden image; each halving of the image doubles it. 0 takes 16 for
            images up to 28 pixels, 32 up to 56 and 64 for larger ones.
        d_norm: normalization in D: batch (BatchNorm), spectral (SpectralNorm on every layer) or none, for wgan-gp.
        init: initial weights: normal (N(0, .02), as in the paper), orthogonal, he or glorot.
        mapping: number of units of a hidden dense layer between z and G's first image; 0 is none, as in the paper; -1
            takes 128 for images up to 28 pixels and none for larger ones.
        head: number of units of a hidden dense layer between D's last image and its logit; 0 and -1 as for mapping.
    """

    name: ClassVar[str] = "dcgan"
    largest_size = max(SIZES)
    conditions = ("none", "projection", "concatenation")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": PAPER, "wgan-gp": WGAN_GP}
    before: ClassVar[Mapping[str, Any]] = {**NoiseRecipe.before, "mapping": 0, "head": 0, "ema": 0.0}

    steps: int = 3000
    lr: float = 4e-4
    ema: float = 0.998
    width: int = 0
    d_norm: str = "batch"
    init: str = "normal"
    mapping: int = BY_SIZE
    head: int = BY_SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_from_zero("width")
        self.check_least("mapping", "head", least=BY_SIZE)
        self.check_choice("d_norm", ("batch", "spectral", "none"))
        self.check_choice("init", INITIALIZERS)

    def check_size(self, size: tuple[int, int]) -> None:
        halvings(size)

    def fit(self, dataset: Collection) -> Self:
        fitted = super().fit(dataset)
        return fitted.for_images(fitted.image_shape(dataset))

    def for_images(self, image_shape: Shape) -> Self:
        """This recipe with numbers in place of those that the size of the images decides.

        Raises:
            ConfigError: it cannot draw images of that size.
        """
        usual = USUAL.get(halvings((image_shape[0], image_shape[1])), LARGE)
        mapping, head = (usual.units if units == BY_SIZE else units for units in (self.mapping, self.head))
        return replace(self, width=self.width or usual.width, mapping=mapping, head=head)

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        n, sized = halvings((H, W)), self.for_images(image_shape)
        smallest = (H >> n, W >> n)
        channels = sized.width << (n - 1)
        init = get_initializer(self.init)
        layers: list[Layer] = []
        if sized.mapping:
            layers += [Dense(sized.mapping, bias=False, init=init), BatchNorm(gamma_init=GAMMA), ReLU()]
        layers += [
            Reshape((1, 1, sized.mapping or self.inputs)),
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
        n, sized = halvings((H, W)), self.for_images(image_shape)
        init = get_initializer(self.init)
        wrap = SpectralNorm if self.d_norm == "spectral" else plain
        batch = self.d_norm == "batch"
        layers = [wrap(Conv2D(sized.width, 4, stride=2, padding=1, bias=False, init=init)), LeakyReLU(0.2)]
        for k in range(1, n):
            layers += [
                wrap(Conv2D(sized.width << k, 4, stride=2, padding=1, bias=not batch, init=init)),
                *([BatchNorm(gamma_init=GAMMA)] if batch else []),
                LeakyReLU(0.2),
            ]
        if sized.head:
            layers += [Flatten(), wrap(Dense(sized.head, bias=not batch, init=init))]
            layers += [*([BatchNorm(gamma_init=GAMMA)] if batch else []), LeakyReLU(0.2)]
        elif self.condition == "projection":
            layers += [GlobalSumPooling2D()]
        if self.condition == "projection":
            layers += [projection(self.classes, wrap=wrap)]
        elif sized.head:
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
