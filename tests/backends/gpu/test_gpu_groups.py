"""Convolutions in groups on the GPU: a matrix product for each group, and groups.cu, run on the CPU."""

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from calling import DTYPES, assert_close, assert_same_bits, call, draws
from captured import assert_captured_steps_agree
from hypothesis import given
from hypothesis import strategies as st

from minigan.backends import get_backend
from minigan.backends.geometry import ConvGeometry, conv_geometry
from minigan.errors import ShapeError
from minigan.nn import Conv2D, Sequential

pytestmark = pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler for running CUDA on the CPU")

KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
TOLERANCE = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 8e-3}
DEPTHWISE = conv_geometry((9, 11, 36), 36, (3, 3), (1, 1), "same", groups=36)
COMMON = conv_geometry((7, 9, 40), 60, (3, 2), (2, 1), ((0, 2), (1, 0)), groups=5)
WIDE = conv_geometry((8, 11, 48), 48, (3, 3), (1, 1), "same", groups=3)
WIDER = conv_geometry((9, 6, 96), 64, (4, 4), (2, 2), 1, groups=2)
# Neighbors of several groups, from several channels; numbers that are fetched one by one.
MIXED = conv_geometry((6, 5, 40), 20, (3, 3), (1, 1), "same", groups=20)
ODD = conv_geometry((7, 8, 21), 35, (5, 3), (2, 3), ((4, 0), (1, 2)), groups=7)
ODD_WIDE = conv_geometry((5, 7, 54), 51, (3, 3), (1, 2), "same", groups=3)


@pytest.fixture(scope="module")
def make():
    """GpuBackend over the stand-in."""
    with fake_cupy.installed():
        yield type(get_backend("gpu"))


def results(backend, g: ConvGeometry, images: int, dtype=DTYPES[0]):
    """Results of the three kernels, with bias, activation and what is added to, as NumPy arrays."""
    shapes = (images, *g.input_shape), g.weight_shape, (images, *g.output_shape), (g.K,), (g.C,), g.weight_shape
    x, w, dy, b, c, dw = draws(1, dtype, *shapes)
    return (
        call(backend, "conv2d_leaky_relu", x, w, b, g, slope=0.25),
        call(backend, "conv2d_input_grad", dy, w, g, b=c),
        call(backend, "conv2d_weight_grad", x, dy, g, add_to=dw)[1],
    )


def assert_right(backend, reference, g, images, dtype=DTYPES[0], tolerance=None):
    for actual, expected in zip(results(backend, g, images, dtype), results(reference, g, images, dtype), strict=True):
        assert_close(actual, expected, tolerance=tolerance)


def spread(monkeypatch, backend):
    """Gives the backend so many multiprocessors that sums over pixels are cut into parts."""
    monkeypatch.setattr(backend, "multiprocessors", 132)
    return backend


@pytest.mark.parametrize("g", [DEPTHWISE, COMMON, WIDE], ids=["depthwise", "narrow", "wide"])
def test_groups_agree_with_the_reference(make, reference, monkeypatch, g):
    """Cut into parts, too."""
    backend = spread(monkeypatch, make(precision="tf32"))
    assert " parts" in backend.algorithm("conv2d_weight_grad", g, 40, DTYPES[0])
    assert_right(backend, reference, g, 3, tolerance=TOLERANCE["tf32"])
    assert_right(backend, reference, g, 40, tolerance=TOLERANCE["tf32"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("g", [DEPTHWISE, COMMON, WIDE, WIDER, MIXED, ODD, ODD_WIDE], ids=str)
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", 0), ("fp32", 1), ("tf32", 0), ("bf16", 0)])
def test_all_groups_in_all_precisions(make, reference, monkeypatch, g, precision, dtype):
    backend = spread(monkeypatch, make(precision=precision))
    tolerance = None if dtype else TOLERANCE[precision]
    for images in (1, 37):
        assert_right(backend, reference, g, images, DTYPES[dtype], tolerance)


@pytest.mark.parametrize("g", [DEPTHWISE, COMMON, WIDE], ids=["depthwise", "narrow", "wide"])
def test_the_order_of_threads_changes_nothing(make, monkeypatch, g):
    backend = spread(monkeypatch, make(precision="tf32"))
    forward = results(backend, g, 8)
    monkeypatch.setattr(cuda_on_cpu, "BACKWARDS", 1)
    for one, other in zip(results(backend, g, 8), forward, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("g", [DEPTHWISE, COMMON, WIDE], ids=["depthwise", "narrow", "wide"])
def test_nan_stays_in_its_group(make, g):
    backend, deep, wide = make(precision="tf32"), g.C // g.groups, g.K // g.groups
    x, w, dy = draws(2, np.float32, (2, *g.input_shape), g.weight_shape, (2, *g.output_shape))
    x[..., deep : 2 * deep], dy[..., 2 * wide : 3 * wide] = np.nan, np.inf
    y, dx = call(backend, "conv2d", x, w, None, g), call(backend, "conv2d_input_grad", dy, w, g)
    _, dw = call(backend, "conv2d_weight_grad", x, dy, g, add_to=np.zeros_like(w))
    filters, channels = np.arange(g.K) // wide, np.arange(g.C) // deep
    assert np.isnan(y[..., filters == 1]).all()
    assert np.isfinite(y[..., filters != 1]).all()
    assert not np.isfinite(dx[..., channels == 2]).any()
    assert np.isfinite(dx[..., channels != 2]).all()
    assert not np.isfinite(dw[..., (filters == 1) | (filters == 2)]).any()
    assert np.isfinite(dw[..., (filters != 1) & (filters != 2)]).all()


@pytest.mark.exhaustive
@pytest.mark.parametrize("g", [DEPTHWISE, COMMON, WIDE], ids=["depthwise", "narrow", "wide"])
def test_views_that_begin_at_odd_places_are_fetched_one_by_one(make, reference, g):
    x, w, dy = draws(4, np.float32, (1 + 2 * np.prod(g.input_shape),), g.weight_shape, (2, *g.output_shape))
    backend = make(precision="fp32")
    images, shape = backend.asarray(x)[1:], (2, *g.input_shape)
    assert images.data.ptr % 16 != 0
    y = backend.conv2d(images.reshape(shape), backend.asarray(w), None, g)
    assert_close(backend.to_numpy(y), reference.conv2d(x[1:].reshape(shape), w, None, g))
    dw = backend.asarray(np.zeros_like(w))
    backend.conv2d_weight_grad(images.reshape(shape), backend.asarray(dy), g, add_to=dw)
    expected = np.zeros_like(w)
    reference.conv2d_weight_grad(x[1:].reshape(shape), dy, g, add_to=expected)
    assert_close(backend.to_numpy(dw), expected)


def test_narrow_groups_round_no_factor_and_say_so(make):
    backend = make(precision="bf16")
    x = np.full((1, *DEPTHWISE.input_shape), 1 + 2**-12, np.float32)
    y = call(backend, "conv2d", x, np.ones(DEPTHWISE.weight_shape, np.float32), None, DEPTHWISE)
    np.testing.assert_array_equal(y[0, 1:-1, 1:-1], 9 * (1 + 2**-12))
    names = [[backend.algorithm(kernel, g, 3, DTYPES[0]) for kernel in KERNELS] for g in (DEPTHWISE, COMMON, WIDE)]
    assert names[:2] == [["fp32 depthwise"] * 3, ["fp32 direct"] * 3]
    assert names[2][0] == "bf16 128x16 for each of 3 groups"
    assert backend.algorithm("conv2d", COMMON, 3, DTYPES[1]) == "fp64 direct"
    assert backend.reason("conv2d", COMMON, 3, DTYPES[0]).startswith("groups of 8 channels and 12 filters")
    assert backend.reason("conv2d", WIDE, 3, DTYPES[0]) == "one matrix product for each group in tiles of 128x16"
    with pytest.raises(ShapeError, match="are more than fit"):
        backend.algorithm("conv2d", DEPTHWISE, 2**25, DTYPES[0])


def test_groups_are_captured(make):
    backend = make(precision="tf32")
    layers = [Conv2D(48, 3, padding="same", groups=groups) for groups in (48, 3)]
    network = Sequential(layers).build((5, 6, 48), backend=backend, rng=np.random.default_rng(0))
    assert_captured_steps_agree(network, backend, images=7)


# ------------------------------------------------------------------------------------------ plans: integers only


@pytest.mark.usefixtures("make")
@given(
    sides=st.tuples(*[st.integers(1, 70)] * 2),
    groups=st.one_of(st.integers(2, 70), st.sampled_from([128, 512, 1000])),
    widths=st.tuples(*[st.integers(1, 15)] * 2),
    filter=st.tuples(*[st.integers(1, 7)] * 2),
    stride=st.tuples(*[st.integers(1, 3)] * 2),
    images=st.sampled_from([1, 3, 128]),
    wide=st.sampled_from([2, 4]),
    aligned=st.booleans(),
)
def test_each_number_belongs_to_one_thread(sides, groups, widths, filter, stride, images, wide, aligned):
    from minigan.backends.gpu.groups_plan import OWN, PIXELS, ROWS, THREADS, plan_groups

    g = conv_geometry((*sides, widths[0] * groups), widths[1] * groups, filter, stride, "same", groups=groups)
    for kernel in KERNELS:
        backwards = kernel == "conv2d_input_grad"
        plan = plan_groups(kernel, g, images, wide=wide, aligned=aligned, multiprocessors=132)
        channels, (height, width) = (g.C, (g.H, g.W)) if backwards else (g.K, (g.P, g.Q))
        seen = (g.K if backwards else g.C) // groups
        assert channels % plan.vector == 0
        across, at_once = channels // plan.vector, THREADS // plan.lanes
        assert plan.grid[1] * plan.lanes >= across > (plan.grid[1] - 1) * plan.lanes
        assert seen % plan.fetch == 0
        assert plan.share != OWN or (plan.fetch == 1 and seen == 1 == channels // groups)
        if kernel == "conv2d_weight_grad":
            chunks, rows = plan.grid[0] // plan.splits, g.R * g.S * seen
            assert plan.apart <= ROWS
            assert chunks * plan.apart >= rows > (chunks - 1) * plan.apart
            continue
        assert plan.apart * PIXELS >= width
        assert not backwards or plan.apart % stride[1] == 0
        assert plan.grid[0] * at_once >= images * height * plan.apart > (plan.grid[0] - 1) * at_once
