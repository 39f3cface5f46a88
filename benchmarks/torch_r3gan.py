"""R3GAN's networks and training step in PyTorch, from the paper: the peer of the recipe."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_layers import enlarged, reduced
from benchmarks.torch_peer import Gan
from minigan.errors import ConfigError
from minigan.recipes import R3GAN

SLOPE = 0.2


class Block(nn.Module):
    """1x1, grouped 3x3, 1x1, and the input added."""

    def __init__(self, width: int, group: int) -> None:
        super().__init__()
        inside = 2 * width
        self.one = nn.Conv2d(width, inside, 1)
        self.three = nn.Conv2d(inside, inside, 3, padding=1, groups=inside // group)
        self.back = nn.Conv2d(inside, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.one(x), SLOPE)
        z: torch.Tensor = x + self.back(F.leaky_relu(self.three(y), SLOPE))
        return z


class Basis(nn.Module):
    """G's basis of images, or D's."""

    def __init__(self, width: int, *, draws: bool) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, 1, 4, 4) * (1.0 if draws else 0.25))
        self.draws = draws

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x[:, :, None, None] * self.basis[:, 0] if self.draws else (x * self.basis[:, 0]).sum((2, 3))
        return y


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def r3gan_networks(recipe: R3GAN, image_shape: tuple[int, ...]) -> tuple[nn.Sequential, nn.Sequential]:
    H, W, channels = image_shape
    widths = recipe.widths_of((H, W))

    def blocks(k: int) -> list[nn.Module]:
        return [Block(widths[k], recipe.group) for _ in range(recipe.blocks)]

    def narrowed(a: int, b: int) -> list[nn.Module]:
        return [] if widths[a] == widths[b] else [pointwise(widths[a], widths[b])]

    g: list[nn.Module] = [nn.Linear(recipe.latent, widths[0], bias=False), Basis(widths[0], draws=True), *blocks(0)]
    for k in range(1, len(widths)):
        g += [*narrowed(k - 1, k), enlarged(widths[k]), *blocks(k)]
    d: list[nn.Module] = [pointwise(channels, widths[-1])]
    for k in reversed(range(1, len(widths))):
        d += [*blocks(k), reduced(widths[k]), *narrowed(k, k - 1)]
    d += [*blocks(0), Basis(widths[0], draws=False), nn.Linear(widths[0], 1, bias=False)]
    return nn.Sequential(*g, pointwise(widths[-1], channels)), nn.Sequential(*d)


class R3GANPeer(Gan):
    """G and D in training."""

    recipe: R3GAN

    def __init__(self, recipe: R3GAN, image_shape: tuple[int, ...], **how: Any) -> None:
        if recipe.conditional or recipe.augment:
            raise ConfigError("the PyTorch twin of r3gan is without classes and augmentation.")
        super().__init__(recipe, image_shape, **how)
        self.plain_D = self.D  # torch.compile has no second order

    def networks(self, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        return r3gan_networks(self.recipe, image_shape)

    def update(self, real: torch.Tensor, source: torch.Tensor | None = None) -> None:  # noqa: ARG002
        """One step of D with R1 and R2, which share the passes of the loss, and one of G on the same fakes."""
        self.D.requires_grad_(True)
        fake = self.G(torch.randn(len(real), self.recipe.latent))
        x, y = real.detach().requires_grad_(), fake.detach().requires_grad_()
        on_real, on_fake = self.plain_D(x), self.plain_D(y)
        slopes = torch.autograd.grad([on_real.sum(), on_fake.sum()], [x, y], create_graph=True)
        squares = slopes[0].square().sum(dim=(1, 2, 3)) + slopes[1].square().sum(dim=(1, 2, 3))
        penalty = self.recipe.penalty_weight / 2 * squares.mean()
        self.descend(self.d_adam, F.softplus(on_fake - on_real).mean() + penalty)
        self.D.requires_grad_(False)  # no gradients of its weights
        with torch.no_grad():
            on_fresh = self.D(real)
        self.descend(self.g_adam, F.softplus(on_fresh - self.D(fake)).mean())
