"""A call of every kernel of the contract at given sizes, and how many bytes and operations it is made of.

Arrays are drawn on the host, so that engines can be given the same numbers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Backend
from minigan.backends.base import KERNELS
from minigan.backends.geometry import ConvGeometry, IntPair
from minigan.backends.reference import ReferenceBackend

EPS, SLOPE = {"eps": 1e-5}, {"slope": 0.25}  # a slope that rounds nothing
FACTOR, PIECES, GROUPS = (2, 3), 3, 2
REFLECTED = ((1, 1), (1, 1))
RATES = {"lr": 0.1, "eps": 1e-8}

# Arrays by the names of their shapes (see `Sizes.shape`); options; the shapes of what is added to.
SIGNATURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "conv2d": ("x w k geometry", {}, ""),
    "conv2d_input_grad": ("y w geometry", {}, ""),
    "conv2d_weight_grad": ("x y geometry", {}, "w"),
    "matmul": ("ml lj", {}, ""),
    "batched_matmul": ("nml nlj", {}, ""),
    "dense_grad": ("mj ml lj", {}, "lj j"),
    "channel_sum": ("x", {}, "c"),
    "batchnorm": ("x c c", EPS, ""),
    "batchnorm_grad": ("x x c c variance", EPS, "c c"),
    "batchnorm_double_grad": ("x x x c c variance", EPS, "c"),
    "batchnorm_frozen": ("x c c c variance", EPS, ""),
    "batchnorm_frozen_grad": ("x x c c variance", EPS, "c c"),
    "group_norm": ("x c c", EPS | {"groups": GROUPS}, ""),
    "group_norm_grad": ("x x c ng variances", EPS, "c c"),
    "group_norm_double_grad": ("x x x c ng variances", EPS, "c"),
    "conv2d_leaky_relu": ("x w k geometry", SLOPE, ""),
    "dense_leaky_relu": ("ml lj j", SLOPE, ""),
    "dense_leaky_relu_grad": ("mj ml lj mj", SLOPE, "lj j"),
    "batchnorm_leaky_relu": ("x c c", EPS | SLOPE, ""),
    "batchnorm_frozen_leaky_relu": ("x c c c variance", EPS | SLOPE, ""),
    "batchnorm_leaky_relu_grad": ("x x c c c variance", EPS | SLOPE, "c c"),
    "leaky_relu": ("x", SLOPE, ""),
    "leaky_relu_grad": ("x x", SLOPE, ""),
    "tanh": ("x", {}, ""),
    "tanh_grad": ("x x", {}, ""),
    "sigmoid": ("x", {}, ""),
    "sigmoid_grad": ("x x", {}, ""),
    "maxout": ("pieces", {"pieces": PIECES}, ""),
    "maxout_grad": ("mj pieces largest", {"pieces": PIECES}, ""),
    "upsample_nearest": ("x", {"factor": FACTOR}, ""),
    "upsample_nearest_grad": ("up", {"factor": FACTOR}, ""),
    "reflect_pad": ("x", {"padding": REFLECTED}, ""),
    "reflect_pad_grad": ("reflected", {"padding": REFLECTED}, ""),
    "depth_to_space": ("deep", {"factor": FACTOR}, ""),
    "space_to_depth": ("up", {"factor": FACTOR}, ""),
    "scale_channels": ("x nc", {}, ""),
    "scale_channels_grad": ("x x nc", {}, ""),
    "noise_leaky_relu": ("x pixels one c", SLOPE | {"gain": 1.5}, ""),
    "noise_leaky_relu_grad": ("x x pixels", SLOPE | {"gain": 1.5}, "one c"),
    "dropout_mask": ("rng shape", {"rate": 0.5}, ""),
    "adam_step": ("flat flat flat squares", RATES | {"beta1": 0.5, "beta2": 0.75, "step": 2}, ""),
    "sgd_step": ("flat flat flat", {"lr": 0.1, "momentum": 0.9}, ""),
    "rmsprop_step": ("flat flat squares", RATES | {"decay": 0.75}, ""),
    "ema_step": ("flat flat", {"decay": 0.9}, ""),
    "clip_norm": ("flat", {"limit": 1.0}, ""),
    "clip_value": ("flat", {"limit": 0.7}, ""),
}
# Which of its arrays a step in place writes.
IN_PLACE = {
    "adam_step": (0, 2, 3),
    "sgd_step": (0, 2),
    "rmsprop_step": (0, 2),
    "ema_step": (0,),
    "clip_norm": (0,),
    "clip_value": (0,),
}


class Sizes(NamedTuple):
    """The sizes from which the shapes of all kernels' arrays follow.

    Attributes:
        name: for people.
        images, geometry: of convolutions; normalizations and activations take the convolution's x, so an even C.
        matrix: M, L and J of a product (M, L) (L, J).
        flat: numbers in an arena.
    """

    name: str
    images: int
    geometry: ConvGeometry
    matrix: tuple[int, int, int]
    flat: int

    def shape(self, name: str) -> tuple[int, ...]:
        g, n, (m, l, j) = self.geometry, self.images, self.matrix  # noqa: E741
        up: IntPair = (FACTOR[0] * g.H, FACTOR[1] * g.W)
        return {
            "x": (n, *g.input_shape), "w": g.weight_shape, "y": (n, *g.output_shape), "k": (g.K,),
            "pixels": (n, g.H, g.W, 1), "one": (1,), "c": (g.C,), "variance": (g.C,),
            "ng": (n, GROUPS), "nc": (n, g.C), "variances": (n, GROUPS),
            "ml": (m, l), "lj": (l, j), "mj": (m, j), "j": (j,), "nml": (n, m, l), "nlj": (n, l, j),
            "pieces": (m, PIECES * j), "up": (n, *up, g.C), "deep": (n, g.H, g.W, FACTOR[0] * FACTOR[1] * g.C),
            "reflected": (n, g.H + 2, g.W + 2, g.C), "flat": (self.flat,), "squares": (self.flat,),
        }[name]  # fmt: skip


class Call(NamedTuple):
    """One call of a kernel, its arrays in host memory.

    Attributes:
        arguments: by position; a function makes its argument anew for each call.
        add_to: arrays; none for a kernel that adds to nothing.
    """

    kernel: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    add_to: tuple[np.ndarray, ...]

    def on(self, engine: Backend, dtype: Any = np.float32) -> "Bound":
        """The call with copies of its arrays on an engine, ready to be made."""

        def moved(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return engine.asarray(value.astype(dtype))
            return value() if callable(value) else value

        options, arguments = dict(self.options), tuple(map(moved, self.arguments))
        add_to = tuple(map(moved, self.add_to))
        if add_to:
            options["add_to"] = add_to if len(add_to) > 1 else add_to[0]
        if self.kernel == "dropout_mask":
            options["dtype"] = np.dtype(dtype)
        arrays = tuple(a for a in arguments if hasattr(a, "dtype"))
        return Bound(partial(getattr(engine, self.kernel), *arguments, **options), arrays + add_to)

    def results(self, engine: Backend, dtype: Any = np.float32) -> list[np.ndarray]:
        """The kernel's result, and all its arrays after the call."""
        bound = self.on(engine, dtype)
        result = bound.run()
        returned = [] if result is None else list(result) if isinstance(result, tuple) else [result]
        return [engine.to_numpy(array) for array in (*returned, *bound.arrays)]

    def moved(self, returned: int) -> int:
        """Bytes that have to be read and written: each array once, what is added to or changed in place twice.

        A kernel that has to go over an array twice, as BatchNorm does, moves more where it is in no cache.

        Args:
            returned: bytes of what the kernel returns.
        """
        arrays = [a for a in self.arguments if isinstance(a, np.ndarray)]
        changed = [*self.add_to, *(arrays[index] for index in IN_PLACE.get(self.kernel, ()))]
        return returned + sum(a.nbytes for a in (*arrays, *self.add_to, *changed))


class Bound(NamedTuple):
    run: Callable[[], Any]
    arrays: tuple[Any, ...]  # the engine's


def call(kernel: str, sizes: Sizes, *, representable: bool = False, seed: int = 0) -> Call:
    """The call of a kernel on normal numbers.

    Args:
        representable: numbers that bfloat16 holds, so that products of them are exact in every precision.
    """
    names, options, sums = SIGNATURES[kernel]
    rng = np.random.default_rng(seed)

    def drawn(name: str) -> Any:
        if name == "geometry":
            return sizes.geometry
        if name == "rng":
            return partial(np.random.default_rng, seed)
        if name == "shape":
            return sizes.shape("x")
        values = rng.standard_normal(sizes.shape(name), dtype=np.float32)
        if name in ("variance", "variances", "squares"):
            values = np.abs(values) + np.float32(0.5)
        return coarse(values) if representable else values

    arguments: list[Any] = []
    for name in names.split():
        arguments.append(ReferenceBackend().maxout(arguments[1], pieces=PIECES) if name == "largest" else drawn(name))
    if kernel == "batchnorm_leaky_relu_grad":
        arguments[1] = off_the_kink(*arguments[1:])
    return Call(kernel, tuple(arguments), options, tuple(map(drawn, sums.split())))


def calls(sizes: Sizes, *, representable: bool = False) -> Iterator[Call]:
    """Calls of every kernel of the contract."""
    for kernel in KERNELS:
        yield call(kernel, sizes, representable=representable)


def coarse(x: np.ndarray) -> np.ndarray:
    """The numbers cut off to bfloat16's 7 bits of mantissa."""
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def off_the_kink(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray
) -> np.ndarray:  # fmt: skip
    """x with each number moved whose LeakyReLU, after BatchNorm, two roundings may see on different sides."""
    slope = gamma / np.sqrt(var + np.float32(EPS["eps"]))
    y = slope * (x - mean) + beta
    near = np.abs(y) < 1e-3
    return np.where(near, x + np.where(y < 0, -1, 1) * np.float32(0.01) / slope, x).astype(np.float32)
