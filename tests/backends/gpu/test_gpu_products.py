"""The convolution kernels of conv.cu in each tile, fetch width, precision and number of parts, run on the CPU."""

import itertools

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from calling import DTYPES, assert_close, assert_same_bits, call, draws
from captured import assert_captured_steps_agree
from selection import few_quick

from minigan.backends import get_backend
from minigan.backends.geometry import ConvGeometry, conv_geometry
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.nn import SelfAttention, Sequential

pytestmark = pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler for running CUDA on the CPU")

KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
# A factor is rounded to 11 or 8 bits, so a product is off by up to 2^-11 or 2^-8 of itself, twice; the sums are exact.
TOLERANCE = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 8e-3}


@pytest.fixture(scope="module")
def make():
    """GpuBackend over the stand-in."""
    with fake_cupy.installed():
        yield type(get_backend("gpu"))


def results(backend, g: ConvGeometry, images: int, dtype=DTYPES[0], seed: int = 1):
    """Results of the three kernels, as NumPy arrays."""
    shapes = (images, *g.input_shape), g.weight_shape, (images, *g.output_shape), (g.K,), (g.C,), g.weight_shape
    x, w, dy, b, c, dw = draws(seed, dtype, *shapes)
    return (
        call(backend, "conv2d", x, w, b, g),
        call(backend, "conv2d_input_grad", dy, w, g, b=c),
        call(backend, "conv2d_weight_grad", x, dy, g, add_to=dw)[1],
    )


def forced(monkeypatch, backend, *, tile=None, vectors=None, splits=None):
    """Takes part of the choice from the backend; the grid follows."""
    chosen = backend._plan

    def plan(kernel, g, images, dtype, straight, products=1):
        plan = chosen(kernel, g, images, dtype, straight, products)
        down, across, depth = plan.grid
        if tile is not None:
            down = -(-down * plan.tile.rows // tile.rows)  # perhaps more than needed: blocks beyond the end do nothing
            across = -(-across * plan.tile.columns // tile.columns)
            plan = plan._replace(tile=tile)
        if vectors is not None:
            plan = plan._replace(vectors=vectors)
            if min(vectors) == 1:
                plan = plan._replace(depth=16)
        if splits is not None:
            depth = depth // plan.splits * splits
            plan = plan._replace(splits=splits)
        return plan._replace(grid=(down, across, depth)).fitted(kernel, backend.shared_bytes)

    monkeypatch.setattr(backend, "_plan", plan)


GEOMETRIES = [
    conv_geometry((10, 9, 20), 36, (4, 4), (2, 2), "same"),
    conv_geometry((5, 6, 8), 132, (3, 2), (1, 3), ((2, 0), (1, 4))),
]


@pytest.mark.parametrize("precision", few_quick(TOLERANCE, ["tf32"]))
def test_every_tile_in_every_precision(make, reference, monkeypatch, precision):
    from minigan.backends.gpu.plan import tiles_of

    for tile in tiles_of(precision):
        backend = make(precision=precision)
        forced(monkeypatch, backend, tile=tile)
        for g in GEOMETRIES:
            for actual, expected in zip(results(backend, g, 3), results(reference, g, 3), strict=True):
                assert_close(actual, expected, tolerance=TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_depth_that_is_shorter_than_a_step(make, reference, precision):
    """Then threads are more than a tile of few rows needs."""
    g = conv_geometry((2, 2, 64), 64, (4, 4), (2, 2), 1)
    for actual, expected in zip(results(make(precision=precision), g, 1), results(reference, g, 1), strict=True):
        assert_close(actual, expected, tolerance=TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp32"])
def test_what_is_not_finite_stays_so(make, precision):
    """Also the NaN whose bits are all ones, and the largest number, which rounds up to infinity."""
    x = np.ones((4, 40), np.float32)
    x[0, 3], x[1, 5], x[2, 7] = np.nan, np.inf, np.finfo(np.float32).max
    x[0, 3] = np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0]
    y = call(make(precision=precision), "matmul", x, np.ones((40, 8), np.float32))
    assert np.isnan(y[0]).all()
    assert np.isposinf(y[1]).all()
    assert (y[2] > 1e38).all()
    assert (y[3] == 40).all()


@pytest.mark.parametrize(("transpose_a", "transpose_b"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sizes", [(3, 9, 20, 36), (2, 5, 7, 3), (5, 64, 300, 8)], ids=str)
def test_many_products_are_one_launch(make, reference, transpose_a, transpose_b, sizes):
    count, M, L, N = sizes
    a, b = draws(
        6, np.float32, (count, L, M) if transpose_a else (count, M, L), (count, N, L) if transpose_b else (count, L, N)
    )
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    backend = make(precision="fp32")
    assert_close(call(backend, "batched_matmul", a, b, **options), call(reference, "batched_matmul", a, b, **options))


def test_many_products_may_be_cut(make, reference, monkeypatch):
    a, b = draws(7, np.float32, (3, 9, 200), (3, 200, 12))
    backend = make(precision="fp32")
    forced(monkeypatch, backend, splits=3)
    assert_close(call(backend, "batched_matmul", a, b), call(reference, "batched_matmul", a, b))


def test_self_attention_is_captured(make):
    """Its products of examples are native: cuBLAS's cannot be captured."""
    backend = make(precision="fp32")
    network = Sequential([SelfAttention()]).build((3, 4, 16), backend=backend, rng=np.random.default_rng(0))
    assert_captured_steps_agree(network, backend, images=2)
    assert dict(backend.coverage())["batched_matmul"] == "native"


@pytest.mark.parametrize("vectors", [(4, 1), (1, 4), (1, 1)], ids=str)
def test_every_width_of_a_fetch_gives_the_same_bits(make, monkeypatch, vectors):
    expected = results(make(precision="tf32"), GEOMETRIES[0], 2)
    backend = make(precision="tf32")
    forced(monkeypatch, backend, vectors=vectors)
    for one, other in zip(results(backend, GEOMETRIES[0], 2), expected, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("splits", [2, 5, 64])
def test_every_number_of_parts(make, reference, monkeypatch, splits):
    """Also more parts than the depth has steps: some are empty."""
    backend = make(precision="fp32")
    forced(monkeypatch, backend, splits=splits)
    for g in GEOMETRIES:
        for actual, expected in zip(results(backend, g, 2), results(reference, g, 2), strict=True):
            assert_close(actual, expected)


@pytest.mark.parametrize(("precision", "dtype"), [("tf32", 0), ("bf16", 0), ("fp32", 0), ("fp32", 1)])
def test_the_order_of_threads_changes_nothing(make, monkeypatch, precision, dtype):
    backend = make(precision=precision)
    forward = results(backend, GEOMETRIES[0], 3, DTYPES[dtype])
    monkeypatch.setattr(cuda_on_cpu, "BACKWARDS", 1)
    for one, other in zip(results(backend, GEOMETRIES[0], 3, DTYPES[dtype]), forward, strict=True):
        assert_same_bits(one, other)


def test_tensor_cores_round_factors_not_sums(make):
    """1 + 2^-9 is a TF32 number but no bfloat16 one; 1 + 2^-12 is neither. Sums of 4096 are whole in any case."""
    g = ConvGeometry(1, 1, 4096, 64, 1, 1)
    ones = np.ones((1, 1, 4096, 64), np.float32)
    for precision, excess, expected in [
        ("tf32", 2**-9, 8),
        ("tf32", 2**-12, 0),
        ("bf16", 2**-9, 0),
        ("fp32", 2**-12, 1),
    ]:
        x = np.full((2, 1, 1, 4096), 1 + excess, np.float32)
        y = call(make(precision=precision), "conv2d", x, ones, None, g)
        np.testing.assert_array_equal(y, 4096 + expected)


def test_a_bias_is_repeated_where_the_filter_covers_the_image(make, reference):
    g = conv_geometry((4, 4, 6), 10, (4, 4), (1, 1), "valid")
    for actual, expected in zip(results(make(precision="fp32"), g, 3), results(reference, g, 3), strict=True):
        assert_close(actual, expected)


def test_views_that_begin_at_odd_places_are_fetched_one_by_one(make, reference):
    g = conv_geometry((5, 5, 8), 16, (3, 3), (1, 1), "same")
    x, w = draws(4, np.float32, (1 + g.H * g.W * g.C,), (1 + g.R * g.S * g.C * g.K,))
    backend = make(precision="fp32")
    x_view = backend.asarray(x)[1:].reshape(1, *g.input_shape)
    w_view = backend.asarray(w)[1:].reshape(g.weight_shape)
    assert x_view.data.ptr % 16 != 0
    y = backend.to_numpy(backend.conv2d(x_view, w_view, None, g))
    assert_close(y, reference.conv2d(x[1:].reshape(1, *g.input_shape), w[1:].reshape(g.weight_shape), None, g))


def test_what_a_kernel_would_misread_is_refused(make):
    backend = make()
    g = conv_geometry((5, 5, 8), 16, (3, 3), (1, 1), "same")
    x, w, dw = (backend.asarray(a) for a in draws(4, np.float32, (2, 5, 5, 8), g.weight_shape, g.weight_shape))
    with pytest.raises(ShapeError, match=r"x: expected shape \(2, 5, 5, 8\), got \(2, 5, 4, 8\)"):
        backend.conv2d(backend.asarray(np.zeros((2, 5, 4, 8), np.float32)), w, None, g)
    with pytest.raises(DTypeError, match="expected dtype float64"):
        backend.conv2d_weight_grad(x, x, g, add_to=backend.asarray(np.zeros(g.weight_shape)))
    view = backend.asarray(np.zeros(16, np.float32))[::2]
    with pytest.raises(ShapeError, match="C-contiguous"):
        backend.launch("optim", "ema_step", (1,), view, dtype=view.dtype, settings=(("VECTOR", 1), ("WIDE", 0)))
    with pytest.raises(ShapeError, match=r"b: expected shape \(40, 8\)"):
        backend.matmul(x.reshape(10, 40), w.reshape(-1, 8))
    assert dw.shape == g.weight_shape


def test_precisions(make, monkeypatch):
    assert make().precision == "tf32"
    assert "tf32" in make().describe()
    monkeypatch.setenv("MINIGAN_EXACT", "1")
    assert make().precision == "fp32"
    monkeypatch.setenv("MINIGAN_PRECISION", "bf16")
    assert make().precision == "bf16"
    assert make(precision="fp32").precision == "fp32"
    monkeypatch.setenv("MINIGAN_PRECISION", "fp8")
    with pytest.raises(ConfigError, match="MINIGAN_PRECISION must be one of auto, fp32, tf32, bf16, got 'fp8'"):
        make()


# ------------------------------------------------------------------------------------------ plans: integers only


def plans(g, images, *, precision="tf32", multiprocessors=132, shared=227 << 10):
    with fake_cupy.installed():
        from minigan.backends.gpu.plan import plan_product, product_of

    for kernel in KERNELS:
        options = {
            "multiprocessors": multiprocessors,
            "shared": shared,
            "precision": precision,
            "aligned": (True, True),
        }
        yield kernel, product_of(kernel, g, images), plan_product(kernel, g, images, **options)


@pytest.mark.parametrize("shared", [227 << 10, 99 << 10, 64 << 10], ids=["Hopper", "Ada", "Turing"])
@pytest.mark.parametrize(
    ("g", "images", "precision"),
    [
        *(
            (conv_geometry((64 >> i, 64 >> i, 64 << i), 128 << i, (4, 4), (2, 2), "same"), 128, "tf32")
            for i in range(4)
        ),
        (conv_geometry((64, 64, 3), 64, (4, 4), (2, 2), "same"), 128, "bf16"),
        (conv_geometry((4, 4, 1024), 1, (4, 4), (1, 1), "valid"), 128, "fp32"),
        (conv_geometry((256, 256, 128), 128, (3, 3), (1, 1), "same"), 1, "fp32"),
        (conv_geometry((7, 9, 5), 11, (3, 3), (3, 2), "same"), 3, "fp64"),
    ],
    ids=str,
)
def test_a_plan_covers_its_product_and_fits_on_the_gpu(g, images, precision, shared):
    for kernel, product, plan in plans(g, images, precision=precision, shared=shared):
        down, across, depth = plan.grid
        assert down * plan.tile.rows >= product.rows > (down - 1) * plan.tile.rows
        assert across * plan.tile.columns >= product.columns > (across - 1) * plan.tile.columns
        assert depth == product.phases * plan.splits
        assert 1 <= plan.splits <= max(1, product.depth // 16)
        assert plan.stages >= 2
        assert plan.shared_bytes(kernel) <= shared
        wide = 2 if precision == "fp64" else 4
        for width, together in zip(plan.vectors, product.together, strict=True):
            assert width in (1, wide)
            assert together % width == 0


def test_large_layers_get_large_tiles_and_small_ones_parts():
    def names(g, images):
        return [plan.name() for _, _, plan in plans(g, images)]

    large = conv_geometry((32, 32, 64), 128, (4, 4), (2, 2), "same")
    assert names(large, 128) == ["tf32 256x128", "tf32 256x64", "tf32 256x128 in 32 parts"]
    few = conv_geometry((4, 4, 512), 1, (4, 4), (1, 1), "valid")
    assert names(few, 64)[0].startswith("tf32 128x8 in ")


def test_too_many_pixels_are_refused_rather_than_miscounted():
    g = conv_geometry((4096, 4096, 1), 1, (1, 1), (1, 1), "valid")
    with pytest.raises(ShapeError, match="are more than fit"):
        list(plans(g, 128))


def test_the_summary_names_the_algorithms(make):
    backend = make()
    thin = conv_geometry((64, 64, 3), 64, (4, 4), (2, 2), "same")
    names = [backend.algorithm(kernel, thin, 128, DTYPES[0]) for kernel in KERNELS]
    assert names[0] == "tf32 128x64"
    assert names[1] == "overlap-add"
    assert names[2].startswith("tf32 64x64 in ")
    assert backend.algorithm("conv2d", thin, 128, DTYPES[1]).startswith("fp64 ")
    reasons = [backend.reason(kernel, thin, 128, DTYPES[0]) for kernel in KERNELS]
    assert reasons[0] == "one matrix product in tiles of 128x64"
    assert "windows are added up" in reasons[1]
    assert reasons[2].startswith("one matrix product in tiles of 64x64, its depth cut into ")


# ------------------------------------------------------------------------------------------ common.cuh


def test_division_by_multiplication_is_exact(make):
    """For numbers and divisors around all powers of two up to 2^31."""
    from minigan.backends.gpu.launch import source

    code = (
        source("common.cuh")
        + """
extern "C" __global__ void divide(const int* numbers, const int* divisors, int* quotients, int* rests) {
    int rest = numbers[blockIdx.x];
    quotients[blockIdx.x] = Divisor(divisors[blockIdx.x]).split(rest);
    rests[blockIdx.x] = rest;
}
"""
    )
    edges = sorted({max(1, 2**i + e) for i in range(32) for e in (-1, 0, 1) if 2**i + e < 2**31})
    numbers, divisors = np.array(list(itertools.product([0, *edges], edges)), np.int32).T
    xp = make().xp
    quotients, rests = xp.asarray(np.zeros_like(numbers)), xp.asarray(np.zeros_like(numbers))
    arrays = [xp.asarray(np.ascontiguousarray(a)) for a in (numbers, divisors)]
    kernel = xp.RawModule(code=code, options=("-DSCALAR=float",)).get_function("divide")
    kernel((len(numbers),), (1,), (*arrays, quotients, rests))
    np.testing.assert_array_equal(xp.asnumpy(quotients), numbers // divisors)
    np.testing.assert_array_equal(xp.asnumpy(rests), numbers % divisors)
