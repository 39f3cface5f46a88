"""Compiling the CUDA sources of this folder, and launching their kernels.

A family's kernels are one `.cu` file; what a kernel is specialized for (dtype, precision, tile) are settings of its
module, compiled when first used and kept by CuPy on disk.
"""

import re
from functools import cache
from typing import Any

import cupy
import numpy as np

from minigan.backends.base import Array
from minigan.errors import ShapeError
from minigan.support.package_files import packaged

THREADS = 256
Settings = tuple[tuple[str, int], ...]
NO_SETTINGS: Settings = ()


@cache
def source(name: str) -> str:
    """A source with its includes expanded, so that CuPy's cache of compiled kernels sees every change."""
    included: set[str] = set()

    def expanded(file: str) -> str:
        if file in included:
            return ""
        included.add(file)
        text = packaged(__package__, file).replace("#pragma once\n", "")
        return re.sub(r'#include "(.+)"\n', lambda match: expanded(match[1]), text)

    return expanded(name)


class Launcher:
    """The compiled kernels of one backend."""

    def __init__(self) -> None:
        self._modules: dict[tuple[str, np.dtype[Any], Settings], Any] = {}
        self._kernels: dict[tuple[str, str, np.dtype[Any], Settings], Any] = {}

    def __call__(
        self,
        family: str,
        kernel: str,
        grid: tuple[int, ...],
        *arguments: Any,
        dtype: np.dtype[Any],
        block: int = THREADS,
        shared: int = 0,
        settings: Settings = NO_SETTINGS,
    ) -> None:
        """Launches a kernel on the current stream.

        Args:
            family: the `.cu` file.
            grid: blocks.
            arguments: arrays, None for null; int for the kernel's int, float for its double.
            dtype: of the arrays, the sources' SCALAR.
            block: threads of a block.
            shared: bytes of dynamic shared memory.
            settings: macros and their values, for which the module is compiled.
        """
        key = (family, kernel, dtype, settings)
        compiled = self._kernels.get(key)
        if compiled is None:
            compiled = self._kernels[key] = self._module(family, dtype, settings).get_function(kernel)
            if shared > 48 << 10:  # what a block gets unasked
                compiled.max_dynamic_shared_size_bytes = shared
                compiled.preferred_shared_memory_carveout = 100  # percent: so that several blocks have room
        compiled(grid, (block,), tuple(map(_packed, arguments)), shared_mem=shared)

    def elementwise(
        self,
        family: str,
        kernel: str,
        size: int,
        *arguments: Any,
        dtype: np.dtype[Any],
        shared: int = 0,
        settings: Settings = NO_SETTINGS,
    ) -> None:
        """Launches a kernel that goes over `size` numbers or vectors, each thread in steps of the whole grid."""
        if size:
            self(family, kernel, (blocks_for(size),), *arguments, dtype=dtype, shared=shared, settings=settings)

    def _module(self, family: str, dtype: np.dtype[Any], settings: Settings) -> Any:
        """All kernels of a family in one compilation."""
        key = (family, dtype, settings)
        if key not in self._modules:
            macros = (("SCALAR", {"float32": "float", "float64": "double"}[dtype.name]), *settings)
            options = ("-std=c++17", *(f"-D{name}={value}" for name, value in macros))
            self._modules[key] = cupy.RawModule(code=source(f"{family}.cu"), options=options)
        return self._modules[key]


def blocks_for(size: int) -> int:
    """Blocks for that many numbers; a few waves at most, as each thread may do several."""
    return max(1, min(-(-size // THREADS), 1 << 12))


def _packed(argument: Any) -> Any:
    """An argument in the form that CuPy passes correctly: C's int has 4 bytes, null is a number, arrays are whole."""
    if type(argument) is int:
        return np.int32(argument)
    if argument is None:
        return np.uint64(0)
    if isinstance(argument, cupy.ndarray) and not argument.flags.c_contiguous:
        raise ShapeError(f"a kernel expects C-contiguous arrays, got strides {argument.strides}. Copy it first.")
    return argument


def aligned(array: Array, nbytes: int) -> bool:
    """Tells whether an array begins at a multiple of so many bytes."""
    return bool(array.data.ptr % nbytes == 0)


def contiguous(array: Array) -> Array:
    """The array itself, or a contiguous copy of a view that is not contiguous."""
    return array if array.flags.c_contiguous else cupy.ascontiguousarray(array)


def vector_of(*arrays: Array, together: int) -> int:
    """The count of an array's numbers that a thread may read at once, if so many lie together: VECTOR in vector.cuh."""
    wide = 16 // arrays[0].dtype.itemsize
    return wide if together % wide == 0 and all(aligned(array, 16) for array in arrays) else 1
