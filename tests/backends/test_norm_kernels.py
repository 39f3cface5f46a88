"""Batch normalization: forward, gradient, gradient of the gradient, and the frozen pair."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

# (N, C) and (N, H, W, C). One row has no variance, and its gradient is divided by sqrt(eps): a case of its own.
shapes = st.one_of(
    st.tuples(st.integers(2, 9), st.integers(1, 5)),
    st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 4)).filter(lambda s: s[0] * s[1] * s[2] > 1),
)
eps_values = st.sampled_from([1e-5, 1e-3, 0.1])
LARGER = [(64, 1024), (16, 8, 8, 128), (5, 7, 9, 33), (1, 13, 11, 3), (64, 28, 28, 1), (4, 1), (70, 150)]


def batch(seed, dtype, shape):
    """x, gamma, beta: each channel with a mean, a spread and a scale of its own.

    Two rows that happen to be close would divide by a tiny deviation, and that magnifies rounding without
    bound; so the rows start apart.
    """
    x, center, gamma, beta = draws(seed, dtype, shape, *[shape[-1:]] * 3)
    rows = np.arange(x.size // shape[-1]).reshape(*shape[:-1], 1) % 2
    return (x + 3 * center + 4 * rows).astype(dtype), gamma, beta


def given_statistics(seed, dtype, channels):
    mean, spread = draws(seed + 1, dtype, (channels,), (channels,))
    return mean, spread**2 + dtype.type(0.1)


@every_dtype
@given(shapes, eps_values, seeds)
def test_batchnorm_is_the_formula(backend, dtype, shape, eps, seed):
    arrays = batch(seed, dtype, shape)
    for actual, expected in zip(
        call(backend, "batchnorm", *arrays, eps=eps), naive.batchnorm(*arrays, eps=eps), strict=True
    ):
        assert_close(actual, expected)


@every_dtype
@given(shapes, eps_values, st.booleans(), st.booleans(), seeds)
def test_batchnorm_grad_is_the_formula(backend, dtype, shape, eps, need_dx, learning, seed):
    x, gamma, _ = batch(seed, dtype, shape)
    dy, dgamma, dbeta = draws(seed + 1, dtype, shape, *[shape[-1:]] * 2)
    mean, var = (t.astype(dtype) for t in naive.batch_statistics(x))
    options = {"eps": eps, "add_to": (dgamma, dbeta) if learning else None, "need_dx": need_dx}
    dx, sums = split(call(backend, "batchnorm_grad", dy, x, gamma, mean, var, **options), learning)
    expected = naive.batchnorm_grad(dy, x, gamma, mean, var, eps=eps)
    check_grad(dx, sums, expected, (dgamma, dbeta), need_dx)


@every_dtype
@given(shapes, eps_values, st.booleans(), st.booleans(), seeds)
def test_batchnorm_frozen_grad_is_the_formula(backend, dtype, shape, eps, need_dx, learning, seed):
    x, gamma, _ = batch(seed, dtype, shape)
    dy, dgamma, dbeta = draws(seed + 1, dtype, shape, *[shape[-1:]] * 2)
    mean, var = given_statistics(seed, dtype, shape[-1])
    options = {"eps": eps, "add_to": (dgamma, dbeta) if learning else None, "need_dx": need_dx}
    dx, sums = split(call(backend, "batchnorm_frozen_grad", dy, x, gamma, mean, var, **options), learning)
    expected = naive.batchnorm_frozen_grad(dy, x, gamma, mean, var, eps=eps)
    check_grad(dx, sums, expected, (dgamma, dbeta), need_dx)


def split(result, learning):
    return result if learning else (result, None)


def check_grad(dx, sums, expected, before, need_dx):
    assert (dx is not None) == need_dx
    if need_dx:
        assert_close(dx, expected[0])
    if sums is not None:
        for after, start, added in zip(sums, before, expected[1:], strict=True):
            assert_close(after, start + added)


@every_dtype
@given(shapes, eps_values, st.booleans(), seeds)
def test_batchnorm_double_grad_is_the_derivative_of_the_gradient(backend, dtype, shape, eps, learning, seed):
    x, gamma, _ = batch(seed, dtype, shape)
    v, dy, dgamma = draws(seed + 1, dtype, shape, shape, shape[-1:])
    mean, var = (t.astype(dtype) for t in naive.batch_statistics(x))
    options = {"eps": eps, "add_to": dgamma if learning else None}
    (ddy, ddx), after = split(call(backend, "batchnorm_double_grad", v, dy, x, gamma, mean, var, **options), learning)
    expected = naive.batchnorm_double_grad(*(t.astype(np.float64) for t in (v, dy, x, gamma)), eps=eps)
    assert_close(ddy, expected[0])
    assert_close(ddx, expected[1])
    if learning:
        assert_close(after, dgamma + expected[2])


@every_dtype
@given(shapes, eps_values, seeds)
def test_batchnorm_frozen_is_the_formula(backend, dtype, shape, eps, seed):
    arrays = (*batch(seed, dtype, shape), *given_statistics(seed, dtype, shape[-1]))
    assert_close(call(backend, "batchnorm_frozen", *arrays, eps=eps), naive.batchnorm_frozen(*arrays, eps=eps))


@given(shapes, eps_values, seeds)
def test_the_oracle_gradient_is_the_derivative_of_the_oracle_forward(shape, eps, seed):
    x, gamma, beta = batch(seed, np.dtype(np.float64), shape)
    (dy,) = draws(seed + 1, np.float64, shape)

    def along_dy(x, gamma, beta):
        return (dy * naive.batchnorm(x, gamma, beta, eps=eps)[0]).sum()

    dx, dgamma, dbeta = naive.batchnorm_grad(dy, x, gamma, *naive.batch_statistics(x), eps=eps)
    assert_close(dx, naive.complex_step(lambda t: along_dy(t, gamma, beta), x))
    assert_close(dgamma, naive.complex_step(lambda t: along_dy(x, t, beta), gamma))
    assert_close(dbeta, naive.complex_step(lambda t: along_dy(x, gamma, t), beta))


@every_dtype
@pytest.mark.parametrize("shape", LARGER, ids=str)
def test_larger_batches_agree_with_the_reference(backend, reference, shape, dtype):
    x, gamma, beta = batch(5, dtype, shape)
    v, dy, dgamma, dbeta = draws(6, dtype, shape, shape, *[shape[-1:]] * 2)
    _, mean, var = call(reference, "batchnorm", x, gamma, beta, eps=1e-5)
    assert_agree(backend, reference, "batchnorm", x, gamma, beta, eps=1e-5)
    assert_agree(backend, reference, "batchnorm_frozen", x, gamma, beta, mean, var, eps=1e-5)
    for kernel in ("batchnorm_grad", "batchnorm_frozen_grad"):
        arrays = (dy, x, gamma, mean, var)
        assert_agree(backend, reference, kernel, *arrays, eps=1e-5, add_to=(dgamma, dbeta))
        assert_agree(backend, reference, kernel, *arrays, eps=1e-5, add_to=(dgamma, dbeta), need_dx=False)
    arrays = (v, dy, x, gamma, mean, var)
    assert_agree(backend, reference, "batchnorm_double_grad", *arrays, eps=1e-5, add_to=dgamma)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 2)], ids=str)
def test_a_single_row_becomes_beta(backend, shape, dtype):
    x, gamma, beta = draws(1, dtype, shape, *[shape[-1:]] * 2)
    (dy,) = draws(2, dtype, shape)
    y, mean, var = call(backend, "batchnorm", x, gamma, beta, eps=1e-5)
    np.testing.assert_array_equal(y.ravel(), beta)
    np.testing.assert_array_equal(mean, x.ravel())
    np.testing.assert_array_equal(var, np.zeros_like(var))
    dx = call(backend, "batchnorm_grad", dy, x, gamma, mean, var, eps=1e-5, add_to=None)
    np.testing.assert_array_equal(dx, np.zeros_like(dx))


@pytest.mark.parametrize("rows", [1000, 100_000])
@pytest.mark.parametrize("channels", [1, 5])
def test_float32_with_a_mean_far_from_zero(backend, rows, channels):
    """E[x^2] - E[x]^2 would lose everything here: at a mean of 1000, x^2 has a rounding error of six variances.

    What has to remain is the rounding of the mean itself to float32: 3e-5, or 3e-4 standard deviations.
    """
    noise, dy = draws(9, np.float32, (rows, channels), (rows, channels))
    x = (1000 + 0.1 * noise).astype(np.float32)
    gamma, beta = np.full(channels, 1.5, np.float32), np.full(channels, -0.5, np.float32)
    y, mean, var = call(backend, "batchnorm", x, gamma, beta, eps=1e-5)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(var, wide.var(axis=0), rtol=1e-5)
    u = (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + 1e-5)
    assert_close(y, 1.5 * u - 0.5, tolerance=2e-4)

    sums = (np.zeros(channels, np.float32), np.zeros(channels, np.float32))
    dx, (dgamma, dbeta) = call(backend, "batchnorm_grad", dy, x, gamma, mean, var, eps=1e-5, add_to=sums)
    inv_std = 1 / np.sqrt(wide.var(axis=0) + 1e-5)
    expected = 1.5 * inv_std * (dy - dy.mean(axis=0, dtype=float) - u * (dy * u).mean(axis=0))
    assert_close(dx, expected, tolerance=2e-5)
    assert_close(dgamma, (dy * u).sum(axis=0), tolerance=2e-3)
    np.testing.assert_allclose(dbeta, dy.sum(axis=0, dtype=float), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(100_000, 3), (25, 64, 64, 2)], ids=str)
def test_statistics_of_many_rows_keep_their_digits(backend, shape):
    x = np.random.default_rng(3).random(shape, dtype=np.float32) + 1
    ones, zeros = np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)
    y, mean, var = call(backend, "batchnorm", x, ones, zeros, eps=1e-5)
    rows = x.reshape(-1, shape[-1]).astype(np.float64)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(var, rows.var(axis=0), rtol=1e-5)
    assert_close(y.reshape(rows.shape), (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5))


@every_dtype
@pytest.mark.parametrize("shape", [(6, 19), (2, 3, 3, 19)], ids=str)
def test_nan_spoils_its_own_channel_only(backend, shape, dtype):
    x, gamma, beta = batch(1, dtype, shape)
    v, dy = draws(2, dtype, shape, shape)
    spot, other = (*[1] * (len(shape) - 1), 4), np.arange(19) != 4
    _, mean, var = call(backend, "batchnorm", x, gamma, beta, eps=1e-5)
    sums = tuple(np.zeros((2, 19), dtype))

    bad = x.copy()
    bad[spot] = np.nan
    for output in call(backend, "batchnorm", bad, gamma, beta, eps=1e-5):
        assert np.isnan(output[..., 4]).all()
        assert np.isfinite(output[..., other]).all()
    frozen = call(backend, "batchnorm_frozen", bad, gamma, beta, mean, var, eps=1e-5)
    np.testing.assert_array_equal(np.isnan(frozen), np.isnan(bad))

    bad = dy.copy()
    bad[spot] = np.nan
    dx, added = call(backend, "batchnorm_grad", bad, x, gamma, mean, var, eps=1e-5, add_to=sums)
    for output in (dx, *added):
        assert np.isnan(output[..., 4]).all()
        assert np.isfinite(output[..., other]).all()
    dx, added = call(backend, "batchnorm_frozen_grad", bad, x, gamma, mean, var, eps=1e-5, add_to=sums)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(bad))
    for output in added:
        np.testing.assert_array_equal(np.isnan(output), ~other)

    bad = v.copy()
    bad[spot] = np.nan
    double, added = call(backend, "batchnorm_double_grad", bad, dy, x, gamma, mean, var, eps=1e-5, add_to=sums[0])
    for output in (*double, added):
        assert np.isnan(output[..., 4]).all()
        assert np.isfinite(output[..., other]).all()


def test_batchnorm_agrees_with_pytorch(backend):
    torch = pytest.importorskip("torch")
    x, gamma, beta = batch(8, np.dtype(np.float64), (4, 5, 6, 7))
    (dy,) = draws(9, np.float64, x.shape)
    tensors = [torch.from_numpy(t.copy()).requires_grad_() for t in (x, gamma, beta)]
    images = tensors[0].permute(0, 3, 1, 2)
    y = torch.nn.functional.batch_norm(images, None, None, tensors[1], tensors[2], training=True, eps=1e-3)
    y.permute(0, 2, 3, 1).backward(torch.from_numpy(dy))
    actual, mean, var = call(backend, "batchnorm", x, gamma, beta, eps=1e-3)
    assert_close(actual, y.permute(0, 2, 3, 1).detach().numpy())
    sums = tuple(np.zeros((2, 7)))
    dx, (dgamma, dbeta) = call(backend, "batchnorm_grad", dy, x, gamma, mean, var, eps=1e-3, add_to=sums)
    for one, other in zip((dx, dgamma, dbeta), tensors, strict=True):
        assert_close(one, other.grad.numpy())
