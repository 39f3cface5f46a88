"""The names of what the CPU backend computes convolutions by; that they are the right ones is `test_the_choice`."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import CpuBackend, simd
from minigan.backends.geometry import ConvGeometry
from minigan.backends.reference import ReferenceBackend

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
HIDDEN = ConvGeometry(16, 16, 128, 256, 4, 4, (2, 2), ((1, 1), (1, 1)))


def names(backend, geometry, images, dtype):
    return [backend.algorithm(kernel, geometry, images, dtype) for kernel in KERNELS]


@pytest.mark.skipif(simd.VECTOR_BYTES != 64, reason="the choice depends on the width of a tile")
def test_the_name_is_that_of_the_backends_own_choice():
    default, exact = CpuBackend(threads=2, exact=False), CpuBackend(threads=2, exact=True)
    assert names(default, HIDDEN, 64, SINGLE) == ["winograd F(4x4, 2x2)"] * 3
    for backend, dtype in ((exact, SINGLE), (default, DOUBLE)):
        assert not any("winograd" in name for name in names(backend, HIDDEN, 64, dtype))
    assert names(default, ConvGeometry(4, 4, 512, 1, 4, 4), 64, SINGLE) == ["dense"] * 3


def test_the_reference_has_only_one_way():
    assert names(ReferenceBackend(), HIDDEN, 64, SINGLE) == [None] * 3


@pytest.mark.skipif(simd.VECTOR_BYTES != 64, reason="the choice depends on the width of a tile")
def test_the_reason_is_that_of_the_choice():
    backend = CpuBackend(threads=2, exact=False)
    assert "take 25 products instead of 64" in backend.reason("conv2d", HIDDEN, 64, SINGLE)
    assert "its whole image" in backend.reason("conv2d", ConvGeometry(4, 4, 512, 1, 4, 4), 64, SINGLE)
    assert "each tap" in ReferenceBackend().reason("conv2d", HIDDEN, 64, SINGLE)
