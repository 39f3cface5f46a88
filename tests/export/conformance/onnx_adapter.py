"""ONNX's operators by minigan's layers and kernels.

Each function takes a case and returns the operator's outputs; what minigan has no counterpart for is `Unsupported`.
Layouts are turned here, NCHW to NHWC and filters (K, C, R, S) to (R, S, C, K), and nothing else is computed outside
of minigan but what stands in a function's docstring.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_cases import Case

from minigan.backends import Backend
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    PixelShuffle,
    ReLU,
    Reshape,
    Sigmoid,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.attention import softmax as softmax_of

Outputs = list[np.ndarray]


class Unsupported(Exception):
    """minigan has no layer for it."""


def outputs(case: Case, backend: Backend) -> Outputs:
    """Minigan's outputs for a case."""
    return ADAPTERS[case.operator](case, backend)


# ---------------------------------------------------------------------------------------------- layers and layouts


def built(layer: Layer, x: np.ndarray, backend: Backend, weights: dict[str, np.ndarray | None]) -> Layer:
    layer.build(x.shape[1:], backend=backend, dtype=x.dtype, rng=np.random.default_rng(0))
    for name, array in weights.items():
        if array is not None:
            parameter = getattr(layer, name)
            assert parameter.shape == array.shape
            parameter.value[...] = backend.asarray(np.ascontiguousarray(array))
    layer.arena.updated()
    return layer


def forward(
    layer: Layer, x: np.ndarray, backend: Backend, *, train: bool = False, **weights: np.ndarray | None
) -> tuple[np.ndarray, Any]:
    """The layer's output and cache, with these weights."""
    network = built(layer, x, backend, weights)
    y, cache = network.forward(backend.asarray(np.ascontiguousarray(x)), train=train, rng=np.random.default_rng(0))
    return np.array(backend.to_numpy(y)), cache


def to_nhwc(x: np.ndarray) -> np.ndarray:
    if x.ndim != 4:
        raise Unsupported(f"images of {x.ndim - 2} dimensions")
    return x.transpose(0, 2, 3, 1)


def to_nchw(y: np.ndarray) -> np.ndarray:
    return y.transpose(0, 3, 1, 2)


def image(layer: Layer, case: Case, backend: Backend, **weights: np.ndarray | None) -> Outputs:
    """A layer from images to images."""
    return [to_nchw(forward(layer, to_nhwc(case.inputs[0]), backend, **weights)[0])]


def numbers(layer: Layer) -> Callable[[Case, Backend], Outputs]:
    """A layer that changes each number, of arrays of any shape."""

    def adapter(case: Case, backend: Backend) -> Outputs:
        (x,) = case.inputs
        return [forward(layer, x.reshape(1, -1), backend)[0].reshape(x.shape)]

    return adapter


# ---------------------------------------------------------------------------------------------- convolutions


def taps(case: Case) -> dict[str, Any]:
    """The arguments that both kinds of convolution share."""
    if case.inputs[1].ndim != 4:
        raise Unsupported(f"images of {case.inputs[1].ndim - 2} dimensions")
    return {
        "filter": case.inputs[1].shape[2:],
        "stride": tuple(case.attributes.get("strides", (1, 1))),
        "dilation": tuple(case.attributes.get("dilations", (1, 1))),
        "groups": case.attributes.get("group", 1),
        "bias": len(case.inputs) > 2,
    }


def weights(case: Case) -> dict[str, np.ndarray | None]:
    return {"w": case.inputs[1].transpose(2, 3, 1, 0), "b": case.inputs[2] if len(case.inputs) > 2 else None}


def sides(pads: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """ONNX's (top, left, bottom, right) as minigan has it."""
    top, left, bottom, right = pads
    return (top, bottom), (left, right)


def conv(case: Case, backend: Backend) -> Outputs:
    arguments = taps(case)
    padding: Any = sides(tuple(case.attributes.get("pads", (0, 0, 0, 0))))
    automatic = case.attributes.get("auto_pad", "NOTSET")
    if automatic == "SAME_UPPER":
        padding = "same"
    elif automatic == "SAME_LOWER":  # the odd row and column at the top and left
        pairs = zip(case.inputs[0].shape[2:], arguments["filter"], arguments["stride"], strict=True)
        totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in pairs]
        padding = tuple((total - total // 2, total // 2) for total in totals)
    layer = Conv2D(case.inputs[1].shape[0], padding=padding, **arguments)
    return image(layer, case, backend, **weights(case))


def conv_transpose(case: Case, backend: Backend) -> Outputs:
    """A given output shape becomes the padding that it asks for."""
    arguments, attributes = taps(case), case.attributes
    output_padding = tuple(attributes.get("output_padding", (0, 0)))
    padding: Any = sides(tuple(attributes.get("pads", (0, 0, 0, 0))))
    if attributes.get("auto_pad", "NOTSET") == "SAME_UPPER":
        padding = "same"
    elif "output_shape" in attributes:
        rows = zip(case.inputs[0].shape[2:], *(arguments[k] for k in ("filter", "stride", "dilation")), strict=True)
        natural = [(n - 1) * s + (r - 1) * d + 1 for n, r, s, d in rows]
        short = [n - wanted for n, wanted in zip(natural, attributes["output_shape"], strict=True)]
        padding = tuple((max(t, 0) // 2, max(t, 0) - max(t, 0) // 2) for t in short)
        output_padding = tuple(max(-t, 0) for t in short)
    channels = case.inputs[1].shape[1] * arguments["groups"]
    layer = ConvTranspose2D(channels, padding=padding, output_padding=output_padding, **arguments)
    return image(layer, case, backend, **weights(case))


# ---------------------------------------------------------------------------------------------- norms


def batch_norm(case: Case, backend: Backend) -> Outputs:
    """The running variance takes in the batch's biased one here; `commit_statistics` takes the unbiased, as PyTorch."""
    x, gamma, beta, mean, var = case.inputs
    momentum, train = case.attributes.get("momentum", 0.9), bool(case.attributes.get("training_mode", 0))
    layer = BatchNorm(momentum=momentum, eps=case.attributes.get("epsilon", 1e-5))
    turned = x if x.ndim == 2 else to_nhwc(x)
    y, cache = forward(layer, turned, backend, train=train, gamma=gamma, beta=beta, running_mean=mean, running_var=var)
    y = y if x.ndim == 2 else to_nchw(y)
    if not train:
        return [y]
    batch = [np.array(backend.to_numpy(statistic)) for statistic in (cache.mean, cache.var)]
    return [y, *(momentum * old + (1 - momentum) * new for old, new in zip((mean, var), batch, strict=True))]


def group_norm(case: Case, backend: Backend) -> Outputs:
    _, gamma, beta = case.inputs
    layer = GroupNorm(case.attributes["num_groups"], eps=case.attributes.get("epsilon", 1e-5))
    return image(layer, case, backend, gamma=gamma, beta=beta)


def instance_norm(case: Case, backend: Backend) -> Outputs:
    _, gamma, beta = case.inputs
    return image(InstanceNorm(eps=case.attributes.get("epsilon", 1e-5)), case, backend, gamma=gamma, beta=beta)


def layer_norm(case: Case, backend: Backend) -> Outputs:
    """The axes that are normalized as one vector, each with its own gamma and beta; 1 / std from the layer's var."""
    x, gamma, beta = case.inputs
    axis, eps = case.attributes.get("axis", -1), case.attributes.get("epsilon", 1e-5)
    kept = x.shape[: axis if axis >= 0 else x.ndim + axis]
    rows = x.reshape(int(np.prod(kept)), -1)
    y, cache = forward(LayerNorm(eps=eps), rows, backend, gamma=gamma.ravel(), beta=beta.ravel())
    mean, var = (np.array(backend.to_numpy(s)).reshape(*kept, *[1] * (x.ndim - len(kept))) for s in cache[1:])
    return [y.reshape(x.shape), mean, 1 / np.sqrt(var + eps)]


# ---------------------------------------------------------------------------------------------- products


def matmul(case: Case, backend: Backend) -> Outputs:
    a, b = case.inputs
    if min(a.ndim, b.ndim) < 2 or a.shape[:-2] != b.shape[:-2]:
        raise Unsupported("vectors, and batches that are repeated")
    left, right = (backend.asarray(t.reshape(-1, *t.shape[-2:])) for t in (a, b))
    product = backend.matmul(left[0], right[0]) if a.ndim == 2 else backend.batched_matmul(left, right)
    return [np.array(backend.to_numpy(product)).reshape(*a.shape[:-1], b.shape[-1])]


def gemm(case: Case, backend: Backend) -> Outputs:
    """alpha, beta and a C that is no vector stand outside of the kernel."""
    a, b, *rest = case.inputs
    transposes = {f"transpose_{k}": bool(case.attributes.get(f"trans{k.upper()}", 0)) for k in "ab"}
    alpha, beta = case.attributes.get("alpha", 1.0), case.attributes.get("beta", 1.0)
    (c,) = rest or [None]
    is_bias = c is not None and c.ndim == 1 and c.size > 1 and (alpha, beta) == (1, 1)
    bias = backend.asarray(c) if is_bias else None
    y = np.array(backend.to_numpy(backend.matmul(backend.asarray(a), backend.asarray(b), **transposes, bias=bias)))
    return [y if is_bias else alpha * y + (0 if c is None else beta * c)]


def softmax(case: Case, backend: Backend) -> Outputs:
    """The axis last."""
    axis = case.attributes.get("axis", -1)
    y = softmax_of(backend.asarray(np.moveaxis(case.inputs[0], axis, -1)), backend.xp)
    return [np.moveaxis(np.array(backend.to_numpy(y)), -1, axis)]


# ---------------------------------------------------------------------------------------------- moving numbers


def average_pool(case: Case, backend: Backend) -> Outputs:
    attributes = case.attributes
    block = tuple(attributes["kernel_shape"])
    to_nhwc(case.inputs[0])
    if tuple(attributes.get("strides", [1] * len(block))) != block:
        raise Unsupported("blocks that overlap")
    if any(attributes.get("pads", ())) or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise Unsupported("padding")
    return image(AveragePooling2D(block), case, backend)


def global_average_pool(case: Case, backend: Backend) -> Outputs:
    return [forward(GlobalAveragePooling2D(), to_nhwc(case.inputs[0]), backend)[0][:, :, None, None]]


def resize(case: Case, backend: Backend) -> Outputs:
    """Scales and sizes as factors."""
    attributes, x = case.attributes, case.inputs[0]
    if attributes.get("mode", "nearest") != "nearest":
        raise Unsupported("interpolation")
    after = np.array(case.outputs[0].shape) / x.shape
    factor = tuple(int(f) for f in after[2:])
    if tuple(after) != (1, 1, *factor) or min(factor) < 1:
        raise Unsupported("factors that are no whole numbers")
    halves = attributes.get("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    if not (halves and attributes.get("nearest_mode", "round_prefer_floor") == "round_prefer_floor"):
        raise Unsupported("other neighbors than the nearest")
    return image(UpSampling2D(factor), case, backend)


def upsample(case: Case, backend: Backend) -> Outputs:
    return image(UpSampling2D(tuple(int(scale) for scale in case.inputs[1][2:])), case, backend)


def depth_to_space(case: Case, backend: Backend) -> Outputs:
    if case.attributes.get("mode", "DCR") != "DCR":
        raise Unsupported("channels in PyTorch's order")
    return image(PixelShuffle(case.attributes["blocksize"]), case, backend)


def space_to_depth(case: Case, backend: Backend) -> Outputs:
    if case.attributes.get("mode", "DCR") != "DCR":
        raise Unsupported("channels in PyTorch's order")
    size = case.attributes["blocksize"]
    x = backend.asarray(np.ascontiguousarray(to_nhwc(case.inputs[0])))
    return [to_nchw(np.array(backend.to_numpy(backend.space_to_depth(x, factor=(size, size)))))]


def flatten(case: Case, backend: Backend) -> Outputs:
    x, axis = case.inputs[0], case.attributes.get("axis", 1)
    if axis not in (1, 1 - x.ndim):
        raise Unsupported("the batch axis flattened")
    return [forward(Flatten(), x, backend)[0]]


def reshape(case: Case, backend: Backend) -> Outputs:
    """0 and -1 in the new shape are worked out."""
    x, after = case.inputs[0], case.outputs[0].shape
    if after[:1] != x.shape[:1]:
        raise Unsupported("the batch axis reshaped")
    return [forward(Reshape(after[1:]), x, backend)[0]]


def dropout(case: Case, backend: Backend) -> Outputs:
    x, *rest = case.inputs
    train = len(rest) > 1 and bool(rest[1])
    rate = float(rest[0]) if rest and rest[0] is not None else 0.5
    if train and rate:
        raise Unsupported("ONNX's own random bits")
    y, cache = forward(Dropout(rate), x.reshape(1, -1), backend, train=train)
    mask = np.ones(x.shape, bool) if cache.mask is None else np.array(backend.to_numpy(cache.mask)) != 0
    return [y.reshape(x.shape), mask][: len(case.outputs)]


ADAPTERS: dict[str, Callable[[Case, Backend], Outputs]] = {
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LeakyRelu": lambda case, backend: numbers(LeakyReLU(case.attributes.get("alpha", 0.01)))(case, backend),
    "MatMul": matmul,
    "Relu": numbers(ReLU()),
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": numbers(Sigmoid()),
    "Softmax": softmax,
    "SpaceToDepth": space_to_depth,
    "Tanh": numbers(Tanh()),
    "Upsample": upsample,
}
