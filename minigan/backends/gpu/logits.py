"""Functions of a batch's logits by one kernel each, for the losses: logits.cu."""

import cupy

from minigan.backends.base import Array
from minigan.backends.gpu.launch import Launcher, contiguous

__all__ = ["cross_entropy", "mean_probability", "takes"]

THREADS = 512  # of the one block
MOST = 1 << 16  # logits that it does quickly
SETTINGS = (("VECTOR", 1), ("WIDE", 0))

launch = Launcher()


def takes(logits: Array) -> bool:
    """Whether the kernels are for these logits."""
    return 0 < logits.size <= MOST and logits.dtype.name in ("float32", "float64")


def cross_entropy(logits: Array, target: float) -> tuple[Array, Array]:
    """The mean of binary cross-entropy, of shape (), and its derivative with respect to each logit."""
    mean, gradient = cupy.empty((), dtype=logits.dtype), cupy.empty(logits.shape, dtype=logits.dtype)
    _run("cross_entropy", logits, float(target), mean, gradient)
    return mean, gradient


def mean_probability(logits: Array) -> Array:
    """The mean of sigmoid(s), of shape ()."""
    mean = cupy.empty((), dtype=logits.dtype)
    _run("mean_probability", logits, mean)
    return mean


def _run(kernel: str, logits: Array, *arguments: float | Array) -> None:
    size, shared = int(logits.size), THREADS * 8
    arguments = (contiguous(logits), size, *arguments)
    launch("logits", kernel, (1,), *arguments, dtype=logits.dtype, block=THREADS, shared=shared, settings=SETTINGS)
