"""PyTorch's version of minigan's layers; layouts are converted here, at the border, and nowhere else.

minigan's images are NHWC, PyTorch's NCHW. A convolution's w is (R, S, C, K) here and (K, C, R, S) there. A transposed
convolution's is (R, S, K, c) here and (c, K, R, S) there, in both the weights of the convolution that it is the input
gradient of; so no filter is flipped.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Flatten,
    GenerativeBasis,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    GroupNorm,
    InstanceNorm,
    Layer,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat

ToTorch = Callable[[np.ndarray], torch.Tensor]
torch.set_num_threads(1)  # the same bits in every run, and no fight over the cores


def to_nchw(x: np.ndarray) -> torch.Tensor:
    """A new tensor; vectors stay as they are."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)).copy())


def to_nhwc(x: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x.detach().numpy(), 1, -1))


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


def conv_weight(w: np.ndarray) -> torch.Tensor:
    """(R, S, C, K) as (K, C, R, S), and (R, S, K, c) as (c, K, R, S)."""
    return tensor(w.transpose(3, 2, 0, 1))


def conv_weight_back(w: torch.Tensor) -> np.ndarray:
    return w.detach().numpy().transpose(2, 3, 1, 0)


class Shifted(nn.Module):
    def __init__(self, b: torch.Tensor) -> None:
        super().__init__()
        self.b = nn.Parameter(b)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b.reshape(-1, *[1] * (x.ndim - 2))


class Drawn(nn.Module):
    """G's basis, (C, 1, H, W)."""

    def __init__(self, basis: torch.Tensor) -> None:
        super().__init__()
        self.basis = nn.Parameter(basis)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, None, None] * self.basis[:, 0]


class Measured(Drawn):
    """D's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,chw->nc", x, self.basis[:, 0])


class Fir(nn.Module):
    """Upsampling inserts zeros, pads and filters with the filter turned round; downsampling pads, filters and skips."""

    def __init__(self, layer: FIRDownSampling2D, up: bool) -> None:
        super().__init__()
        f = torch.tensor(layer.taps, dtype=torch.float64)
        f = f / f.sum()
        self.f = torch.outer(f, f)
        g = layer.geometry
        (self.top, self.bottom), (self.left, self.right) = g.padding
        self.stride, self.up, self.size, self.small = g.stride, up, (g.H, g.W), (g.P, g.Q)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f, C = self.f.to(x.dtype), x.shape[1]
        if not self.up:
            x = nn.functional.pad(x, (self.left, self.right, self.top, self.bottom))
            every = nn.functional.conv2d(x, f.expand(C, 1, -1, -1), groups=C)
            return every[:, :, :: self.stride[0], :: self.stride[1]][:, :, : self.small[0], : self.small[1]]
        down, across = self.stride
        R = len(f)
        holes = x.new_zeros(*x.shape[:2], x.shape[2] * down + 2 * R + down, x.shape[3] * across + 2 * R + across)
        holes[:, :, R - 1 : R - 1 + x.shape[2] * down : down, R - 1 : R - 1 + x.shape[3] * across : across] = x
        y = nn.functional.conv2d(holes, (down * across * f.flip(0, 1)).expand(C, 1, -1, -1), groups=C)
        return y[:, :, self.top : self.top + self.size[0], self.left : self.left + self.size[1]]


class FlattenNHWC(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.movedim(1, -1).flatten(1)


class ReshapeNHWC(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.movedim(1, -1).reshape(-1, *self.shape).movedim(-1, 1)


class Pooled(nn.Module):
    """Images summed or averaged to vectors."""

    def __init__(self, pool: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x, dim=(2, 3))


class Shuffle(nn.Module):
    """PyTorch's pixel shuffle has the block innermost among the channels, minigan's the block outermost."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blocks = x.unflatten(1, (self.factor**2, -1)).transpose(1, 2).flatten(1, 2)
        return nn.functional.pixel_shuffle(blocks, self.factor)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


class Equalized(nn.Module):
    """A layer with m c w and m b for its weight and bias."""

    def __init__(self, inner: nn.Module, multiplier: float, gain: float, *, transposed: bool) -> None:
        super().__init__()
        self.inner, self.multiplier = inner, multiplier
        shape = inner.weight.shape
        inputs = shape[0] // inner.groups if transposed else shape[1]
        self.scale = gain * float((inputs * shape[2:].numel()) ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = {"weight": self.inner.weight * (self.multiplier * self.scale)}
        if self.inner.bias is not None:
            scaled["bias"] = self.inner.bias * self.multiplier
        return torch.func.functional_call(self.inner, scaled, (x,))


class UnitPixels(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()


class StdDev(nn.Module):
    def __init__(self, group: int, eps: float) -> None:
        super().__init__()
        self.group, self.eps = group, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grouped = x.unflatten(0, (min(self.group, len(x)), -1))
        std = (grouped.var(dim=0, correction=0) + self.eps).sqrt().flatten(1).mean(dim=1)
        more = std.repeat(grouped.shape[0]).reshape(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, more], dim=1)


class Attention(nn.Module):
    def __init__(self, gamma: torch.Tensor, f: nn.Module, g: nn.Module, h: nn.Module) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma)
        self.f, self.g, self.h = f, g, h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f, g, h = (layer(x).flatten(2) for layer in (self.f, self.g, self.h))  # (N, channels, P)
        looks = torch.softmax(g.transpose(1, 2) @ f, dim=-1)
        return x + self.gamma * (h @ looks.transpose(1, 2)).reshape(x.shape)


class Sum(nn.Module):
    def __init__(self, inner: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.inner, self.shortcut = inner, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.shortcut(x)


class SideBySide(nn.Module):
    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Largest(nn.Module):
    """Maxout, each output's pieces K channels apart."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(1, (self.pieces, -1)).max(dim=1).values


class Join(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.inner(x)], dim=1)


class Neighbors(nn.Module):
    """`Pack`: neighbors of the batch joined along the channels."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[k :: self.count] for k in range(self.count)], dim=1)


def twin(layer: Layer) -> nn.Module:
    """PyTorch's module with the layer's weights; symmetric padding only, which is all PyTorch has."""
    module = _module(layer)
    dtype = torch.float64 if layer.dtype == np.float64 else torch.float32
    return module.to(dtype)


def _module(layer: Layer) -> nn.Module:
    match layer:
        case Sequential():
            return nn.Sequential(*(_module(inner) for inner in layer.layers))
        case Residual():
            return Sum(_module(layer.inner), _module(layer.shortcut) if layer.shortcut else nn.Identity())
        case Parallel():
            return SideBySide([_module(branch) for branch in layer.branches])
        case SkipConcat():
            return Join(_module(layer.inner))
        case ConvTranspose2D():
            g = layer.geometry
            (top, bottom), (left, right) = g.padding
            assert top == bottom
            assert left == right
            module = nn.ConvTranspose2d(
                g.K,
                g.C,
                layer.filter,
                g.stride,
                (top, left),
                output_padding=layer.output_padding,
                groups=layer.groups,
                bias=layer.bias,
                dilation=layer.dilation,
            )
            return _filled(module, weight=conv_weight(layer.w.value), b=layer.b)
        case Conv2D():
            g = layer.geometry
            (top, bottom), (left, right) = g.padding
            assert top == bottom
            assert left == right
            dilation, groups = layer.dilation, layer.groups
            module = nn.Conv2d(g.C, g.K, layer.filter, g.stride, (top, left), dilation, groups, bias=layer.bias)
            return _filled(module, weight=conv_weight(layer.w.value), b=layer.b)
        case Dense():
            module = nn.Linear(*layer.w.shape, bias=layer.bias)
            return _filled(module, weight=tensor(layer.w.value.T), b=layer.b)
        case BatchNorm():
            kind = nn.BatchNorm2d if len(layer.input_shape) == 3 else nn.BatchNorm1d
            module = kind(layer.input_shape[-1], eps=layer.eps, momentum=1 - layer.momentum)
            module.running_mean = tensor(layer.running_mean.value)
            module.running_var = tensor(layer.running_var.value)
            return _filled(module, weight=tensor(layer.gamma.value), b=layer.beta)
        case InstanceNorm(affine=False):
            return nn.InstanceNorm2d(layer.input_shape[-1], eps=layer.eps)
        case GroupNorm():  # and its special cases
            module = nn.GroupNorm(layer.groups, layer.input_shape[-1], eps=layer.eps)
            return _filled(module, weight=tensor(layer.gamma.value), b=layer.beta)
        case EqualizedRate():
            transposed = isinstance(layer.inner, ConvTranspose2D)
            return Equalized(_module(layer.inner), layer.multiplier, layer.gain, transposed=transposed)
        case PixelNorm():
            return UnitPixels(layer.eps)
        case SpectralNorm():
            module = nn.utils.spectral_norm(_module(layer.inner), n_power_iterations=layer.iterations)
            # (K, C, R, S) as (K, C * R * S): v has other places there than here
            module.weight_u = tensor(layer.u.value)
            matrix = (
                module.weight_orig.detach().movedim(1 if isinstance(layer.inner, ConvTranspose2D) else 0, 0).flatten(1)
            )
            module.weight_v = nn.functional.normalize(matrix.T @ module.weight_u, dim=0)
            return module
        case Pack():
            return Neighbors(layer.count)
        case Maxout():
            return Largest(layer.pieces)
        case LeakyReLU() if layer.gain != 1:
            return nn.Sequential(nn.LeakyReLU(layer.slope), Times(layer.gain))
        case LeakyReLU():
            return nn.LeakyReLU(layer.slope)
        case Tanh():
            return nn.Tanh()
        case Sigmoid():
            return nn.Sigmoid()
        case Flatten():
            return FlattenNHWC()
        case Reshape():
            return ReshapeNHWC(layer.output_shape)
        case ReflectionPadding2D():
            (top, bottom), (left, right) = layer.sides
            return nn.ReflectionPad2d((left, right, top, bottom))
        case Bias():
            return Shifted(tensor(layer.b.value))
        case GenerativeBasis():
            return Drawn(conv_weight(layer.basis.value))
        case DiscriminativeBasis():
            return Measured(conv_weight(layer.basis.value))
        case FIRUpSampling2D() | FIRDownSampling2D():
            return Fir(layer, up=isinstance(layer, FIRUpSampling2D))
        case UpSampling2D():
            return nn.Upsample(scale_factor=tuple(map(float, layer.factor)), mode="nearest")
        case GlobalSumPooling2D():
            return Pooled(torch.sum)
        case GlobalAveragePooling2D():
            return Pooled(torch.mean)
        case AveragePooling2D():
            return nn.AvgPool2d(layer.factor)
        case PixelShuffle():
            return Shuffle(layer.factor[0])
        case MinibatchStdDev():
            return StdDev(layer.group, layer.eps)
        case SelfAttention():
            return Attention(tensor(layer.gamma.value), *map(_module, layer.projections))
    raise NotImplementedError(type(layer).__name__)


def _filled(module: nn.Module, *, weight: torch.Tensor, b) -> nn.Module:
    assert module.weight.shape == weight.shape
    module.weight = nn.Parameter(weight)
    if b is not None:
        module.bias = nn.Parameter(tensor(b.value))
    return module


def parameters(module: nn.Module) -> list[nn.Parameter]:
    """In minigan's order: a module's own before those inside, weights before biases."""
    return [p for m in module.modules() for _, p in sorted(m.named_parameters(recurse=False), reverse=True)]


def statistics(module: nn.Module) -> list[np.ndarray]:
    """Buffers that minigan keeps as state."""
    return [b.numpy() for name, b in module.named_buffers() if "running" in name or name.endswith("weight_u")]


def parameters_back(layer: Layer, module: nn.Module, values: list[torch.Tensor]) -> dict[str, np.ndarray]:
    """Tensors in the order of `parameters`, such as their gradients, under minigan's names and layouts."""
    arrays = {}
    pairs = zip(layer.named_parameters(), values, parameters(module), strict=True)
    for (name, p), value, parameter in pairs:
        assert value.shape == parameter.shape
        if len(p.shape) == 4:
            arrays[name] = conv_weight_back(value)
        else:
            arrays[name] = value.detach().numpy().T if len(p.shape) == 2 else value.detach().numpy()
        assert arrays[name].shape == p.shape
    return arrays
