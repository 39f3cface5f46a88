"""Convolutions by products of bfloat16 numbers: every unit that this machine has, and the one in plain loops.

What surrounds the products (rounding, packing, the cut into blocks, bands and phases, edges) is the same for all units,
so the emulated one tests it where there are no tile registers.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from bfloat_units import THREE, backend_of, forced, rounded, units
from hypothesis import assume, given
from hypothesis import strategies as st

from minigan.backends.cpu import CpuBackend, tile_units
from minigan.backends.cpu.bfloat16 import bfloat16
from minigan.backends.cpu.target import FEATURES
from minigan.backends.cpu.tile_units import Unit, find_unit
from minigan.backends.cpu.tiles_plan import TilesPlan, WeightTilesPlan
from minigan.backends.geometry import ConvGeometry
from minigan.backends.reference import ReferenceBackend

KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
REFERENCE = ReferenceBackend()
FLOAT32 = np.dtype(np.float32)
SAME = ((1, 1), (1, 1))

# Images, then a geometry: whole blocks; odd sizes; few images and many; strides and paddings that differ; windows of
# few channels; filters as large as the stride, smaller, and larger than the image; many channels to make from few.
CASES = [
    (64, ConvGeometry(8, 8, 64, 96, 4, 4, (2, 2), SAME)),
    (33, ConvGeometry(7, 7, 40, 33, 4, 4, (2, 2), SAME)),
    (16, ConvGeometry(9, 11, 32, 64, 3, 3, (1, 1), SAME)),
    (5, ConvGeometry(6, 5, 7, 9, 5, 3, (2, 1), ((2, 0), (1, 2)))),
    (1, ConvGeometry(20, 40, 16, 8, 3, 3, (1, 1), SAME)),
    (40, ConvGeometry(16, 16, 3, 64, 4, 4, (2, 2), SAME)),
    (20, ConvGeometry(12, 9, 1, 20, 5, 5, (3, 2), ((0, 3), (4, 0)))),
    (2, ConvGeometry(3, 70, 3, 5, 2, 2)),
    (64, ConvGeometry(5, 5, 70, 3, 4, 4, (1, 1), ((2, 2), (2, 2)))),
    (40, ConvGeometry(4, 4, 8, 16, 1, 1, (2, 2))),
    (17, ConvGeometry(6, 6, 33, 65, 3, 3, (2, 2), ((3, 3), (3, 3)))),
]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def always():
    with forced():
        yield


def arrays(rng, images, g, dtype=FLOAT32):
    """x, dy, w, and the biases of y and of dx."""
    x, dy = (rng.standard_normal((images, *shape)).astype(dtype) for shape in (g.input_shape, g.output_shape))
    w, b, b_of_dx = (rng.standard_normal(shape).astype(np.float32) for shape in (g.weight_shape, g.K, g.C))
    return x, dy, w, b, b_of_dx


def results(backend, g, x, dy, w, b, b_of_dx):
    dw = np.ones(g.weight_shape, w.dtype)
    backend.conv2d_weight_grad(x, dy, g, add_to=dw)
    return backend.conv2d(x, w, b, g), backend.conv2d_input_grad(dy, w, g, b=b_of_dx), dw


def expect_tiles(backend, g, images):
    for kernel in KERNELS:
        assert isinstance(backend.plan(kernel, g, images, FLOAT32), TilesPlan | WeightTilesPlan), kernel


@pytest.mark.exhaustive  # as below, where float32 arrays are converted on the way into tiles
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
@pytest.mark.parametrize(("images", "g"), CASES)
def test_one_product_is_that_of_rounded_factors(rng, name, images, g):
    backend = backend_of(name, 1)
    expect_tiles(backend, g, images)
    factors = arrays(rng, images, g)
    x, dy, w, *biases = factors
    expected = results(REFERENCE, g, rounded(x), rounded(dy), rounded(w), *(b.astype(np.float64) for b in biases))
    for actual, exact in zip(results(backend, g, *factors), expected, strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, exact, rtol=0, atol=3e-6 * np.abs(exact).max())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
@pytest.mark.parametrize("products", [THREE])
@pytest.mark.parametrize(("images", "g"), CASES)
def test_three_products_have_the_digits_of_float32(rng, name, products, images, g):
    backend = backend_of(name, products)
    factors = arrays(rng, images, g)
    expected = results(REFERENCE, g, *(factor.astype(np.float64) for factor in factors))
    for actual, exact in zip(results(backend, g, *factors), expected, strict=True):
        np.testing.assert_allclose(actual, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
@pytest.mark.parametrize(("images", "g"), CASES)
def test_bfloat16_arrays_have_the_products_of_their_numbers_rounded_once(rng, name, images, g):
    backend = backend_of(name, 1)
    expect_tiles(backend, g, images)
    x, dy, w, *biases = arrays(rng, images, g, bfloat16())
    exact = [rounded(factor) for factor in (x, dy, w)]
    expected = results(REFERENCE, g, *exact, *(b.astype(np.float64) for b in biases))
    for actual, number in zip(results(backend, g, x, dy, w, *biases), expected, strict=True):
        unit = 0 if actual.dtype == np.float32 else 2.0**-8 * np.abs(number)  # a gradient of weights is not rounded
        assert (np.abs(actual.astype(np.float64) - number) <= unit + 3e-6 * np.abs(number).max()).all()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
def test_bfloat16_arrays_are_read_and_written(rng, name):
    backend = backend_of(name, 1)
    for images, g in CASES[1:7]:
        factors = arrays(rng, images, g, bfloat16())
        wide = [factor.astype(np.float32) for factor in factors]
        for narrow, expected in zip(results(backend, g, *factors), results(backend, g, *wide), strict=True):
            if narrow.dtype == np.float32:
                np.testing.assert_array_equal(narrow, expected)  # a gradient of weights
            else:
                np.testing.assert_array_equal(narrow, expected.astype(bfloat16()))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
def test_an_activation_comes_before_the_rounding(rng, name):
    backend = backend_of(name, 1)
    images, g = CASES[1]
    x, _, w, b, _ = arrays(rng, images, g, bfloat16())
    x[2, 3, 3, 3], w[1, 1, 3, 3] = np.inf, 0.0
    wide = x.astype(np.float32)
    with np.errstate(invalid="ignore"):
        for slope in (0.2, 0.0):
            expected = REFERENCE.leaky_relu(backend.conv2d(wide, w, b, g), slope=slope)
            np.testing.assert_array_equal(backend.conv2d_leaky_relu(wide, w, b, g, slope=slope), expected)
            found = backend.conv2d_leaky_relu(x, w, b, g, slope=slope)
            np.testing.assert_array_equal(found.astype(np.float32), expected.astype(bfloat16()).astype(np.float32))


@pytest.mark.exhaustive
@pytest.mark.parametrize("products", [1, THREE])
@given(
    images=st.sampled_from([1, 3, 15, 16, 17, 31, 32, 33, 50]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.tuples(st.sampled_from([1, 2, 3, 8, 31, 33]), st.sampled_from([1, 4, 16, 32, 35])),
    taps=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    threads=st.integers(1, 3),
)
def test_any_geometry(products, images, size, channels, taps, stride, padding, threads):
    top, bottom, left, right = padding
    assume(size[0] + top + bottom >= taps[0] and size[1] + left + right >= taps[1])
    assume(size != taps or any(padding))  # else a matrix product
    g = ConvGeometry(*size, *channels, *taps, stride, ((top, bottom), (left, right)))
    backend = backend_of(find_unit().name or "emulated", products, threads=threads)
    factors = arrays(np.random.default_rng(0), images, g)
    exact = [rounded(a) if products == 1 else a.astype(np.float64) for a in factors[:3]]
    expected = results(REFERENCE, g, *exact, *(b.astype(np.float64) for b in factors[3:]))
    with forced():
        actual = results(backend, g, *factors)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())


@pytest.mark.exhaustive
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
@pytest.mark.parametrize("products", [1, THREE])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_stays_so_and_where_it_is(rng, name, products, number):
    images, g = CASES[1]
    backend = backend_of(name, products)
    x, dy, w, b, b_of_dx = arrays(rng, images, g)
    x[3, 2, 2, 5] = dy[3, 1, 1, 4] = number
    y, dx, dw = results(backend, g, x, dy, w, b, b_of_dx)
    with np.errstate(all="ignore"):
        plain = results(REFERENCE, g, x.astype(np.float64), dy.astype(np.float64), w, b, b_of_dx)
    for actual, expected in zip((y, dx, dw), plain, strict=True):
        np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("products", [1, THREE])
def test_same_threads_same_bits(rng, products):
    name = find_unit().name or "emulated"
    images, g = CASES[0]
    factors = arrays(rng, images, g)
    first, again = (results(backend_of(name, products), g, *factors) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------- the choice

LARGE = ConvGeometry(8, 8, 256, 512, 4, 4, (2, 2), SAME)


def test_float32_takes_three_products_only_where_tile_registers_make_them_fast(monkeypatch):
    for found, exact, expected in [
        ("amx", False, Unit("amx", 3)),
        ("amx", True, None),
        ("dot", False, None),
        (None, False, None),
    ]:
        monkeypatch.setattr("minigan.backends.cpu.find_unit", lambda found=found: tile_units.Found(found, ""))
        assert CpuBackend(exact=exact).unit == expected
        assert CpuBackend(exact=exact, precision="bf16").unit == (Unit(found, 1) if found else None)
    backend = CpuBackend()
    backend.unit = Unit("amx", 3)
    for kernel in KERNELS:
        assert backend.algorithm(kernel, LARGE, 64, FLOAT32) == "amx bf16x3"
        assert "three bfloat16 products" in backend.reason(kernel, LARGE, 64, FLOAT32)
        assert "bf16" not in backend.algorithm(kernel, LARGE, 64, np.dtype(np.float64))


def test_bf16_takes_the_faster_way():
    backend = CpuBackend(precision="bf16")
    for name in ("dot", "amx"):
        backend.unit = Unit(name, 1)
        assert backend.algorithm("conv2d", LARGE, 64, FLOAT32) == f"{name} bf16"
        assert "rounded to bfloat16" in backend.reason("conv2d", LARGE, 64, FLOAT32)
    backend.unit = Unit("dot", 1)
    few = ConvGeometry(28, 28, 64, 1, 4, 4, (2, 2), SAME)
    assert "bf16" not in backend.algorithm("conv2d", few, 1, FLOAT32)


@pytest.mark.parametrize(
    ("features", "vector_bytes", "refusal", "name", "reason"),
    [
        ({"avx512f"}, 64, "", None, "no instruction for bfloat16 products"),
        ({"avx512bf16", "sse4a"}, 64, "", "dot", "vdpbf16ps"),
        ({"avx512bf16", "sse4a"}, 32, "", None, "takes vectors of 64 bytes, and these are of 32"),
        ({"avx512bf16"}, 64, "", None, "no faster than float32's multiply-adds on Intel's"),
        ({"avx512bf16", "amx-tile", "amx-bf16"}, 64, "", "amx", "tdpbf16ps"),
        ({"avx512bf16", "amx-tile", "amx-bf16"}, 64, "the system refuses it", None, "but the system refuses it"),
        ({"avx512bf16", "amx-tile"}, 64, "", None, "Intel's"),
    ],
)
def test_the_unit_is_what_is_there_and_allowed(monkeypatch, features, vector_bytes, refusal, name, reason):
    monkeypatch.setattr(tile_units, "FEATURES", frozenset(features))
    monkeypatch.setattr(tile_units, "VECTOR_BYTES", vector_bytes)
    monkeypatch.setattr(tile_units, "_ask_for_tiles", lambda: refusal)
    found = find_unit.__wrapped__()
    assert found.name == name
    assert reason in found.reason


def test_a_system_that_refuses_tile_registers_is_an_answer(monkeypatch):
    monkeypatch.setattr(tile_units.sys, "platform", "darwin")
    assert "only Linux" in tile_units._ask_for_tiles()
    monkeypatch.undo()

    class Library:
        def __init__(self, *_, **__):
            pass

        def syscall(self, *_):
            return -1

    monkeypatch.setattr(tile_units.sys, "platform", "linux")
    monkeypatch.setattr(tile_units.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(tile_units.ctypes, "CDLL", Library)
    assert "the system refuses it" in tile_units._ask_for_tiles()
    monkeypatch.setattr(tile_units.ctypes, "CDLL", lambda *_, **__: object())
    assert "cannot be asked" in tile_units._ask_for_tiles()


COMPILED = """
import collections, re, sys
import numba, numpy as np
from minigan.backends.cpu import CpuBackend, tile_units, tiles_plan
from minigan.backends.cpu.threads import Team
from minigan.backends.geometry import ConvGeometry

class Listed(Team):
    def run(self, kernel, *arguments, parts=None):
        kernels[kernel.py_func.__name__] = kernel, tuple(map(numba.typeof, (0, 1, *arguments)))

tiles_plan.GAINS.update({1: 0, 3: 0})
g = ConvGeometry(8, 8, 32, 32, 4, 4, (2, 2), ((1, 1), (1, 1)))
x, w, dy = (np.zeros(shape, np.float32) for shape in ((32, 8, 8, 32), g.weight_shape, (32, 4, 4, 32)))
for products in (1, 3):
    kernels = {}
    backend = CpuBackend(threads=1)
    backend.team, backend.unit = Listed(1), tile_units.Unit("amx", products)
    backend.conv2d(x, w, None, g)
    backend.conv2d_weight_grad(x, dy, g, add_to=w)
    backend.dense_leaky_relu(dy.reshape(32, -1), np.zeros((512, 512), np.float32), None, slope=0.2)
    for name in ("correlate_tiles", "correlate_weight_tiles", "multiply_tiles"):
        kernel, types = kernels[name]
        kernel.compile(types)
        found = collections.Counter(re.findall("tdpbf16ps|tileloadd|ldtilecfg|tilerelease", kernel.inspect_asm(types)))
        print(name, products, *(found[word] for word in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tilerelease")))
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(
    "avx512bf16" not in FEATURES, reason="compiles for a processor that has this one's instructions, too"
)
def test_llvm_has_the_instructions_for_tile_registers(tmp_path):
    features = ",".join(f"+{name}" for name in sorted((FEATURES - {"sse4a", "clzero"}) | {"amx-tile", "amx-bf16"}))
    settings = {"NUMBA_CPU_NAME": "sapphirerapids", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], env=os.environ | settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 6
    for name, products, configured, loads, multiplied, released in lines:
        # Each loop over the depth has its body once, or once more for each time that LLVM unrolled it.
        bodies = int(multiplied) / (4 * int(products))
        assert bodies == int(bodies) >= 1, name
        assert int(loads) == bodies * (4 if products == "1" else 8)
        assert (configured, released) == ("1", "1")
