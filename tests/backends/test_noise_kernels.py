"""noise_leaky_relu and its gradient."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

shapes = st.tuples(*[st.integers(1, 5)] * 4)
slopes, gains = st.sampled_from([0.0, 0.2]), st.sampled_from([1.0, 2**0.5])


@every_dtype
@given(shapes, st.booleans(), slopes, gains, seeds)
def test_both_passes_are_the_formula(backend, dtype, shape, alike, slope, gain, seed):
    of_noise = (1 if alike else shape[0], *shape[1:3], 1)
    x, dy, n, strength, b, to = draws(seed, dtype, shape, shape, of_noise, (1,), shape[-1:], shape[-1:])
    settings = {"slope": slope, "gain": gain}
    y = naive.noise_leaky_relu(x, n, strength, b, **settings)
    assert_close(call(backend, "noise_leaky_relu", x, n, strength, b, **settings), y)
    y = y.astype(dtype)
    dx, (dstrength, db) = naive.noise_leaky_relu_grad(dy, y, n, **settings)
    assert_close(call(backend, "noise_leaky_relu_grad", dy, y, n, **settings, add_to=None), dx)
    found, sums = call(backend, "noise_leaky_relu_grad", dy, y, n, **settings, add_to=(strength, to))
    assert_close(found, dx)
    assert_close(sums[0], strength + dstrength)
    assert_close(sums[1], to + db)


@every_dtype
@pytest.mark.parametrize("shape", [(8, 16, 16, 64), (3, 33, 31, 3)])
def test_larger_images_agree_with_the_reference(backend, reference, shape, dtype):
    x, dy, n, strength, b = draws(5, dtype, shape, shape, (*shape[:3], 1), (1,), shape[-1:])
    settings = {"slope": 0.2, "gain": 2**0.5}
    assert_agree(backend, reference, "noise_leaky_relu", x, n, strength, b, **settings)
    assert_agree(backend, reference, "noise_leaky_relu_grad", dy, x, n, **settings, add_to=(strength, b))


def test_nan_stays_in_its_pixel(backend):
    x, n, strength, b = draws(5, np.dtype(np.float32), (2, 3, 4, 5), (2, 3, 4, 1), (1,), (5,))
    n[1, 2, 3] = np.nan
    y = call(backend, "noise_leaky_relu", x, n, strength, b, slope=0.2, gain=1.0)
    assert np.argwhere(np.isnan(y).any(axis=3)).tolist() == [[1, 2, 3]]
