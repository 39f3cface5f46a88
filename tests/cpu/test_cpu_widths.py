"""The convolutions and products once more for each vector width: those of SSE and NEON, AVX2 and AVX-512."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import simd

HERE = Path(__file__).parent


@pytest.mark.parametrize(("vector_bytes", "dtype"), [(16, "float64"), (32, "float32"), (64, "float32")])
def test_every_path_at_another_width(vector_bytes, dtype):
    if vector_bytes == simd.VECTOR_BYTES:
        pytest.skip("the width of this process")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / "test_cpu_conv.py",
         HERE / "test_cpu_winograd.py", HERE.parent / "backends" / "test_dense_kernels.py"],
        env=os.environ
        | {"MINIGAN_VECTOR_BYTES": str(vector_bytes), "MINIGAN_TEST_DTYPES": dtype, "MINIGAN_EXAMPLES": "25"},
        cwd=HERE.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_unknown_width_is_told():
    result = subprocess.run(
        [sys.executable, "-c", "import minigan.backends.cpu"],
        env=os.environ | {"MINIGAN_VECTOR_BYTES": "48"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "MINIGAN_VECTOR_BYTES must be 16, 32 or 64, got '48'" in result.stderr
