"""CUDA sources on the CPU: what the stand-in for CuPy has for `cupy.RawModule`, see `shim.hpp`.

Arguments are packed as CuPy packs them, and must have the sizes that the kernel declares. Every array is copied into
memory with NaN on both sides for the time of the call, so that a read beyond it shows in the result, and a write
beyond it fails here.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_cuda import DEVICE

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
SHIM = Path(__file__).with_name("shim.hpp")
MARGIN = 4096  # bytes of NaN on each side of an array
FLAGS = ("-std=c++17", "-O1")
# The order of threads between barriers is open on a GPU: with 1 the last thread goes first.
BACKWARDS = 0
ONE_AT_A_TIME = threading.Lock()  # the indices of a block's threads are global


def library(source: str, options: Sequence[str]) -> ctypes.CDLL:
    """The compiled sources."""
    kernels = re.findall(r"__global__ void(?: __launch_bounds__\([^)]*\))?\s+(\w+)\(", source)
    header = compiled(SHIM.read_text(), "shim.hpp", ["-x", "c++-header", "-fPIC"], ".gch")  # saves half of the time
    text = "\n".join(
        [f'#include "{header.with_suffix("")}"', source, *(f"SHIM_EXPORT({kernel})" for kernel in kernels)]
    )
    defines = [option for option in options if option.startswith("-D")]
    return ctypes.CDLL(str(compiled(text, "kernels.cpp", ["-shared", "-fPIC", *defines], ".so")))


def compiled(text: str, name: str, options: Sequence[str], suffix: str) -> Path:
    """A file that the compiler makes of a text, in a folder where it stays for the next time."""
    folder = Path(tempfile.gettempdir()) / f"minigan-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256("\0".join([text, *options, *FLAGS]).encode()).hexdigest()[:24]
    code = folder / f"{digest}-{name}"
    path = Path(f"{code}{suffix}")
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made, whole = Path(scratch) / path.name, Path(scratch) / code.name
            whole.write_text(text)
            os.replace(whole, code)  # in one piece, as another process may compile it at the same time
            done = subprocess.run(
                [str(COMPILER), *FLAGS, *options, str(code), "-o", str(made)], capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"{' '.join(options)}: {done.stderr[:4000]}")
            os.replace(made, path)
    return path


class RawModule:
    """As `cupy.RawModule`, as far as minigan uses it."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        assert backend == "nvrtc"
        self._library = library(code, options)

    def get_function(self, name: str) -> "RawKernel":
        return RawKernel(getattr(self._library, f"shim_{name}"), name)


class RawKernel:
    """As `cupy.RawKernel`. Attributes: max_dynamic_shared_size_bytes, above which a launch fails, as on a GPU."""

    def __init__(self, function: Any, name: str) -> None:
        self._function = function
        self.name = name
        self.max_dynamic_shared_size_bytes = 48 << 10

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        assert all(type(size) is int and size > 0 for size in grid + block), f"{self.name}: {grid=}, {block=}"
        assert grid[0] < 2**31
        assert max(grid[1:]) < 2**16, f"{self.name}: {grid=}"
        assert shared_mem <= self.max_dynamic_shared_size_bytes, f"{self.name}: {shared_mem} bytes of shared memory"
        hosts = [argument.host if hasattr(argument, "host") else argument for argument in args]
        DEVICE.compute(lambda: self._run(grid, block, hosts, shared_mem), writes=True, memory=[])

    def _run(self, grid: tuple[int, ...], block: tuple[int, ...], args: list[Any], shared_mem: int) -> None:
        guarded = Guarded([argument for argument in args if isinstance(argument, np.ndarray)])
        values = [packed(argument, guarded) for argument in args]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        sizes = (ctypes.c_size_t * len(values))(*map(ctypes.sizeof, values))
        with ONE_AT_A_TIME:
            wrong = self._function(
                (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), ctypes.c_size_t(shared_mem), pointers, sizes,
                ctypes.c_size_t(len(values)), ctypes.c_int(BACKWARDS),
            )  # fmt: skip
        assert wrong != -1, f"{self.name}: {len(values)} arguments are not as many as the kernel has"
        assert wrong == 0, f"{self.name}: argument {wrong - 1} is not of the size that the kernel expects"
        guarded.give_back(self.name)


def packed(argument: Any, guarded: "Guarded") -> Any:
    """The bytes of a launch's argument, as CuPy has them: arrays by address, Python's numbers in 8 bytes.

    None is refused: CuPy passes it as an argument that is nowhere, and the launch reads it.
    """
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(guarded.address(argument))
    if isinstance(argument, bool):
        return ctypes.c_bool(argument)
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    if isinstance(argument, float):
        return ctypes.c_double(argument)
    assert isinstance(argument, np.generic), f"cannot be an argument of a kernel: {type(argument)}"
    return (ctypes.c_char * argument.itemsize).from_buffer_copy(argument.tobytes())


def margin(number: int) -> np.ndarray:
    """NaN in single and in double precision; each array's own, so that none is overwritten by another unnoticed."""
    return np.tile(np.array([number + 1, 0xFFFF], np.uint16).view(np.uint8), MARGIN // 4)


class Guarded:
    """Copies of arrays in memory with margins; arrays that share memory share it here too."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        for array in arrays:
            assert array.flags.c_contiguous, "kernels expect contiguous arrays"
        spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays)
        merged: list[list[int]] = []
        for first, last in spans:
            if merged and first < merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self._margins = [margin(number) for number in range(len(merged))]
        self._copies = [
            (first, last, self._copy(first, last, around))
            for (first, last), around in zip(merged, self._margins, strict=True)
        ]

    @staticmethod
    def _copy(first: int, last: int, around: np.ndarray) -> np.ndarray:
        copy = np.empty(last - first + 2 * MARGIN + 256, np.uint8)
        copy = copy[(first - copy.ctypes.data) % 256 :][: last - first + 2 * MARGIN]  # aligned as the original is
        copy[:MARGIN] = copy[MARGIN + last - first :] = around
        ctypes.memmove(copy.ctypes.data + MARGIN, first, last - first)
        return copy

    def address(self, array: np.ndarray) -> int:
        start = array.ctypes.data
        for first, last, copy in self._copies:
            if first <= start < last or (array.nbytes == 0 and start == first):
                return copy.ctypes.data + MARGIN + start - first
        return 0

    def give_back(self, kernel: str) -> None:
        for (first, last, copy), around in zip(self._copies, self._margins, strict=True):
            assert (copy[:MARGIN] == around).all(), f"{kernel} wrote before an array"
            assert (copy[MARGIN + last - first :] == around).all(), f"{kernel} wrote behind an array"
            ctypes.memmove(first, copy.ctypes.data + MARGIN, last - first)
