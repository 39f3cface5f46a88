"""The convolutions and products once more for each vector width: those of SSE and NEON, AVX2 and AVX-512."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import simd

HERE = Path(__file__).parent


DTYPES = {16: "float64", 32: "float32", 64: "float32"}  # what each width is tested with


@pytest.fixture(scope="module")
def others():
    """A process for each width but this one's, all at once: most of their time they compile."""
    files = HERE / "test_cpu_conv.py", HERE / "test_cpu_winograd.py", HERE.parent / "test_dense_kernels.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not cupy", *files]
    started = {}
    for width, dtype in DTYPES.items():
        if width != simd.VECTOR_BYTES:
            settings = {"MINIGAN_VECTOR_BYTES": str(width), "MINIGAN_TEST_DTYPES": dtype, "MINIGAN_EXAMPLES": "25"}
            started[width] = subprocess.Popen(
                command, env=os.environ | settings, cwd=HERE.parents[2], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
    yield started
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("width", DTYPES)
def test_every_path_at_another_width(others, width):
    if width == simd.VECTOR_BYTES:
        pytest.skip("the width of this process")
    said, _ = others[width].communicate()
    assert others[width].returncode == 0, said


def test_an_unknown_width_is_told():
    result = subprocess.run(
        [sys.executable, "-c", "import minigan.backends.cpu"],
        env=os.environ | {"MINIGAN_VECTOR_BYTES": "48"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "MINIGAN_VECTOR_BYTES must be 16, 32 or 64, got '48'" in result.stderr
