"""The generator of CycleGAN: an encoder, residual blocks at a quarter of the size, and a decoder.

Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer"; Zhu et al. 2017, appendix 7.2.
"""

from minigan.errors import ConfigError
from minigan.nn.initializers import Normal
from minigan.nn.layers import Conv2D, ConvTranspose2D, InstanceNorm, Layer, ReflectionPadding2D, ReLU, Tanh
from minigan.nn.network import Residual

__all__ = ["check_resnet_size", "resnet_blocks", "resnet_generator"]

WEIGHTS = Normal(std=0.02)
LARGE = 128  # pixels; images with a longer side get more blocks
LEAST = 8  # pixels of a side: at a quarter of the size the padding needs two


def check_resnet_size(size: tuple[int, int]) -> None:
    """Checks that both sides can be halved twice, and reflected at a quarter of their size.

    Raises:
        ConfigError: they cannot.
    """
    if min(size) < LEAST or any(side % 4 for side in size):
        raise ConfigError(
            f"the generator halves both sides twice: expected multiples of 4 from {LEAST} up, got {size[0]}x{size[1]}. "
            "Use `size=128`."
        )


def resnet_blocks(size: tuple[int, int]) -> int:
    """The paper's number of residual blocks: 6 for images of up to 128 pixels a side, 9 for larger ones."""
    return 6 if max(size) <= LARGE else 9


def resnet_generator(channels: int, *, blocks: int, width: int = 64) -> list[Layer]:
    """G's layers: images (H, W, any) to images (H, W, channels) in (-1, 1); H and W are multiples of 4.

    In the paper's notation c7s1-64, d128, d256, R256 times `blocks`, u128, u64, c7s1-3: where an image has a border
    it is reflected, each convolution is followed by an InstanceNorm without gamma and beta and by a ReLU, and the last
    by tanh. 11.378 million parameters with 9 blocks and three channels at both ends.

    Args:
        channels: of the images to draw.
        blocks: number of residual blocks.
        width: channels of the first layer; the inner ones have 2 and 4 times as many.
    """
    layers: list[Layer] = [ReflectionPadding2D(3), _conv(width, 7), *_norm_relu()]
    for k in (2, 4):
        layers += [Conv2D(width * k, 3, stride=2, padding=1, init=WEIGHTS), *_norm_relu()]
    layers += [resnet_block(width * 4) for _ in range(blocks)]
    for k in (2, 1):
        up = ConvTranspose2D(width * k, 3, stride=2, padding=1, output_padding=1, init=WEIGHTS)
        layers += [up, *_norm_relu()]
    return [*layers, ReflectionPadding2D(3), _conv(channels, 7), Tanh()]


def resnet_block(channels: int) -> Residual:
    """Two 3x3 convolutions of reflected images around the identity; nothing follows the sum."""
    inner = [ReflectionPadding2D(1), _conv(channels, 3), *_norm_relu()]
    return Residual([*inner, ReflectionPadding2D(1), _conv(channels, 3), InstanceNorm(affine=False)])


def _conv(channels: int, filter: int) -> Conv2D:
    return Conv2D(channels, filter, padding="valid", init=WEIGHTS)


def _norm_relu() -> list[Layer]:
    return [InstanceNorm(affine=False), ReLU()]
