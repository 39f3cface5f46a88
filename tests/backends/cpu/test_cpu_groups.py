"""Convolutions in groups on every path of the CPU backend; `test_conv_kernels.py` has what all backends must do."""

import numpy as np
import pytest

pytest.importorskip("numba")

from selection import few_quick
from test_cpu_conv import BACKENDS, REFERENCE, SAME, TWINS, assert_close, draws

from minigan.backends.constants import Constants
from minigan.backends.cpu import CpuBackend, simd
from minigan.backends.cpu.bfloat16 import bfloat16
from minigan.backends.cpu.groups import pack_groups
from minigan.backends.cpu.groups_plan import plan_groups
from minigan.backends.geometry import ConvGeometry

FLOAT32, BFLOAT16 = np.dtype(np.float32), bfloat16()
LANES = simd.vector_lanes(4)
HALF, MOST = LANES // 2, 3 * LANES // 4
STRIDE = (2, 2)
PATHS = {
    "depthwise": (3, ConvGeometry(7, 6, 20, 20, 3, 3, (1, 1), SAME, 20)),
    "depthwise, whole vectors": (2, ConvGeometry(9, 17, 4 * LANES, 4 * LANES, 3, 3, (1, 1), SAME, 4 * LANES)),
    "depthwise, a stride": (5, ConvGeometry(12, 20, 2 * LANES, 2 * LANES, 4, 4, STRIDE, SAME, 2 * LANES)),
    "lanes": (3, ConvGeometry(7, 6, 20, 40, 3, 3, (1, 1), SAME, 20)),
    "unequal phases": (3, ConvGeometry(7, 6, 20, 20, 3, 3, STRIDE, SAME, 20)),
    "pairs": (3, ConvGeometry(7, 6, 3 * LANES, 3 * LANES, 3, 3, STRIDE, SAME, 3)),
    "a vector's and a half": (2, ConvGeometry(6, 6, 3 * LANES, 3 * LANES, 3, 3, (1, 1), SAME, 2)),
    "images in lanes": (LANES, ConvGeometry(6, 5, 5 * MOST, 5 * MOST, 3, 3, (1, 1), SAME, 5)),
    "images in lanes, some of them idle": (2 * LANES - 1, ConvGeometry(5, 6, 21, 21, 3, 3, (1, 1), SAME, 7)),
    "images in lanes, a stride": (LANES, ConvGeometry(9, 8, 15, 9, 4, 3, STRIDE, ((1, 2), (1, 1)), 3)),
    "images in lanes, bands": (LANES, ConvGeometry(40, 36, 6, 6, 3, 3, (1, 1), SAME, 2)),
    "each group by itself": (40, ConvGeometry(12, 12, 6 * LANES, 6 * LANES, 3, 3, (1, 1), SAME, 2)),
    "winograd": (5, ConvGeometry(8, 11, 6 * LANES, 6 * LANES, 3, 3, (1, 1), SAME, 3)),
    "winograd, a vector's": (9, ConvGeometry(8, 7, 3 * LANES, 3 * LANES, 3, 3, (1, 1), SAME, 3)),
    "winograd, a vector's, bands": (2, ConvGeometry(33, 42, 4 * LANES, 4 * LANES, 3, 3, (1, 1), ((2, 0), (0, 2)), 4)),
    "winograd, half a vector's": (17, ConvGeometry(4, 4, 5 * HALF, 5 * HALF, 3, 3, (1, 1), SAME, 5)),
}


def results(backend, g, x, w, dy, b_in, b_out):
    """y, dx and dw."""
    dw = w.copy()
    backend.conv2d_weight_grad(x, dy, g, add_to=dw)
    y = backend.conv2d_leaky_relu(x, w, b_out, g, slope=0.2)
    return y, backend.conv2d_input_grad(dy, w, g, b=b_in), dw


SELDOM = (  # kernels that take seconds to compile
    "a vector's and a half",
    "images in lanes, some of them idle",
    "lanes",
    "unequal phases",
    "winograd",
    "winograd, half a vector's",
)
PARAMETERS = [pytest.param(path, marks=pytest.mark.exhaustive) if path in SELDOM else path for path in PATHS]


@pytest.mark.parametrize("dtype", TWINS, ids=str)
@pytest.mark.parametrize("path", PARAMETERS)
def test_every_path_in_groups_agrees_with_the_reference_and_is_the_same_for_all_threads(path, dtype):
    images, g = PATHS[path]
    arrays = draws(g, images, dtype, seed=1)
    found = {threads: results(backend, g, *arrays) for threads, backend in BACKENDS.items()}
    for ours, expected in zip(found[1], results(REFERENCE, g, *arrays), strict=True):
        assert_close(ours, expected)
    if path == "each group by itself":  # Winograd's sums depend on how threads share out a weight gradient
        return
    for threads in found:
        for ours, one in zip(found[threads], found[1], strict=True):
            np.testing.assert_array_equal(ours, one)


@pytest.mark.parametrize("path", ["pairs", "images in lanes", "winograd, a vector's"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_number_reaches_another_group(path, bad):
    images, g = PATHS[path]
    x, w, dy, *biases = draws(g, images, FLOAT32, seed=2)
    backend, wide, deep = BACKENDS[2], g.K // g.groups, g.C // g.groups
    before = results(backend, g, x, w, dy, *biases)
    x[:, 1, 1, deep], dy[:, 1, 1, wide] = bad, bad  # of the second group
    w[0, 0, 0, wide] = bad
    for name, one, other in zip(("y", "dx", "dw"), before, results(backend, g, x, w, dy, *biases), strict=True):
        width = deep if name == "dx" else wide
        assert not np.isfinite(other[..., width : 2 * width]).all()
        np.testing.assert_array_equal(np.delete(other, np.s_[width : 2 * width], -1)[..., :width], one[..., :width])
        np.testing.assert_array_equal(other[..., 2 * width :], one[..., 2 * width :])


# Groups by themselves are rounded as whole convolutions are.
@pytest.mark.parametrize(
    "path",
    few_quick(
        ["pairs", "images in lanes", "each group by itself", "winograd, a vector's"],
        ["pairs", "images in lanes", "winograd, a vector's"],
    ),
)
def test_activations_in_bfloat16_are_rounded_once(path):
    images, g = PATHS[path]
    x, w, dy, *biases = draws(g, images, FLOAT32, seed=3)
    backend = CpuBackend(threads=2, precision="fp32")
    narrow_x, narrow_dy = backend.cast(x, BFLOAT16), backend.cast(dy, BFLOAT16)
    wide_x, wide_dy = backend.cast(narrow_x, FLOAT32), backend.cast(narrow_dy, FLOAT32)
    y, dx, dw = results(backend, g, narrow_x, w, narrow_dy, *biases)
    for ours, expected in zip((y, dx), results(backend, g, wide_x, w, wide_dy, *biases)[:2], strict=True):
        assert ours.dtype == BFLOAT16
        np.testing.assert_allclose(backend.cast(ours, FLOAT32), expected, rtol=2**-8, atol=1e-4)
    assert_close(dw, results(backend, g, wide_x, w, wide_dy, *biases)[2])


@pytest.mark.parametrize("path", ["depthwise", "pairs", "images in lanes", "winograd, a vector's"])
def test_a_recorded_step_in_groups_is_repeated(path):
    images, g = PATHS[path]
    _, w, _, *biases = draws(g, images, FLOAT32, seed=0)
    backend, given = CpuBackend(threads=2, precision="fp32"), [draws(g, images, FLOAT32, seed)[0] for seed in range(3)]
    inputs, dw, recording = iter(given), np.zeros_like(w), backend.recording()
    with recording.open():
        x = backend.feed(lambda: next(inputs))
        y = backend.conv2d_leaky_relu(x, w, biases[1], g, slope=0.2)
        dx = backend.conv2d_input_grad(y, w, g, b=biases[0])
        backend.conv2d_weight_grad(x, y, g, add_to=dw)
    assert recording.refused is None
    expected = np.zeros_like(w)
    for number, x in enumerate(given):
        if number:
            assert recording.replay()
        own = backend.conv2d_leaky_relu(x, w, biases[1], g, slope=0.2)
        backend.conv2d_weight_grad(x, own, g, add_to=expected)
        np.testing.assert_array_equal(np.asarray(y), own)
        np.testing.assert_array_equal(np.asarray(dx), backend.conv2d_input_grad(own, w, g, b=biases[0]))
        np.testing.assert_array_equal(dw, expected)


@pytest.mark.parametrize("path", ["pairs", "images in lanes", "winograd, a vector's"])
def test_weights_that_stay_are_packed_once(path):
    images, g = PATHS[path]
    x, w, dy, *_ = draws(g, images, FLOAT32, seed=5)
    backend = BACKENDS[2]
    with backend.holding(Constants([w])):
        for _ in range(2):
            np.testing.assert_array_equal(backend.conv2d(x, w, None, g), BACKENDS[1].conv2d(x, w, None, g))
            assert_close(backend.conv2d_input_grad(dy, w, g), REFERENCE.conv2d_input_grad(dy, w, g))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", ["conv2d", "conv2d_input_grad"])
def test_each_weight_is_packed_for_its_output(kernel, dtype):
    """Whether a strip's places in w are a row, a square of rows, or neither though its ends are as far apart."""
    backend, lanes = BACKENDS[1], simd.vector_lanes(np.dtype(dtype).itemsize)
    columns = simd.tile_columns(np.dtype(dtype).itemsize)
    narrower = [(columns, columns // wide, columns // wide) for wide in (2, 4)]  # C, K and groups
    equal = [(deep * columns, deep * columns, columns) for deep in (3, 5, 7)]
    wider = [(4 * columns, 4 * columns * ratio, 8) for ratio in (1, 2, 4)]
    for C, K, groups in [*narrower, *equal, *wider, (2 * columns, 2 * columns, 2), (3 * lanes, 3 * lanes, 3)]:
        g = ConvGeometry(5, 5, C, K, 3, 3, (1, 1), SAME, groups)
        plan = plan_groups(kernel, g, 2, backend.processor(np.dtype(dtype), g.flops))
        depth, w = int(plan.bundles[0, 3]), 1 + np.arange(np.prod(g.weight_shape), dtype=dtype)
        packed = np.empty((len(plan.weights), len(plan.taps), depth, columns), dtype)
        places = (plan.taps, depth, plan.weights, plan.weight_step, plan.tap_size, columns, lanes)
        pack_groups(0, 1, w, packed.reshape(-1), *places)
        at = plan.weights[:, None, None] + plan.taps[:, None, None] * plan.tap_size
        at = at + plan.weight_step * np.arange(depth)[:, None]
        np.testing.assert_array_equal(packed, np.where(plan.weights[:, None, None] < 0, 0, w[at]))


def test_paths_in_groups_are_what_they_are_called():
    backend = CpuBackend(threads=2, precision="fp32", exact=False)
    wanted = {
        "depthwise": "depthwise",
        "lanes": "groups in lanes",
        "pairs": "pairs of groups",
        "a vector's and a half": "group by group",
        "images in lanes": "images in lanes",
        "each group by itself": "winograd F(4x4, 3x3), group by group",
        "winograd": "winograd F(4x4, 3x3) in groups",
    }
    assert backend.algorithm("conv2d_input_grad", PATHS["unequal phases"][1], 3, FLOAT32) == "groups in lanes"
    for path, (images, g) in PATHS.items():
        words = wanted.get(path.split(",")[0], "depthwise")
        assert backend.algorithm("conv2d", g, images, FLOAT32) == words
        if path == "unequal phases":
            continue
        assert backend.algorithm("conv2d_input_grad", g, images, FLOAT32) == words
