"""leaky_relu, tanh, sigmoid and their gradients."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
slopes = st.sampled_from([0.0, 0.01, 0.2, 1.0, 1.5])
SMOOTH = ["tanh", "sigmoid"]
LARGER = [(64, 100), (16, 14, 14, 33), (70_001,)]


@every_dtype
@given(shapes, slopes, seeds)
def test_leaky_relu_is_the_formula(backend, dtype, shape, slope, seed):
    x, dy = draws(seed, dtype, shape, shape)
    x.ravel()[0] = 0
    y = call(backend, "leaky_relu", x, slope=slope)
    assert_close(y, naive.leaky_relu(x, slope=slope))
    assert_close(call(backend, "leaky_relu_grad", dy, y, slope=slope), naive.leaky_relu_grad(dy, y, slope=slope))


@every_dtype
@given(shapes, st.integers(1, 5), seeds)
def test_maxout_is_the_formula(backend, dtype, shape, pieces, seed):
    wide = (*shape[:-1], pieces * shape[-1])
    x, dy = draws(seed, dtype, wide, shape)
    x = np.round(x, 1)  # some are equal: the first of them gets the gradient
    y = call(backend, "maxout", x, pieces=pieces)
    assert_close(y, naive.maxout(x, pieces=pieces))
    assert_close(call(backend, "maxout_grad", dy, x, y, pieces=pieces), naive.maxout_grad(dy, x, y, pieces=pieces))


@every_dtype
@pytest.mark.parametrize("place", [0, 1, 2])
def test_maxout_keeps_nan(backend, place, dtype):
    x = np.arange(6, dtype=dtype).reshape(1, 6)
    x[0, 2 * place] = np.nan
    np.testing.assert_array_equal(np.isnan(call(backend, "maxout", x, pieces=3)), [[True, False]])


@pytest.mark.parametrize("kernel", SMOOTH)
@every_dtype
@given(shape=shapes, spread=st.sampled_from([1e-3, 1, 30]), seed=seeds)
def test_smooth_activations_are_the_formula(backend, kernel, dtype, shape, spread, seed):
    x, dy = draws(seed, dtype, shape, shape)
    x *= dtype.type(spread)
    y = call(backend, kernel, x)
    assert_close(y, getattr(naive, kernel)(x))
    gradient = f"{kernel}_grad"
    assert_close(call(backend, gradient, dy, y), getattr(naive, gradient)(dy, y))


@pytest.mark.parametrize("kernel", SMOOTH)
def test_the_oracle_gradients_are_derivatives(kernel):
    x, dy = draws(0, np.float64, (20,), (20,))
    forward = getattr(naive, f"complex_{kernel}")
    actual = getattr(naive, f"{kernel}_grad")(dy, getattr(naive, kernel)(x))
    assert_close(actual, naive.complex_step(lambda t: (dy * forward(t)).sum(), x))


@every_dtype
@pytest.mark.parametrize("shape", LARGER, ids=str)
def test_larger_arrays_agree_with_the_reference(backend, reference, shape, dtype):
    x, dy = draws(5, dtype, shape, shape)
    assert_agree(backend, reference, "leaky_relu", x, slope=0.2)
    assert_agree(backend, reference, "leaky_relu_grad", dy, x, slope=0.2)
    for kernel in SMOOTH:
        assert_agree(backend, reference, kernel, x)
        assert_agree(backend, reference, f"{kernel}_grad", dy, call(reference, kernel, x))


@every_dtype
@pytest.mark.parametrize("shape", [(100, 200), (8, 14, 14, 33)], ids=str)
def test_larger_maxout_agrees_with_the_reference(backend, reference, shape, dtype):
    x, dy = draws(6, dtype, (*shape[:-1], 5 * shape[-1]), shape)
    assert_agree(backend, reference, "maxout", x, pieces=5)
    assert_agree(backend, reference, "maxout_grad", dy, x, call(reference, "maxout", x, pieces=5), pieces=5)


@every_dtype
def test_small_numbers_keep_their_relative_digits(backend, dtype):
    """tanh(x) near 0 and sigmoid(x) far below it are small, not zero, and right to the last few bits."""
    small = np.logspace(-30, -1, 117).astype(dtype)
    digits = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(call(backend, "tanh", small), naive.tanh(small), rtol=digits)
    far = -np.linspace(1, 80, 117).astype(dtype)
    # exp(x) magnifies the rounding of x's own last bit by |x|.
    np.testing.assert_allclose(call(backend, "sigmoid", far), naive.sigmoid(far), rtol=80 * digits)


@every_dtype
def test_extreme_numbers_saturate_without_a_warning(backend, dtype):
    largest = np.finfo(dtype).max
    x = np.array([-np.inf, -largest, -1e5, -800, -100, -0.0, 0.0, 100, 800, 1e5, largest, np.inf], dtype)
    low, high = x < -99, x > 99
    y = call(backend, "tanh", x)
    np.testing.assert_array_equal(y, np.where(low, -1, np.where(high, 1, 0)))
    np.testing.assert_array_equal(call(backend, "tanh_grad", np.ones_like(x), y), 1 - y * y)
    y = call(backend, "sigmoid", x)
    np.testing.assert_array_equal(y[~low], np.where(high, 1, 0.5)[~low])
    assert (y[low] >= 0).all()
    assert (y[low] < 1e-40).all()
    assert np.isfinite(call(backend, "sigmoid_grad", np.ones_like(x), y)).all()
    y = call(backend, "leaky_relu", x, slope=0.25)
    np.testing.assert_array_equal(y, np.where(x > 0, x, dtype.type(0.25) * x))


@every_dtype
def test_leaky_relu_at_zero_has_the_slope_of_the_left(backend, dtype):
    dy = np.array([3, 3, 3, 3], dtype)
    y = np.array([-0.0, 0.0, -1, 1], dtype)
    actual = call(backend, "leaky_relu_grad", dy, y, slope=0.5)
    np.testing.assert_array_equal(actual, np.array([1.5, 1.5, 1.5, 3], dtype))


@every_dtype
@pytest.mark.parametrize("length", [1, 7, 8, 64, 101])
def test_nan_stays_where_it_is(backend, length, dtype):
    x, dy = draws(1, dtype, (length,), (length,))
    bad = x.copy()
    bad[-1] = np.nan
    expected = np.isnan(bad)
    for kernel in SMOOTH:
        np.testing.assert_array_equal(np.isnan(call(backend, kernel, bad)), expected)
        y = call(backend, kernel, x)
        np.testing.assert_array_equal(np.isnan(call(backend, f"{kernel}_grad", bad, y)), expected)
        np.testing.assert_array_equal(np.isnan(call(backend, f"{kernel}_grad", dy, bad)), expected)
    for slope in (0.0, 0.2):
        np.testing.assert_array_equal(np.isnan(call(backend, "leaky_relu", bad, slope=slope)), expected)
        gradient = call(backend, "leaky_relu_grad", bad, x, slope=slope)
        np.testing.assert_array_equal(np.isnan(gradient), expected)


@every_dtype
@pytest.mark.parametrize("length", [1, 3, 64, 101])
def test_a_relu_makes_zero_of_minus_infinity(backend, length, dtype):
    """0 * inf is NaN, but max(x, 0) is 0, and so is the gradient left of the kink, whatever comes in."""
    x = np.resize(np.array([-np.inf, np.inf, np.nan, -2, 3], dtype), length)
    y = call(backend, "leaky_relu", x, slope=0.0)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    for dy in (np.inf, -np.inf, 1):
        gradient = call(backend, "leaky_relu_grad", np.full_like(x, dy), y, slope=0.0)
        np.testing.assert_array_equal(gradient, np.where(y > 0, dtype.type(dy), 0))
    leaky = call(backend, "leaky_relu", x, slope=0.2)
    np.testing.assert_array_equal(leaky, np.where(x > 0, x, dtype.type(0.2) * x))
    np.testing.assert_array_equal(call(backend, "leaky_relu", x, slope=1.0), x)


@every_dtype
def test_an_infinite_gradient_reaches_the_largest_piece_alone(backend, dtype):
    x = np.array([[1, 5, 3, 2, -np.inf, np.inf]], dtype)  # of each output the pieces are 1, 3, -inf and 5, 2, inf
    y = call(backend, "maxout", x, pieces=3)
    np.testing.assert_array_equal(y, [[3, np.inf]])
    gradient = call(backend, "maxout_grad", np.array([[np.inf, -np.inf]], dtype), x, y, pieces=3)
    np.testing.assert_array_equal(gradient, [[0, 0, np.inf, 0, 0, -np.inf]])
