"""matmul, dense_grad and channel_sum."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

sides = st.integers(1, 9)


def factors(M, L, N, transpose_a, transpose_b):
    return ((L, M) if transpose_a else (M, L)), ((N, L) if transpose_b else (L, N))


@every_dtype
@given(sides, sides, sides, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_matmul_is_the_formula(backend, dtype, M, L, N, transpose_a, transpose_b, biased, seed):
    a, b, bias = draws(seed, dtype, *factors(M, L, N, transpose_a, transpose_b), (N,))
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "bias": bias if biased else None}
    assert_close(call(backend, "matmul", a, b, **options), naive.matmul(a, b, **options))


@every_dtype
@given(sides, sides, sides, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_matmul_adds_the_formula(backend, dtype, M, L, N, transpose_a, transpose_b, biased, seed):
    a, b, bias, before = draws(seed, dtype, *factors(M, L, N, transpose_a, transpose_b), (N,), (M, N))
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "bias": bias if biased else None}
    _, after = call(backend, "matmul", a, b, **options, add_to=before)
    assert_close(after, before + naive.matmul(a, b, **options))


@pytest.mark.parametrize(("M", "L", "N"), [(1, 300, 1100), (3, 2, 4)])
def test_matmul_returns_the_array_it_added_to(backend, M, L, N):
    a, b, target = (backend.asarray(t) for t in draws(1, np.float32, (M, L), (L, N), (M, N)))
    assert backend.matmul(a, b, add_to=target) is target


# By their sizes these go different ways: (M, L, N).
LARGER = [(64, 100, 4096), (130, 257, 63), (1, 300, 1100), (16, 300, 701), (17, 260, 650), (64, 256, 129)]


@every_dtype
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize(("M", "L", "N"), [*LARGER, (1, 8192, 1), (64, 784, 1)])
def test_larger_products_agree_with_float64(backend, M, L, N, transpose_a, transpose_b, dtype):
    a, b, bias, target = draws(2, dtype, *factors(M, L, N, transpose_a, transpose_b), (N,), (M, N))
    wide = [t.astype(np.float64) for t in (a, b)]
    expected = (wide[0].T if transpose_a else wide[0]) @ (wide[1].T if transpose_b else wide[1])
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    assert_close(call(backend, "matmul", a, b, **options), expected)
    assert_close(call(backend, "matmul", a, b, bias=bias, **options), expected + bias)
    assert_close(call(backend, "matmul", a, b, add_to=target, **options)[0], expected + target)


@every_dtype
def test_nan_in_a_factor_reaches_its_row_or_column_only(backend, dtype):
    a, b = draws(3, dtype, (5, 7), (7, 19))
    a[2, 3] = np.nan
    np.testing.assert_array_equal(np.isnan(call(backend, "matmul", a, b)), np.isnan(naive.matmul(a, b)))
    a, b = draws(3, dtype, (5, 7), (7, 19))
    b[4, 18] = np.nan
    np.testing.assert_array_equal(np.isnan(call(backend, "matmul", a, b)), np.isnan(naive.matmul(a, b)))


def dense_sums(learning, biased, dw, db):
    """Where the gradients go, in the three ways a layer may want them."""
    return (dw, db if biased else None) if learning else None


@every_dtype
@given(sides, sides, st.integers(1, 70), st.booleans(), st.booleans(), st.booleans(), seeds)
def test_dense_grad_is_the_formula(backend, dtype, N, F, K, learning, biased, need_dx, seed):
    dy, x, w, dw, db = draws(seed, dtype, (N, K), (N, F), (F, K), (F, K), (K,))
    add_to = dense_sums(learning, biased, dw, db)
    result = call(backend, "dense_grad", dy, x, w, add_to=add_to, need_dx=need_dx)
    dx, sums = result if learning else (result, None)
    assert (dx is not None) == need_dx
    if need_dx:
        assert_close(dx, naive.matmul(dy, w, transpose_b=True))
    if sums is not None:
        assert_close(sums[0], dw + naive.matmul(x, dy, transpose_a=True))
        assert (sums[1] is not None) == biased
        if biased:
            assert_close(sums[1], db + naive.channel_sum(dy))


LARGER_LAYERS = [(64, 784, 128), (64, 128, 784), (1, 300, 1001), (300, 70, 2), (301, 257, 3), (1030, 100, 40)]


@every_dtype
@pytest.mark.parametrize(("N", "F", "K"), LARGER_LAYERS)
def test_larger_layers_agree_with_the_reference(backend, reference, N, F, K, dtype):
    dy, x, w, dw, db = draws(7, dtype, (N, K), (N, F), (F, K), (F, K), (K,))
    for add_to, need_dx in (((dw, db), True), ((dw, None), False), (None, True)):
        assert_agree(backend, reference, "dense_grad", dy, x, w, add_to=add_to, need_dx=need_dx)


@every_dtype
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple), seeds)
def test_channel_sum_adds_the_formula(backend, dtype, shape, seed):
    dy, before = draws(seed, dtype, shape, shape[-1:])
    result, after = call(backend, "channel_sum", dy, add_to=before)
    assert result is None
    assert_close(after, before + naive.channel_sum(dy))


@pytest.mark.parametrize("channels", [1, 3, 64, 101])
def test_channel_sum_of_many_float32_rows_keeps_its_digits(backend, channels):
    """Numbers of one sign, where a running float32 sum drifts by a thousandth."""
    dy = np.random.default_rng(0).random((10, 100, 100, channels), dtype=np.float32)
    _, total = call(backend, "channel_sum", dy, add_to=np.zeros(channels, np.float32))
    expected = dy.sum(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


@every_dtype
def test_nan_in_a_cotangent_reaches_its_own_sum_only(backend, dtype):
    (dy,) = draws(4, dtype, (2, 3, 4, 19))
    dy[1, 2, 3, 18] = np.nan
    _, total = call(backend, "channel_sum", dy, add_to=np.zeros(19, dtype))
    np.testing.assert_array_equal(np.isnan(total), np.arange(19) == 18)


@every_dtype
@given(st.integers(1, 3), *[st.integers(1, 9)] * 3, st.booleans(), st.booleans(), seeds)
def test_batched_matmul_is_the_product_of_each_pair(backend, dtype, N, M, L, K, transpose_a, transpose_b, seed):
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    a, b = draws(seed, dtype, (N, L, M) if transpose_a else (N, M, L), (N, K, L) if transpose_b else (N, L, K))
    expected = np.stack([naive.matmul(one, other, **options) for one, other in zip(a, b, strict=True)])
    assert_close(call(backend, "batched_matmul", a, b, **options), expected)


@every_dtype
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)], ids=str)
def test_larger_batched_products_agree_with_the_reference(backend, reference, transposed, dtype):
    a, b = draws(3, dtype, (3, 196, 196), (3, 196, 64))
    b = np.ascontiguousarray(b.swapaxes(1, 2)) if transposed[1] else b
    options = dict(zip(("transpose_a", "transpose_b"), transposed, strict=True))
    assert_agree(backend, reference, "batched_matmul", a, b, **options)
