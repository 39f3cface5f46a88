"""upsample_nearest and its gradient; depth_to_space and its inverse; reflect_pad and its gradient."""

import naive
import numpy as np
import pytest
from calling import TOLERANCE, assert_agree, assert_close, call, draws, every_dtype, seeds
from hypothesis import given
from hypothesis import strategies as st

shapes = st.tuples(*[st.integers(1, 5)] * 4)
factors = st.tuples(*[st.integers(1, 4)] * 2)


def enlarged(shape, factor):
    N, H, W, C = shape
    return N, H * factor[0], W * factor[1], C


@every_dtype
@given(shapes, factors, seeds)
def test_upsampling_is_the_formula(backend, dtype, shape, factor, seed):
    x, dy = draws(seed, dtype, shape, enlarged(shape, factor))
    y = call(backend, "upsample_nearest", x, factor=factor)
    np.testing.assert_array_equal(y, naive.upsample_nearest(x, factor=factor).astype(dtype))
    dx = call(backend, "upsample_nearest_grad", dy, factor=factor)
    assert_close(dx, naive.upsample_nearest_grad(dy, factor=factor))
    allowed = TOLERANCE[dtype] * max(float(np.linalg.norm(y) * np.linalg.norm(dy)), 1)
    assert np.vdot(y.astype(float), dy) == pytest.approx(np.vdot(x.astype(float), dx), abs=allowed, rel=0)


@every_dtype
@pytest.mark.parametrize(("shape", "factor"), [((8, 7, 7, 128), (2, 2)), ((3, 9, 5, 33), (1, 4))])
def test_larger_images_agree_with_the_reference(backend, reference, shape, factor, dtype):
    x, dy = draws(5, dtype, shape, enlarged(shape, factor))
    assert_agree(backend, reference, "upsample_nearest", x, factor=factor)
    assert_agree(backend, reference, "upsample_nearest_grad", dy, factor=factor)


@every_dtype
@given(shapes, factors, seeds)
def test_depth_to_space_is_the_formula_and_space_to_depth_its_inverse(backend, dtype, shape, factor, seed):
    (x,) = draws(seed, dtype, (*shape[:3], shape[3] * factor[0] * factor[1]))
    y = call(backend, "depth_to_space", x, factor=factor)
    np.testing.assert_array_equal(y, naive.depth_to_space(x, factor=factor).astype(dtype))
    np.testing.assert_array_equal(naive.space_to_depth(y, factor=factor).astype(dtype), x)
    np.testing.assert_array_equal(call(backend, "space_to_depth", y, factor=factor), x)


@every_dtype
@pytest.mark.parametrize(("shape", "factor"), [((8, 14, 14, 64), (2, 2)), ((3, 9, 5, 36), (1, 4))])
def test_larger_shuffles_agree_with_the_reference(backend, reference, shape, factor, dtype):
    (x,) = draws(5, dtype, shape)
    assert_agree(backend, reference, "depth_to_space", x, factor=factor)
    assert_agree(
        backend, reference, "space_to_depth", call(reference, "depth_to_space", x, factor=factor), factor=factor
    )


@every_dtype
def test_nan_stays_in_its_block(backend, dtype):
    x, dy = draws(5, dtype, (2, 3, 4, 9), (2, 6, 12, 9))
    x[1, 2, 3, 8] = dy[0, 5, 7, 4] = np.nan
    y = call(backend, "upsample_nearest", x, factor=(2, 3))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(naive.upsample_nearest(x, factor=(2, 3))))
    dx = call(backend, "upsample_nearest_grad", dy, factor=(2, 3))
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(naive.upsample_nearest_grad(dy, factor=(2, 3))))


@st.composite
def reflections(draw):
    """The shape of images, and a padding that is smaller than their sides."""
    shape = draw(shapes)
    return shape, tuple((draw(st.integers(0, side - 1)), draw(st.integers(0, side - 1))) for side in shape[1:3])


def reflected(shape, padding):
    (N, H, W, C), ((top, bottom), (left, right)) = shape, padding
    return N, top + H + bottom, left + W + right, C


@every_dtype
@given(reflections(), seeds)
def test_reflection_is_the_formula_and_its_gradient_the_adjoint(backend, dtype, drawn, seed):
    shape, padding = drawn
    x, dy = draws(seed, dtype, shape, reflected(shape, padding))
    y = call(backend, "reflect_pad", x, padding=padding)
    np.testing.assert_array_equal(y, naive.reflect_pad(x, padding=padding).astype(dtype))
    dx = call(backend, "reflect_pad_grad", dy, padding=padding)
    assert_close(dx, naive.reflect_pad_grad(dy, padding=padding))
    allowed = TOLERANCE[dtype] * max(float(np.linalg.norm(y) * np.linalg.norm(dy)), 1)
    assert np.vdot(y.astype(float), dy) == pytest.approx(np.vdot(x.astype(float), dx), abs=allowed, rel=0)


def test_reflection_does_not_repeat_the_border(backend):
    row = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4, 1)
    y = call(backend, "reflect_pad", row, padding=((0, 0), (2, 2)))
    assert y.ravel().tolist() == [3, 2, 1, 2, 3, 4, 3, 2]


@every_dtype
@pytest.mark.parametrize(("shape", "padding"), [((8, 14, 14, 64), ((3, 3), (3, 3))), ((3, 9, 5, 33), ((0, 8), (4, 1)))])
def test_larger_reflections_agree_with_the_reference(backend, reference, shape, padding, dtype):
    x, dy = draws(5, dtype, shape, reflected(shape, padding))
    assert_agree(backend, reference, "reflect_pad", x, padding=padding)
    assert_agree(backend, reference, "reflect_pad_grad", dy, padding=padding)
