"""scale_channels and its gradient."""

import naive
import numpy as np
import pytest
from calling import assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

from minigan.backends import get_backend
from minigan.errors import ShapeError

shapes = st.tuples(*[st.integers(1, 5)] * 4)


@every_dtype
@given(shapes, seeds)
def test_scaling_is_the_formula(backend, dtype, shape, seed):
    x, dy, s = draws(seed, dtype, shape, shape, (shape[0], shape[3]))
    np.testing.assert_array_equal(call(backend, "scale_channels", x, s), naive.scale_channels(x, s).astype(dtype))
    for one, other in zip(
        call(backend, "scale_channels_grad", dy, x, s), naive.scale_channels_grad(dy, x, s), strict=True
    ):
        assert_close(one, other)


@every_dtype
@pytest.mark.parametrize("shape", [(8, 16, 16, 64), (3, 33, 31, 3)])
def test_larger_images_agree_with_the_reference(backend, reference, shape, dtype):
    x, dy, s = draws(5, dtype, shape, shape, (shape[0], shape[3]))
    assert_agree(backend, reference, "scale_channels", x, s)
    assert_agree(backend, reference, "scale_channels_grad", dy, x, s)


def test_without_dx(backend):
    x, dy, s = draws(5, np.dtype(np.float32), *[(2, 3, 4, 5)] * 2, (2, 5))
    dx, ds = call(backend, "scale_channels_grad", dy, x, s, need_dx=False)
    assert dx is None
    np.testing.assert_array_equal(ds, call(backend, "scale_channels_grad", dy, x, s)[1])


def test_nan_stays_in_its_channel(backend):
    x, dy, s = draws(5, np.dtype(np.float32), *[(2, 3, 4, 5)] * 2, (2, 5))
    x[1, 2, 3, 4] = np.nan
    assert np.isnan(call(backend, "scale_channels", x, s)).sum() == 1
    dx, ds = call(backend, "scale_channels_grad", dy, x, s)
    assert not np.isnan(dx).any()
    assert np.argwhere(np.isnan(ds)).tolist() == [[1, 4]]


def test_compiled_kernels_refuse_other_shapes():
    pytest.importorskip("numba")
    cpu = get_backend("cpu")
    x, s = draws(5, np.dtype(np.float32), (2, 3, 4, 5), (2, 4))
    with pytest.raises(ShapeError, match=r"s: expected shape \(2, 5\), got \(2, 4\)"):
        cpu.scale_channels(x, s)
