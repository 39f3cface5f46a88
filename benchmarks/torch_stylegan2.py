"""StyleGAN2's networks and training step in PyTorch, from the paper: the peer of the recipe's small configuration."""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_layers import (
    GAIN,
    Bias,
    Conv,
    Dense,
    LearnedConstant,
    LowPass,
    MinibatchDeviation,
    Modulated,
    Noise,
    PixelByPixel,
    enlarged,
)
from benchmarks.torch_peer import Gan
from minigan.errors import ConfigError
from minigan.nn.network.stylegan import FIRST, doublings, widths
from minigan.recipes import StyleGAN2


class Mapping(nn.Sequential):
    """From z to w, with the running mean of w."""

    w_avg: torch.Tensor

    def __init__(self, latent: int, features: int, depth: int) -> None:
        sides = [latent, *[features] * depth]
        super().__init__(*(Dense(a, b, multiplier=0.01, activated=True) for a, b in itertools.pairwise(sides)))
        self.register_buffer("w_avg", torch.zeros(features))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        w: torch.Tensor = super().forward(z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt())
        self.w_avg.lerp_(w.detach().mean(dim=0), 0.005)
        return w


class Styled(nn.Module):
    """A modulated convolution, the filter behind an enlargement, noise, bias and activation."""

    def __init__(self, inputs: int, outputs: int, features: int, *, grouped: bool, up: bool) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, 3, features, grouped=grouped, up=up)
        self.smooth = LowPass(outputs, gain=4.0) if up else nn.Identity()
        self.noise, self.bias = Noise(), Bias(outputs)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        y = self.smooth(self.conv(x, style))
        return F.leaky_relu(self.bias(self.noise(y)), 0.2) * GAIN


class ToImage(nn.Module):
    """A modulated 1x1 convolution to the image."""

    def __init__(self, inputs: int, channels: int, features: int, *, grouped: bool) -> None:
        super().__init__()
        self.conv = Modulated(inputs, channels, 1, features, grouped=grouped, rgb=True)
        self.bias = Bias(channels)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.bias(self.conv(x, style))
        return y


class Generator(nn.Module):
    def __init__(self, recipe: StyleGAN2, size: int, channels: int, *, grouped: bool) -> None:
        super().__init__()
        n, width, features = doublings((size, size)) or 0, widths(recipe.channel_base, recipe.channel_max), recipe.w_dim
        self.mapping = Mapping(recipe.latent, features, recipe.mapping)
        self.constant = LearnedConstant(width(FIRST), FIRST)
        self.stages = nn.ModuleList()
        for k in range(n + 1):
            above, here = width(FIRST << max(0, k - 1)), width(FIRST << k)
            stage = [Styled(above, here, features, grouped=grouped, up=True)] if k else []
            stage.append(Styled(here, here, features, grouped=grouped, up=False))
            self.stages.append(nn.ModuleList([*stage, ToImage(here, channels, features, grouped=grouped)]))
        self.up = enlarged(channels)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        w = self.mapping(z)
        x, image = self.constant(w), None
        for *block, to_image in self.stages:
            for layer in block:
                x = layer(x, w)
            drawn = to_image(x, w)
            image = drawn if image is None else self.up(image) + drawn
        return image


def discriminator(recipe: StyleGAN2, size: int, channels: int) -> nn.Sequential:
    width, smallest = widths(recipe.channel_base, recipe.channel_max), FIRST
    layers: list[nn.Module] = [Conv(channels, width(size), 1)]
    while size > FIRST:
        here, below = width(size), width(size // 2)
        layers += [Conv(here, here, 3, padding=1), LowPass(here, padding=2), Conv(here, below, 3, stride=2)]
        size //= 2
    last = width(smallest)
    layers += [MinibatchDeviation(recipe.group), Conv(last + 1, last, 3, padding=1), PixelByPixel()]
    return nn.Sequential(*layers, Dense(last * smallest * smallest, last, activated=True), Dense(last, 1))


class StyleGAN2Peer(Gan):
    """G and D in training.

    Args:
        grouped: see `Modulated`.
    """

    recipe: StyleGAN2

    def __init__(self, recipe: StyleGAN2, image_shape: tuple[int, ...], *, grouped: bool = False, **how: Any) -> None:
        if recipe.residual or recipe.path_weight or recipe.mixing or recipe.conditional:
            raise ConfigError("the PyTorch twin of stylegan2 is its small configuration without classes.")
        self.grouped, self.steps = grouped, 0
        super().__init__(recipe, image_shape, **how)
        self.plain_D = self.D  # torch.compile has no second order

    def networks(self, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        size, _, channels = image_shape
        G = Generator(self.recipe, size, channels, grouped=self.grouped)
        return G, discriminator(self.recipe, size, channels)

    def update(self, real: torch.Tensor, source: torch.Tensor | None = None) -> None:  # noqa: ARG002
        """One step of D, lazily with R1 in an update of its own, and one of G on the same fakes."""
        recipe = self.recipe
        self.D.requires_grad_(True)
        fake = self.G(torch.randn(len(real), recipe.latent))
        loss = F.softplus(-self.D(real)).mean() + F.softplus(self.D(fake.detach())).mean()
        self.descend(self.d_adam, loss)
        if recipe.penalty != "none" and self.steps % recipe.penalty_interval == 0:
            self.regularize(real)
        self.steps += 1
        self.D.requires_grad_(False)  # no gradients of its weights
        self.descend(self.g_adam, F.softplus(-self.D(fake)).mean())

    def regularize(self, real: torch.Tensor) -> None:
        real = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.plain_D(real).sum(), real, create_graph=True)
        weight = self.recipe.penalty_weight / 2 * self.recipe.penalty_interval
        self.descend(self.d_adam, weight * slope.square().sum(dim=(1, 2, 3)).mean())
