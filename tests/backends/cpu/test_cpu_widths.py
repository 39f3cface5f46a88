"""Convolutions, products and normalization once more for each vector width: SSE and NEON, AVX2, AVX-512."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import simd

HERE = Path(__file__).parent


DTYPES = {16: "float64", 32: "float32", 64: "float32"}  # what each width is tested with


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [width for width in DTYPES if width != simd.VECTOR_BYTES])
def test_every_path_at_another_width(width):
    """In a process of its own, most of whose time it compiles."""
    names = "cpu/test_cpu_conv.py", "cpu/test_cpu_winograd.py", "test_dense_kernels.py", "test_norm_kernels.py"
    files = [HERE.parent / name for name in names]
    everything = ["-m", "", "-k", "not gpu"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *everything, *files]
    settings = {"MINIGAN_VECTOR_BYTES": str(width), "MINIGAN_TEST_DTYPES": DTYPES[width], "MINIGAN_EXAMPLES": "25"}
    result = subprocess.run(
        command, env=os.environ | settings, cwd=HERE.parents[2], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_unknown_width_is_told():
    result = subprocess.run(
        [sys.executable, "-c", "import minigan.backends.cpu"],
        env=os.environ | {"MINIGAN_VECTOR_BYTES": "48"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "MINIGAN_VECTOR_BYTES must be 16, 32 or 64, got '48'" in result.stderr
