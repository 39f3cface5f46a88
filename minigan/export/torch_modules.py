"""What a network is in PyTorch: the modules of an `nn.Sequential`, and which parameter each of their tensors is.

minigan's images are NHWC, PyTorch's NCHW. A convolution's w is (R, S, C, K) here and (K, C, R, S) there, a transposed
one's (R, S, K, c) and (c, K, R, S), a dense layer's (F, K) and (K, F). Where an image becomes a vector, or a vector an
image, its numbers stand in the order H W C here and C H W there: then the rows or columns of the dense layer beside it
change places.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.backends.geometry import IntPair
from minigan.errors import ConfigError
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    ConcatCondition,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    GroupNorm,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Augmentation
from minigan.nn.network import Sequential
from minigan.nn.parameters import Parameter

__all__ = ["PARAMETRIZED", "Module", "Slot", "modules"]

Order = npt.NDArray[np.intp]

PARAMETRIZED = "parametrizations.weight"  # how PyTorch names the weight that `spectral_norm` wraps


class Slot(NamedTuple):
    """A parameter's place in a module.

    Attributes:
        name: the tensor's in its module: "weight".
        axes: minigan's axes in PyTorch's order.
        orders: (axis, order) in PyTorch's tensor: which of minigan's features stands at each place.
    """

    name: str
    parameter: Parameter
    axes: tuple[int, ...] = (0,)
    orders: tuple[tuple[int, Order], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """PyTorch's tensor's."""
        return tuple(self.parameter.shape[axis] for axis in self.axes)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        array = array.transpose(self.axes)
        for axis, order in self.orders:
            array = array.take(order, axis=axis)
        return np.ascontiguousarray(array)

    def from_torch(self, tensor: np.ndarray) -> np.ndarray:
        for axis, order in self.orders:
            tensor = tensor.take(np.argsort(order), axis=axis)
        return np.ascontiguousarray(tensor.transpose(np.argsort(self.axes)))

    def ordered(self, axis: int, order: Order) -> "Slot":
        return self._replace(orders=(*self.orders, (axis, order)))


class Module(NamedTuple):
    """A module of an `nn.Sequential`.

    Attributes:
        source: the expression that makes it: "nn.Tanh()".
        path: of minigan's layer, for messages.
        slots: its tensors.
        counts: whether it has a `num_batches_tracked`, which minigan has no use for.
        outputs: the axis of its outputs in its weight, if it has one; the singular vector v is of the other axes.
    """

    source: str
    path: str
    slots: tuple[Slot, ...] = ()
    counts: bool = False
    outputs: int | None = None


def modules(network: Sequential) -> list[Module]:
    """The network as modules in sequence; nested sequences are laid out flat.

    What stands in front of the first layer with weights and only moves numbers is the caller's: a vector z reshaped to
    one pixel (PyTorch's DCGAN takes z as (N, 100, 1, 1)), classes joined to it, and augmentations.

    Raises:
        ConfigError: a layer has no counterpart that stands in a sequence; names it.
    """
    found: list[Module] = []
    order: Order | None = None  # of the vector here: which of minigan's numbers stands at each place in PyTorch
    for layer in _flat(network):
        if _is_callers(layer, first=not found):
            continue
        if isinstance(layer, Reshape):
            order = _reshape(layer, order, found)
            continue
        made = _modules_of(layer)
        if order is not None:
            made = [_reordered(module, order, inputs=isinstance(layer, Dense)) for module in made]
            order = None if isinstance(layer, Dense) else order
        found += made
    if order is not None:
        raise ConfigError(
            f"{network.path}: ends with an image as a vector, in another order than PyTorch's. Leave out the last "
            "Flatten, or export --to onnx or --to numpy."
        )
    return found


def _flat(network: Sequential) -> Iterator[Layer]:
    for layer in network.layers:
        if isinstance(layer, Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _is_callers(layer: Layer, *, first: bool) -> bool:
    if isinstance(layer, Augmentation):
        return True
    if isinstance(layer, ConcatCondition):
        return first and not layer.embedding
    return first and isinstance(layer, Reshape) and layer.output_shape[:-1] == (1, 1)


def _reshape(layer: Reshape, order: Order | None, found: list[Module]) -> Order | None:
    """Adds a Flatten or an Unflatten; returns the order of the vector behind it."""
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
                raise _no_counterpart(layer)
            _reorder_outputs(found, _channels_first(H, W, C), layer)
        found.append(Module(f"nn.Unflatten(1, ({C}, {H}, {W}))", layer.path))
        return None
    raise _no_counterpart(layer)


def _channels_first(H: int, W: int, C: int) -> Order:
    """Where in H W C order the numbers of C H W order are."""
    return np.arange(H * W * C).reshape(H, W, C).transpose(2, 0, 1).ravel()


def _reorder_outputs(found: list[Module], order: Order, layer: Layer) -> None:
    """Makes the vector that comes out of the modules so far have that order, by the dense layer that draws it."""
    for index in reversed(range(len(found))):
        module = found[index]
        is_dense = module.source.startswith(("nn.Linear", "spectral_norm(nn.Linear"))
        if not is_dense and module.slots and not module.counts:
            break
        found[index] = _reordered(module, order, inputs=False)
        if is_dense:
            return
    raise _no_counterpart(layer)


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
    """A layer that is no reshaping, in most cases as one module."""
    match layer:
        case ConvTranspose2D():
            return _conv_transpose(layer)
        case Conv2D():
            return _conv(layer)
        case Dense():
            source = f"nn.Linear({layer.w.shape[0]}, {layer.w.shape[1]}{_bias(layer)})"
            return [Module(source, layer.path, _weight_slots(layer, (1, 0)), outputs=0)]
        case SpectralNorm():
            return [_spectral(module, layer) if module.slots else module for module in _modules_of(layer.inner)]
        case BatchNorm():
            return [_batch_norm(layer)]
        case GroupNorm():  # LayerNorm and InstanceNorm are of one group and of a group for each channel
            source = f"nn.GroupNorm({layer.groups}, {layer.input_shape[-1]}, eps={layer.eps:g})"
            return [Module(source, layer.path, (Slot("weight", layer.gamma), Slot("bias", layer.beta)))]
        case GlobalAveragePooling2D() if layer.share < 1:
            return [Module("nn.AdaptiveAvgPool2d(1)", layer.path), Module("nn.Flatten()", layer.path)]
        case AveragePooling2D() if type(layer) is AveragePooling2D:
            return [Module(f"nn.AvgPool2d({_short(layer.factor)})", layer.path)]
        case _:
            return [Module(_plain(layer), layer.path)]


def _plain(layer: Layer) -> str:
    """A layer without parameters."""
    match layer:
        case ReLU():
            return "nn.ReLU()"
        case LeakyReLU():
            return f"nn.LeakyReLU({layer.slope:g})"
        case Tanh():
            return "nn.Tanh()"
        case Sigmoid():
            return "nn.Sigmoid()"
        case Dropout():
            return f"nn.Dropout({layer.rate:g})"
        case UpSampling2D():
            return f"nn.Upsample(scale_factor={_short(layer.factor)})"
    raise _no_counterpart(layer)


def _no_counterpart(layer: Layer) -> ConfigError:
    return ConfigError(
        f"{layer.path} has no counterpart in a sequence of PyTorch's modules: such a network is neither exported to "
        "PyTorch nor imported. Export --to onnx or --to numpy."
    )


def _conv(layer: Conv2D) -> list[Module]:
    (top, bottom), (left, right) = layer.geometry.padding
    even = top == bottom and left == right
    source = (
        f"nn.Conv2d({layer.geometry.C}, {layer.geometry.K}, {_short(layer.filter)}, {_short(layer.stride)}, "
        f"{_short((top, left) if even else (0, 0))}{_taps(layer)}{_bias(layer)})"
    )
    front = [] if even else [Module(f"nn.ZeroPad2d(({left}, {right}, {top}, {bottom}))", layer.path)]
    return [*front, Module(source, layer.path, _weight_slots(layer, (3, 2, 0, 1)), outputs=0)]


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


def _batch_norm(layer: BatchNorm) -> Module:
    kind = "BatchNorm2d" if len(layer.input_shape) == 3 else "BatchNorm1d"
    usual = (layer.eps, layer.momentum) == (1e-5, 0.9)
    settings = "" if usual else f", eps={layer.eps:g}, momentum={1 - layer.momentum:g}"
    slots = (
        Slot("weight", layer.gamma),
        Slot("bias", layer.beta),
        Slot("running_mean", layer.running_mean),
        Slot("running_var", layer.running_var),
    )
    return Module(f"nn.{kind}({layer.input_shape[-1]}{settings})", layer.path, slots, counts=True)


def _spectral(module: Module, layer: SpectralNorm) -> Module:
    """The wrapped layer's module, with u beside its weight."""
    slots = [slot._replace(name=f"{PARAMETRIZED}.original") if slot.name == "weight" else slot for slot in module.slots]
    u = Slot(f"{PARAMETRIZED}.0._u", layer.u)
    return module._replace(source=f"spectral_norm({module.source})", slots=(*slots, u))


def _weight_slots(layer: Conv2D | Dense, axes: tuple[int, ...]) -> tuple[Slot, ...]:
    weight = Slot("weight", layer.w, axes)
    return (weight, Slot("bias", layer.b)) if layer.b else (weight,)


def _taps(layer: Conv2D) -> str:
    dilation, groups = layer.taps
    gaps = "" if dilation == (1, 1) else f", dilation={_short(dilation)}"
    return gaps + ("" if groups == 1 else f", groups={groups}")


def _bias(layer: Conv2D | Dense) -> str:
    return "" if layer.bias else ", bias=False"


def _short(pair: IntPair) -> str:
    return str(pair[0] if pair[0] == pair[1] else pair)
