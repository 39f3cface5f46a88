"""C compilers of this machine, and exported generators compiled to be called from Python."""

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.export import FORMATS, ExportOptions, Subject

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-pedantic", "-Werror"]
GCC, CLANG, GXX = (shutil.which(name) for name in ("gcc", "clang", "g++"))
ZIG = [sys.executable, "-m", "ziglang"] if importlib.util.find_spec("ziglang") else None
FLOATS = ctypes.POINTER(ctypes.c_float)


def compiled(*command: object) -> None:
    """Runs a compiler, whose every word would be an error or a warning."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[:2000]


class Exported(NamedTuple):
    """A header in a library that Python has loaded."""

    library: ctypes.CDLL
    prefix: str
    subject: Subject
    told: str

    def function(self, name: str):
        found = getattr(self.library, f"{self.prefix}_{name}")
        found.restype = FLOATS if name in ("generate", "sample") else None
        return found

    def scratch(self) -> np.ndarray:
        """Memory of the size that the macro says, with NaN in it."""
        size = ctypes.c_int.in_dll(self.library, f"{self.prefix}_scratch_size").value
        return np.full(size, np.nan, np.float32)

    def images(self, x: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        """As the header's `generate` draws them."""
        scratch, shape = self.scratch(), self.subject.network.output_shape
        images = []
        for n, one in enumerate(x):
            given = [pointer(np.ascontiguousarray(one))]
            if c is not None:
                given.append(int(c[n].argmax()) if self.subject.classes else pointer(np.ascontiguousarray(c[n])))
            images.append(self._copy(self.function("generate")(*given, pointer(scratch)), shape))
        return np.stack(images)

    def samples(self, seed: int, count: int, *label: int) -> np.ndarray:
        """As the header's `sample` draws them."""
        scratch, shape = self.scratch(), self.subject.network.output_shape
        draw = self.function("sample")
        return np.stack(
            [self._copy(draw(ctypes.c_uint64(seed), n, *label, pointer(scratch)), shape) for n in range(count)]
        )

    @staticmethod
    def _copy(numbers, shape: tuple[int, ...]) -> np.ndarray:
        return np.ctypeslib.as_array(numbers, (prod(shape),)).copy().reshape(shape)


def pointer(array: np.ndarray):
    assert array.dtype == np.float32
    return array.ctypes.data_as(FLOATS)


def load(subjects: dict[str, Subject], folder: Path, *, weights: str = "fp32", more: str = "") -> dict[str, Exported]:
    """All networks exported and compiled in one C file, with all warnings as errors.

    Args:
        more: C at the end of the file.
    """
    told, lines = {}, ["#include <stdint.h>"]
    for n, (name, subject) in enumerate(subjects.items()):
        told[name] = FORMATS["c"].write(subject, folder / f"g{n}.h", ExportOptions(weights=weights))
        lines += [f"#define G{n}_IMPLEMENTATION", f'#include "g{n}.h"', f"const int g{n}_scratch_size = G{n}_SCRATCH;"]
    (folder / "all.c").write_text("\n".join([*lines, more, ""]))
    compiled(GCC, "-std=c99", *WARNINGS, "-O1", "-shared", "-fPIC", folder / "all.c", "-lm", "-o", folder / "all.so")
    library = ctypes.CDLL(str(folder / "all.so"))
    return {name: Exported(library, f"g{n}", subjects[name], told[name]) for n, name in enumerate(subjects)}
