"""Convolutions with fewer multiplications: the matrices exactly, the kernels against the reference.

`test_cpu_widths.py` runs this file again for each vector width.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from minigan.backends.cpu import CpuBackend, plan, processor, simd, toom, winograd_plan
from minigan.backends.cpu.transforms import Scheme
from minigan.backends.geometry import ConvGeometry
from minigan.backends.reference import ReferenceBackend

SAME = ((1, 1), (1, 1))
FLOAT = np.dtype(np.float32)
# Share of the largest number. Measured on 1,600 random passes, with normal, positive, sparse and unevenly scaled
# numbers: 7.3e-6, and 3.9e-6 for the direct kernels.
TOLERANCE = 1.5e-5
REFERENCE = ReferenceBackend()
KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
# The smallest scheme of each filter that there is one for, and what makes a plan differ.
STRIP = simd.tile_columns(4)
LAYERS = {
    "4x4 stride 2": (3, ConvGeometry(16, 16, 64, 96, 4, 4, (2, 2), SAME)),
    "tiles beyond the image": (2, ConvGeometry(14, 10, 48, 33, 4, 4, (2, 2), SAME)),
    "one image, one tile": (1, ConvGeometry(6, 7, 32, 32, 4, 4, (2, 2), SAME)),
    "3x3": (2, ConvGeometry(9, 13, 40, 64, 3, 3, (1, 1), SAME)),
    "one strip each way": (4, ConvGeometry(9, 13, STRIP, STRIP, 3, 3, (1, 1), SAME)),
    "2x2": (2, ConvGeometry(9, 8, 33, 31, 2, 2)),
    "5x5 stride 2": (2, ConvGeometry(13, 11, 32, 50, 5, 5, (2, 2), ((2, 2), (2, 2)))),
    "asymmetric padding": (2, ConvGeometry(13, 11, 32, 40, 5, 3, (2, 2), ((2, 1), (0, 3)))),
    "pixels that no tap reaches": (2, ConvGeometry(16, 15, 32, 32, 4, 4, (2, 2))),
    "tiles of 5": (3, ConvGeometry(10, 20, 64, 40, 4, 4, (2, 2), SAME)),
    "tiles of 3": (3, ConvGeometry(12, 6, 33, 64, 4, 4, (2, 2), SAME)),
    "7x7 stride 3": (2, ConvGeometry(14, 14, 20, 24, 7, 7, (3, 3), ((3, 3), (3, 3)))),
}


class EagerBackend(CpuBackend):
    """One that calls all its threads, and does all that it can with few multiplications, however little it pays.

    Args:
        choice: which of a geometry's schemes, the last one if there are not as many.
    """

    def __init__(self, *, threads, choice=0):
        super().__init__(threads=threads)
        self.choice = choice

    def parts(self, _numbers):
        return self.team.size

    def plan(self, kernel, g, images, dtype, *, packed=False):  # noqa: ARG002
        if dtype.itemsize != 4:
            return super().plan(kernel, g, images, dtype)
        return eager_plan(kernel, g, images, self.team.size, self.choice)


def eager_plan(kernel, g, images, threads=2, choice=0):
    scheme = (winograd_plan.schemes_of(g)[: choice + 1])[-1]
    return winograd_plan.plan_winograd(kernel, g, images, this_processor(threads), scheme)


def this_processor(threads, itemsize=4):
    return processor.Processor(
        simd.TILE_ROWS, simd.tile_columns(itemsize), simd.vector_lanes(itemsize), itemsize, threads
    )


BACKENDS = {threads: EagerBackend(threads=threads) for threads in (1, 2, 3)}


def draws(g, images, seed=0, dtype=FLOAT):
    """x, w, dy, and a bias for each side."""
    rng = np.random.default_rng(seed)
    shapes = ((images, *g.input_shape), g.weight_shape, (images, *g.output_shape), (g.C,), (g.K,))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def results(backend, g, x, w, dy, b_in=None, b_out=None):
    """Results of the three kernels; the weight gradient is added to w itself."""
    dw = w.copy()
    backend.conv2d_weight_grad(x, dy, g, add_to=dw)
    return backend.conv2d(x, w, b_out, g), backend.conv2d_input_grad(dy, w, g, b=b_in), dw


def check(backend, g, images, seed=0):
    arrays = draws(g, images, seed)
    wide = [array.astype(np.float64) for array in arrays]
    # A sum of so many products of standard normal numbers is about their number's root, but a single one may cancel.
    terms = g.R * g.S * g.C, g.R * g.S * g.K / g.stride[0] ** 2, images * g.P * g.Q
    for actual, expected, count in zip(results(backend, g, *arrays), results(REFERENCE, g, *wide), terms, strict=True):
        assert actual.dtype == FLOAT and actual.shape == expected.shape
        scale = max(count**0.5, float(np.abs(expected).max()))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * scale)


def test_threads_without_strips_share_out_the_images():
    images, g = LAYERS["one strip each way"]
    splits = {threads: eager_plan("conv2d_weight_grad", g, images, threads).grid.split for threads in (1, 2, 3)}
    assert splits == {1: 0, 2: winograd_plan.BY_IMAGES, 3: winograd_plan.BY_IMAGES}
    wide = ConvGeometry(9, 13, 2 * STRIP, 2 * STRIP, 3, 3, (1, 1), SAME)
    assert eager_plan("conv2d_weight_grad", wide, images).grid.split == 0
    x, w, dy, *_ = draws(g, images)
    repeated = [results(BACKENDS[3], g, x, w, dy)[2].tobytes() for _ in range(5)]
    assert len(set(repeated)) == 1


# ------------------------------------------------------------------------------------------- the matrices


def times(matrix, vector):
    return [sum((c * v for c, v in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


SIZES = [(m, r) for m in range(1, 6) for r in range(1, 4) if m + r <= 7]  # as many as there are points for


@given(st.data(), st.sampled_from(SIZES))
def test_the_matrices_multiply_polynomials_exactly(data, sizes):
    m, r = sizes
    fractions = st.fractions(-9, 9, max_denominator=7)
    h, g = (data.draw(st.lists(fractions, min_size=size, max_size=size)) for size in (m, r))
    product = [sum((h[i] * g[k - i] for i in range(m) if 0 <= k - i < r), Fraction(0)) for k in range(m + r - 1)]
    a, b, c = toom.matrices(m, r)
    assert times(b, [x * y for x, y in zip(times(a, h), times(c, g), strict=True)]) == product


def test_a_matrix_has_its_published_form():
    """F(2, 3) of Lavin & Gray 2016, equation 6; the point -1 is last there and has the other sign."""
    a, b, g = toom.matrices(2, 3)
    half = Fraction(1, 2)
    assert toom.transpose(a) == ((1, 1, 1, 0), (0, 1, -1, 1))
    assert [[abs(value) for value in row] for row in g] == [[1, 0, 0], [half] * 3, [half] * 3, [0, 0, 1]]
    assert [[abs(value) for value in row] for row in toom.transpose(b)] == [
        [1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------- the kernels


@pytest.mark.parametrize("threads", BACKENDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_agrees_with_the_reference(layer, threads):
    images, g = LAYERS[layer]
    check(BACKENDS[threads], g, images)


def other_tiles():
    """Layers by tiles that are not their first ones; each other scheme of m x m outputs compiles anew, with constants.

    Of these one is quick, with m odd; m = 4 is that of all other tests.
    """
    for layer in ("tiles of 5", "tiles of 3", "tiles beyond the image", "3x3", "asymmetric padding"):
        for scheme in winograd_plan.schemes_of(LAYERS[layer][1])[1:]:
            marks = [] if scheme == Scheme(m=3, r=2) else pytest.mark.exhaustive
            yield pytest.param(layer, scheme, id=f"{layer}-F({scheme.m}, {scheme.r})", marks=marks)


@pytest.mark.parametrize(("layer", "scheme"), list(other_tiles()))
def test_every_tile_agrees_with_the_reference(layer, scheme):
    images, g = LAYERS[layer]
    check(EagerBackend(threads=2, choice=winograd_plan.schemes_of(g).index(scheme)), g, images)


@st.composite
def geometries(draw):
    channels = st.sampled_from([1, 7, 16, 31, 32, 33, 64, 65])
    stride = draw(st.integers(1, 3))
    taps = draw(st.integers(stride + 1, 3 * stride)), draw(st.integers(1, 3 * stride))
    pads = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in taps)
    sizes = [max(draw(st.integers(1, 19)), t - sum(pad)) for t, pad in zip(taps, pads, strict=True)]
    return ConvGeometry(*sizes, draw(channels), draw(channels), *taps, (stride, stride), pads)


@given(geometries(), st.integers(1, 5), st.sampled_from(list(BACKENDS)), st.integers(0, 9))
def test_any_geometry_agrees_with_the_reference(g, images, threads, seed):
    assert winograd_plan.schemes_of(g)
    check(BACKENDS[threads], g, images, seed)


@given(geometries(), st.integers(1, 3), st.sampled_from(list(BACKENDS)), st.sampled_from([1000, 30_000, 200_000]))
def test_any_bands_agree_with_the_reference(g, images, threads, cache_bytes):
    """Images that are too large for the caches are cut into bands; here a few pixels are too large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd_plan, "POINTS_BYTES", cache_bytes)
        check(BACKENDS[threads], g, images)


@given(geometries(), st.integers(1, 3))
def test_the_three_kernels_are_adjoint(g, images):
    """<conv(x, w), dy> = <x, input_grad(dy, w)> = <w, weight_grad(x, dy)>."""
    x, w, dy, *_ = draws(g, images, seed=g.W)
    y, dx, _ = results(BACKENDS[2], g, x, w, dy)
    dw = np.zeros_like(w)
    BACKENDS[2].conv2d_weight_grad(x, dy, g, add_to=dw)
    product = np.vdot(y.astype(float), dy.astype(float))
    # Where a tile has more padding than image, y is small and its rounding errors are those of x and w.
    scale = np.linalg.norm(y) * np.linalg.norm(dy) + np.linalg.norm(x) * np.linalg.norm(w)
    for other in (np.vdot(x.astype(float), dx.astype(float)), np.vdot(w.astype(float), dw.astype(float))):
        assert abs(product - other) < TOLERANCE * scale


@pytest.mark.parametrize("layer", ["4x4 stride 2", "3x3", "asymmetric padding"])
def test_small_blocks_agree(layer, monkeypatch):
    """As if the caches held next to nothing: a row of tiles, and one strip of weights, at a time."""
    images, g = LAYERS[layer]
    monkeypatch.setattr(winograd_plan, "POINTS_BYTES", 1000)
    monkeypatch.setattr(winograd_plan, "WEIGHTS_BYTES", 1000)
    fast = eager_plan("conv2d", g, images)
    assert fast.grid.images_per_block == fast.grid.strips_at_once == fast.grid.rows_per_band == 1 < fast.grid.bands
    check(BACKENDS[2], g, images)


@pytest.mark.parametrize("threads", BACKENDS)
def test_a_batch_for_all_threads_agrees_and_gives_the_same_bits_again(threads):
    """Images are shared out, where small batches share out channels; a race between threads would show."""
    images, g = 37, LAYERS["4x4 stride 2"][1]
    check(BACKENDS[threads], g, images)
    arrays = draws(g, images)
    first = results(BACKENDS[threads], g, *arrays)
    for _ in range(3):
        for again, before in zip(results(BACKENDS[threads], g, *arrays), first, strict=True):
            np.testing.assert_array_equal(again, before)


def test_both_ways_of_sharing_are_met():
    g = LAYERS["4x4 stride 2"][1]
    for kernel in KERNELS[:2]:
        splits = [eager_plan(kernel, g, n).grid.split for n in (2, 137)]
        assert splits == [1, 0]


@pytest.mark.parametrize("layer", ["4x4 stride 2", "3x3"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_is_not_lost(layer, number):
    """It may spread within its tile, yet must reach all that depend on it, and no other image or channel."""
    images, g = LAYERS[layer]
    x, w, dy, *_ = draws(g, images)
    for index, spoilt in enumerate((x, w, dy)):
        arrays = [x, w, dy]
        arrays[index] = spoilt = spoilt.copy()
        spoilt.reshape(-1)[spoilt.size // 2] = number
        with np.errstate(invalid="ignore"):
            expected = [~np.isfinite(array) for array in results(REFERENCE, g, *arrays)]
        actual = [~np.isfinite(array) for array in results(BACKENDS[2], g, *arrays)]
        for lost, there in zip(expected, actual, strict=True):
            assert (there >= lost).all()
            if index != 1:
                assert not there.all()


@pytest.mark.exhaustive  # `test_the_choice` has it, too
def test_float64_is_direct():
    images, g = 16, LAYERS["4x4 stride 2"][1]
    arrays = draws(g, images, dtype=np.dtype(np.float64))
    exact = results(CpuBackend(threads=2, exact=True), g, *arrays)
    for one, other in zip(results(CpuBackend(threads=2, exact=False), g, *arrays), exact, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(exact, results(REFERENCE, g, *arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max())


def test_exact_is_direct_and_the_default_is_not(monkeypatch):
    images, g = 16, ConvGeometry(16, 16, 64, 128, 4, 4, (2, 2), SAME)
    arrays = draws(g, images)
    with monkeypatch.context() as patch:
        patch.setattr(plan, "choose_winograd", lambda *_, **__: None)
        patch.setattr("minigan.backends.cpu.conv.choose", plan.choose.__wrapped__)
        direct = results(CpuBackend(threads=2, exact=False), g, *arrays)
    default = CpuBackend(threads=2)
    monkeypatch.setenv("MINIGAN_EXACT", "1")
    for exact in (CpuBackend(threads=2, exact=True), CpuBackend(threads=2)):
        assert exact.exact and "exact" in exact.describe()
        for one, other in zip(results(exact, g, *arrays), direct, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not default.exact and "exact" not in default.describe()
    for one, other in zip(results(default, g, *arrays), direct, strict=True):
        assert not np.array_equal(one, other)


def test_the_digits_are_those_promised():
    """With room for other numbers than those that `CpuBackend`'s docstring was measured on."""
    g = ConvGeometry(8, 8, 256, 512, 4, 4, (2, 2), SAME)
    arrays = draws(g, 16)
    wide = results(REFERENCE, g, *[array.astype(np.float64) for array in arrays])
    for exact, bound in ((True, 4e-6), (False, 1e-5)):
        for actual, expected in zip(results(CpuBackend(exact=exact), g, *arrays), wide, strict=True):
            assert np.abs(actual - expected).max() < bound * np.abs(expected).max()


@pytest.mark.skipif(simd.VECTOR_BYTES != 64, reason="the choice depends on the width of a tile")
def test_the_choice():
    def chosen(kernel, images, itemsize, *geometry):
        return plan.choose(kernel, ConvGeometry(*geometry), images, this_processor(2, itemsize), exact=False).name

    for kernel in KERNELS:
        for layer in ((32, 32, 64, 128), (16, 16, 128, 256), (8, 8, 256, 512), (14, 14, 64, 128)):
            assert chosen(kernel, 64, 4, *layer, 4, 4, (2, 2), SAME) == "winograd F(4x4, 2x2)"
            assert "winograd" not in chosen(kernel, 64, 8, *layer, 4, 4, (2, 2), SAME)
        assert chosen(kernel, 16, 4, 32, 32, 128, 128, 3, 3, (1, 1), SAME) == "winograd F(4x4, 3x3)"
        assert chosen(kernel, 64, 4, 10, 10, 64, 128, 4, 4, (2, 2), SAME) == "winograd F(5x5, 2x2)"
        assert chosen(kernel, 64, 4, 12, 12, 64, 128, 4, 4, (2, 2), SAME) == "winograd F(3x3, 2x2)"
        # Too few images to pay for transforming all weights.
        assert "winograd" not in chosen(kernel, 1, 4, 8, 8, 256, 512, 4, 4, (2, 2), SAME)
        assert "winograd" not in chosen(kernel, 64, 4, 64, 64, 3, 64, 4, 4, (2, 2), SAME)
        assert "winograd" not in chosen(kernel, 64, 4, 16, 16, 64, 64, 1, 1)
        assert chosen(kernel, 64, 4, 4, 4, 512, 1, 4, 4) == "dense"
