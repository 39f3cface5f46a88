"""The base of all families of kernels: the GPU, compiled kernels, memory."""

from types import ModuleType
from typing import Any

import numpy as np

from minigan.backends.base import Array, Guard, Shape
from minigan.backends.gpu.launch import Launcher, vector_of
from minigan.backends.precision import Precision


class Engine:
    """State of one GPU backend object."""

    xp: ModuleType
    launch: Launcher
    precision: Precision
    multiprocessors: int
    shared_bytes: int  # that a block can have, at most
    guard: Guard | None

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return self.xp.empty(shape, dtype=dtype)  # CuPy's pool hands out memory again by itself

    def vector_pass(
        self,
        family: str,
        kernel: str,
        arrays: tuple[Array, ...],
        *arguments: Any,
        over: Array,
        together: int = 0,
        shared: int = 0,
    ) -> None:
        """Runs one pass of a kernel of vector.cuh, which takes the arrays, a size, and further arguments.

        Args:
            over: the array whose numbers the threads share among them, and whose size it is.
            together: of all the arrays' numbers so many lie side by side; 0 for all.
            shared: bytes of shared memory.
        """
        vector = vector_of(*arrays, together=together)
        self.launch.elementwise(
            family,
            kernel,
            -(-over.size // vector),
            *arrays,
            np.int64(over.size),
            *arguments,
            dtype=over.dtype,
            shared=shared,
            settings=(("VECTOR", vector), ("WIDE", int(over.size >= 1 << 32))),
        )
