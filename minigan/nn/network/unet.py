"""The two networks of pix2pix: the U-Net that translates, and the discriminator that judges patches.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 3.2 and
appendix 6.1.
"""

from collections.abc import Sequence

from minigan.errors import ConfigError
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dropout, InstanceNorm, Layer, LeakyReLU, ReLU, Tanh
from minigan.nn.network import SkipConcat

__all__ = ["NORMS", "patch_discriminator", "unet", "unet_levels"]

NORMS = ("batch", "instance")
MOST_LEVELS = 8
DROPPED = 3  # decoder layers with Dropout
WEIGHTS, GAMMA = Normal(std=0.02), Normal(std=0.02, mean=1.0)


def unet_levels(size: tuple[int, int]) -> int:
    """The number of times that both sides of an image can be halved evenly, at most 8: to one pixel, at 256x256.

    Raises:
        ConfigError: it is less than two, or a side is under 8 pixels.
    """
    n = 0
    while n < MOST_LEVELS and all(side % (2 << n) == 0 for side in size):
        n += 1
    if n < 2 or min(size) < 8:
        raise ConfigError(
            f"a U-Net halves both sides at least twice: expected multiples of 4 from 8 up (best 64, 128 or 256), got "
            f"{size[0]}x{size[1]}. Use `size=256`."
        )
    return n


def unet(channels: int, *, levels: int, width: int = 64, norm: str = "batch", dropout: float = 0.5) -> list[Layer]:
    """G's layers: images (H, W, any) to images (H, W, channels) in (-1, 1); H and W are multiples of 2^levels.

    The encoder is C64-C128-C256-C512-C512-..., each a 4x4 convolution with stride 2; the decoder mirrors it with
    transposed ones. `SkipConcat` joins the input of each level of the encoder to the decoder's output for the levels
    below, so that edges need not pass through the bottleneck. Dropout in the first three layers of the decoder is the
    only noise.

    The bottleneck has no normalization: at 256x256 it is one pixel, and with a batch of one image BatchNorm would leave
    nothing but beta (the authors' own correction of their paper).

    Args:
        channels: of the images to draw.
        levels: the number of times the image is halved; at least 2.
        width: channels of the first level; those below have 2, 4 and at most 8 times as many.
        norm: batch or instance.
        dropout: the rate in the first three layers of the decoder.
    """
    widths = [width * min(1 << k, 8) for k in range(levels)]

    def up(out: int) -> list[Layer]:
        return [ReLU(), ConvTranspose2D(out, 4, stride=2, padding=1, bias=False, init=WEIGHTS), *_norm(norm)]

    def down(out: int, *, bias: bool = False) -> Conv2D:
        return Conv2D(out, 4, stride=2, padding=1, bias=bias, init=WEIGHTS)

    below: Sequence[Layer] = [LeakyReLU(0.2), down(widths[-1], bias=True), *up(widths[-2]), Dropout(dropout)]
    for k in range(levels - 2, 0, -1):
        drop = [Dropout(dropout)] if levels - 1 - k < DROPPED else []
        below = [LeakyReLU(0.2), down(widths[k]), *_norm(norm), SkipConcat(below), *up(widths[k - 1]), *drop]
    last = ConvTranspose2D(channels, 4, stride=2, padding=1, init=WEIGHTS)
    return [down(widths[0], bias=True), SkipConcat(below), ReLU(), last, Tanh()]


def patch_discriminator(*, width: int = 64, halvings: int = 3, norm: str = "batch", affine: bool = True) -> list[Layer]:
    """D's layers: images (H, W, C) to a map of logits (h, w, 1), each for a patch of the image that it can see.

    C64-C128-C256-C512 of 4x4 filters, the first three with stride 2, and a last one to 1 channel: each logit sees
    70x70 pixels. With halvings=2 (C64-C128-C256) it sees 34x34, with 1 16x16.

    Args:
        halvings: the number of convolutions with stride 2.
        width: channels of the first; each doubles them, to 8 times as many at most.
        norm: batch or instance; the first layer has none.
        affine: False leaves gamma and beta out of InstanceNorm, and the convolutions keep their biases, as in CycleGAN.
    """
    layers: list[Layer] = [Conv2D(width, 4, stride=2, padding=1, init=WEIGHTS), LeakyReLU(0.2)]
    for k in range(1, halvings + 1):
        stride = 2 if k < halvings else 1
        conv = Conv2D(width * min(1 << k, 8), 4, stride=stride, padding=1, bias=not affine, init=WEIGHTS)
        layers += [conv, *(_norm(norm) if affine else [InstanceNorm(affine=False)]), LeakyReLU(0.2)]
    return [*layers, Conv2D(1, 4, padding=1, init=WEIGHTS)]


def _norm(name: str) -> list[Layer]:
    if name not in NORMS:
        raise ConfigError(f"norm: expected one of {', '.join(NORMS)}, got {name!r}.")
    return [BatchNorm(gamma_init=GAMMA) if name == "batch" else InstanceNorm(gamma_init=GAMMA)]
