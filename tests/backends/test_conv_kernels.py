"""conv2d, conv2d_input_grad, conv2d_weight_grad: against loops, the reference, PyTorch, and each other."""

import naive
import numpy as np
import pytest
from calling import (
    TOLERANCE,
    assert_agree,
    assert_close,
    assert_same_bits,
    call,
    draws,
    every_dtype,
    geometries,
    seeds,
)
from hypothesis import given
from hypothesis import strategies as st

from minigan.backends.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry

# A GAN's own layers, and sizes on both sides of every vector width and register tile.
LARGER = [
    conv_geometry((16, 16, 3), 64, (4, 4), (2, 2), "same"),
    conv_geometry((8, 8, 64), 128, (4, 4), (2, 2), 1),
    conv_geometry((14, 14, 32), 1, (5, 5), (2, 2), "same"),
    conv_geometry((28, 28, 1), 33, (5, 5), (2, 2), "same"),
    conv_geometry((9, 23, 17), 31, (3, 3), (1, 1), "same"),
    conv_geometry((4, 4, 65), 1, (4, 4), (1, 1), "valid"),
    conv_geometry((1, 1, 100), 48, (1, 1), (1, 1), "valid"),
    conv_geometry((11, 13, 20), 7, (1, 3), (3, 2), ((2, 0), (0, 3))),
    conv_transpose_geometry((4, 4, 96), 40, (5, 5), (2, 2), "same", (0, 0)),
    conv_transpose_geometry((1, 1, 50), 24, (4, 4), (1, 1), "valid", (0, 0)),
    conv_transpose_geometry((7, 5, 16), 3, (3, 4), (2, 3), 1, (1, 2)),
]
# Groups of one channel, of a few, of a vector's, of more; and of more or fewer filters than channels.
GROUPED = [
    conv_geometry((9, 7, 37), 37, (3, 3), (1, 1), "same", groups=37),
    conv_geometry((8, 8, 48), 48, (4, 4), (2, 2), 1, groups=48),
    conv_geometry((7, 9, 10), 30, (3, 2), (2, 1), ((0, 2), (1, 0)), groups=10),
    conv_geometry((6, 5, 40), 20, (3, 3), (1, 1), "same", groups=20),
    conv_geometry((5, 5, 28), 42, (2, 2), (1, 1), "valid", groups=14),
    conv_geometry((8, 6, 64), 64, (3, 3), (1, 1), "same", groups=8),
    conv_geometry((9, 9, 48), 48, (3, 3), (1, 1), "same", groups=3),
    conv_geometry((11, 8, 160), 160, (3, 3), (1, 1), "same", groups=10),
    conv_geometry((8, 8, 36), 60, (5, 5), (2, 2), "same", groups=3),
    conv_geometry((12, 12, 66), 100, (3, 3), (1, 1), "same", groups=2),
    conv_geometry((13, 12, 128), 192, (4, 4), (2, 2), 1, groups=2),
    conv_geometry((3, 3, 24), 12, (3, 3), (1, 1), "valid", groups=4),
    conv_geometry((1, 1, 64), 96, (1, 1), (1, 1), "valid", groups=32),
    conv_transpose_geometry((4, 4, 24), 24, (4, 4), (2, 2), 1, (0, 0), 24),
    conv_transpose_geometry((7, 5, 16), 32, (3, 4), (2, 3), 1, (1, 2), 8),
    conv_transpose_geometry((5, 6, 96), 48, (3, 3), (2, 2), 1, (1, 1), 3),
]


def shapes_of(N: int, g: ConvGeometry) -> tuple[tuple[int, ...], ...]:
    """Shapes of x, w and dy."""
    return (N, *g.input_shape), g.weight_shape, (N, *g.output_shape)


def label(g: ConvGeometry) -> str:
    return f"{g.H}x{g.W}x{g.C}-{g.R}x{g.S}-{g.P}x{g.Q}x{g.K}" + (f"-{g.groups}" if g.groups > 1 else "")


# ------------------------------------------------------------------------------------------- against loops


@every_dtype
@given(geometries(), st.integers(1, 3), st.booleans(), seeds)
def test_conv2d_is_the_formula(backend, dtype, geometry, N, biased, seed):
    x_shape, w_shape, _ = shapes_of(N, geometry)
    x, w, b = draws(seed, dtype, x_shape, w_shape, (geometry.K,))
    b = b if biased else None
    assert_close(call(backend, "conv2d", x, w, b, geometry), naive.conv2d(x, w, b, geometry))


@pytest.mark.parametrize("geometry", [LARGER[1], LARGER[5], GROUPED[1]], ids=label)
def test_no_images_are_an_empty_result(backend, geometry):
    x_shape, w_shape, dy_shape = shapes_of(0, geometry)
    x, w, dy = draws(0, "float32", x_shape, w_shape, dy_shape)
    assert call(backend, "conv2d", x, w, None, geometry).shape == dy_shape
    assert call(backend, "conv2d_input_grad", dy, w, geometry).shape == x_shape
    _, sums = call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=w.copy())
    assert_same_bits(sums, w)


@every_dtype
@given(geometries(), st.integers(1, 3), st.booleans(), seeds)
def test_conv2d_input_grad_is_the_formula(backend, dtype, geometry, N, biased, seed):
    _, w_shape, dy_shape = shapes_of(N, geometry)
    w, dy, b = draws(seed, dtype, w_shape, dy_shape, (geometry.C,))
    b = b if biased else None
    expected = naive.conv2d_input_grad(dy, w, geometry, b=b)
    assert_close(call(backend, "conv2d_input_grad", dy, w, geometry, b=b), expected)


@every_dtype
@given(geometries(), st.integers(1, 3), seeds)
def test_conv2d_weight_grad_adds_the_formula(backend, dtype, geometry, N, seed):
    x_shape, w_shape, dy_shape = shapes_of(N, geometry)
    x, dy, before = draws(seed, dtype, x_shape, dy_shape, w_shape)
    result, after = call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=before)
    assert result is None
    assert_close(after, before + naive.conv2d_weight_grad(x, dy, geometry))


# -------------------------------------------------------------------------------------- against each other


@every_dtype
@given(geometries(largest=12, deepest=9), st.integers(1, 4), seeds)
def test_input_grad_is_the_adjoint_in_x_and_weight_grad_in_w(backend, dtype, geometry, N, seed):
    x_shape, w_shape, dy_shape = shapes_of(N, geometry)
    x, w, dy = draws(seed, dtype, x_shape, w_shape, dy_shape)
    y = call(backend, "conv2d", x, w, None, geometry)
    dx = call(backend, "conv2d_input_grad", dy, w, geometry)
    _, dw = call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=np.zeros_like(w))
    products = [np.vdot(a.astype(np.float64), b.astype(np.float64)) for a, b in ((y, dy), (x, dx), (w, dw))]
    # The rounding of <y, dy> grows with the lengths of y and dy, whatever their product is.
    allowed = TOLERANCE[dtype] * max(float(np.linalg.norm(y) * np.linalg.norm(dy)), 1)
    assert products == pytest.approx([products[0]] * 3, abs=allowed, rel=0)


@every_dtype
@given(geometries(), seeds)
def test_conv2d_is_linear_in_the_batch(backend, dtype, geometry, seed):
    """Each image's result does not depend on its neighbors in the batch."""
    x_shape, w_shape, dy_shape = shapes_of(3, geometry)
    x, w, dy = draws(seed, dtype, x_shape, w_shape, dy_shape)
    y = call(backend, "conv2d", x, w, None, geometry)
    dx = call(backend, "conv2d_input_grad", dy, w, geometry)
    for n in range(3):
        assert_close(call(backend, "conv2d", x[n : n + 1], w, None, geometry), y[n : n + 1])
        assert_close(call(backend, "conv2d_input_grad", dy[n : n + 1], w, geometry), dx[n : n + 1])


# ------------------------------------------------------------------------------------------- larger shapes


def agree(backend, reference, N, geometry, dtype, seed):
    x_shape, w_shape, dy_shape = shapes_of(N, geometry)
    x, w, dy, b, c = draws(seed, dtype, x_shape, w_shape, dy_shape, (geometry.K,), (geometry.C,))
    assert_agree(backend, reference, "conv2d", x, w, b, geometry)
    assert_agree(backend, reference, "conv2d_input_grad", dy, w, geometry, b=c)
    assert_agree(backend, reference, "conv2d_weight_grad", x, dy, geometry, add_to=w)


@every_dtype
@pytest.mark.parametrize("geometry", LARGER + GROUPED, ids=label)
def test_conv_kernels_agree_with_the_reference(backend, reference, geometry, dtype):
    agree(backend, reference, 3, geometry, dtype, 7)


@pytest.mark.parametrize("geometry", LARGER[:4] + GROUPED[5:9], ids=label)
def test_a_full_batch_agrees_and_gives_the_same_bits_again(backend, reference, geometry):
    """With enough images for every thread, where a race between them would show."""
    agree(backend, reference, 33, geometry, np.dtype(np.float32), 8)
    x_shape, w_shape, dy_shape = shapes_of(33, geometry)
    x, w, dy = draws(8, np.float32, x_shape, w_shape, dy_shape)

    def results():
        return (
            call(backend, "conv2d", x, w, None, geometry),
            call(backend, "conv2d_input_grad", dy, w, geometry),
            call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=w),
        )

    first = results()
    for _ in range(3):
        assert_same_bits(results(), first)


sizes, depths = st.integers(1, 20), st.integers(1, 70)
pairs_of_1_to_4, pairs_of_1_to_2 = st.tuples(*[st.integers(1, 4)] * 2), st.tuples(*[st.integers(1, 2)] * 2)


@every_dtype
@given(st.tuples(sizes, sizes, depths), depths, pairs_of_1_to_4, pairs_of_1_to_2, seeds)
def test_any_channel_count_agrees_with_the_reference(backend, reference, dtype, shape, K, filter, stride, seed):
    agree(backend, reference, 2, conv_geometry(shape, K, filter, stride, "same"), dtype, seed)


@pytest.mark.parametrize("geometry", LARGER + GROUPED, ids=label)
def test_conv_kernels_agree_with_pytorch(backend, geometry):
    torch = pytest.importorskip("torch")
    x_shape, w_shape, dy_shape = shapes_of(2, geometry)
    x, w, b, dy = draws(11, np.float64, x_shape, w_shape, (geometry.K,), dy_shape)
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    filters = torch.from_numpy(w.transpose(3, 2, 0, 1).copy()).requires_grad_()
    vertical, horizontal = geometry.padding
    padded = torch.nn.functional.pad(images, (*horizontal, *vertical))
    y = torch.nn.functional.conv2d(padded, filters, torch.from_numpy(b), geometry.stride, groups=geometry.groups)
    y.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    assert_close(call(backend, "conv2d", x, w, b, geometry), y.detach().numpy().transpose(0, 2, 3, 1))
    dx = call(backend, "conv2d_input_grad", dy, w, geometry)
    assert_close(dx, images.grad.numpy().transpose(0, 2, 3, 1))
    _, dw = call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=np.zeros_like(w))
    assert_close(dw, filters.grad.numpy().transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    ("size", "filter", "stride", "padding", "output_padding"),
    [
        ((4, 4), (4, 4), 2, 1, 0),
        ((1, 1), (4, 4), 1, 0, 0),
        ((3, 5), (5, 5), 2, 2, 1),
        ((2, 3), (2, 2), 3, 0, 2),
    ],
)
def test_transposed_convolution_agrees_with_pytorch(backend, size, filter, stride, padding, output_padding):
    torch = pytest.importorskip("torch")
    geometry = conv_transpose_geometry(
        (*size, 6), 5, filter, (stride, stride), padding, (output_padding, output_padding)
    )
    x, w, b = draws(13, np.float64, (2, *geometry.output_shape), geometry.weight_shape, (5,))
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(w.transpose(3, 2, 0, 1).copy()),
        torch.from_numpy(b), stride, padding, output_padding,
    )  # fmt: skip
    actual = call(backend, "conv2d_input_grad", x, w, geometry, b=b)
    assert_close(actual, expected.numpy().transpose(0, 2, 3, 1))


# ------------------------------------------------------------------------------------ what is not a number


@every_dtype
def test_nan_in_an_image_reaches_what_sees_it_and_nothing_else(backend, dtype):
    geometry = conv_geometry((6, 7, 3), 18, (3, 3), (2, 1), ((1, 0), (0, 2)))
    x_shape, w_shape, dy_shape = shapes_of(2, geometry)
    x, w, dy = draws(3, dtype, x_shape, w_shape, dy_shape)
    x[1, 2, 3, 1] = np.nan
    y = call(backend, "conv2d", x, w, None, geometry)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(naive.conv2d(x, w, None, geometry)))
    _, dw = call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=np.zeros_like(w))
    np.testing.assert_array_equal(np.isnan(dw), np.isnan(naive.conv2d_weight_grad(x, dy, geometry)))


@every_dtype
def test_nan_in_a_cotangent_reaches_what_it_touches_and_nothing_else(backend, dtype):
    geometry = conv_geometry((6, 7, 18), 3, (3, 3), (2, 1), ((1, 0), (0, 2)))
    x_shape, w_shape, dy_shape = shapes_of(2, geometry)
    x, w, dy = draws(4, dtype, x_shape, w_shape, dy_shape)
    dy[0, 1, 2, 2] = np.nan
    dx = call(backend, "conv2d_input_grad", dy, w, geometry)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(naive.conv2d_input_grad(dy, w, geometry)))
    _, dw = call(backend, "conv2d_weight_grad", x, dy, geometry, add_to=np.zeros_like(w))
    np.testing.assert_array_equal(np.isnan(dw), np.isnan(naive.conv2d_weight_grad(x, dy, geometry)))


@every_dtype
def test_nan_in_a_weight_reaches_its_own_channel_only(backend, dtype):
    """Pixels that see the weight through padding alone may go either way: 0 * NaN, or no product at all."""
    geometry = conv_geometry((5, 6, 4), 19, (3, 3), (1, 1), "same")
    x_shape, w_shape, dy_shape = shapes_of(1, geometry)
    x, w, dy = draws(5, dtype, x_shape, w_shape, dy_shape)
    w[0, 1, 2, 17] = np.nan
    y = np.isnan(call(backend, "conv2d", x, w, None, geometry))
    assert (y >= np.isnan(naive.conv2d(x, w, None, geometry))).all()
    assert not np.delete(y, 17, axis=3).any()
    dx = np.isnan(call(backend, "conv2d_input_grad", dy, w, geometry))
    assert (dx >= np.isnan(naive.conv2d_input_grad(dy, w, geometry))).all()
    assert not np.delete(dx, 2, axis=3).any()


@every_dtype
def test_nan_in_a_bias_reaches_its_whole_channel_only(backend, dtype):
    geometry = conv_geometry((5, 6, 4), 19, (3, 3), (2, 2), "same")
    x_shape, w_shape, dy_shape = shapes_of(1, geometry)
    x, w, dy, b, c = draws(5, dtype, x_shape, w_shape, dy_shape, (19,), (4,))
    b[3] = c[1] = np.nan
    for image, channel in (
        (call(backend, "conv2d", x, w, b, geometry), 3),
        (call(backend, "conv2d_input_grad", dy, w, geometry, b=c), 1),
    ):
        assert np.isnan(image[..., channel]).all()
        assert not np.isnan(np.delete(image, channel, axis=3)).any()
