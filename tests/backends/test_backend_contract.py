"""What holds for every kernel and every backend: coverage, determinism, results that stay."""

import importlib.util

import numpy as np
import pytest
from calling import DTYPES, assert_same_bits, call, draws, flat, to_backend, to_host, update

from minigan.backends import BACKENDS, Backend, array_module, get_backend
from minigan.backends.base import KERNELS
from minigan.backends.geometry import conv_geometry
from minigan.errors import ConfigError, MissingExtraError

GEOMETRY = conv_geometry((9, 10, 5), 18, (3, 4), (2, 1), "same")
X, W, Y = (3, *GEOMETRY.input_shape), GEOMETRY.weight_shape, (3, *GEOMETRY.output_shape)
ADAM = {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-8, "step": 2}

# kernel: shapes of its arrays, what else it takes by position, its options, shapes of what it adds to.
CALLS = {
    "conv2d": ([X, W, (18,)], (GEOMETRY,), {}, None),
    "conv2d_leaky_relu": ([X, W, (18,)], (GEOMETRY,), {"slope": 0.2}, None),
    "conv2d_input_grad": ([Y, W], (GEOMETRY,), {}, None),
    "conv2d_weight_grad": ([X, Y], (GEOMETRY,), {}, W),
    "matmul": ([(7, 33), (33, 18)], (), {}, None),
    "batched_matmul": ([(3, 7, 33), (3, 33, 18)], (), {}, None),
    "dense_grad": ([(7, 18), (7, 33), (33, 18)], (), {}, ((33, 18), (18,))),
    "channel_sum": ([(5, 6, 7, 9)], (), {}, (9,)),
    "batchnorm": ([(12, 9), (9,), (9,)], (), {"eps": 1e-5}, None),
    "batchnorm_grad": ([(12, 9), (12, 9), *[(9,)] * 3], (), {"eps": 1e-5}, ((9,), (9,))),
    "batchnorm_double_grad": ([*[(12, 9)] * 3, *[(9,)] * 3], (), {"eps": 1e-5}, (9,)),
    "batchnorm_frozen": ([(12, 9), *[(9,)] * 4], (), {"eps": 1e-5}, None),
    "batchnorm_frozen_leaky_relu": ([(12, 9), *[(9,)] * 4], (), {"eps": 1e-5, "slope": 0.2}, None),
    "batchnorm_frozen_grad": ([(12, 9), (12, 9), *[(9,)] * 3], (), {"eps": 1e-5}, ((9,), (9,))),
    "group_norm": ([(3, 2, 4, 9), (9,), (9,)], (), {"groups": 3, "eps": 1e-5}, None),
    "group_norm_grad": ([*[(3, 2, 4, 9)] * 2, (9,), *[(3, 3)] * 2], (), {"eps": 1e-5}, ((9,), (9,))),
    "group_norm_double_grad": ([*[(3, 2, 4, 9)] * 3, (9,), *[(3, 3)] * 2], (), {"eps": 1e-5}, (9,)),
    "dense_leaky_relu": ([(7, 33), (33, 18), (18,)], (), {"slope": 0.2}, None),
    "dense_leaky_relu_grad": (
        [(7, 18), (7, 33), (33, 18), (7, 18)], (), {"slope": 0.2}, ((33, 18), (18,))
    ),
    "batchnorm_leaky_relu": ([(12, 9), (9,), (9,)], (), {"eps": 1e-5, "slope": 0.2}, None),
    "batchnorm_leaky_relu_grad": (
        [(12, 9), (12, 9), *[(9,)] * 4], (), {"eps": 1e-5, "slope": 0.2}, ((9,), (9,))
    ),
    "leaky_relu": ([(6, 35)], (), {"slope": 0.2}, None),
    "leaky_relu_grad": ([(6, 35), (6, 35)], (), {"slope": 0.2}, None),
    "tanh": ([(6, 35)], (), {}, None),
    "tanh_grad": ([(6, 35), (6, 35)], (), {}, None),
    "sigmoid": ([(6, 35)], (), {}, None),
    "sigmoid_grad": ([(6, 35), (6, 35)], (), {}, None),
    "maxout": ([(6, 35)], (), {"pieces": 5}, None),
    "maxout_grad": ([(6, 7), (6, 35), (6, 7)], (), {"pieces": 5}, None),
    "upsample_nearest": ([(2, 3, 4, 9)], (), {"factor": (2, 3)}, None),
    "upsample_nearest_grad": ([(2, 6, 12, 9)], (), {"factor": (2, 3)}, None),
    "depth_to_space": ([(2, 3, 4, 18)], (), {"factor": (2, 3)}, None),
    "space_to_depth": ([(2, 6, 12, 3)], (), {"factor": (2, 3)}, None),
    "dropout_mask": ([], (), {}, None),
    "adam_step": ([(77,)] * 4, (), ADAM, None),
    "sgd_step": ([(77,)] * 3, (), {"lr": 0.1, "momentum": 0.9}, None),
    "rmsprop_step": ([(77,)] * 3, (), {"lr": 0.1, "decay": 0.9, "eps": 1e-8}, None),
    "ema_step": ([(77,)] * 2, (), {"decay": 0.9}, None),
    "clip_norm": ([(77,)], (), {"limit": 3.0}, None),
    "clip_value": ([(77,)], (), {"limit": 0.7}, None),
}  # fmt: skip
IN_PLACE = ("adam_step", "sgd_step", "rmsprop_step", "ema_step", "clip_norm", "clip_value")
RETURNING = [kernel for kernel in KERNELS if kernel not in (*IN_PLACE, "dropout_mask")]


def inputs_of(kernel: str, dtype: np.dtype, seed: int):
    """Arguments and options for one call; every array positive where it stands for a variance."""
    shapes, others, options, sums = CALLS[kernel]
    arrays = draws(seed, dtype, *shapes)
    if "norm" in kernel or kernel in IN_PLACE:
        arrays = (*arrays[:-1], np.abs(arrays[-1]) + dtype.type(0.5))
    if sums is not None:
        nested = isinstance(sums[0], tuple)
        before = draws(seed + 1, dtype, *(sums if nested else [sums]))
        options = {**options, "add_to": before if nested else before[0]}
    return (*arrays, *others), options


def spoilt(value):
    """Every array full of NaN."""
    if isinstance(value, tuple):
        return tuple(spoilt(item) for item in value)
    return np.full_like(value, np.nan) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", BACKENDS)
def test_library_is_installed(name):
    """One skip for each backend that no test of this run looks at, see the `backend` fixture."""
    if importlib.util.find_spec(name) is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'minigan\["):
            get_backend(name)
        pytest.skip(f"{name} is not installed: its kernels are not tested")


def test_every_kernel_has_a_call_here():
    assert set(CALLS) == set(KERNELS)


def test_coverage_lists_every_kernel_once(backend):
    assert [row.kernel for row in backend.coverage()] == list(KERNELS)
    assert len(set(KERNELS)) == len(KERNELS)


def test_coverage_tells_own_kernels_from_inherited_ones(backend):
    """Native is what is defined in the backend's own folder."""
    folder = {"numpy": "reference", "numba": "cpu", "cupy": "gpu"}[backend.name]
    for kernel, origin in backend.coverage():
        owner = next(c for c in type(backend).__mro__ if kernel in vars(c))
        own = f"{owner.__module__}.".startswith(f"minigan.backends.{folder}.")
        assert origin == ("native" if own else "inherited"), kernel


def test_a_backend_describes_itself_in_one_line(backend):
    assert backend.name in BACKENDS
    assert backend.name in backend.describe()
    assert "\n" not in backend.describe()


def test_backends_are_found_by_name(backend):
    assert get_backend(backend.name).name == backend.name
    assert isinstance(get_backend("auto"), Backend)


def test_an_unknown_backend_is_told_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown backend 'tensorflow': expected auto, numpy, numba, cupy"):
        get_backend("tensorflow")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_go_there_and_back(backend, dtype):
    (host,) = draws(1, dtype, (3, 4))
    array = backend.asarray(host)
    assert array_module(array) is backend.xp
    assert_same_bits(np.array(backend.to_numpy(array)), host)
    turned = backend.asarray(host.T)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(backend.to_numpy(turned), host.T)
    other = DTYPES[1 - DTYPES.index(dtype)]
    assert backend.asarray(host, dtype=other).dtype == other


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", RETURNING)
def test_the_same_inputs_give_the_same_bits(backend, kernel, dtype):
    """Also after a call on nothing but NaN: no scratch buffer carries anything over."""
    arguments, options = inputs_of(kernel, dtype, 3)
    first = call(backend, kernel, *arguments, **options)
    call(backend, kernel, *spoilt(arguments), **{key: spoilt(value) for key, value in options.items()})
    for _ in range(3):
        assert_same_bits(call(backend, kernel, *arguments, **options), first)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", IN_PLACE)
def test_the_same_step_gives_the_same_bits(backend, kernel, dtype):
    arguments, options = inputs_of(kernel, dtype, 3)
    first = update(backend, kernel, *arguments, **options)
    assert_same_bits(update(backend, kernel, *arguments, **options), first)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", RETURNING)
def test_a_result_outlives_later_calls(backend, kernel, dtype):
    """Two tapes may be alive at once: no result lives in a buffer that the next call uses again."""
    arguments, options = inputs_of(kernel, dtype, 3)
    arguments, options = to_backend(backend, arguments), {k: to_backend(backend, v) for k, v in options.items()}
    result = getattr(backend, kernel)(*arguments, **options)
    kept = flat(result if isinstance(result, tuple) else (result,))
    before = [to_host(backend, array) for array in kept]
    other_arguments, other_options = inputs_of(kernel, dtype, 5)
    again = call(backend, kernel, *other_arguments, **other_options)
    assert all((one != other).any() for one, other in zip(before, flat((again,)), strict=False))
    for array, bits in zip(kept, before, strict=True):
        assert_same_bits(to_host(backend, array), bits)


@pytest.mark.parametrize("kernel", [k for k in RETURNING if CALLS[k][3] is not None])
def test_add_to_accumulates_in_the_given_array(backend, kernel):
    """Twice into one array is the sum of both, and what was there stays in it."""
    arguments, options = inputs_of(kernel, np.dtype(np.float64), 3)
    start = flat((options["add_to"],))
    _, once = call(backend, kernel, *arguments, **options)
    twice = {**options, "add_to": once}
    _, after = call(backend, kernel, *arguments, **twice)
    for zero, one, two in zip(start, flat((once,)), flat((after,)), strict=True):
        assert (one != zero).any()
        np.testing.assert_allclose(two - one, one - zero, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", [k for k in RETURNING if CALLS[k][3] is not None])
def test_add_to_may_be_a_view_into_an_arena(backend, kernel):
    """Gradients are views into one block: their neighbours stay as they are."""
    arguments, options = inputs_of(kernel, np.dtype(np.float32), 3)
    wanted = flat((call(backend, kernel, *arguments, **options)[1],))
    start = flat((options["add_to"],))
    arena = backend.asarray(np.full(sum(t.size for t in start) + 20, 7, np.float32))
    views, offset = [], 10
    for array in start:
        views.append(arena[offset : offset + array.size].reshape(array.shape))
        views[-1][...] = backend.asarray(array)
        offset += array.size
    nested = isinstance(options["add_to"], tuple)
    given = {k: to_backend(backend, v) for k, v in options.items() if k != "add_to"}
    given["add_to"] = tuple(views) if nested else views[0]
    getattr(backend, kernel)(*to_backend(backend, arguments), **given)
    for view, expected in zip(views, wanted, strict=True):
        assert_same_bits(to_host(backend, view), expected)
    host = backend.to_numpy(arena)
    assert (host[:10] == 7).all()
    assert (host[-10:] == 7).all()
