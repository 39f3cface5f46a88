"""StyleGAN2 and a step of its training in PyTorch, written from the paper: its weights are minigan's, in their order.

Each network is a function of a list of tensors, which it takes one after the other. Images are NCHW inside.
"""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minigan.training.lazily_regularized import LazilyRegularized

Weights = list[Tensor]
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])


def act(x: Tensor, gain: float = 2**0.5) -> Tensor:
    return gain * F.leaky_relu(x, 0.2)


def dense(x: Tensor, w: Tensor, b: Tensor, *, m: float = 1.0) -> Tensor:
    return x @ w * (m * w.shape[0] ** -0.5) + m * b


def conv(x: Tensor, w: Tensor, b: Tensor | None, *, gain: float = 1.0, **how) -> Tensor:
    w = w.permute(3, 2, 0, 1)
    return F.conv2d(x, w * (gain * w[0].numel() ** -0.5), b, **how)


def smooth(x: Tensor, pad: int, *, stride: int = 1, gain: float = 1.0) -> Tensor:
    f = TAPS.to(x.dtype) / 8
    filters = (gain * torch.outer(f, f)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (pad,) * 4), filters, stride=stride, groups=x.shape[1])


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def mapping(take, z: Tensor, c: Tensor | None, *, depth: int) -> Tensor:
    x = unit(z)
    if c is not None:
        x = torch.cat([x, unit(dense(c, take(), take()))], dim=1)
    for _ in range(depth):
        x = act(dense(x, take(), take(), m=0.01))
    return x


def modulated(x: Tensor, style: Tensor, w: Tensor, *, demodulate: bool, up: bool = False) -> Tensor:
    """The convolution of each image with a filter of its own, w (K, C, R, S); enlarged, it is a transposed one."""
    filters = w[None] * style[:, None, :, None, None]
    if demodulate:
        filters = filters * (filters.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    images = []
    for image, own in zip(x, filters, strict=True):
        if up:
            images.append(F.conv_transpose2d(image[None], own.transpose(0, 1), stride=2))
        else:
            images.append(F.conv2d(image[None], own, padding=own.shape[-1] // 2))
    return torch.cat(images)


def synthesis(weights: Weights, rows: Tensor, noise) -> Tensor:
    """Images NHWC of styles (N, rows, F); `noise` draws an image of normal numbers of that shape."""
    take = iter(weights).__next__

    def convolution(x: Tensor, row: int, *, up: bool) -> Tensor:
        w, a, b = take(), take(), take()
        filters = w.permute(2, 3, 0, 1) if up else w.permute(3, 2, 0, 1)
        x = modulated(x, dense(rows[:, row], a, b) + 1, filters, demodulate=True, up=up)
        x = smooth(x, 1, gain=4) if up else x
        strength, bias = take(), take()
        return act(x + strength * noise((len(x), *x.shape[2:], 1)).permute(0, 3, 1, 2) + bias[:, None, None])

    def to_image(x: Tensor, row: int) -> Tensor:
        w, a, b = take(), take(), take()
        style = (dense(rows[:, row], a, b) + 1) * w.shape[2] ** -0.5
        return modulated(x, style, w.permute(3, 2, 0, 1), demodulate=False) + take()[:, None, None]

    x = take().permute(2, 0, 1).expand(len(rows), -1, -1, -1)
    x = convolution(x, 0, up=False)
    image = to_image(x, 1)
    for k in range(1, rows.shape[1] // 2):
        x = convolution(x, 2 * k - 1, up=True)
        x = convolution(x, 2 * k, up=False)
        image = enlarged(image) + to_image(x, 2 * k + 1)
    return image.permute(0, 2, 3, 1)


def enlarged(image: Tensor) -> Tensor:
    """Zeros between the pixels, and the filter with a gain of 4."""
    N, C, H, W = image.shape
    apart = torch.zeros(N, C, H, 2, W, 2, dtype=image.dtype)
    apart[:, :, :, 0, :, 0] = image
    f = TAPS.to(image.dtype) / 8
    filters = (4 * torch.outer(f, f)).expand(C, 1, 4, 4)
    return F.conv2d(F.pad(apart.reshape(N, C, 2 * H, 2 * W), (2, 1, 2, 1)), filters, groups=C)


def discriminator(weights: Weights, x: Tensor, c: Tensor | None = None, *, residual: bool, group: int) -> Tensor:
    take = iter(weights).__next__
    x = act(conv(x.permute(0, 3, 1, 2), take(), take()))
    half = 0.5**0.5
    while min(x.shape[2:]) > 4:
        y = act(conv(x, take(), take(), padding=1))
        y = act(conv(smooth(y, 2), take(), take(), stride=2), gain=1.0 if residual else 2**0.5)
        x = y + conv(smooth(x, 1, stride=2), take(), None, gain=half) if residual else y
    groups = x.unflatten(0, (min(group, len(x)), -1))
    deviation = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    more = deviation.repeat(groups.shape[0])[:, None, None, None].expand(-1, 1, *x.shape[2:])
    x = act(conv(torch.cat([x, more], dim=1), take(), take(), padding=1))
    x = act(dense(x.permute(0, 2, 3, 1).flatten(1), take(), take()))
    x = dense(x, take(), take())
    if c is None:
        return x
    e = unit(dense(c, take(), take()))
    for _ in range(8):
        e = act(dense(e, take(), take(), m=0.01))
    return (x * e).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])


class Adam:
    """Kingma & Ba 2015, algorithm 1, on tensors that are replaced, with lazy regularization's rate and betas."""

    def __init__(self, *, lr: float, beta2: float, interval: int) -> None:
        share = interval / (interval + 1) if interval else 1.0
        self.lr, self.beta2 = lr * share, beta2**share
        self.v: list[Tensor] | None = None
        self.steps = 0

    def step(self, weights: Weights, gradients: list[Tensor | None]) -> Weights:
        gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
        self.steps += 1
        old = [torch.zeros_like(g) for g in gradients] if self.v is None else self.v
        self.v = [self.beta2 * v + (1 - self.beta2) * g * g for v, g in zip(old, gradients, strict=True)]
        corrected = [v / (1 - self.beta2**self.steps) for v in self.v]
        moved = zip(weights, gradients, corrected, strict=True)
        return [(w - self.lr * g / (v.sqrt() + 1e-8)).detach().requires_grad_() for w, g, v in moved]


class SGD:
    """Gradient descent on tensors that are replaced, with lazy regularization's rate."""

    def __init__(self, *, lr: float, interval: int) -> None:
        self.lr = lr * (interval / (interval + 1) if interval else 1.0)

    def step(self, weights: Weights, gradients: list[Tensor | None]) -> Weights:
        moved = zip(weights, gradients, strict=True)
        return [(w if g is None else w - self.lr * g).detach().requires_grad_() for w, g in moved]


class Twin:
    """The learner's networks and its steps.

    Args:
        learner: of the recipe, before its first step.
        recipe: its settings.
    """

    def __init__(self, learner: LazilyRegularized, recipe) -> None:
        self.recipe, self.dtype = recipe, learner.G.dtype
        self.G, self.D = (
            [torch.tensor(p.value).requires_grad_() for _, p in network.named_parameters()]
            for network in (learner.G, learner.D)
        )
        intervals = (recipe.path_interval if recipe.path_weight else 0, recipe.penalty_interval)
        if recipe.optimizer == "sgd":
            self.g_optimizer, self.d_optimizer = (SGD(lr=recipe.lr, interval=k) for k in intervals)
        else:
            self.g_optimizer, self.d_optimizer = (Adam(lr=recipe.lr, beta2=recipe.beta2, interval=k) for k in intervals)
        self.rows = learner.G.layers[0].rows
        self.w_avg, self.path_length, self.step_number = 0.0, 0.0, 0

    def tensor(self, array) -> Tensor:
        return torch.tensor(np.asarray(array).astype(self.dtype))

    def styles(self, take_from: Weights, z: Tensor, c: Tensor | None, rng) -> tuple[Tensor, Tensor, int]:
        """Rows of styles, mixed; the first style, and how many weights were used."""
        used = 0

        def take() -> Tensor:
            nonlocal used
            used += 1
            return take_from[used - 1]

        w = mapping(take, z, c, depth=self.recipe.mapping)
        rows, count = w[:, None].expand(-1, self.rows, -1), used
        if self.recipe.mixing:
            other, mixed = self.tensor(rng.standard_normal(z.shape)), rng.random(len(z)) < self.recipe.mixing
            crossover = rng.integers(1, self.rows, len(z))
            used = 0
            second = mapping(take, other, c, depth=self.recipe.mapping)
            last = torch.tensor(np.where(mixed, crossover, self.rows))
            own = (torch.arange(self.rows) < last[:, None])[..., None]
            rows = torch.where(own, rows, second[:, None])
        return rows, w, count

    def draw(self, z: Tensor, c: Tensor | None, rng) -> tuple[Tensor, Tensor, Tensor]:
        """Images NHWC, their rows of styles, and their first styles."""
        rows, w, count = self.styles(self.G, z, c, rng)
        return synthesis(self.G[count:], rows, lambda shape: self.tensor(rng.standard_normal(shape))), rows, w

    def judge(self, x: Tensor, c: Tensor | None) -> Tensor:
        return discriminator(self.D, x, c, residual=self.recipe.residual, group=self.recipe.group)

    def step(self, real: np.ndarray, condition: np.ndarray | None, rng: np.random.Generator) -> dict[str, float]:
        """One step of training, with the random numbers that minigan draws from such a generator."""
        rng, recipe = copy.deepcopy(rng), self.recipe
        x, c = self.tensor(real), None if condition is None else self.tensor(condition)
        z = self.tensor(rng.standard_normal((len(real), recipe.latent)))
        fake, _, w = self.draw(z, c, rng)
        d_loss = F.softplus(-self.judge(x, c)).mean() + F.softplus(self.judge(fake.detach(), c)).mean()
        self.D = self.d_optimizer.step(self.D, self._gradients(d_loss, self.D))
        values = {"d_loss": d_loss.item(), "d_penalty": 0.0}
        if self.step_number % recipe.penalty_interval == 0:
            x = x.requires_grad_()
            (dx,) = torch.autograd.grad(self.judge(x, c).sum(), x, create_graph=True)
            r1 = recipe.penalty_weight / 2 * dx.square().sum(dim=(1, 2, 3)).mean() * recipe.penalty_interval
            self.D = self.d_optimizer.step(self.D, self._gradients(r1, self.D))
            values["d_penalty"] = r1.item()
        g_loss = F.softplus(-self.judge(fake, c)).mean()
        self.G = self.g_optimizer.step(self.G, self._gradients(g_loss, self.G))
        values["g_loss"] = g_loss.item()
        self.w_avg = self.w_avg + 0.005 * (w.detach().mean(dim=0) - self.w_avg)
        if recipe.path_weight and self.step_number % recipe.path_interval == 0:
            self._lengthen(len(real) // 2, c, rng)
        self.step_number += 1
        return values

    def _lengthen(self, n: int, c: Tensor | None, rng: np.random.Generator) -> None:
        z = self.tensor(rng.standard_normal((n, self.recipe.latent)))
        y, rows, _ = self.draw(z, None if c is None else c[:n], rng)
        t = self.tensor(rng.standard_normal(y.shape) / math.sqrt(y.shape[1] * y.shape[2]))
        (slope,) = torch.autograd.grad((y * t).sum(), rows, create_graph=True)
        lengths = slope.square().sum(dim=2).mean(dim=1).sqrt()
        self.path_length = self.path_length + 0.01 * (lengths.mean().item() - self.path_length)
        penalty = (lengths - self.path_length).square().mean() * self.recipe.path_weight * self.recipe.path_interval
        self.G = self.g_optimizer.step(self.G, self._gradients(penalty, self.G))

    @staticmethod
    def _gradients(loss: Tensor, weights: Weights) -> list[Tensor | None]:
        return list(torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True))
