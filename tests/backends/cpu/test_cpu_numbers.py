"""Numbers in compiled kernels: no digits and no NaN are lost, and every run gives the same bits."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import CpuBackend
from minigan.backends.cpu.engine import NUMBERS_PER_THREAD
from minigan.backends.geometry import ConvGeometry

BACKEND = CpuBackend(threads=2)
LARGE = 3 * NUMBERS_PER_THREAD  # numbers that more than one thread shares


@pytest.mark.parametrize("mean", [0.1, 30.0, -1000.0])
@pytest.mark.parametrize("shape", [(1_000_000, 1), (250_000, 3), (20_000, 40)])
def test_batch_statistics_keep_six_digits(shape, mean):
    x = (mean + np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    ones = np.ones(shape[1], np.float32)
    _, means, variances = BACKEND.batchnorm(x, ones, ones, eps=1e-5)
    wide = x.astype(np.float64)
    deviation = wide.std(axis=0)
    np.testing.assert_allclose(means, wide.mean(axis=0), rtol=1e-6, atol=1e-6 * deviation.max())
    np.testing.assert_allclose(variances, deviation**2, rtol=1e-6)


def test_an_outlier_in_the_first_row_costs_no_digits():
    x = np.random.default_rng(0).standard_normal((100_000, 4)).astype(np.float32)
    x[0] = 1e4
    ones = np.ones(4, np.float32)
    _, _, variances = BACKEND.batchnorm(x, ones, ones, eps=1e-5)
    np.testing.assert_allclose(variances, x.astype(np.float64).var(axis=0), rtol=1e-6)


def test_channel_sum_of_a_million_pixels():
    dy = np.random.default_rng(0).uniform(0, 1, (1_000_000, 3)).astype(np.float32)
    total = np.zeros(3, np.float32)
    BACKEND.channel_sum(dy, add_to=total)
    np.testing.assert_allclose(total, dy.sum(axis=0, dtype=np.float64), rtol=3e-7)


@pytest.mark.parametrize("kernel", ["tanh", "sigmoid"])
def test_smooth_activations_are_within_four_units_in_the_last_place(kernel):
    x = np.linspace(-20, 20, LARGE, dtype=np.float32)
    wide = x.astype(np.float64)
    exact = np.tanh(wide) if kernel == "tanh" else 1 / (1 + np.exp(-wide))
    y = getattr(BACKEND, kernel)(x)
    assert np.abs((y - exact) / np.spacing(exact.astype(np.float32))).max() <= 4


GEOMETRY = ConvGeometry(8, 8, 24, 40, 4, 4, (2, 2), ((1, 1), (1, 1)))


def conv_inputs(images=3):
    rng = np.random.default_rng(5)
    shapes = ((images, *GEOMETRY.input_shape), GEOMETRY.weight_shape, (images, *GEOMETRY.output_shape))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_reach_every_pixel_that_depends_on_them(bad):
    x, w, dy = conv_inputs()
    x[1, 3, 4, 5] = bad
    y = BACKEND.conv2d(x, w, None, GEOMETRY)
    assert np.isfinite(y[[0, 2]]).all()
    assert not np.isfinite(y[1, 1:3, 1:3]).any()
    assert np.isfinite(y[1]).sum() == y[1].size - 4 * GEOMETRY.K
    dw = np.zeros_like(w)
    BACKEND.conv2d_weight_grad(x, dy, GEOMETRY, add_to=dw)
    taps = [(r, s) for r in range(4) for s in range(4) if not np.isfinite(dw[r, s, 5]).all()]
    assert taps == [(0, 1), (0, 3), (2, 1), (2, 3)]  # 1 + 3 is even and 1 + 4 is odd
    dy[2, 0, 0, 7] = bad
    assert not np.isfinite(BACKEND.conv2d_input_grad(dy, w, GEOMETRY)[2, :3, :3]).any()


def test_nan_passes_through_products_and_normalization():
    a, b = np.ones((70, 90), np.float32), np.ones((90, 80), np.float32)
    a[3, 4] = np.nan
    y = BACKEND.matmul(a, b)
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, axis=0)).all()
    x, ones = np.random.default_rng(0).standard_normal((LARGE // 8, 8)).astype(np.float32), np.ones(8, np.float32)
    x[777, 2] = np.nan
    y, mean, var = BACKEND.batchnorm(x, ones, ones, eps=1e-5)
    assert np.isnan(y[:, 2]).all() and np.isnan([mean[2], var[2]]).all() and np.isfinite(y[:, [0, 1, 3]]).all()
    total = np.zeros(8, np.float32)
    BACKEND.channel_sum(x, add_to=total)
    assert np.isnan(total[2]) and np.isfinite(np.delete(total, 2)).all()


@pytest.mark.parametrize("size", [9, LARGE])
def test_nan_passes_through_elementwise_kernels(size):
    x, dy = np.linspace(-1, 1, size, dtype=np.float32), np.ones(size, np.float32)
    x[size // 3] = np.nan
    only = np.arange(size) == size // 3
    for y in (
        BACKEND.leaky_relu(x, slope=0.2), BACKEND.leaky_relu(x, slope=0.0), BACKEND.tanh(x), BACKEND.sigmoid(x),
        BACKEND.tanh_grad(dy, x), BACKEND.sigmoid_grad(dy, x), BACKEND.leaky_relu_grad(x, dy, slope=0.2),
    ):  # fmt: skip
        np.testing.assert_array_equal(np.isnan(y), only)
    w, m, v = dy.copy(), dy.copy(), dy.copy()
    BACKEND.adam_step(w, x, m, v, lr=0.1, beta1=0.5, beta2=0.9, eps=1e-8, step=1)
    for array in (w, m, v):
        np.testing.assert_array_equal(np.isnan(array), only)


def test_the_same_call_gives_the_same_bits():
    x, w, dy = conv_inputs(images=64)  # work enough for two threads
    large = np.random.default_rng(0).standard_normal((LARGE // 12, 12)).astype(np.float32)
    ones = np.ones(12, np.float32)

    def everything():
        dw, sums = np.zeros_like(w), np.zeros(12, np.float32)
        BACKEND.conv2d_weight_grad(x, dy, GEOMETRY, add_to=dw)
        BACKEND.channel_sum(large, add_to=sums)
        return [
            BACKEND.conv2d(x, w, None, GEOMETRY), BACKEND.conv2d_input_grad(dy, w, GEOMETRY), dw, sums,
            *BACKEND.batchnorm(large, ones, ones, eps=1e-5), BACKEND.matmul(large[:300].T, large[:300]),
        ]  # fmt: skip

    first = everything()
    for _ in range(3):
        for one, again in zip(first, everything(), strict=True):
            assert one.tobytes() == again.tobytes()


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("sizes", [(64, 100, 512), (200, 300, 2), (130, 70, 45), (1, 700, 400), (700, 1, 400)])
def test_products_of_every_size_agree_with_numpy(sizes, transpose_a, transpose_b):
    rows, depth, width = sizes
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((rows, depth)), rng.standard_normal((depth, width))
    bias, start = rng.standard_normal(width), rng.standard_normal((rows, width))
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    arguments = np.ascontiguousarray(a.T) if transpose_a else a, np.ascontiguousarray(b.T) if transpose_b else b
    np.testing.assert_allclose(BACKEND.matmul(*arguments, **options), a @ b, atol=1e-11)
    np.testing.assert_allclose(BACKEND.matmul(*arguments, bias=bias, **options), a @ b + bias, atol=1e-11)
    total = start.copy()
    assert BACKEND.matmul(*arguments, bias=bias, add_to=total, **options) is total
    np.testing.assert_allclose(total, start + a @ b + bias, atol=1e-11)


def test_sigmoid_in_double_precision_is_right_to_the_last_bits():
    x = np.linspace(-700, 700, 200_001)
    e = np.exp(-np.abs(x).astype(np.longdouble))
    exact = np.where(x >= 0, 1, e) / (1 + e)
    y = BACKEND.sigmoid(x)
    assert np.abs((y - exact) / np.spacing(exact.astype(np.float64))).max() <= 4
    np.testing.assert_array_equal(BACKEND.sigmoid(np.array([np.nan, -np.inf, np.inf, -0.0])), [np.nan, 0, 1, 0.5])
