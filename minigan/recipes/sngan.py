"""SNGAN: residual networks, with spectral normalization of every layer of the discriminator.

Miyato et al. 2018 ("Spectral Normalization for Generative Adversarial Networks"), section 4 and appendix B.4, table 4:
for 32x32 images G is a dense layer to 4x4x256, three blocks that double the image and a 3x3 convolution with tanh; D is
two blocks that halve the image, two that keep it, a sum over all pixels and a dense layer, 128 channels throughout.
Hinge loss, 5 steps of D for each step of G, Adam with lr 2e-4, β1 0 and β2 .9, both rates falling linearly to 0 over
50,000 steps, as in the authors' code. At other sizes G has a block for each doubling from 4 to 7 pixels, and D halves
the image until its shorter side has 8 pixels or fewer.

The paper's width of 256 is for GPUs; `--set width=64` has a sixteenth of the multiplications and trains on a CPU.

`--set condition=projection` makes it a cGAN with projection discriminator (Miyato & Koyama 2018): D adds the inner
product of its features with an embedding of the class, and G's BatchNorms scale and shift by class.

Corrections to the usual tutorial code:

- The power iteration advances in D's own steps only. In much code it also runs in G's step and in evaluation, so that
  the same D returns different logits each time.
- In the gradient u and v are constants, but sigma is not: dW = (G - <G, W / sigma> v u') / sigma. Code that treats
  sigma as a constant omits the second term.
- *Every* layer of D is normalized, including the 1x1 shortcuts and the last dense layer: with a single free layer
  nothing would be bounded.
- G has no spectral normalization, and D has no BatchNorm, which would undo the bound.
- The hinge is D's loss; G's loss is -mean(s).
- Each of D's 5 steps has its own real batch and its own fakes.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.nn.layers import BatchNorm, Conv2D, Dense, GlobalSumPooling2D, Layer, ReLU, Reshape, SpectralNorm, Tanh
from minigan.nn.network import Sequential
from minigan.nn.network.residual_blocks import block, down_block, first_down_block, projection, up_block
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.recipes.bases.recipe import Shape

SIZES = (28, 32, 48, 64)


@dataclass(frozen=True, kw_only=True)
class SNGAN(NoiseRecipe):
    """A residual GAN for images of 28, 32, 48 or 64 pixels.

    Settings:
        width: number of channels in G, twice that in D; 256 in the paper.
    """

    name: ClassVar[str] = "sngan"
    largest_size = max(SIZES)
    usual_size = 32
    conditions = ("none", "concatenation", "projection")

    latent: int = 128
    steps: int = 50_000
    n_critic: int = 5
    loss: str = "hinge"
    beta1: float = 0.0
    beta2: float = 0.9
    schedule: str = "linear"
    width: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 2:
            raise ConfigError(f"{self.name}: width must be at least 2, got {self.width}.")

    def check_size(self, size: tuple[int, int]) -> None:
        doublings(size)

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        n = doublings((H, W))
        h, w = H >> n, W >> n
        layers: list[Layer] = [Dense(h * w * self.width), Reshape((h, w, self.width))]
        classes = self.classes if self.condition == "projection" else 0
        layers += [up_block(self.width, classes=classes) for _ in range(n)]
        return Sequential([*layers, BatchNorm(), ReLU(), Conv2D(C, 3), Tanh()], name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:
        n, channels = doublings(image_shape[:2]), self.width // 2
        while min(image_shape[:2]) >> (n - 1) <= 8:
            n -= 1  # halvings until the shorter side has 8 pixels or fewer
        layers: list[Layer] = [first_down_block(channels)]
        layers += [down_block(channels) for _ in range(n - 1)]
        head = projection(self.classes) if self.condition == "projection" else SpectralNorm(Dense(1))
        layers += [block(channels), block(channels), ReLU(), GlobalSumPooling2D(), head]
        return Sequential(layers, name="D")


def doublings(size: tuple[int, ...]) -> int:
    """Number of G's doublings of an image whose shorter side has 4 to 7 pixels at first.

    Raises:
        ConfigError: a side is not such a multiple, has fewer than two doublings, or has more than 64 pixels.
    """
    n = 0
    while min(size) >> n > 7:
        n += 1
    if n < 2 or any(side % (1 << n) for side in size) or max(size) > max(SIZES):
        raise ConfigError(
            f"sngan: expected sides of 4 to 7 pixels times a power of two from 4 up, at most {max(SIZES)} "
            f"(best {', '.join(map(str, SIZES))}), got {'x'.join(map(str, size))}. Use `size=32`."
        )
    return n
