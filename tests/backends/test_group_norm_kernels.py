"""Normalization of each example by itself: forward, gradient, gradient of the gradient."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

eps_values = st.sampled_from([1e-5, 1e-3, 0.1])
# shape and groups; one group is layer normalization, as many as channels instance normalization
LARGER = [
    ((16, 8, 8, 128), 32),
    ((5, 7, 9, 33), 3),
    ((8, 16, 16, 64), 64),
    ((4, 32, 32, 3), 3),
    ((64, 28, 28, 1), 1),
    ((64, 1000), 1),
    ((33, 48), 12),
    ((1, 64, 64, 40), 8),
]


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], int]:
    """A shape, images or vectors, and a number of groups with more than one number each."""
    groups, deep = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pixels = draw(st.one_of(st.just(()), st.tuples(st.integers(1, 3), st.integers(1, 3))))
    if deep * int(np.prod(pixels)) == 1:
        deep = 2
    return (draw(st.integers(1, 3)), *pixels, groups * deep), groups


def batch(seed, dtype, shape):
    """x, gamma, beta: each example with a mean of its own, its numbers apart.

    Two that nearly agree would make a variance of nearly 0, whose inverse is where rounding errors grow.
    """
    x, center, gamma, beta = draws(seed, dtype, shape, shape[:1], shape[-1:], shape[-1:])
    pixels = np.arange(x[0].size // shape[-1]).reshape(*shape[1:-1], 1)
    apart = (pixels + np.arange(shape[-1])) % 2  # both 0 and 1 in every group
    return (x / 4 + 3 * center.reshape(-1, *[1] * (len(shape) - 1)) + 4 * apart).astype(dtype), gamma, beta


@every_dtype
@given(cases(), eps_values, seeds)
def test_group_norm_is_the_formula(backend, dtype, case, eps, seed):
    shape, groups = case
    arrays = batch(seed, dtype, shape)
    actual = call(backend, "group_norm", *arrays, groups=groups, eps=eps)
    for one, other in zip(actual, naive.group_norm(*arrays, groups=groups, eps=eps), strict=True):
        assert_close(one, other)


@every_dtype
@given(cases(), eps_values, st.booleans(), st.booleans(), seeds)
def test_group_norm_grad_is_the_formula(backend, dtype, case, eps, need_dx, learning, seed):
    shape, groups = case
    x, gamma, _ = batch(seed, dtype, shape)
    dy, *before = draws(seed + 1, dtype, shape, *[shape[-1:]] * 2)
    mean, var = (t.astype(dtype) for t in naive.group_statistics(x, groups))
    options = {"eps": eps, "add_to": tuple(before) if learning else None, "need_dx": need_dx}
    result = call(backend, "group_norm_grad", dy, x, gamma, mean, var, **options)
    dx, sums = result if learning else (result, ())
    expected = naive.group_norm_grad(dy, x, gamma, mean, var, eps=eps)
    assert (dx is not None) == need_dx
    if need_dx:
        assert_close(dx, expected[0])
    for after, start, added in zip(sums, before, expected[1:], strict=False):
        assert_close(after, start + added)


@every_dtype
@given(cases(), eps_values, st.booleans(), seeds)
def test_group_norm_double_grad_is_the_derivative_of_the_gradient(backend, dtype, case, eps, learning, seed):
    shape, groups = case
    x, gamma, _ = batch(seed, dtype, shape)
    v, dy, dgamma = draws(seed + 1, dtype, shape, shape, shape[-1:])
    mean, var = (t.astype(dtype) for t in naive.group_statistics(x, groups))
    options = {"eps": eps, "add_to": dgamma if learning else None}
    result = call(backend, "group_norm_double_grad", v, dy, x, gamma, mean, var, **options)
    (ddy, ddx), after = result if learning else (result, None)
    wide = (t.astype(np.float64) for t in (v, dy, x, gamma))
    expected = naive.group_norm_double_grad(*wide, groups=groups, eps=eps)
    assert_close(ddy, expected[0])
    assert_close(ddx, expected[1])
    if learning:
        assert_close(after, dgamma + expected[2])


@given(cases(), eps_values, seeds)
def test_the_oracle_gradient_is_the_derivative_of_the_oracle_forward(case, eps, seed):
    shape, groups = case
    x, gamma, beta = batch(seed, np.dtype(np.float64), shape)
    (dy,) = draws(seed + 1, np.float64, shape)

    def along_dy(x, gamma, beta):
        return (dy * naive.group_norm(x, gamma, beta, groups=groups, eps=eps)[0]).sum()

    dx, dgamma, dbeta = naive.group_norm_grad(dy, x, gamma, *naive.group_statistics(x, groups), eps=eps)
    assert_close(dx, naive.complex_step(lambda t: along_dy(t, gamma, beta), x))
    assert_close(dgamma, naive.complex_step(lambda t: along_dy(x, t, beta), gamma))
    assert_close(dbeta, naive.complex_step(lambda t: along_dy(x, gamma, t), beta))


@every_dtype
@pytest.mark.parametrize(("shape", "groups"), LARGER, ids=str)
def test_larger_batches_agree_with_the_reference(backend, reference, shape, groups, dtype):
    x, gamma, beta = batch(5, dtype, shape)
    v, dy, dgamma, dbeta = draws(6, dtype, shape, shape, *[shape[-1:]] * 2)
    _, mean, var = call(reference, "group_norm", x, gamma, beta, groups=groups, eps=1e-5)
    assert_agree(backend, reference, "group_norm", x, gamma, beta, groups=groups, eps=1e-5)
    arrays = (dy, x, gamma, mean, var)
    assert_agree(backend, reference, "group_norm_grad", *arrays, eps=1e-5, add_to=(dgamma, dbeta))
    assert_agree(backend, reference, "group_norm_grad", *arrays, eps=1e-5, add_to=(dgamma, dbeta), need_dx=False)
    assert_agree(backend, reference, "group_norm_double_grad", v, *arrays, eps=1e-5, add_to=dgamma)


def test_one_group_of_one_example_is_batch_normalization_of_its_numbers(backend):
    x, dy = draws(1, np.float64, (1, 5, 7, 4), (1, 5, 7, 4))
    v, ones, zeros = draws(2, np.float64, x.shape)[0], np.ones(4), np.zeros(4)
    y, mean, var = call(backend, "group_norm", x, ones, zeros, groups=1, eps=1e-3)
    wide = [t.reshape(-1, 1) for t in (v, dy, x)]
    flat_y, *statistics = call(backend, "batchnorm", wide[2], ones[:1], zeros[:1], eps=1e-3)
    assert_close(y.reshape(-1, 1), flat_y)
    double = call(backend, "group_norm_double_grad", v, dy, x, ones, mean, var, eps=1e-3, add_to=None)
    flat = call(backend, "batchnorm_double_grad", *wide, ones[:1], *statistics, eps=1e-3, add_to=None)
    for one, other in zip(double, flat, strict=True):
        assert_close(one.reshape(-1, 1), other)


def test_float32_with_a_mean_far_from_zero(backend):
    """As in `test_norm_kernels`: E[x^2] - E[x]^2 would lose everything."""
    (noise,) = draws(9, np.float32, (4, 32, 32, 8))
    x = (1000 + 0.1 * noise).astype(np.float32)
    _, mean, var = call(backend, "group_norm", x, np.ones(8, np.float32), np.zeros(8, np.float32), groups=2, eps=1e-5)
    wide = x.astype(np.float64).reshape(4, -1, 2, 4)
    np.testing.assert_allclose(mean, wide.mean(axis=(1, 3)), rtol=1e-7)
    np.testing.assert_allclose(var, wide.var(axis=(1, 3)), rtol=1e-5)


@every_dtype
@pytest.mark.parametrize("shape", [(3, 12), (3, 2, 4, 12)], ids=str)
def test_nan_spoils_its_own_group_only(backend, shape, dtype):
    x, gamma, beta = batch(1, dtype, shape)
    dy, v = draws(2, dtype, shape, shape)
    _, mean, var = call(backend, "group_norm", x, gamma, beta, groups=3, eps=1e-5)
    expected = np.zeros((*shape[:-1], 3, 4), bool)
    expected[1, ..., 1, :] = True
    spot = (1, *[1] * (len(shape) - 2), 5)

    def spoilt(t):
        t = t.copy()
        t[spot] = np.nan
        return t

    y, bad_mean, bad_var = call(backend, "group_norm", spoilt(x), gamma, beta, groups=3, eps=1e-5)
    np.testing.assert_array_equal(np.isnan(y), expected.reshape(shape))
    for statistic in (bad_mean, bad_var):
        assert [tuple(place) for place in np.argwhere(np.isnan(statistic))] == [(1, 1)]
    dx = call(backend, "group_norm_grad", spoilt(dy), x, gamma, mean, var, eps=1e-5, add_to=None)
    double = call(backend, "group_norm_double_grad", spoilt(v), dy, x, gamma, mean, var, eps=1e-5, add_to=None)
    for output in (dx, *double):
        np.testing.assert_array_equal(np.isnan(output), expected.reshape(shape))
