"""The networks next to StyleGAN2's synthesis: the layers of its mapping, and its discriminator.

With equalized learning rates throughout, and LeakyReLU .2 times sqrt(2). The number of channels at a resolution r is
min(base / r, most).

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2 and appendix B; classes
and the small configuration Karras et al. 2020a, "Training Generative Adversarial Networks with Limited Data" (ADA).
"""

from collections.abc import Callable

from minigan.nn.layers import (
    ConcatCondition,
    Conv2D,
    Dense,
    EqualizedRate,
    FIRDownSampling2D,
    Flatten,
    InnerProduct,
    Layer,
    LeakyReLU,
    MinibatchStdDev,
    PixelNorm,
)
from minigan.nn.network.combinators import Residual
from minigan.nn.network.mapping import MappedCondition

__all__ = ["FIRST", "doublings", "mapping_layers", "style_discriminator", "widths"]

FIRST = 4  # pixels of the shorter side of the smallest image
MULTIPLIER = 0.01  # of the mapping's learning rate
GAIN = 2**0.5
HALF = 0.5**0.5  # of each branch of a residual block
CLASS_LAYERS = 8  # of D's mapping of classes, in the authors' code

Widths = Callable[[int], int]


def doublings(size: tuple[int, int]) -> int | None:
    """Number of doublings from the smallest image to one of that size; None if none leads there.

    The shorter side is 4 times a power of two, at least 8, and that power divides the longer one.
    """
    n = (min(size) // FIRST).bit_length() - 1
    fits = n > 0 and min(size) == FIRST << n and max(size) % (1 << n) == 0
    return n if fits else None


def widths(base: int, most: int) -> Widths:
    """The number of channels at a resolution, the shorter side of an image."""
    return lambda resolution: max(1, min(base // resolution, most))


def activation(gain: float = GAIN) -> LeakyReLU:
    return LeakyReLU(0.2, gain=gain)


def mapping_layers(depth: int, features: int, *, classes: int = 0) -> list[Layer]:
    """The layers from z to w (features,); with classes, their normalized embedding is joined to the normalized z.

    Args:
        depth: number of fully connected layers.
    """
    layers: list[Layer] = [PixelNorm()]
    if classes:
        embedding = [EqualizedRate(Dense(features)), PixelNorm()]
        layers.append(MappedCondition((classes,), embedding, [ConcatCondition((features,))]))
    for _ in range(depth):
        layers += [EqualizedRate(Dense(features), multiplier=MULTIPLIER), activation()]
    return layers


def style_discriminator(
    size: tuple[int, int], width: Widths, *, residual: bool = False, group: int = 32, classes: int = 0
) -> list[Layer]:
    """The layers of D, for images of that size (H, W): plain, or residual with 1x1 shortcuts.

    Args:
        group: see `MinibatchStdDev`.
        classes: D's features are multiplied with a mapped embedding of the class; 0 ends with one logit for all.
    Raises:
        TypeError: no number of halvings leads to the smallest image; see `doublings`.
    """
    n, side = doublings(size), min(size)
    layers: list[Layer] = [EqualizedRate(Conv2D(width(side), 1)), activation()]
    for k in range(n or 0):
        here, below = width(side >> k), width(side >> (k + 1))
        layers += residual_block(here, below) if residual else plain_block(here, below)
    smallest = width(FIRST)
    layers += [MinibatchStdDev(group), EqualizedRate(Conv2D(smallest, 3)), activation()]
    layers += [Flatten(), EqualizedRate(Dense(smallest)), activation()]
    return [*layers, *(class_head(classes, smallest) if classes else [EqualizedRate(Dense(1))])]


def plain_block(here: int, below: int) -> list[Layer]:
    """Two convolutions, the second of which halves the image."""
    return [EqualizedRate(Conv2D(here, 3)), activation(), *halving(below), activation()]


def residual_block(here: int, below: int) -> list[Layer]:
    """The same with a 1x1 shortcut, both branches times sqrt(1/2)."""
    inner = [EqualizedRate(Conv2D(here, 3)), activation(), *halving(below), activation(GAIN * HALF)]
    shortcut = [FIRDownSampling2D(), EqualizedRate(Conv2D(below, 1, bias=False), gain=HALF)]
    return [Residual(inner, shortcut=shortcut)]


def halving(channels: int) -> list[Layer]:
    """A low-pass filter and a convolution with stride 2."""
    smooth = FIRDownSampling2D(1, padding=2)
    return [smooth, EqualizedRate(Conv2D(channels, 3, stride=2, padding="valid"))]


def class_head(classes: int, features: int) -> list[Layer]:
    """D's logit of a class: <h, m(c)> / sqrt(F), with the features h and a mapping m of the normalized embedding."""
    layers: list[Layer] = [EqualizedRate(Dense(features)), PixelNorm()]
    for k in range(CLASS_LAYERS):
        last = k == CLASS_LAYERS - 1
        layers += [EqualizedRate(Dense(features), multiplier=MULTIPLIER)]
        layers += [activation(GAIN * features**-0.5 if last else GAIN)]
    return [EqualizedRate(Dense(features)), MappedCondition((classes,), layers, [InnerProduct(features)])]
