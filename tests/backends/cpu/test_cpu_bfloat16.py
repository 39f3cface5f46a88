"""Kernels in bfloat16: each result is the float32 kernel's on the same numbers, rounded once."""

import sys

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("ml_dtypes")

import ml_dtypes
from calling import assert_same_bits, flat
from kernel_calls import CALLS, RETURNING, inputs_of

from minigan.backends import get_backend
from minigan.backends.cpu import CpuBackend
from minigan.backends.cpu.engine import NUMBERS_PER_THREAD
from minigan.backends.geometry import ConvGeometry
from minigan.errors import MissingExtraError, ShapeError

BF16, FLOAT32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
NARROW, WIDE = CpuBackend(threads=2, precision="bf16"), CpuBackend(threads=2, precision="fp32")
LARGE = 3 * NUMBERS_PER_THREAD
# Arguments by position that are activations; parameters and statistics follow them.
ACTIVATIONS = {"batched_matmul": 2, "batchnorm_double_grad": 3, "group_norm_double_grad": 3, "maxout_grad": 3}
ACTIVATIONS |= {"conv2d_weight_grad": 2, "tanh_grad": 2, "sigmoid_grad": 2, "leaky_relu_grad": 2, "dense_grad": 2}
ACTIVATIONS |= {"batchnorm_grad": 2, "batchnorm_frozen_grad": 2, "batchnorm_leaky_relu_grad": 2, "group_norm_grad": 2}


def is_activation(kernel: str, place: int) -> bool:
    if kernel == "dense_leaky_relu_grad":  # dy, x, w, y
        return place != 2
    return place < ACTIVATIONS.get(kernel, 1)


def representable(value):
    """Float32 numbers that bfloat16 holds; tuples item by item."""
    if type(value) is tuple:
        return tuple(map(representable, value))
    is_array = isinstance(value, np.ndarray)
    return value.astype(BF16).astype(FLOAT32) if is_array else value


def half_a_unit(exact: np.ndarray) -> np.ndarray:
    """Half the distance between neighboring numbers of bfloat16, at most; of float32, a little."""
    return np.abs(exact) * 2.0**-8 + np.finfo(np.float32).tiny


def both(kernel: str, *, layout=np.copy, seed: int = 3):
    """The results of a call in bfloat16 and in float32, each followed by what was added to."""
    arguments, options = inputs_of(kernel, FLOAT32, seed)
    arguments = tuple(map(representable, arguments))
    if kernel == "maxout_grad":  # y is the maximum of x
        arguments = (*arguments[:2], WIDE.maxout(arguments[1], pieces=5))
    results = []
    for backend in (NARROW, WIDE):
        copies = {name: copied(option) for name, option in options.items()}
        given = [
            layout(a.astype(BF16) if backend is NARROW and is_activation(kernel, place) else a)
            if isinstance(a, np.ndarray)
            else a
            for place, a in enumerate(arguments)
        ]
        found = getattr(backend, kernel)(*given, **copies)
        results.append((flat((found,)), flat((copies.get("add_to"),))))
    return results


def copied(value):
    if type(value) is tuple:
        return tuple(map(copied, value))
    return value.copy() if isinstance(value, np.ndarray) else value


def assert_rounded_once(kernel: str, *, layout=np.copy) -> None:
    (found, sums), (exact, exact_sums) = both(kernel, layout=layout)
    assert len(found) == len(exact)
    assert found or sums
    for place, (one, other) in enumerate(zip(found, exact, strict=True)):
        is_statistic = place > 0 and "double" not in kernel and kernel != "scale_channels_grad"
        assert one.dtype == (FLOAT32 if is_statistic else BF16)
        assert one.shape == other.shape
        slack = 1e-5 * max(1.0, float(np.abs(other).max()))  # another order of sums in float32
        allowed = slack + (0 if is_statistic else half_a_unit(other))
        assert (np.abs(one.astype(np.float64) - other) <= allowed).all(), kernel
    for one, other in zip(sums, exact_sums, strict=True):
        assert one.dtype == FLOAT32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5, err_msg=kernel)


# Each kernel compiles anew in bfloat16. What a DCGAN's step calls is quick, and one of each other way to round.
QUICK = ("conv2d", "conv2d_leaky_relu", "conv2d_input_grad", "conv2d_weight_grad", "matmul", "dense_grad")
QUICK += ("channel_sum", "batchnorm", "batchnorm_grad", "batchnorm_leaky_relu", "batchnorm_leaky_relu_grad")
QUICK += ("batchnorm_frozen", "leaky_relu", "leaky_relu_grad", "tanh", "tanh_grad", "reflect_pad_grad")
QUICK += ("depth_to_space",)
EACH = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.exhaustive) for name in RETURNING]
ALL = pytest.param(RETURNING, marks=pytest.mark.exhaustive)


@pytest.mark.parametrize("kernel", EACH)
def test_every_kernel_rounds_its_result_once(kernel):
    assert_rounded_once(kernel)


def test_every_kernel_of_the_contract_is_called_here():
    assert set(QUICK) <= set(RETURNING) <= set(CALLS)
    assert {row.origin for row in NARROW.coverage()} == {"native"}


@pytest.mark.parametrize(
    "kernels", [QUICK, pytest.param(RETURNING, marks=pytest.mark.exhaustive)], ids=["quick", "all"]
)
@pytest.mark.parametrize("layout", ["Fortran", "strided", "reversed", "unaligned", "read-only"])
def test_every_kernel_takes_every_layout(layout, kernels):
    def laid(a):
        if layout == "Fortran":
            return np.array(a, order="F", copy=True)
        if layout == "unaligned":
            view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        else:
            step = {"strided": 2, "reversed": -1}.get(layout, 1)
            view = np.zeros(tuple(abs(step) * n for n in a.shape), a.dtype)[(slice(None, None, step),) * a.ndim]
        view[...] = a
        view.flags.writeable = layout != "read-only"
        return view

    for kernel in kernels:
        assert_rounded_once(kernel, layout=laid)


# ------------------------------------------------------------------------------------------ conversion


def numbers() -> np.ndarray:
    """Float32: every bfloat16, the numbers next to it, halfway to the next one and next to that."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (upper[:, None] | lower).ravel().view(np.float32)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_cast_rounds_to_the_nearest_even_number():
    x = numbers()
    narrow, expected = NARROW.cast(x, BF16), x.astype(BF16)
    nan = np.isnan(x)
    assert_same_bits(narrow[~nan], expected[~nan])
    assert np.isnan(narrow[nan].astype(np.float32)).all()
    assert_same_bits(NARROW.cast(narrow, FLOAT32)[~nan], expected[~nan].astype(np.float32))


@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 17, 33, 1000, LARGE + 1])
def test_passes_over_any_number_of_numbers(size):
    a, b = np.random.default_rng(size).standard_normal((2, size)).astype(np.float32)
    x, y = a.astype(BF16), b.astype(BF16)
    wide_x, wide_y = x.astype(np.float32), y.astype(np.float32)
    assert_same_bits(NARROW.cast(a, BF16), x)
    assert_same_bits(NARROW.add(x, y), (wide_x + wide_y).astype(BF16))
    assert_same_bits(NARROW.add(a, y), a + wide_y)
    assert_same_bits(NARROW.multiply(x, b), (wide_x * b).astype(BF16))
    for kernel, options in (("leaky_relu", {"slope": 0.2}), ("tanh", {}), ("sigmoid", {})):
        expected = getattr(WIDE, kernel)(wide_x, **options)
        found = getattr(NARROW, kernel)(x, **options)
        assert np.array_equal(found, expected.astype(BF16)), kernel


def test_an_array_of_the_dtype_is_itself_and_float64_is_let_through():
    x = np.ones(3, BF16)
    assert NARROW.cast(x, BF16) is x
    assert_same_bits(NARROW.cast(np.ones(3), BF16), x)
    assert NARROW.activation_dtype(np.dtype(np.float64)) == np.float64
    assert WIDE.activation_dtype(FLOAT32) == FLOAT32


def test_sums_of_two_arrays_have_equal_shapes():
    with pytest.raises(ShapeError, match="b: expected shape"):
        NARROW.add(np.ones(3, BF16), np.ones((3, 1), BF16))


def test_what_is_not_finite_stays_so():
    x = np.array([np.nan, np.inf, -np.inf, 3.3e38, -3.4e38, 1e-40, -0.0, 0.0], np.float32).astype(BF16)
    wide = x.astype(np.float32)
    ones = np.ones(1, np.float32)
    for found, expected in (
        (NARROW.leaky_relu(x, slope=0.2), WIDE.leaky_relu(wide, slope=0.2)),
        (NARROW.leaky_relu(x, slope=0.0), WIDE.leaky_relu(wide, slope=0.0)),
        (NARROW.leaky_relu_grad(x, x, slope=0.2), WIDE.leaky_relu_grad(wide, wide, slope=0.2)),
        (NARROW.batchnorm_frozen(x[:, None], ones, ones, ones, ones, eps=1e-5),
         WIDE.batchnorm_frozen(wide[:, None], ones, ones, ones, ones, eps=1e-5)),
        (NARROW.multiply(x, x), WIDE.multiply(wide, wide)),
    ):  # fmt: skip
        assert found.dtype == BF16
        with np.errstate(over="ignore", invalid="ignore"):
            np.testing.assert_array_equal(found.astype(np.float32), expected.astype(BF16).astype(np.float32))


# ------------------------------------------------------------------------------------------ sums are float32's


def test_statistics_and_sums_of_many_numbers_keep_float32s_digits():
    x = (3 + np.random.default_rng(0).standard_normal((100_000, 3))).astype(BF16)
    wide, ones = x.astype(np.float64), np.ones(3, np.float32)
    _, mean, var = NARROW.batchnorm(x, ones, ones, eps=1e-5)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(var, wide.var(axis=0), rtol=1e-5)
    total = np.zeros(3, np.float32)
    NARROW.channel_sum(x, add_to=total)
    np.testing.assert_allclose(total, wide.sum(axis=0), rtol=1e-6)


def test_every_run_gives_the_same_bits():
    x = np.random.default_rng(0).standard_normal((300, 8, 8, 24)).astype(BF16)
    gamma = np.ones(24, np.float32)

    def run():
        y, mean, var = NARROW.batchnorm_leaky_relu(x, gamma, gamma, eps=1e-5, slope=0.2)
        sums = (np.zeros(24, np.float32), np.zeros(24, np.float32))
        dx = NARROW.batchnorm_leaky_relu_grad(y, x, gamma, gamma, mean, var, eps=1e-5, slope=0.2, add_to=sums)
        return y, mean, var, dx, *sums

    assert_same_bits(run(), run())


def test_without_ml_dtypes_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    says = r"`precision=\"bf16\"` .* needs ml_dtypes.*minigan\[numba\]"
    with pytest.raises(MissingExtraError, match=says):
        CpuBackend(precision="bf16")
    for name in ("cpu", "auto"):  # and no other engine takes its place unasked
        with pytest.raises(MissingExtraError, match=says):
            get_backend(name, precision="bf16")
    monkeypatch.setenv("MINIGAN_PRECISION", "bf16")
    with pytest.raises(MissingExtraError, match=says):
        get_backend("auto")


# By Winograd's convolution, and by overlap-add, in odd sizes; and a weight gradient that reads dy pixel by pixel.
SAME = ((1, 1), (1, 1))
WINOGRAD, OVERLAP = ConvGeometry(15, 17, 64, 64, 3, 3, (1, 1), SAME), ConvGeometry(15, 17, 64, 3, 3, 3, (1, 1), SAME)
THIN = ConvGeometry(13, 12, 3, 40, 4, 4, (2, 2), SAME)


@pytest.mark.parametrize(("g", "name"), [(WINOGRAD, "winograd"), (OVERLAP, "overlap-add")])
def test_a_convolution_is_rounded_once_with_its_activation(g, name):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(FLOAT32) for s in ((16, *g.input_shape), g.weight_shape, g.K))
    narrow = CpuBackend(threads=2, precision="bf16")
    narrow.unit = None
    assert name in narrow.algorithm("conv2d", g, 16, FLOAT32)
    wide = WIDE.conv2d_leaky_relu(representable(x), w, b, g, slope=0.3)
    np.testing.assert_array_equal(wide, WIDE.leaky_relu(WIDE.conv2d(representable(x), w, b, g), slope=0.3))
    found = narrow.conv2d_leaky_relu(x.astype(BF16), w, b, g, slope=0.3)
    np.testing.assert_array_equal(found, wide.astype(BF16))


def test_a_thin_weight_gradient_widens_what_it_packs():
    rng = np.random.default_rng(0)
    x, dy = (representable(rng.standard_normal((8, *s)).astype(FLOAT32)) for s in (THIN.input_shape, THIN.output_shape))
    sums = [np.zeros(THIN.weight_shape, FLOAT32) for _ in range(2)]
    narrow = CpuBackend(threads=2, precision="bf16")
    narrow.unit = None
    narrow.conv2d_weight_grad(x.astype(BF16), dy.astype(BF16), THIN, add_to=sums[0])
    WIDE.conv2d_weight_grad(x, dy, THIN, add_to=sums[1])
    np.testing.assert_allclose(sums[0], sums[1], rtol=0, atol=1e-6 * np.abs(sums[1]).max())
