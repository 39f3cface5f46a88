"""The Keras tutorials' DCGAN: a dense layer, then upsampling and convolutions; RGB or gray, also at 100x100.

G: dense 4·4·256, BatchNorm, ReLU, reshape; three times upsampling and a 5x5 convolution (128, 128 and 64 channels) with
BatchNorm and ReLU; a 7x7 convolution to the image with tanh. D: 5x5 convolutions with stride 2 (64, 128, 256 channels)
with LeakyReLU .2, flatten, dense 1. Binary cross-entropy, Adam with lr 2e-4 and β1 .5.

Upsampling by repetition, then a convolution, is the resize-convolution of Odena et al. 2016 ("Deconvolution and
Checkerboard Artifacts"): it reaches any size that is 4 to 7 pixels times three whole factors, not powers of two only.
100 = 4·1·5·5, 64 = 4·2·2·4, 28 = 7·1·2·2. The small factors come first, so that few layers work on large images. D's
convolutions round odd sides up when they halve them ("same" padding): 100, 50, 25, 13.

Corrections to the usual tutorial code:

- A generator that *shrinks* images: convolutions with stride 2 in G, copied from D, in the place of upsampling.
- Images in [0, 255] or [0, 1] against a tanh: D tells them apart by their range alone. Here both are in [-1, 1].
- `Dense(1, activation="sigmoid")` and a logarithm of its output, which overflows: here D ends in a logit.
- `discriminator.trainable = False` at the wrong time, so that D learns in G's step that fakes are real. Here G's step
  goes through D without computing gradients of D's weights.
- Labels exchanged between D's two batches, or real and fake joined in one batch.
- A bias before BatchNorm, which subtracts it again.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Flatten, LeakyReLU, ReLU, Reshape, Tanh, UpSampling2D
from minigan.nn.network import Sequential
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Shape

SIZES = (28, 32, 64, 100)
LARGEST, LARGEST_FACTOR = 128, 5


@dataclass(frozen=True, kw_only=True)
class DCGANKeras(NoiseRecipe):
    """A DCGAN that enlarges images by upsampling, for sides of 28, 32, 64, 100 and other pixels, square or not.

    Settings:
        width: number of channels of G's last and of D's first hidden image; 64 in the tutorials.
    """

    name: ClassVar[str] = "dcgan-keras"
    largest_size = LARGEST

    steps: int = 10_000
    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width")

    def check_size(self, size: tuple[int, int]) -> None:
        _ = growth(size[0]), growth(size[1])

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        (h, *down), (w, *across) = growth(H), growth(W)
        smallest = (h, w, 4 * self.width)
        layers = [Dense(h * w * 4 * self.width, bias=False), BatchNorm(), ReLU(), Reshape(smallest)]
        for factor, times in zip(zip(down, across, strict=True), (2, 2, 1), strict=True):
            layers += [UpSampling2D(factor), Conv2D(times * self.width, 5, bias=False), BatchNorm(), ReLU()]
        return Sequential([*layers, Conv2D(C, 7), Tanh()], name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:  # noqa: ARG002 (any size will do)
        layers = []
        for times in (1, 2, 4):
            layers += [Conv2D(times * self.width, 5, stride=2), LeakyReLU(0.2)]
        return Sequential([*layers, Flatten(), Dense(1)], name="D")


def growth(side: int) -> tuple[int, int, int, int]:
    """Factors of an image's side: 4 pixels (or 5 to 7), and three factors in ascending order, as equal as possible.

    Raises:
        ConfigError: the side has no such factors, or more than 128 pixels.
    """
    found = [
        (start, a, b, side // start // a // b)
        for start in range(4, 8)
        for a in range(1, LARGEST_FACTOR + 1)
        for b in range(a, LARGEST_FACTOR + 1)
        if side % (start * a * b) == 0 and b <= side // start // a // b <= LARGEST_FACTOR
    ]
    if not found or side > LARGEST:
        raise ConfigError(
            f"dcgan-keras: expected sides of 4 to 7 pixels times three factors up to {LARGEST_FACTOR}, "
            f"at most {LARGEST} pixels (such as {', '.join(map(str, SIZES))}), got a side of {side}. Use `size=64`."
        )
    return min(found, key=lambda sizes: (sizes[0], sizes[-1], sum(sizes)))
