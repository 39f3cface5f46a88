"""Compiling on a second core, at the first run on a machine.

Numba compiles for some ten seconds before a DCGAN's first step is done, one function at a time in a process. So a
second process compiles the kernels that the step comes to last, and leaves them in the cache, where this one finds
them. Nothing waits for it: whoever needs a kernel that is not there yet compiles it.
"""

import atexit
import subprocess
import sys

import numpy as np

from minigan.backends.base import Backend
from minigan.backends.cpu.engine import default_threads
from minigan.backends.cpu.jit import KeyedCache
from minigan.backends.cpu.winograd import convolve_weights
from minigan.backends.geometry import ConvGeometry

SAME = ((1, 1), (1, 1))
MIDDLE = ConvGeometry(16, 16, 32, 64, 4, 4, (2, 2), SAME)  # large enough for Winograd's convolutions
THIN = ConvGeometry(28, 28, 1, 64, 4, 4, (2, 2), SAME)
IMAGES = 16

PROGRAM = """
from minigan.backends.cpu import CpuBackend, precompile
precompile.compile_late_kernels(CpuBackend(threads=1))
"""


def begin() -> "subprocess.Popen[bytes] | None":
    """The second process, or None where there is no use for one: a warm cache, no cache, no second core."""
    cache = convolve_weights._cache
    if default_threads() < 2 or not sys.executable or not isinstance(cache, KeyedCache) or cache.is_warm():
        return None
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # no more processes here: then one does it all
        return None
    atexit.register(process.kill)
    return process


def compile_late_kernels(backend: Backend) -> None:
    """Calls what a DCGAN's discriminator, and then its whole backward pass, adds to the generator's forward pass."""
    for g in (MIDDLE, THIN):
        x, y = (np.zeros((IMAGES, *shape), np.float32) for shape in (g.input_shape, g.output_shape))
        w = np.zeros(g.weight_shape, np.float32)
        backend.conv2d(x, w, None, g)
        backend.conv2d_weight_grad(x, y, g, add_to=w)
    # By now the first process is at D's backward pass, so from its end, which it comes to last.
    backend.adam_step(*(w.ravel() for _ in range(4)), lr=0.0, beta1=0.5, beta2=0.9, eps=1.0, step=1)
    backend.leaky_relu_grad(y, y, slope=0.2)
    backend.tanh_grad(y, y)
    channels = np.ones(y.shape[-1], np.float32)
    backend.batchnorm_leaky_relu_grad(
        y, y, channels, channels, channels, channels, eps=1e-5, slope=0.2, add_to=(channels.copy(), channels.copy())
    )
