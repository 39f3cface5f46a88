"""DCGAN on CIFAR-10 as in the TensorFlow tutorials, with 5x5 filters and a dense layer at both ends.

D: 5x5 convolutions with stride 2 (64, 128, 256 and 512 channels) with BatchNorm and LeakyReLU .2, flatten, dense 1024
with LeakyReLU, dense 1. G is its mirror image: dense 1024 and dense 2·2·512 with BatchNorm and ReLU, then transposed
5x5 convolutions with stride 2 to 256, 128 and 64 channels with BatchNorm and ReLU, and to the image with tanh. Weights
from N(0, .02), Adam with lr 2e-4 and β1 .5, a rate that falls by half over each 100,000 steps, batches of 64 images,
100 epochs of 50,000 images: 78,100 steps. After Radford et al. 2016 and its TensorFlow code by Kim 2016.

**BatchNorm in D.** The tutorials have it after all five layers: `--set d_norm=all`. After the dense layer it subtracts
the mean over a batch that is all real or all fake. This removes just the difference between the two, and makes fakes
that are all alike look as varied as real images: on CIFAR-10 G then draws one picture for every z. After the first
layer it hides the colors (Radford et al. 2016, section 3, leave it out there, too). So by default it follows the other
three.

**Sum or mean.** The tutorials' D minimizes (BCE(real) + BCE(fake)) / 2. minigan's D minimizes the sum, as in equation 1
of Goodfellow et al. 2014. Half the loss means half the gradient, but Adam divides each gradient by its own size: except
for Adam's ε both train alike. Only the printed number differs: a D that cannot tell real from fake has d_loss =
2 log 2 = 1.386 here and .693 there. (With optimizer=sgd the mean halves the learning rate; together with a penalty it
doubles the penalty's share.)

Corrections to the usual tutorial code:

- One BatchNorm over a batch that is half real and half fake: D then tells the halves apart by their position relative
  to each *other*, which is missing in G's step with fakes alone. Here each half is a batch of its own.
- BatchNorm "updates" that are created and never run, or also run in G's step: here D's running statistics are committed
  in D's own step only.
- `tf.log(D)` of a sigmoid's output, which is -inf where D is sure: here D ends in a logit.
- `optimizer.minimize(loss)` without `var_list`, which trains D toward G's goal in G's step.
- A learning rate decayed by two counters, one for each optimizer, at twice the intended speed.

5 is not a multiple of 2: a transposed 5x5 convolution with stride 2 covers pixels unequally, and early samples show a
faint checkerboard (Odena et al. 2016) that training has to undo. `dcgan` (4x4) and `dcgan-keras` (upsampling) cover all
pixels equally.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Flatten, Layer, LeakyReLU, ReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Shape

SIZES = (32, 48, 64, 96, 128)
WEIGHTS = Normal(std=0.02)


@dataclass(frozen=True, kw_only=True)
class DCGANCifar(NoiseRecipe):
    """A DCGAN for images whose sides are multiples of 16, such as CIFAR-10's 32x32.

    Settings:
        width: number of channels of the largest hidden image; each halving of the image doubles it.
        dense: number of units of the dense layers.
        d_norm: BatchNorm in D: inner (after the 2nd to the 4th convolution) or all (after all five layers).
    """

    name: ClassVar[str] = "dcgan-cifar"
    largest_size = max(SIZES)

    steps: int = 78_100
    schedule: str = "exponential"
    decay_factor: float = 0.5
    decay_every: int = 100_000
    width: int = 64
    dense: int = 1024
    d_norm: str = "inner"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width", "dense")
        self.check_choice("d_norm", ("inner", "all"))

    def check_size(self, size: tuple[int, int]) -> None:
        smallest(size)

    def generator(self, image_shape: Shape) -> Sequential:
        h, w = smallest(image_shape[:2])
        layers = [Dense(self.dense, bias=False, init=WEIGHTS), BatchNorm(), ReLU()]
        layers += [Dense(h * w * 8 * self.width, bias=False, init=WEIGHTS), BatchNorm(), ReLU()]
        layers += [Reshape((h, w, 8 * self.width))]
        for times in (4, 2, 1):
            convolution = ConvTranspose2D(times * self.width, 5, stride=2, bias=False, init=WEIGHTS)
            layers += [convolution, BatchNorm(), ReLU()]
        layers += [ConvTranspose2D(image_shape[-1], 5, stride=2, init=WEIGHTS), Tanh()]
        return Sequential(layers, name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:
        smallest(image_shape[:2])
        every = self.d_norm == "all"
        layers: list[Layer] = []
        for times in (1, 2, 4, 8):
            norm = [BatchNorm()] if every or times > 1 else []
            layers.append(Conv2D(times * self.width, 5, stride=2, bias=not norm, init=WEIGHTS))
            layers += [*norm, LeakyReLU(0.2)]
        layers += [Flatten(), Dense(self.dense, bias=not every, init=WEIGHTS)]
        layers += [*([BatchNorm()] if every else []), LeakyReLU(0.2)]
        return Sequential([*layers, Dense(1, init=WEIGHTS)], name="D")


def smallest(size: tuple[int, ...]) -> tuple[int, int]:
    """Size (h, w) of an image after four halvings.

    Raises:
        ConfigError: its sides are not multiples of 16, or have more than 128 pixels.
    """
    H, W = size
    if H % 16 or W % 16 or max(H, W) > max(SIZES):
        raise ConfigError(
            f"dcgan-cifar halves images four times: expected sides that are multiples of 16 up to {max(SIZES)} "
            f"(best {', '.join(map(str, SIZES))}), got {H}x{W}. Use `size=32`."
        )
    return H // 16, W // 16
