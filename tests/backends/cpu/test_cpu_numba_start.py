"""The lighter start of Numba: SciPy waits until something needs it, and the runtime's machine code is kept."""

import importlib.util
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import numba_start

PROGRAM = """
import sys
import numpy as np
from minigan.backends.cpu import CpuBackend
y = CpuBackend(threads=1).leaky_relu(np.full((4, 4), -1, np.float32), slope=0.5)
assert (y == -0.5).all()
assert "scipy.linalg" not in sys.modules
from numba.np import arraymath, linalg
print(arraymath._HAVE_BLAS, arraymath.ensure_blas is linalg.ensure_blas, linalg.ensure_blas.__module__)
"""


def test_a_kernel_runs_without_scipy_and_numba_still_knows_of_it():
    found = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    has_scipy = importlib.util.find_spec("scipy") is not None
    assert found.stdout.split() == [str(has_scipy), "True", "numba.np.linalg"]


class File(dict):
    """A cache file in memory."""

    load = dict.get
    save = dict.__setitem__


class Library:
    """Numba's library of machine code; knows how it was made."""

    def __init__(self, made):
        self.made = made

    def enable_object_caching(self):
        self.made += " and kept"

    def add_ir_module(self, module):
        assert module == "module"

    def finalize(self):
        pass

    def serialize_using_object_code(self):
        return "code"


class Context:
    """Numba's target, and its code generator."""

    def codegen(self):
        return self

    def magic_tuple(self):
        return ("processor",)

    def unserialize_library(self, state):
        if state != "code":
            raise ValueError("damaged")
        return Library("loaded")


def runtime(file):
    functions = numba_start._kept(lambda _: Library("plain"), lambda _: ("module", Library("compiled")), file)
    return functions(Context()).made


def test_the_runtime_is_compiled_once_and_then_loaded():
    file = File()
    assert runtime(file) == "compiled and kept"
    assert file == {("nrt", ("processor",)): "code"}
    assert runtime(file) == "loaded"


def test_a_damaged_or_unwritable_cache_costs_only_time():
    assert runtime(File({("nrt", ("processor",)): "nonsense"})) == "plain"

    class Full(File):
        def save(self, *_):
            raise OSError("no space left")

    assert runtime(Full()) == "compiled and kept"
