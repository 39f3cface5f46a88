"""Every kernel on the GPU against the reference in double precision: at odd sizes, and at those that are timed.

At odd sizes the numbers are such that their products are exact in every precision, so that one tolerance, of the sums'
rounding, holds for all: a wrong index cannot hide behind bfloat16. At the sizes that are timed the numbers are any, and
a product's tolerance is four times the rounding of a factor.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks import kernels
from benchmarks.gpu_calls import Call, Sizes, call
from minigan.backends import Backend
from minigan.backends.base import KERNELS
from minigan.backends.geometry import ConvGeometry, conv_geometry
from minigan.backends.reference import ReferenceBackend

Engines = Callable[[str], Backend]  # by precision
Record = dict[str, Any]
Item = tuple[str, Callable[[], Iterable[Record]]]

PRODUCTS = (
    *(*kernels.KERNELS.values(), "conv2d_leaky_relu"),
    *("matmul", "batched_matmul", "dense_grad", "dense_leaky_relu", "dense_leaky_relu_grad"),
)
SUMS = {"odd": 3e-5, "timed": 1e-4}  # the tolerance of sums of exact products, the longer the larger
FACTORS = {"tf32": 2.0**-9, "bf16": 2.0**-6, "fp32": 0.0}  # what the rounding of factors adds

ODD = (
    Sizes("odd", 3, conv_geometry((9, 10, 6), 18, (3, 4), (2, 1), "same"), (7, 33, 18), 77),
    Sizes("odd, stride 2", 5, conv_geometry((14, 6, 2), 5, (4, 4), (2, 2), 1), (5, 3, 1), 1),
    Sizes("odd, one filter", 1, conv_geometry((7, 5, 34), 1, (7, 5), (1, 1), 0), (1, 70, 130), 1025),
    Sizes("odd, wide", 2, conv_geometry((8, 8, 66), 130, (3, 3), (1, 1), 1), (130, 17, 66), 4097),
)
# In groups: depthwise; narrow, by one and side by side; wide, whole and not.
ODD_GROUPS = {
    "odd, depthwise": conv_geometry((9, 10, 20), 20, (3, 4), (2, 1), "same", groups=20),
    "odd, depthwise by one": conv_geometry((7, 5, 9), 9, (3, 3), (1, 1), "same", groups=9),
    "odd, groups of 4": conv_geometry((8, 6, 24), 48, (3, 3), (1, 1), 1, groups=6),
    "odd, groups of 2": conv_geometry((8, 6, 24), 12, (4, 4), (2, 2), 1, groups=12),
    "odd, groups of 16": conv_geometry((9, 7, 48), 48, (3, 3), (1, 1), 1, groups=3),
    "odd, groups of 18": conv_geometry((8, 8, 36), 66, (4, 4), (2, 2), 1, groups=2),
}
BATCH = 128
GROUPS = {"dcgan64": BATCH, "pix2pix": 1, "dcgan128": BATCH, "groups": BATCH}


def timed() -> Sizes:
    """DCGAN-64's largest hidden images and its G's arena."""
    return Sizes("timed", BATCH, conv_geometry((32, 32, 64), 128, (4, 4), (2, 2), 1), (BATCH, 1024, 784), 3_576_704)


def layers() -> list[kernels.Layer]:
    """The convolutions that are timed, each with its batch on a GPU."""
    return [layer._replace(batch=GROUPS[layer.group]) for layer in kernels.layers(list(GROUPS))]


def sizes_of(layer: kernels.Layer) -> Sizes:
    """The sizes of a layer, for the three convolution kernels only."""
    return of_convolution(f"{layer.group} {layer.name}", layer.batch, layer.geometry)


def of_convolution(name: str, images: int, geometry: ConvGeometry) -> Sizes:
    """Sizes for the convolution kernels only."""
    return Sizes(name, images, geometry, (1, 1, 1), 1)


def items(engines: Engines, precisions: Iterable[str], *, oracle: Backend | None = None) -> Iterator[Item]:
    """Each kernel at each size, and what compares it in every precision.

    Args:
        oracle: what computes the right numbers in double precision at the sizes that are timed; the reference, which
            takes minutes, if there is none.
    """
    for sizes in ODD:
        for kernel in KERNELS:
            yield f"{kernel}, {sizes.name}", partial(validate, engines, precisions, kernel, sizes, odd=True)
    for name, geometry in ODD_GROUPS.items():
        sizes = of_convolution(name, 5, geometry)
        for kernel in (*kernels.KERNELS.values(), "conv2d_leaky_relu"):
            yield f"{kernel}, {name}", partial(validate, engines, precisions, kernel, sizes, odd=True)
    validate_timed = partial(validate, engines, precisions, odd=False, oracle=oracle)
    large = timed()
    for kernel in KERNELS:
        yield f"{kernel}, {large.name}", partial(validate_timed, kernel, large)
    for layer in layers():
        for kernel in kernels.KERNELS.values():
            sizes = sizes_of(layer)
            yield f"{kernel}, {sizes.name}", partial(validate_timed, kernel, sizes)


def validate(
    engines: Engines,
    precisions: Iterable[str],
    kernel: str,
    sizes: Sizes,
    *,
    odd: bool,
    oracle: Backend | None = None,
) -> list[Record]:
    """The error of a kernel against the reference, in each precision."""
    made = call(kernel, sizes, representable=odd)
    expected = made.results(oracle or ReferenceBackend(), np.float64)
    return [compared(made, expected, engines(precision), precision, sizes, odd=odd) for precision in precisions]


def compared(
    made: Call, expected: list[np.ndarray], engine: Backend, precision: str, sizes: Sizes, *, odd: bool
) -> Record:
    actual = made.results(engine)
    allowed = tolerance(made.kernel, precision, odd=odd)
    errors = [difference(a, e) for a, e in zip(actual, expected, strict=True)]
    return {
        "kernel": made.kernel,
        "sizes": sizes.name,
        "precision": precision,
        "error": max(errors) if np.isfinite(errors).all() else None,  # JSON knows no NaN
        "tolerance": allowed,
        "right": all(error <= allowed for error in errors),  # NaN is not
    }


def tolerance(kernel: str, precision: str, *, odd: bool) -> float:
    """Tolerance of the largest error, relative to the largest number of the result or 1."""
    if odd:
        return SUMS["odd"]
    return SUMS["timed"] + (FACTORS[precision] if kernel in PRODUCTS else 0.0)


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest error over the largest number, or over 1; infinite where the shapes or dtypes are not the same."""
    if actual.shape != expected.shape or actual.dtype != np.float32:
        return float("inf")
    return float(np.abs(actual - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1.0))
