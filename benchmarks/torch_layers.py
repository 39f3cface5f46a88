"""Layers that PyTorch lacks, for the peers of recent GANs; images are NCHW."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

TAPS = (1.0, 3.0, 3.0, 1.0)
GAIN = 2**0.5  # of an activation, in StyleGAN2


def low_pass(channels: int, gain: float) -> torch.Tensor:
    """The filter of [1, 3, 3, 1] along both sides, for each channel: (C, 1, 4, 4)."""
    f = torch.tensor(TAPS) / sum(TAPS)
    return (gain * torch.outer(f, f)).repeat(channels, 1, 1, 1)


class Filtered(torch.autograd.Function):
    """A depthwise convolution, or the transposed one, with a filter that does not learn.

    Each is the other's gradient to any order, where PyTorch's own second order of a convolution in groups would do one
    group after the other.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, taps: torch.Tensor, stride: int, padding: int, enlarge: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(taps)
        ctx.how = stride, padding, enlarge
        convolve = F.conv_transpose2d if enlarge else F.conv2d
        y: torch.Tensor = convolve(x, taps, stride=stride, padding=padding, groups=len(taps))
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (taps,), (stride, padding, enlarge) = ctx.saved_tensors, ctx.how
        return Filtered.apply(dy, taps, stride, padding, not enlarge), None, None, None, None


class LowPass(nn.Module):
    """The filter for each channel, with a stride; or transposed, to enlarge."""

    taps: torch.Tensor

    def __init__(
        self, channels: int, *, stride: int = 1, padding: int = 1, gain: float = 1.0, enlarge: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("taps", low_pass(channels, gain), persistent=False)
        self.how = stride, padding, enlarge

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = Filtered.apply(x, self.taps, *self.how)
        return y


def reduced(channels: int) -> LowPass:
    return LowPass(channels, stride=2)


def enlarged(channels: int) -> LowPass:
    return LowPass(channels, stride=2, gain=4.0, enlarge=True)


class Dense(nn.Module):
    """A dense layer with equalized learning rate, and an activation."""

    def __init__(self, inputs: int, outputs: int, *, multiplier: float = 1.0, activated: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.b = nn.Parameter(torch.zeros(outputs))
        self.multiplier, self.scale = multiplier, multiplier * inputs**-0.5
        self.activated = activated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x, self.w * self.scale, self.b if self.multiplier == 1 else self.b * self.multiplier)
        return F.leaky_relu(y, 0.2) * GAIN if self.activated else y


class Conv(nn.Module):
    """A convolution with equalized learning rate and its activation, whose gain is that of the weight and the bias."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.b = nn.Parameter(torch.zeros(outputs))
        self.scale = GAIN * (inputs * size * size) ** -0.5
        self.how = {"stride": stride, "padding": padding}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(F.conv2d(x, self.w * self.scale, self.b * GAIN, **self.how), 0.2)


class Modulated(nn.Module):
    """A modulated convolution, demodulated or with a constant scale.

    Args:
        grouped: one convolution in groups, each image with a filter of its own; else all images share the filter, and
            are scaled before and after it.
        up: a transposed one with stride 2.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, features: int, *, grouped: bool, up: bool = False, rgb: bool = False
    ) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(*((inputs, outputs) if up else (outputs, inputs)), size, size))
        self.affine = Dense(features, inputs)
        self.gain = inputs**-0.5 if rgb else 1.0
        self.padding = 0 if up else size // 2
        self.grouped, self.up, self.demodulated = grouped, up, not rgb

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        s = (self.affine(style) + 1) * self.gain
        return self._by_groups(x, s) if self.grouped else self._shared(x, s)

    def _shared(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        y = self._convolve(x * s[:, :, None, None], self.w, 1)
        if not self.demodulated:
            return y
        q = self.w.square().sum(dim=(2, 3))
        d = (s.square() @ (q if self.up else q.T) + 1e-8).rsqrt()
        return y * d[:, :, None, None]

    def _by_groups(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        N, _, H, W = x.shape
        w = self.w * (s[:, :, None, None, None] if self.up else s[:, None, :, None, None])
        if self.demodulated:
            inputs = 1 if self.up else 2
            w = w * (w.square().sum(dim=(inputs, 3, 4), keepdim=True) + 1e-8).rsqrt()
        y = self._convolve(x.reshape(1, -1, H, W), w.flatten(0, 1), N)
        return y.reshape(N, -1, *y.shape[2:])

    def _convolve(self, x: torch.Tensor, w: torch.Tensor, groups: int) -> torch.Tensor:
        if self.up:
            return F.conv_transpose2d(x, w, stride=2, groups=groups)
        return F.conv2d(x, w, padding=self.padding, groups=groups)


class MinibatchDeviation(nn.Module):
    """One more channel, the deviation over a group of images."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        groups = x.unflatten(0, (min(self.group, len(x)), -1))
        deviation = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        more = deviation.repeat(groups.shape[0])[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return torch.cat([x, more], dim=1)


class LearnedConstant(nn.Module):
    """The same image for each example."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.randn(channels, size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c.expand(len(x), -1, -1, -1)


class Noise(nn.Module):
    """Noise of learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.strength * torch.randn(len(x), 1, *x.shape[2:], device=x.device)
        return y


class Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b[:, None, None]


class PixelByPixel(nn.Module):
    """Images as vectors, the channels of a pixel next to each other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)
