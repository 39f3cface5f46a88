"""Every kernel takes arrays of any layout: transposed, strided, reversed, unaligned, read-only and broadcast views."""

import numpy as np
import pytest
from calling import DTYPES, assert_close
from kernel_calls import CALLS, IN_PLACE, inputs_of

from minigan.backends import Backend
from minigan.backends.geometry import conv_geometry
from minigan.nn.layers import ConvTranspose2D, SpectralNorm

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that are never used


def strided(a: np.ndarray) -> np.ndarray:
    """Every second number of a larger array."""
    wide = np.full(tuple(2 * n for n in a.shape), np.nan, a.dtype)[tuple(slice(None, None, 2) for _ in a.shape)]
    wide[...] = a
    return wide


def reversed_(a: np.ndarray) -> np.ndarray:
    """Negative strides."""
    back = tuple(slice(None, None, -1) for _ in a.shape)
    return a[back].copy()[back]


def unaligned(a: np.ndarray) -> np.ndarray:
    """One byte off."""
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a: np.ndarray) -> np.ndarray:
    view = a.copy()
    view.flags.writeable = False
    return view


LAYOUTS = {
    "Fortran": lambda a: np.array(a, order="F", copy=True),
    "rotated": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "strided": strided,
    "reversed": reversed_,
    "unaligned": unaligned,
}
# Large enough for the compiled paths of matrix products, which NumPy takes over for small ones: (M, L, N).
PRODUCTS = [(70, 90, 60), (1, 900, 400), (30, 2000, 2), (40, 300, 70), (400, 1, 700)]


def laid_out(value, layout):
    """The arrays in another layout, in tuples too."""
    if type(value) is tuple:
        return tuple(laid_out(item, layout) for item in value)
    return layout(value) if isinstance(value, np.ndarray) else value


def numbers_of(*values) -> list[np.ndarray]:
    """All arrays in a call's result and arguments."""
    return [a for v in values for a in (numbers_of(*v) if type(v) is tuple else [v]) if isinstance(a, np.ndarray)]


def outcome(backend: Backend, kernel: str, arguments, options, *, layout=np.copy) -> list[np.ndarray]:
    """A call's results, and then all arrays that it was given, as it has left them."""
    arguments = tuple(laid_out(argument, layout) for argument in arguments)
    options = {name: laid_out(option, layout) for name, option in options.items()}
    result = getattr(backend, kernel)(*arguments, **options)
    return numbers_of(result, tuple(arguments), options.get("add_to"))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_kernel_takes_every_layout(host_backend: Backend, layout, dtype):
    for kernel in CALLS:
        if kernel == "dropout_mask":
            continue
        arguments, options = inputs_of(kernel, dtype, 3)
        expected = outcome(host_backend, kernel, arguments, options)
        found = outcome(host_backend, kernel, arguments, options, layout=layout)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=kernel)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_kernel_takes_read_only_arrays(host_backend: Backend, dtype):
    """All but those that it changes, for which NumPy's error says so."""
    for kernel in CALLS:
        if kernel in (*IN_PLACE, "dropout_mask"):
            continue
        arguments, options = inputs_of(kernel, dtype, 3)
        expected = outcome(host_backend, kernel, arguments, options)
        result = getattr(host_backend, kernel)(*(laid_out(argument, read_only) for argument in arguments), **options)
        for one, other in zip(numbers_of(result), expected, strict=False):
            np.testing.assert_array_equal(one, other, err_msg=kernel)
        if "add_to" in options:
            with pytest.raises(ValueError, match="read-only"):
                locked = {**options, "add_to": laid_out(options["add_to"], read_only)}
                getattr(host_backend, kernel)(*arguments, **locked)


@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_larger_products_take_every_layout(host_backend: Backend, layout, sizes):
    M, L, N = sizes
    rng = np.random.default_rng(0)
    for transpose_a, transpose_b in ((False, False), (True, False), (False, True), (True, True)):
        a = rng.standard_normal((L, M) if transpose_a else (M, L)).astype(np.float32)
        b = rng.standard_normal((N, L) if transpose_b else (L, N)).astype(np.float32)
        bias, before = (rng.standard_normal(shape).astype(np.float32) for shape in ((N,), (M, N)))
        product = (a.T if transpose_a else a).astype(float) @ (b.T if transpose_b else b)
        options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        found = host_backend.matmul(layout(a), layout(b), bias=layout(bias), **options)
        assert_close(found, product + bias)
        add_to = layout(before)
        found = host_backend.matmul(layout(a), layout(b), add_to=add_to, **options)
        assert found is add_to
        assert_close(add_to, product + before)
        several = np.stack([a, -a]), np.stack([b, b])
        assert_close(host_backend.batched_matmul(*map(layout, several), **options), np.stack([product, -product]))


@pytest.mark.parametrize("kernel", ["dense_grad", "dense_leaky_relu_grad"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_larger_gradients_take_every_layout(host_backend: Backend, layout, kernel):
    rng = np.random.default_rng(0)
    for K in (2, 80):
        dy, x, w, y, dw, db = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((70, K), (70, 600), (600, K), (70, K), (600, K), (K,))
        )
        arguments, options = (dy, x, w, y)[: 3 + (kernel != "dense_grad")], {"add_to": (dw, db)}
        options |= {"slope": 0.2} if kernel != "dense_grad" else {}
        expected = outcome(host_backend, kernel, arguments, options)
        for one, other in zip(outcome(host_backend, kernel, arguments, options, layout=layout), expected, strict=True):
            assert_close(one, other)


CONVOLUTIONS = [
    conv_geometry((1, 1, 40), 30, (1, 1), (1, 1), "valid"),  # dense
    conv_geometry((8, 8, 32), 32, (3, 3), (1, 1), "same"),  # Winograd
    conv_geometry((8, 8, 3), 24, (4, 4), (2, 2), "same"),  # overlap-add, weights turned round
    conv_geometry((9, 7, 20), 18, (5, 3), (1, 2), "same"),  # phases
]


@pytest.mark.parametrize("geometry", CONVOLUTIONS, ids=lambda g: f"{g.C}-{g.K} {g.R}x{g.S}")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_algorithm_of_a_convolution_takes_every_layout(host_backend: Backend, layout, geometry):
    rng, n = np.random.default_rng(0), 4
    x, w, b, dy, c = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (
            *((n, *geometry.input_shape), geometry.weight_shape, (geometry.K,), (n, *geometry.output_shape)),
            (geometry.C,),
        )
    )
    for kernel, arguments, options in (
        ("conv2d", (x, w, b, geometry), {}),
        ("conv2d_input_grad", (dy, w, geometry), {"b": c}),
        ("conv2d_weight_grad", (x, dy, geometry), {"add_to": w}),
    ):
        expected = outcome(host_backend, kernel, arguments, options)
        for one, other in zip(outcome(host_backend, kernel, arguments, options, layout=layout), expected, strict=True):
            assert_close(one, other)


def test_kernels_take_broadcast_and_empty_arrays(host_backend: Backend):
    wide = np.broadcast_to(np.float32(2), (3, 5))
    np.testing.assert_array_equal(host_backend.matmul(wide, wide.T), np.full((3, 3), 20))
    np.testing.assert_array_equal(host_backend.leaky_relu(wide, slope=0.2), wide)
    add_to = np.zeros((5, 4), np.float32).T
    host_backend.channel_sum(np.broadcast_to(np.float32(1), (7, 5)), add_to=add_to[0])
    np.testing.assert_array_equal(add_to, [[7] * 5, *[[0] * 5] * 3])
    empty = np.empty((0, 5), np.float32)
    assert host_backend.matmul(empty, np.ones((5, 4), np.float32)).shape == (0, 4)
    assert host_backend.leaky_relu(empty, slope=0.2).shape == (0, 5)
    sums = np.ones((4, 5), np.float32).T
    host_backend.matmul(empty, np.empty((0, 4), np.float32), transpose_a=True, add_to=sums)
    np.testing.assert_array_equal(sums, np.ones((5, 4)))


def test_what_is_changed_may_have_any_layout(backend: Backend):
    """A Fortran-ordered gradient, as SpectralNorm's is around a 1x1 transposed convolution; on a GPU, too."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((70, 60), (60, 50)))
    add_to = backend.asarray(np.ones((50, 70), np.float32)).T
    backend.matmul(backend.asarray(a), backend.asarray(b), add_to=add_to)
    assert_close(backend.to_numpy(add_to), 1 + a @ b)
    average = backend.asarray(np.zeros((90, 2), np.float32))[:, 1]
    backend.ema_step(average, backend.asarray(np.ones(90, np.float32)), decay=0.75)
    assert_close(backend.to_numpy(average), np.full(90, 0.25))


@pytest.mark.parametrize("channels", [3, 64])
def test_spectral_norm_around_a_transposed_convolution_of_one_tap(backend: Backend, reference: Backend, channels: int):
    gradients = []
    for kernels in (backend, reference):
        layer = SpectralNorm(ConvTranspose2D(channels, 1))
        layer.build((4, 4, channels), backend=kernels, dtype="float32", rng=np.random.default_rng(0))
        x = kernels.asarray(np.random.default_rng(1).standard_normal((2, 4, 4, channels)).astype(np.float32))
        y, cache = layer.forward(x, train=True)
        grads = layer.gradients()
        layer.backward(y, cache, grads=grads)
        gradients.append(np.array(kernels.to_numpy(grads.flat)))
    assert_close(*gradients)
