"""dropout_mask."""

import naive
import numpy as np
import pytest
from calling import DTYPES, assert_same_bits, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

shapes = st.lists(st.integers(1, 8), min_size=1, max_size=4).map(tuple)


def draw_mask(backend, seed, shape, rate, dtype):
    mask = backend.dropout_mask(np.random.default_rng(seed), shape, rate=rate, dtype=dtype)
    assert mask.flags.c_contiguous
    return np.array(backend.to_numpy(mask))


@every_dtype
@given(shapes, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]), seeds)
def test_mask_has_the_shape_dtype_and_values_of_the_formula(backend, dtype, shape, rate, seed):
    mask = draw_mask(backend, seed, shape, rate, dtype)
    assert mask.shape == shape
    assert mask.dtype == dtype
    assert set(np.unique(mask)) <= {dtype.type(0), dtype.type(1 / (1 - rate))}


@every_dtype
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.9])
def test_zeros_are_as_frequent_as_the_rate_says(backend, rate, dtype):
    mask = draw_mask(backend, 12345, (4, 25, 25, 8), rate, dtype)
    assert naive.dropout_mask_violations(mask, rate=rate) == []
    # Inverted dropout: the mean stays what it was, each channel's too.
    assert mask.mean(dtype=float) == pytest.approx(1, abs=5 * np.sqrt(rate / (1 - rate) / mask.size) + 1e-6)


@given(shapes, st.sampled_from([0.0, 0.25, 0.5]), seeds)
def test_one_generator_gives_one_mask_on_every_backend_in_every_dtype(backend, reference, shape, rate, seed):
    expected = draw_mask(reference, seed, shape, rate, np.dtype(np.float32))
    for dtype in DTYPES:
        mask = draw_mask(backend, seed, shape, rate, dtype)
        np.testing.assert_array_equal(mask != 0, expected != 0)
    assert_same_bits(draw_mask(backend, seed, shape, rate, np.dtype(np.float32)), expected)


def test_the_generator_moves_on(backend, reference):
    """Two masks in a row differ, and both backends leave the generator in the same state."""
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    options = {"rate": 0.5, "dtype": np.dtype(np.float32)}
    first, second = (backend.to_numpy(backend.dropout_mask(ours, (7, 31), **options)) for _ in range(2))
    for _ in range(2):
        reference.dropout_mask(theirs, (7, 31), **options)
    assert (first != second).any()
    assert ours.random() == theirs.random()
