"""The CPU backend's convolutions on every path that `plan.py` can choose, against the reference.

`test_cpu_widths.py` runs this file again for each vector width, then with one dtype, since each one compiles anew.
"""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from minigan.backends.constants import Constants
from minigan.backends.cpu import CpuBackend, overlap_plan, phases_plan, plan, processor, simd
from minigan.backends.geometry import ConvGeometry
from minigan.backends.reference import ReferenceBackend
from minigan.errors import ShapeError


class EagerBackend(CpuBackend):
    """One that calls all its threads for the smallest work, so that small shapes reach what they do."""

    def parts(self, _numbers):
        return self.team.size


REFERENCE = ReferenceBackend()
BACKENDS = {threads: EagerBackend(threads=threads) for threads in (1, 2, 3)}
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}

DTYPES = [np.dtype(name) for name in os.environ.get("MINIGAN_TEST_DTYPES", "float32 float64").split()]
TWINS = [DTYPES[0], *(pytest.param(dtype, marks=pytest.mark.exhaustive) for dtype in DTYPES[1:])]  # the same paths

SAME = ((1, 1), (1, 1))
NONE = ((0, 0), (0, 0))
PATHS = {
    "one phase": (4, ConvGeometry(8, 8, 16, 64, 3, 3, (1, 1), SAME)),
    "four phases": (3, ConvGeometry(8, 8, 49, 40, 4, 4, (2, 2), SAME)),
    "phases of unequal filters": (2, ConvGeometry(9, 7, 64, 40, 5, 3, (2, 2), ((2, 2), (1, 1)))),
    "stride larger than the filter": (2, ConvGeometry(11, 9, 64, 20, 2, 1, (3, 4), NONE)),
    "pixels that no tap reaches": (2, ConvGeometry(10, 10, 62, 33, 3, 3, (4, 4), NONE)),
    "asymmetric padding": (2, ConvGeometry(6, 7, 20, 35, 4, 3, (2, 1), ((0, 2), (2, 1)))),
    "padding beyond the filter": (1, ConvGeometry(3, 2, 17, 16, 3, 1, (3, 4), ((2, 2), (2, 0)))),
    "overlap-add": (3, ConvGeometry(16, 16, 3, 64, 4, 4, (2, 2), SAME)),
    "overlap-add, one channel": (2, ConvGeometry(14, 14, 1, 64, 4, 4, (2, 2), SAME)),
    "overlap-add, stride 1": (2, ConvGeometry(9, 9, 1, 64, 3, 3, (1, 1), SAME)),
    "overlap-add, a filter that the stride does not divide": (2, ConvGeometry(16, 14, 3, 70, 5, 5, (2, 2), SAME)),
    "overlap-add, stride larger than the filter": (2, ConvGeometry(10, 11, 2, 70, 3, 2, (4, 5), NONE)),
    "overlap-add, stride wider than a vector": (2, ConvGeometry(8, 8, 11, 70, 4, 4, (2, 2), SAME)),
    "overlap-add forward": (2, ConvGeometry(9, 13, 70, 3, 7, 7, (1, 1), ((3, 3), (3, 3)))),
    "overlap-add forward, padding beyond the filter": (2, ConvGeometry(5, 6, 70, 2, 2, 3, (1, 1), ((3, 2), (4, 0)))),
    "weights turned round": (2, ConvGeometry(9, 11, 70, 3, 3, 3, (1, 1), SAME)),
    "weights turned round, asymmetric padding": (3, ConvGeometry(7, 6, 40, 2, 4, 3, (1, 1), ((0, 3), (2, 1)))),
    "one channel forward, with a stride": (2, ConvGeometry(12, 12, 8, 1, 4, 4, (2, 2), SAME)),
    "weights in place": (1, ConvGeometry(8, 8, 40, 256, 4, 4, (2, 2), SAME)),
    "weights in place, unequal phases": (2, ConvGeometry(9, 7, 33, 260, 5, 3, (2, 2), ((2, 2), (1, 1)))),
    "weights in place, stride 1": (3, ConvGeometry(4, 5, 70, 300, 3, 3, (1, 1), SAME)),
    "weights in place, pixels that no tap reaches": (2, ConvGeometry(10, 10, 62, 256, 3, 3, (4, 4), NONE)),
    "in place": (3, ConvGeometry(5, 6, 40, 24, 1, 1)),
    "in place with a stride": (2, ConvGeometry(8, 8, 24, 40, 2, 2, (2, 2), NONE)),
    "bands of an image": (1, ConvGeometry(70, 66, 24, 30, 3, 3, (1, 1), SAME)),
    "thin at both ends": (5, ConvGeometry(9, 9, 1, 1, 4, 4, (2, 2), SAME)),
    "dense": (4, ConvGeometry(4, 4, 33, 21, 4, 4)),
    "dense, one logit": (4, ConvGeometry(4, 4, 300, 1, 4, 4)),
    "one pixel": (1, ConvGeometry(1, 1, 5, 7, 1, 1)),
}


def assert_close(actual, expected):
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[expected.dtype] * scale)


def draws(g, images, dtype, seed):
    rng = np.random.default_rng(seed)
    shapes = ((images, *g.input_shape), g.weight_shape, (images, *g.output_shape), (g.C,), (g.K,))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check(backend, g, images, dtype, seed):
    x, w, dy, b_in, b_out = draws(g, images, dtype, seed)
    assert_close(backend.conv2d(x, w, b_out, g), REFERENCE.conv2d(x, w, b_out, g))
    assert_close(backend.conv2d_input_grad(dy, w, g, b=b_in), REFERENCE.conv2d_input_grad(dy, w, g, b=b_in))
    dw, expected = w.copy(), w.copy()
    backend.conv2d_weight_grad(x, dy, g, add_to=dw)
    REFERENCE.conv2d_weight_grad(x, dy, g, add_to=expected)
    assert_close(dw, expected)


@pytest.mark.parametrize("dtype", TWINS, ids=str)
@pytest.mark.parametrize("threads", BACKENDS)
@pytest.mark.parametrize("path", PATHS)
def test_every_path_agrees_with_the_reference(path, threads, dtype):
    images, g = PATHS[path]
    check(BACKENDS[threads], g, images, dtype, seed=1)


@st.composite
def geometries(draw):
    """Channel counts on either side of vectors, tiles and panels of every width."""
    channels = st.sampled_from([1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 40, 64, 65])
    size, taps, stride, pad = st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3)
    while True:
        try:
            return ConvGeometry(
                draw(size), draw(size), draw(channels), draw(channels), draw(taps), draw(taps),
                (draw(stride), draw(stride)), ((draw(pad), draw(pad)), (draw(pad), draw(pad))),
            )  # fmt: skip
        except ShapeError:
            continue


@pytest.mark.parametrize("dtype", TWINS, ids=str)
@given(geometries(), st.integers(1, 5), st.sampled_from(list(BACKENDS)))
def test_any_geometry_agrees_with_the_reference(dtype, g, images, threads):
    check(BACKENDS[threads], g, images, dtype, seed=g.H)


@pytest.mark.parametrize("dtype", TWINS, ids=str)
@given(geometries(), st.integers(1, 3))
def test_the_three_kernels_are_adjoint(dtype, g, images):
    """<conv(x, w), dy> = <x, input_grad(dy, w)> = <w, weight_grad(x, dy)>."""
    backend = BACKENDS[2]
    x, w, dy, *_ = draws(g, images, dtype, seed=g.W)
    dw = np.zeros_like(w)
    backend.conv2d_weight_grad(x, dy, g, add_to=dw)
    y = backend.conv2d(x, w, None, g)
    scale = float(np.abs(y).sum() * np.abs(dy).max()) + 1
    product = np.vdot(y.astype(float), dy.astype(float))
    dx = backend.conv2d_input_grad(dy, w, g)
    for other in (np.vdot(x.astype(float), dx.astype(float)), np.vdot(w.astype(float), dw.astype(float))):
        assert abs(product - other) < 4 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize("path", ["four phases", "overlap-add", "overlap-add forward", "bands of an image"])
def test_small_blocks_agree(path, monkeypatch):
    """As if the cache held next to nothing: a block is a band of one row, or one image."""
    for module in (processor, overlap_plan):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr("minigan.backends.cpu.conv.choose", plan.choose.__wrapped__)
    images, g = PATHS[path]
    check(BACKENDS[2], g, images, DTYPES[0], seed=2)


@pytest.mark.parametrize("channels", [40, 64, 300])
def test_threads_share_out_the_channels_of_one_image(channels: int):
    """To the bit as one thread: only who computes what is another."""
    g = ConvGeometry(6, 5, channels, channels, 4, 3, (2, 2), SAME)
    x, w, dy, *_ = draws(g, 2, DTYPES[0], seed=4)
    one, two, three = (EagerBackend(threads=threads, exact=True, precision="fp32") for threads in (1, 2, 3))
    for images, several in ((1, two), (1, three), (2, three)):
        with several.holding(Constants([w])):  # not in place
            found = several.conv2d(x[:images], w, None, g), several.conv2d_input_grad(dy[:images], w, g)
        with one.holding(Constants([w])):
            np.testing.assert_array_equal(found[0], one.conv2d(x[:images], w, None, g))
            np.testing.assert_array_equal(found[1], one.conv2d_input_grad(dy[:images], w, g))
    assert phases_plan.plan_forward(g, 1, this_processor(2)).grid.shares == 2 or channels == 40


def test_read_only_and_strided_inputs_are_welcome():
    images, g = PATHS["four phases"]
    x, w, dy, *_ = draws(g, images, DTYPES[0], seed=3)
    expected = BACKENDS[2].conv2d(x, w, None, g), BACKENDS[2].conv2d_input_grad(dy, w, g)
    x_view = np.repeat(x, 2, axis=3)[..., ::2]
    for array in (x_view, w, dy):
        array.flags.writeable = False
    np.testing.assert_array_equal(BACKENDS[2].conv2d(x_view, w, None, g), expected[0])
    np.testing.assert_array_equal(BACKENDS[2].conv2d_input_grad(dy, w, g), expected[1])


def test_paths_are_what_they_are_called():
    def planned(kernel, path, threads=2):
        images, g = PATHS[path]
        return plan.choose(kernel, g, images, this_processor(threads), exact=True)

    def forward(path):
        return planned("conv2d", path)

    def backward(path):
        return planned("conv2d_input_grad", path)

    def phases(path):
        images, g = PATHS[path]
        return phases_plan.plan_input_grad(g, images, this_processor(2)).taps

    assert len(forward("one phase").phases) == len(phases("one phase")) == 1
    assert len(phases("four phases")) == 4
    assert [len(taps) for taps in phases("phases of unequal filters")] == [6, 3, 4, 2]
    assert {len(taps) for taps in phases("stride larger than the filter")} == {0, 1}
    assert {backward(path).name for path in ("four phases", "phases of unequal filters")} == {"phases"}
    for path in PATHS:
        if path.startswith("overlap-add"):
            assert (forward if "forward" in path else backward)(path).name == "overlap-add"
        if path.startswith("weights turned round"):
            assert planned("conv2d_weight_grad", path).name == "turned round"
        if path.startswith("weights in place"):
            assert backward(path).name == "overlap-add, weights in place"
        if path.startswith("dense"):
            assert forward(path).name == backward(path).name == planned("conv2d_weight_grad", path).name == "dense"
    assert planned("conv2d_weight_grad", "one phase").name == "direct"
    _, g = PATHS["overlap-add"]
    assert plan.choose("conv2d_input_grad", g, 1, this_processor(threads=3), exact=True).grid.bands == 3
    assert forward("in place").grid.in_place and backward("in place").grid.in_place
    assert not forward("one phase").grid.in_place
    assert forward("bands of an image").grid.rows_per_block < 70


def this_processor(threads):
    return processor.Processor(simd.TILE_ROWS, simd.tile_columns(4), simd.vector_lanes(4), 4, threads)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("channels", [3, 40], ids=["few weights", "many weights"])
def test_an_activation_in_registers_is_that_of_the_whole_result(channels, slope):
    """Bit for bit, also of what is not finite: slope 0 makes 0 of minus infinity, and keeps NaN."""
    g = ConvGeometry(9, 11, channels, 70, 4, 4, (2, 2), ((1, 1), (1, 1)))
    rng = np.random.default_rng(channels)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((3, *g.input_shape), g.weight_shape, (g.K,)))
    x[0, 4, 4, 0], x[1, 4, 4, 0] = np.inf, np.nan
    backend = EagerBackend(threads=2)
    backend.exact = True
    assert backend.algorithm("conv2d", g, 3, x.dtype) == "phases"
    y = backend.conv2d(x, w, b, g)
    actual = backend.conv2d_leaky_relu(x, w, b, g, slope=slope)
    np.testing.assert_array_equal(actual, backend.leaky_relu(y, slope=slope))
    assert np.isneginf(y).any() and np.isnan(actual[1]).any() and np.isfinite(actual[2]).all()
    assert (actual[np.isneginf(y)] == (0 if slope == 0 else -np.inf)).all()
