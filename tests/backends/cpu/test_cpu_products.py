"""Dense layers by products of bfloat16 numbers: every unit that this machine has, and the one in plain loops."""

import numpy as np
import pytest
from bfloat_units import THREE, backend_of, forced, rounded, units

from minigan.backends.cpu import CpuBackend, dense
from minigan.backends.cpu.products_plan import choose_product
from minigan.backends.cpu.tile_units import Unit, find_unit
from minigan.backends.reference import ReferenceBackend

REFERENCE = ReferenceBackend()
FLOAT32 = np.dtype(np.float32)

# Of the largest number. A sum of few numbers has no larger one beside it, so three products err by 2^-16 of it.
TOLERANCES = {1: 3e-6, 3: 2e-5}

# (rows, depth, width): whole blocks; odd sizes; few rows; thin results; many groups, and many panels.
CASES = [(64, 128, 96), (33, 70, 47), (2, 40, 70), (9, 300, 5), (200, 33, 8), (40, 64, 600)]


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(dense, "OPENBLAS_WORK", 0)
    with forced():
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def arrays(rng, rows, depth, width):
    """x, w, b, dy."""
    return [rng.standard_normal(s).astype(np.float32) for s in ((rows, depth), (depth, width), width, (rows, width))]


def results(backend, x, w, b, dy, *, slope=0.2):
    """y and the three gradients, those of weights added to ones."""
    y = backend.dense_leaky_relu(x, w, b, slope=slope)
    dw, db = np.ones_like(w), np.ones_like(b)
    dx = backend.dense_leaky_relu_grad(dy, x, w, y, slope=slope, add_to=(dw, db))
    return y, dx, dw, db


def expected(x, w, b, dy, *, slope=0.2, factor=lambda t: t.astype(np.float64)):
    """The same in double precision, of factors that `factor` rounds."""
    y = REFERENCE.leaky_relu(factor(x) @ factor(w) + b, slope=slope)
    dz = REFERENCE.leaky_relu_grad(dy, y.astype(np.float32), slope=slope)
    dx, dw = factor(dz) @ factor(w).T, 1 + factor(x).T @ factor(dz)
    return y, dx, dw, 1 + dz.astype(np.float64).sum(axis=0)


def expect_close(actual, exact, tolerance):
    for one, other in zip(actual, exact, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
@pytest.mark.parametrize("products", [1, THREE])
def test_products_are_those_of_rounded_factors_or_have_the_digits_of_float32(rng, name, products):
    backend = backend_of(name, products)
    for sizes in CASES:
        factors = arrays(rng, *sizes)
        exact = expected(*factors, **({"factor": rounded} if products == 1 else {}))
        expect_close(results(backend, *factors), exact, TOLERANCES[products])


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", units())
def test_any_product_transposed_added_or_with_few_of_them_wanted(rng, name):
    backend = backend_of(name, 1)
    for rows, depth, width in (CASES[1], CASES[3]):
        x, w, b, dy = arrays(rng, rows, depth, width)
        exact = rounded(x) @ rounded(w)
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                factors = (x.T.copy() if transpose_a else x), (w.T.copy() if transpose_b else w)
                options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
                found = backend.matmul(*factors, bias=b, **options)
                sums = backend.matmul(*factors, add_to=np.ones_like(dy), **options)
                expect_close((found, sums), (exact + b, exact + 1), TOLERANCES[1])
        _, dx, dw, _ = results(backend, x, w, b, dy, slope=1)
        np.testing.assert_array_equal(backend.dense_grad(dy, x, w, add_to=None), dx)
        sums = np.ones_like(w)
        assert backend.dense_grad(dy, x, w, add_to=(sums, None), need_dx=False) is None
        np.testing.assert_array_equal(sums, dw)


def takes_products(backend, sizes):
    return choose_product(*sizes, backend.processor(FLOAT32, 1 << 30), backend.unit) is not None


@pytest.mark.usefixtures("always")
def test_products_have_the_same_bits_whatever_the_threads(rng):
    name, factors = find_unit().name or "emulated", arrays(rng, *CASES[0])
    one, two, again = (results(backend_of(name, 1, threads=threads), *factors) for threads in (1, 2, 2))
    for a, b in zip(two, again, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one[:3], two[:3], strict=True):  # all but the bias's gradient
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("products", [1, THREE])
def test_what_is_not_finite_stays_so_and_where_it_is(rng, products, number):
    backend = backend_of(find_unit().name or "emulated", products)
    x, w, b, dy = arrays(rng, *CASES[1])
    x[3, 5] = dy[7, 11] = number
    with np.errstate(all="ignore"):
        for actual, exact in zip(results(backend, x, w, b, dy), expected(x, w, b, dy), strict=True):
            np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(exact))


@pytest.mark.usefixtures("always")
def test_arrays_that_lie_otherwise_and_empty_batches(rng):
    backend = backend_of(find_unit().name or "emulated", 1)
    x, w, b, dy = arrays(rng, *CASES[1])
    spread = [np.repeat(array, 2, axis=-1)[..., ::2] for array in (x, w, b, dy)]
    for one, other in zip(results(backend, *spread), results(backend, x, w, b, dy), strict=True):
        np.testing.assert_array_equal(one, other)
    y, dx, dw, db = results(backend, x[:0], w, b, dy[:0])
    assert (y.shape, dx.shape) == ((0, 47), (0, 70))
    assert np.all(dw == 1)
    assert np.all(db == 1)


# ---------------------------------------------------------------------------------------------------- the choice


def test_products_of_bfloat16_numbers_are_taken_where_they_are_faster():
    """As measured on Zen 4: not for few rows or columns, nor where the call would take what the product saves."""
    backend = CpuBackend(threads=2, precision="bf16")
    backend.unit = Unit("dot", 1)
    for sizes in [(64, 784, 512), (64, 100, 8192), (512, 2048, 2048)]:
        assert takes_products(backend, sizes), sizes
    for sizes in [(1, 784, 512), (8, 784, 512), (64, 784, 1), (64, 2, 128), (64, 784, 128)]:
        assert not takes_products(backend, sizes), sizes
    plan = choose_product(64, 784, 512, backend.processor(FLOAT32, 1 << 30), backend.unit)
    assert plan.name == "dot bf16"
    assert "rounded to bfloat16" in plan.reason


def test_float32_takes_three_products_on_tile_registers():
    backend = CpuBackend(threads=2)
    backend.unit = Unit("amx", 3)
    assert takes_products(backend, (64, 784, 512))
    double = backend.processor(np.dtype(np.float64), 1 << 30)
    assert choose_product(64, 784, 512, double, backend.unit) is None
    backend.unit = None
    assert not takes_products(backend, (64, 784, 512))
