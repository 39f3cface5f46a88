"""Two kernels in one do what the two do."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, geometries, seeds
from hypothesis import given
from hypothesis import strategies as st
from test_dense_kernels import LARGER_LAYERS, dense_sums, sides
from test_norm_kernels import LARGER, batch, check_grad, eps_values, shapes, split

from minigan.backends.geometry import conv_geometry

slopes = st.sampled_from([0.0, 0.01, 0.2])


def off_the_kink(x, gamma, beta, mean, var, eps):
    """Whether no number comes so near the kink that rounding decides its side."""
    return np.abs(naive.batchnorm_frozen(x, gamma, beta, mean, var, eps=eps)).min() > 1e-3


@every_dtype
@given(shapes, eps_values, slopes, seeds)
def test_forward_is_the_formula(backend, dtype, shape, eps, slope, seed):
    arrays = batch(seed, dtype, shape)
    y, mean, var = call(backend, "batchnorm_leaky_relu", *arrays, eps=eps, slope=slope)
    expected, expected_mean, expected_var = naive.batchnorm(*arrays, eps=eps)
    assert_close(y, naive.leaky_relu(expected, slope=slope))
    assert_close(mean, expected_mean)
    assert_close(var, expected_var)


@every_dtype
@given(shapes, eps_values, slopes, seeds)
def test_frozen_forward_is_the_formula(backend, dtype, shape, eps, slope, seed):
    arrays = (*batch(seed, dtype, shape), *(np.abs(t) for t in draws(seed + 1, dtype, *[shape[-1:]] * 2)))
    y = call(backend, "batchnorm_frozen_leaky_relu", *arrays, eps=eps, slope=slope)
    assert_close(y, naive.leaky_relu(naive.batchnorm_frozen(*arrays, eps=eps), slope=slope))


@every_dtype
@given(shapes, eps_values, slopes, st.booleans(), st.booleans(), seeds)
def test_gradient_is_the_formula(backend, dtype, shape, eps, slope, need_dx, learning, seed):
    x, gamma, beta = batch(seed, dtype, shape)
    dy, dgamma, dbeta = draws(seed + 1, dtype, shape, *[shape[-1:]] * 2)
    mean, var = (t.astype(dtype) for t in naive.batch_statistics(x))
    if not off_the_kink(x, gamma, beta, mean, var, eps):
        return
    options = {"eps": eps, "slope": slope, "add_to": (dgamma, dbeta) if learning else None, "need_dx": need_dx}
    result = call(backend, "batchnorm_leaky_relu_grad", dy, x, gamma, beta, mean, var, **options)
    dx, sums = split(result, learning)
    y = naive.batchnorm_frozen(x, gamma, beta, mean, var, eps=eps)
    expected = naive.batchnorm_grad(naive.leaky_relu_grad(dy, y, slope=slope), x, gamma, mean, var, eps=eps)
    check_grad(dx, sums, expected, (dgamma, dbeta), need_dx)


@every_dtype
@pytest.mark.parametrize("shape", LARGER, ids=str)
def test_larger_batches_agree_with_the_reference(backend, reference, shape, dtype):
    x, gamma, beta = batch(5, dtype, shape)
    dy, dgamma, dbeta = draws(6, dtype, shape, *[shape[-1:]] * 2)
    _, mean, var = call(reference, "batchnorm", x, gamma, beta, eps=1e-5)
    t = normalized(x, gamma, beta, mean, var)
    x = np.where(np.abs(t) > 1e-4, x, x + np.sign(gamma) * dtype.type(0.1)).astype(dtype)  # off the kink
    for slope in (0.0, 0.2):
        assert_agree(backend, reference, "batchnorm_leaky_relu", x, gamma, beta, eps=1e-5, slope=slope)
        for need_dx in (True, False):
            assert_agree(
                backend, reference, "batchnorm_leaky_relu_grad", dy, x, gamma, beta, mean, var,
                eps=1e-5, slope=slope, add_to=(dgamma, dbeta), need_dx=need_dx,
            )  # fmt: skip


def normalized(x, gamma, beta, mean, var):
    return (x - mean) * (gamma / np.sqrt(var + 1e-5)) + beta


@every_dtype
def test_backward_finds_the_side_of_the_kink_that_forward_took(backend, dtype):
    """Down to the last bit: y > 0 and a derivative of 1 go together."""
    x, gamma, beta = draws(2, dtype, (3000, 40), (40,), (40,))
    x = np.round(x * 8).astype(dtype)  # a few values only, so that some y are near 0
    y, mean, var = call(backend, "batchnorm_leaky_relu", x, gamma, beta, eps=1e-5, slope=0.5)
    beta = beta - np.sort(y, axis=0)[1500]  # some are 0 but for rounding
    y, mean, var = call(backend, "batchnorm_leaky_relu", x, gamma, beta, eps=1e-5, slope=0.5)
    assert (np.abs(y) < 1e-6).sum() > 100
    one_hot = np.zeros_like(x)
    for row in (0, 1, 2999):
        one_hot.fill(0)
        one_hot[row] = 1
        dbeta = np.zeros(40, dtype)
        add_to = (np.zeros(40, dtype), dbeta)
        arrays = (one_hot, x, gamma, beta, mean, var)
        _, (_, dbeta) = call(
            backend, "batchnorm_leaky_relu_grad", *arrays, eps=1e-5, slope=0.5, add_to=add_to, need_dx=False
        )
        np.testing.assert_array_equal(dbeta, np.where(y[row] > 0, 1, 0.5))


@every_dtype
def test_nan_comes_through(backend, dtype):
    x, gamma, beta = batch(1, dtype, (6, 19))
    (dy,) = draws(2, dtype, (6, 19))
    x[1, 4] = np.nan
    y, mean, var = call(backend, "batchnorm_leaky_relu", x, gamma, beta, eps=1e-5, slope=0.0)
    sums = (np.zeros(19, dtype), np.zeros(19, dtype))
    dx, added = call(
        backend, "batchnorm_leaky_relu_grad", dy, x, gamma, beta, mean, var, eps=1e-5, slope=0.0, add_to=sums
    )
    for output in (y, dx, added[0]):
        assert np.isnan(output[..., 4]).all()
        assert np.isfinite(np.delete(output, 4, axis=-1)).all()


@every_dtype
@given(geometries(), st.integers(1, 3), slopes, st.booleans(), seeds)
def test_convolution_is_the_formula(backend, dtype, geometry, N, slope, biased, seed):
    x, w, b = draws(seed, dtype, (N, *geometry.input_shape), geometry.weight_shape, (geometry.K,))
    b = b if biased else None
    y = call(backend, "conv2d_leaky_relu", x, w, b, geometry, slope=slope)
    assert_close(y, naive.leaky_relu(naive.conv2d(x, w, b, geometry), slope=slope))


@every_dtype
@given(sides, sides, st.integers(1, 70), slopes, st.booleans(), seeds)
def test_dense_forward_is_the_formula(backend, dtype, N, F, K, slope, biased, seed):
    x, w, b = draws(seed, dtype, (N, F), (F, K), (K,))
    b = b if biased else None
    y = call(backend, "dense_leaky_relu", x, w, b, slope=slope)
    assert_close(y, naive.leaky_relu(naive.matmul(x, w, bias=b), slope=slope))


@every_dtype
@given(sides, sides, st.integers(1, 70), slopes, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_dense_gradient_is_the_formula(backend, dtype, N, F, K, slope, learning, biased, need_dx, seed):
    dy, x, w, y, dw, db = draws(seed, dtype, (N, K), (N, F), (F, K), (N, K), (F, K), (K,))
    options = {"slope": slope, "add_to": dense_sums(learning, biased, dw, db), "need_dx": need_dx}
    result = call(backend, "dense_leaky_relu_grad", dy, x, w, y, **options)
    dx, sums = split(result, learning)
    dz = naive.leaky_relu_grad(dy, y, slope=slope)
    expected = [naive.matmul(dz, w, transpose_b=True), naive.matmul(x, dz, transpose_a=True)]
    if biased:
        expected.append(naive.channel_sum(dz))
    check_grad(dx, sums if biased or sums is None else sums[:1], expected, (dw, db)[: 1 + biased], need_dx)


@every_dtype
@pytest.mark.parametrize(("N", "F", "K"), LARGER_LAYERS)
def test_larger_dense_layers_agree_with_the_reference(backend, reference, N, F, K, dtype):
    dy, x, w, b, y, dw, db = draws(8, dtype, (N, K), (N, F), (F, K), (K,), (N, K), (F, K), (K,))
    assert_agree(backend, reference, "dense_leaky_relu", x, w, b, slope=0.2)
    for add_to, need_dx in (((dw, db), True), ((dw, None), False), (None, True)):
        options = {"slope": 0.2, "add_to": add_to, "need_dx": need_dx}
        assert_agree(backend, reference, "dense_leaky_relu_grad", dy, x, w, y, **options)
    nothing = call(backend, "dense_leaky_relu_grad", dy, x, w, y, slope=0.2, add_to=None, need_dx=False)
    assert nothing is None


@every_dtype
def test_nan_comes_through_a_dense_layer(backend, dtype):
    x, w, b = draws(3, dtype, (9, 7), (7, 19), (19,))
    x[2, 3] = np.nan
    y = call(backend, "dense_leaky_relu", x, w, b, slope=0.2)
    assert np.isnan(y[2]).all() and np.isfinite(np.delete(y, 2, axis=0)).all()
    dy, dw, db = draws(4, dtype, (9, 19), (7, 19), (19,))
    dx, (dw, db) = call(backend, "dense_leaky_relu_grad", dy, x, w, y, slope=0.2, add_to=(dw, db))
    assert np.isnan(dw[3]).all() and np.isfinite(np.delete(dw, 3, axis=0)).all()
    assert np.isfinite(dx).all() and np.isfinite(db).all()


@every_dtype
@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")  # in lanes that BLAS does not use
def test_a_fused_relu_makes_zero_of_minus_infinity(backend, channels, dtype):
    """Forward of an output that is -inf, backward of a dy that is inf where the ReLU is shut."""
    x, w = np.ones((4, 300), dtype), np.ones((300, channels), dtype)
    x[1, 7] = -np.inf
    y = call(backend, "dense_leaky_relu", x, w, None, slope=0.0)
    np.testing.assert_array_equal(y, np.repeat([[300], [0], [300], [300]], channels, axis=1))
    sound, dy = np.ones_like(x), np.ones_like(y)
    dy[1] = np.inf
    dx = call(backend, "dense_leaky_relu_grad", dy, sound, w, y, slope=0.0, add_to=None)
    np.testing.assert_array_equal(dx, np.repeat([[channels], [0], [channels], [channels]], 300, axis=1))

    rows = np.array([[-np.inf], [2], [-3], [np.inf]], dtype).repeat(channels, axis=1)
    ones, zeros = np.ones(channels, dtype), np.zeros(channels, dtype)
    y = call(backend, "batchnorm_frozen_leaky_relu", rows, ones, zeros, zeros, ones, eps=0.0, slope=0.0)
    np.testing.assert_array_equal(y, np.maximum(rows, 0))

    geometry = conv_geometry((5, 6, 2), channels, (1, 1), (1, 1), "valid")
    image, w = np.ones((2, 5, 6, 2), dtype), np.ones((1, 1, 2, channels), dtype)
    image[1, 2, 3] = -np.inf
    y = call(backend, "conv2d_leaky_relu", image, w, None, geometry, slope=0.0)
    np.testing.assert_array_equal(y, np.maximum(image.sum(axis=-1, keepdims=True), 0).repeat(channels, axis=-1))
