"""Low-pass filters and bases against loops, each other, and numbers worked out by hand."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.backends import Backend
from minigan.nn.layers import Conv2D, DiscriminativeBasis, FIRDownSampling2D, FIRUpSampling2D, GenerativeBasis, Layer

FACTORS = st.tuples(st.integers(1, 3), st.integers(1, 3))
TAPS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def built(layer: Layer, shape: tuple[int, ...], backend: Backend | str = "reference") -> Layer:
    return layer.build(shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))


def numbers(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@given(FACTORS, TAPS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_reducing_is_what_loops_compute(factor, taps, P, Q, C):
    H, W = P * factor[0], Q * factor[1]
    layer, x = built(FIRDownSampling2D(factor, taps=taps), (H, W, C)), numbers(2, H, W, C)
    y, _ = layer.forward(x, train=True)
    assert y.shape == (2, P, Q, C)
    expected = naive.fir_down(x, taps, factor=factor, padding=layer.geometry.padding)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@given(FACTORS, TAPS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_enlarging_is_what_loops_compute(factor, taps, H, W, C):
    layer, x = built(FIRUpSampling2D(factor, taps=taps), (H, W, C)), numbers(2, H, W, C)
    y, _ = layer.forward(x, train=True)
    size = (H * factor[0], W * factor[1])
    before = tuple(len(taps) - 1 - pad[0] for pad in layer.geometry.padding)
    expected = naive.fir_up(x, taps, factor=factor, before=before, size=size)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@given(FACTORS, TAPS, st.integers(1, 3), st.integers(1, 3))
def test_each_is_the_other_transposed(factor, taps, P, Q):
    """<up(x), y> = (new pixels for each old one) <x, down(y)>, for any filter."""
    H, W = P * factor[0], Q * factor[1]
    up, down = (
        built(FIRUpSampling2D(factor, taps=taps), (P, Q, 2)),
        built(FIRDownSampling2D(factor, taps=taps), (H, W, 2)),
    )
    x, y = numbers(2, P, Q, 2), numbers(2, H, W, 2, seed=2)
    enlarged, reduced = up.forward(x, train=True)[0], down.forward(y, train=True)[0]
    gain = factor[0] * factor[1]
    assert np.vdot(enlarged, y) == pytest.approx(gain * np.vdot(x, reduced), rel=1e-10, abs=1e-10)


def test_the_usual_filter_has_the_paddings_of_the_paper():
    """Down: pads 1/1; up: zeros between, pads 2/1, gain 4 (Karras et al. 2020, appendix B)."""
    down, up = built(FIRDownSampling2D(), (8, 8, 1)), built(FIRUpSampling2D(), (4, 4, 1))
    assert down.geometry.padding == up.geometry.padding == ((1, 1), (1, 1))
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 2, 0] = 1
    y = up.forward(x, train=True)[0][0, :, :, 0]
    np.testing.assert_array_equal(y[1:5, 3:7] * 16, np.outer([1, 3, 3, 1], [1, 3, 3, 1]))
    assert y.sum() == 4


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 2, 1), (1,), (1, 4, 6, 4, 1)])
def test_a_constant_image_stays_inside(backend: Backend, taps: tuple[int, ...]):
    """Where no zeros from outside are seen; a filter shorter than the step leaves gaps when it enlarges."""
    x = backend.asarray(np.full((1, 12, 12, 3), 5.0))
    for layer in (FIRDownSampling2D(taps=taps), FIRUpSampling2D(taps=taps)):
        y = backend.to_numpy(built(layer, (12, 12, 3), backend).forward(x, train=False)[0])
        if len(taps) > 1 or isinstance(layer, FIRUpSampling2D) is False:
            np.testing.assert_allclose(y[:, 2:-2, 2:-2], 5)


def test_high_frequencies_do_not_alias():
    """A chessboard is gray at half its size; each second pixel alone would be black or white."""
    chessboard = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))[None, :, :, None]
    y, _ = built(FIRDownSampling2D(), (8, 8, 1)).forward(chessboard, train=True)
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], 0, atol=1e-15)


def test_bases_are_what_loops_compute(backend: Backend):
    basis, a, x = numbers(3, 2, 1, 4), numbers(2, 4, seed=2), numbers(2, 3, 2, 4, seed=3)
    for layer, shape, given_, expected in (
        (GenerativeBasis((3, 2)), (4,), a, naive.basis_drawn(a, basis[:, :, 0])),
        (DiscriminativeBasis(), (3, 2, 4), x, naive.basis_measured(x, basis[:, :, 0])),
    ):
        built(layer, shape, backend).basis.value[...] = backend.asarray(basis)
        layer.arena.updated()
        y, _ = layer.forward(backend.asarray(given_), train=True)
        np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-12, atol=1e-12)


def test_the_discriminators_basis_is_a_depthwise_convolution_of_the_whole_image():
    x, basis = numbers(2, 4, 4, 3), built(DiscriminativeBasis(), (4, 4, 3))
    conv = built(Conv2D(3, 4, padding="valid", groups=3, bias=False), (4, 4, 3))
    conv.w.value[...] = basis.basis.value
    conv.arena.updated()
    np.testing.assert_allclose(
        conv.forward(x, train=True)[0][:, 0, 0], basis.forward(x, train=True)[0], rtol=1e-12, atol=1e-12
    )
