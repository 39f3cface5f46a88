"""pix2pix's networks in PyTorch, as its authors' program has them (Isola et al. 2017, appendix 6.1): the peer."""

import torch
from torch import nn

from minigan.errors import ConfigError
from minigan.nn.network.unet import DROPPED, unet_levels
from minigan.recipes.pix2pix import Pix2Pix


class Join(nn.Module):
    """[x, inner(x)] along the channels: a level of the U-Net."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.inner(x)], dim=1)


def pix2pix_networks(recipe: Pix2Pix, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """The U-Net, and the discriminator of 70x70 patches of image and source.

    Raises:
        ConfigError: the recipe has other networks.
    """
    H, W, C = image_shape
    if recipe.norm != "batch" or min(H, W) < 24:
        raise ConfigError(
            f"no PyTorch twin of pix2pix at {H}x{W} with norm={recipe.norm}: expected 24x24 or more, batch."
        )
    G = unet(C, levels=unet_levels((H, W)), width=recipe.width, dropout=recipe.dropout)
    return G, patch_discriminator(2 * C, width=recipe.d_width)


def unet(channels: int, *, levels: int, width: int, dropout: float) -> nn.Sequential:
    """From images to images of as many channels. No activation works in place: what it would change is joined too."""
    widths = [width * min(1 << k, 8) for k in range(levels)]

    def down(k: int, *, bias: bool = False) -> list[nn.Module]:
        return [nn.LeakyReLU(0.2), started(nn.Conv2d(widths[k - 1], widths[k], 4, 2, 1, bias=bias))]

    def up(k: int, inputs: int) -> list[nn.Module]:
        conv = started(nn.ConvTranspose2d(inputs, widths[k - 1], 4, 2, 1, bias=False))
        drop = [nn.Dropout(dropout)] if levels - 1 - k < DROPPED else []
        return [nn.ReLU(), conv, norm(widths[k - 1]), *drop]

    last = levels - 1
    below = [*down(last, bias=True), *up(last, widths[last])]
    for k in range(last - 1, 0, -1):
        below = [*down(k), norm(widths[k]), Join(*below), *up(k, 2 * widths[k])]
    first = started(nn.Conv2d(channels, width, 4, 2, 1))
    end = started(nn.ConvTranspose2d(2 * width, channels, 4, 2, 1))
    return nn.Sequential(first, Join(*below), nn.ReLU(), end, nn.Tanh())


def patch_discriminator(channels: int, *, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [started(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2, True)]
    for k, stride in ((1, 2), (2, 2), (3, 1)):
        conv = started(nn.Conv2d(width << (k - 1), width << k, 4, stride, 1, bias=False))
        layers += [conv, norm(width << k), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, started(nn.Conv2d(width << 3, 1, 4, 1, 1)))


def started(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """The layer with weights from N(0, .02)."""
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    nn.init.normal_(layer.weight, 1.0, 0.02)
    return layer
