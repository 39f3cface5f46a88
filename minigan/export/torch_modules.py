"""Modules: a network as an `nn.Sequential` of PyTorch's, and the parameter that each of their tensors is.

minigan's images are NHWC, PyTorch's NCHW. A convolution's w is (R, S, C, K) here and (K, C, R, S) there, a transposed
one's (R, S, K, c) and (c, K, R, S), a dense layer's (F, K) and (K, F). Where an image becomes a vector, or a vector an
image, its numbers stand in the order H W C here and C H W there: then the rows or columns of the dense layer next to
it change places.

A translation to "torch" takes a layer and returns its modules, one in most cases.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.backends.geometry import IntPair
from minigan.errors import ConfigError
from minigan.export.translations import refusal, translates, translation
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    Dropout,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    GenerativeBasis,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    GroupNorm,
    InstanceNorm,
    Layer,
    LeakyReLU,
    LearnedConstant,
    Maxout,
    Modulated,
    NoiseInjection,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    ReLU,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Augmentation
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.mapping import MappedCondition, MappingNetwork
from minigan.nn.network.styled import Styled
from minigan.nn.network.synthesis import OutputSkips
from minigan.nn.parameters import Parameter

__all__ = ["PARAMETRIZED", "Module", "Slot", "indented", "leaves", "modules"]

Order = npt.NDArray[np.intp]

TORCH = "torch"
PARAMETRIZED = "parametrizations.weight"  # PyTorch's name of the weight that `spectral_norm` wraps
RESIDUAL = """

class Residual(nn.Module):
    def __init__(self, f, g=nn.Identity()):
        super().__init__()
        self.f, self.g = f, g

    def forward(self, x):
        return self.f(x) + self.g(x)
"""
BIAS = """

class Bias(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x):
        return x + self.bias.reshape(-1, *[1] * (x.ndim - 2))
"""
FIR = """

class FIR(nn.Module):  # the same filter for each channel; up by a transposed convolution
    def __init__(self, taps, factor, padding, output_padding, up):
        super().__init__()
        f = torch.tensor(taps) / sum(taps)
        self.register_buffer("filter", torch.outer(f, f) * (factor[0] * factor[1] if up else 1), persistent=False)
        self.factor, self.padding, self.output_padding, self.up = factor, padding, output_padding, up

    def forward(self, x):
        w = self.filter.expand(x.shape[1], 1, -1, -1)
        if not self.up:
            x = nn.functional.pad(x, self.padding)
            return nn.functional.conv2d(x, w, stride=self.factor, groups=x.shape[1])
        y = nn.functional.conv_transpose2d(x, w, stride=self.factor, groups=x.shape[1])
        left, right, top, bottom = self.padding
        return nn.functional.pad(y, (-left, self.output_padding[1] - right, -top, self.output_padding[0] - bottom))
"""
INSTEAD = "Export to onnx or numpy instead."
SPECTRAL_NORM = "from torch.nn.utils.parametrizations import spectral_norm"


class Slot(NamedTuple):
    """A parameter's place in a module.

    Attributes:
        name: the tensor's in its module: "weight".
        axes: minigan's axes in PyTorch's order.
        orders: (axis, order) in PyTorch's tensor: the number of minigan's feature at each place.
    """

    name: str
    parameter: Parameter
    axes: tuple[int, ...] = (0,)
    orders: tuple[tuple[int, Order], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of PyTorch's tensor."""
        return tuple(self.parameter.shape[axis] for axis in self.axes)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """PyTorch's tensor of a parameter's numbers."""
        array = array.transpose(self.axes)
        for axis, order in self.orders:
            array = array.take(order, axis=axis)
        return np.ascontiguousarray(array)

    def from_torch(self, tensor: np.ndarray) -> np.ndarray:
        """A parameter's numbers of PyTorch's tensor."""
        for axis, order in self.orders:
            tensor = tensor.take(np.argsort(order), axis=axis)
        return np.ascontiguousarray(tensor.transpose(np.argsort(self.axes)))

    def ordered(self, axis: int, order: Order) -> "Slot":
        """The slot with the features along an axis of PyTorch's tensor in another order."""
        return self._replace(orders=(*self.orders, (axis, order)))


class Module(NamedTuple):
    """A module of an `nn.Sequential`.

    Attributes:
        source: the expression that makes it: "nn.Tanh()".
        path: of minigan's layer, for messages.
        slots: its tensors.
        counts: whether it has a `num_batches_tracked`, which minigan has no use for.
        outputs: the axis of its outputs in its weight, if it has one; the other axes are those of its inputs.
        by_feature: whether it treats each feature of a vector alike and by itself, so that their order does not matter.
        imports: lines that its source needs in addition to `from torch import nn`; definitions after all imports.
        parts: the modules inside it, each with its name there; their tensors are its own.
    """

    source: str
    path: str
    slots: tuple[Slot, ...] = ()
    counts: bool = False
    outputs: int | None = None
    by_feature: bool = False
    imports: tuple[str, ...] = ()
    parts: tuple[tuple[str, "Module"], ...] = ()

    def leaves(self, name: str = "") -> Iterator[tuple[str, "Module"]]:
        """The modules inside that have no others inside, with their names; the module itself, if it has none."""
        if not self.parts:
            yield name, self
        for inner, module in self.parts:
            yield from module.leaves(f"{name}.{inner}")

    @property
    def is_dense(self) -> bool:
        """Whether its weight is a matrix: outputs by inputs."""
        return self.outputs is not None and any(len(slot.axes) == 2 for slot in self.slots)


def modules(network: Sequential) -> list[Module]:
    """The network as modules in sequence; nested sequences are laid out flat.

    Layers before the first one with weights that only move numbers are left to the caller: a vector z reshaped to one
    pixel (PyTorch's DCGAN takes z as (N, 100, 1, 1)), classes joined to it, and augmentations.

    Raises:
        ConfigError: a layer has no translation to "torch", or none that fits where it stands; names it.
    """
    found: list[Module] = []
    order: Order | None = None  # of the vector here: the number of minigan's feature at each place in PyTorch
    for layer in _flat(network):
        if _is_callers(layer, first=not found):
            continue
        if isinstance(layer, Reshape) and _is_placed(layer):
            order = _reshape(layer, order, found)
            continue
        for module in _modules_of(layer):
            if order is None:
                found.append(module)
            elif module.is_dense:
                found.append(_reordered(module, order, inputs=True))
                order = None
            elif module.by_feature:
                found.append(_reordered(module, order, inputs=False))
            else:
                why = "it follows an image as a vector, whose numbers PyTorch has in another order"
                raise refusal(layer, to=TORCH, why=why, remedy=INSTEAD)
    if order is not None:
        raise ConfigError(
            f"{network.path}: ends with an image as a vector, in another order than PyTorch's. Leave out the last "
            "Flatten, or export to onnx or numpy instead."
        )
    return found


def leaves(sequence: Sequence[Module]) -> Iterator[tuple[str, Module]]:
    """The modules of a sequence that have tensors of their own, with their names in its state dict."""
    for index, module in enumerate(sequence):
        yield from module.leaves(str(index))


def _flat(network: Layer) -> Iterator[Layer]:
    if not (isinstance(network, Sequential) and _is_placed(network)):
        yield network
        return
    for layer in network.layers:
        yield from _flat(layer)


def _is_placed(layer: Layer) -> bool:
    """Whether a layer's modules depend on its place, and are not for a translation of its own to say."""
    return translation(layer, to=TORCH).function is _by_place


def _is_callers(layer: Layer, *, first: bool) -> bool:
    if isinstance(layer, Augmentation):
        return _is_placed(layer)
    if isinstance(layer, ConcatCondition):
        return first and _is_placed(layer) and not layer.embedding
    return first and isinstance(layer, Reshape) and _is_placed(layer) and layer.output_shape[:-1] == (1, 1)


def _reshape(layer: Reshape, order: Order | None, found: list[Module]) -> Order | None:
    """Adds a Flatten or an Unflatten; returns the order of the vector after it."""
    before, after = layer.input_shape, layer.output_shape
    if before == after:
        return order
    if len(before) == 3 and len(after) == 1:
        found.append(Module("nn.Flatten()", layer.path))
        H, W, C = before
        return _channels_first(H, W, C) if H * W > 1 and C > 1 else None
    if len(before) == 1 and len(after) == 3:
        H, W, C = after
        if H * W > 1 and C > 1:
            if order is not None:
                raise _no_place(layer)
            _reorder_outputs(found, _channels_first(H, W, C), layer)
        found.append(Module(f"nn.Unflatten(1, ({C}, {H}, {W}))", layer.path))
        return None
    raise _no_place(layer)


def _channels_first(H: int, W: int, C: int) -> Order:
    """The places in H W C order of numbers in C H W order."""
    return np.arange(H * W * C).reshape(H, W, C).transpose(2, 0, 1).ravel()


def _reorder_outputs(found: list[Module], order: Order, layer: Layer) -> None:
    """Gives the vector that comes out of the modules so far that order, by way of the dense layer that makes it."""
    for index in reversed(range(len(found))):
        module = found[index]
        if not module.is_dense and not module.by_feature:
            break
        found[index] = _reordered(module, order, inputs=False)
        if module.is_dense:
            return
    raise _no_place(layer)


def _reordered(module: Module, order: Order, *, inputs: bool) -> Module:
    """The module with its inputs, or its outputs, in that order."""
    slots = []
    for slot in module.slots:
        matrix = len(slot.axes) == 2
        if inputs:
            slots.append(slot.ordered(1, order) if matrix else slot)
        else:
            slots.append(slot.ordered(0, order))
    return module._replace(slots=tuple(slots))


# ---------------------------------------------------------------------------------------------- layer by layer


def _modules_of(layer: Layer) -> list[Module]:
    """A layer's modules, by its translation to "torch"."""
    made: list[Module] = translation(layer, to=TORCH).function(layer)
    return made


@translates(Sequential, Reshape, ConcatCondition, to=TORCH)
@translates(Augmentation, to=TORCH, rests_on=("forward",))
def _by_place(layer: Layer) -> list[Module]:
    """Layers whose modules depend on their place, see `modules`; anywhere else they have none."""
    raise _no_place(layer)


def _no_place(layer: Layer) -> ConfigError:
    why = "where it stands it has no counterpart in a sequence of PyTorch's modules, for export or import"
    return refusal(layer, to=TORCH, why=why, remedy=INSTEAD)


@translates(Residual, to=TORCH)
def _residual(layer: Residual) -> list[Module]:
    """A module of a class that comes with the source; of images alone, since vectors may be in another order."""
    if len(layer.input_shape) != 3 or len(layer.output_shape) != 3:
        return _none(layer)
    branches = [("f", layer.inner), *([("g", layer.shortcut)] if layer.shortcut else [])]
    found = {name: modules(branch) for name, branch in branches}
    sequences = ["\n".join(["nn.Sequential(", *(indented(m.source) for m in own), ")"]) for own in found.values()]
    source = "\n".join(["Residual(", *(indented(sequence) for sequence in sequences), ")"])
    inside = [module for own in found.values() for module in own]
    return [
        Module(
            source,
            layer.path,
            imports=tuple(dict.fromkeys([*(line for module in inside for line in module.imports), RESIDUAL])),
            parts=tuple((f"{name}.{k}", module) for name, own in found.items() for k, module in enumerate(own)),
        )
    ]


def indented(source: str) -> str:
    """The source of a module as an item of a list, one step to the right."""
    return "\n".join(f"    {line}" for line in source.split("\n")) + ","


@translates(SkipConcat, Parallel, Inpainting, SelfAttention, MappingNetwork, MappedCondition, to=TORCH)
@translates(Styled, OutputSkips, Modulated, NoiseInjection, LearnedConstant, to=TORCH)
@translates(Maxout, PixelShuffle, ConditionalAffine, GlobalSumPooling2D, EqualizedRate, PixelNorm, to=TORCH)
def _none(layer: Layer) -> list[Module]:
    why = "it has no counterpart in a sequence of PyTorch's modules, for export or import"
    raise refusal(layer, to=TORCH, why=why, remedy=INSTEAD)


@translates(Dense, to=TORCH)
def _dense(layer: Dense) -> list[Module]:
    source = f"nn.Linear({layer.w.shape[0]}, {layer.w.shape[1]}{_bias(layer)})"
    return [Module(source, layer.path, _weight_slots(layer, (1, 0)), outputs=0)]


@translates(SpectralNorm, to=TORCH)
def _spectral_norm(layer: SpectralNorm) -> list[Module]:
    """The wrapped layer's modules, with u next to the weight."""
    return [_normalized(module, layer) if module.slots else module for module in _modules_of(layer.inner)]


def _normalized(module: Module, layer: SpectralNorm) -> Module:
    slots = [slot._replace(name=f"{PARAMETRIZED}.original") if slot.name == "weight" else slot for slot in module.slots]
    return module._replace(
        source=f"spectral_norm({module.source})",
        slots=(*slots, Slot(f"{PARAMETRIZED}.0._u", layer.u)),
        imports=(*module.imports, SPECTRAL_NORM),
    )


@translates(GroupNorm, InstanceNorm, to=TORCH)
def _group_norm(layer: GroupNorm) -> list[Module]:
    """LayerNorm and InstanceNorm are of one group, and of a group for each channel."""
    channels = layer.input_shape[-1]
    if isinstance(layer, InstanceNorm) and not layer.affine:
        return [Module(f"nn.InstanceNorm2d({channels}, eps={layer.eps:g})", layer.path)]
    source = f"nn.GroupNorm({layer.groups}, {channels}, eps={layer.eps:g})"
    slots = (Slot("weight", layer.gamma), Slot("bias", layer.beta))
    return [Module(source, layer.path, slots, by_feature=layer.groups in (1, channels))]


@translates(GlobalAveragePooling2D, to=TORCH)
def _global_average(layer: GlobalAveragePooling2D) -> list[Module]:
    return [Module("nn.AdaptiveAvgPool2d(1)", layer.path), Module("nn.Flatten()", layer.path)]


@translates(AveragePooling2D, to=TORCH)
def _average(layer: AveragePooling2D) -> list[Module]:
    return [Module(f"nn.AvgPool2d({_short(layer.factor)})", layer.path)]


@translates(ReLU, LeakyReLU, Tanh, Sigmoid, Dropout, to=TORCH)
def _number_by_number(layer: ReLU | LeakyReLU | Tanh | Sigmoid | Dropout) -> list[Module]:
    match layer:
        case ReLU():
            source = "nn.ReLU()"
        case LeakyReLU() if layer.gain != 1:
            return _none(layer)
        case LeakyReLU():
            source = f"nn.LeakyReLU({layer.slope:g})"
        case Dropout():
            source = f"nn.Dropout({layer.rate:g})"
        case _:
            source = "nn.Tanh()" if isinstance(layer, Tanh) else "nn.Sigmoid()"
    return [Module(source, layer.path, by_feature=True)]


@translates(UpSampling2D, to=TORCH)
def _up_sampling(layer: UpSampling2D) -> list[Module]:
    return [Module(f"nn.Upsample(scale_factor={_short(layer.factor)})", layer.path)]


@translates(Bias, to=TORCH)
def _bias_alone(layer: Bias) -> list[Module]:
    features, slots = layer.input_shape[-1], (Slot("bias", layer.b),)
    return [Module(f"Bias({features})", layer.path, slots, imports=("import torch", BIAS), by_feature=True)]


@translates(FIRDownSampling2D, FIRUpSampling2D, to=TORCH)
def _fir(layer: FIRDownSampling2D) -> list[Module]:
    g, taps = layer.geometry, tuple(map(float, layer.taps))
    (top, bottom), (left, right) = g.padding
    more = (g.H - (g.P - 1) * g.stride[0] - g.R + top + bottom, g.W - (g.Q - 1) * g.stride[1] - g.S + left + right)
    up = isinstance(layer, FIRUpSampling2D)
    source = f"FIR({taps}, {g.stride}, {(left, right, top, bottom)}, {more}, up={up})"
    return [Module(source, layer.path, imports=("import torch", FIR))]


@translates(GenerativeBasis, to=TORCH)
def _generative_basis(layer: GenerativeBasis) -> list[Module]:
    """A depthwise transposed convolution of one pixel."""
    (channels,), slots = layer.input_shape, (Slot("weight", layer.basis, (3, 2, 0, 1)),)
    source = f"nn.ConvTranspose2d({channels}, {channels}, {_short(layer.size)}, groups={channels}, bias=False)"
    pixel = Module(f"nn.Unflatten(1, ({channels}, 1, 1))", layer.path)
    return [pixel, Module(source, layer.path, slots)]


@translates(DiscriminativeBasis, to=TORCH)
def _discriminative_basis(layer: DiscriminativeBasis) -> list[Module]:
    """A depthwise convolution to one pixel."""
    (H, W, channels), slots = layer.input_shape, (Slot("weight", layer.basis, (3, 2, 0, 1)),)
    source = f"nn.Conv2d({channels}, {channels}, {_short((H, W))}, groups={channels}, bias=False)"
    return [Module(source, layer.path, slots), Module("nn.Flatten()", layer.path)]


@translates(ReflectionPadding2D, to=TORCH)
def _reflection_padding(layer: ReflectionPadding2D) -> list[Module]:
    (top, bottom), (left, right) = layer.sides
    return [Module(f"nn.ReflectionPad2d(({left}, {right}, {top}, {bottom}))", layer.path)]


@translates(Conv2D, to=TORCH)
def _conv(layer: Conv2D) -> list[Module]:
    (top, bottom), (left, right) = layer.geometry.padding
    even = top == bottom and left == right
    source = (
        f"nn.Conv2d({layer.geometry.C}, {layer.geometry.K}, {_short(layer.filter)}, {_short(layer.stride)}, "
        f"{_short((top, left) if even else (0, 0))}{_taps(layer)}{_bias(layer)})"
    )
    front = [] if even else [Module(f"nn.ZeroPad2d(({left}, {right}, {top}, {bottom}))", layer.path)]
    return [*front, Module(source, layer.path, _weight_slots(layer, (3, 2, 0, 1)), outputs=0)]


@translates(ConvTranspose2D, to=TORCH)
def _conv_transpose(layer: ConvTranspose2D) -> list[Module]:
    """With PyTorch's own padding where that cuts off the same, followed by a cut where it does not."""
    g = layer.geometry
    cut = (g.padding[0][0], g.padding[1][0])
    stamped = ((g.P - 1) * g.stride[0] + g.R, (g.Q - 1) * g.stride[1] + g.S)  # the size before anything is cut off
    more = (g.H - stamped[0] + 2 * cut[0], g.W - stamped[1] + 2 * cut[1])
    fits = all(0 <= n < s for n, s in zip(more, g.stride, strict=True))
    source = f"nn.ConvTranspose2d({g.K}, {g.C}, {_short(layer.filter)}, {_short(layer.stride)}, "
    source += f"{_short(cut)}, {_short(more)}" if fits and any(more) else _short(cut if fits else (0, 0))
    made = [Module(f"{source}{_taps(layer)}{_bias(layer)})", layer.path, _weight_slots(layer, (3, 2, 0, 1)), outputs=1)]
    if not fits:
        (top, left), bottom, right = cut, stamped[0] - cut[0] - g.H, stamped[1] - cut[1] - g.W
        made.append(Module(f"nn.ZeroPad2d((-{left}, -{right}, -{top}, -{bottom}))", layer.path))
    return made


@translates(BatchNorm, to=TORCH)
def _batch_norm(layer: BatchNorm) -> list[Module]:
    kind = "BatchNorm2d" if len(layer.input_shape) == 3 else "BatchNorm1d"
    usual = (layer.eps, layer.momentum) == (1e-5, 0.9)
    settings = "" if usual else f", eps={layer.eps:g}, momentum={1 - layer.momentum:g}"
    slots = (
        Slot("weight", layer.gamma),
        Slot("bias", layer.beta),
        Slot("running_mean", layer.running_mean),
        Slot("running_var", layer.running_var),
    )
    source = f"nn.{kind}({layer.input_shape[-1]}{settings})"
    return [Module(source, layer.path, slots, counts=True, by_feature=True)]


def _weight_slots(layer: Conv2D | Dense, axes: tuple[int, ...]) -> tuple[Slot, ...]:
    weight = Slot("weight", layer.w, axes)
    return (weight, Slot("bias", layer.b)) if layer.b else (weight,)


def _taps(layer: Conv2D) -> str:
    gaps = "" if layer.dilation == (1, 1) else f", dilation={_short(layer.dilation)}"
    return gaps + ("" if layer.groups == 1 else f", groups={layer.groups}")


def _bias(layer: Conv2D | Dense) -> str:
    return "" if layer.bias else ", bias=False"


def _short(pair: IntPair) -> str:
    return str(pair[0] if pair[0] == pair[1] else pair)
