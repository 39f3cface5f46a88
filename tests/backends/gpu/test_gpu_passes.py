"""Passes over memory, as far as they differ on a GPU: work shared by blocks, numbers on the device, steps held back."""

import math
import sys
from types import SimpleNamespace

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from calling import DTYPES, assert_agree, assert_close, assert_same_bits, call, draws, to_backend, to_host, update
from hypothesis import given
from hypothesis import strategies as st
from kernel_calls import IN_PLACE, inputs_of

from minigan.backends import get_backend
from minigan.errors import ShapeError

pytestmark = pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler for running CUDA on the CPU")

PASSES = (
    *("leaky_relu", "leaky_relu_grad", "tanh", "tanh_grad", "sigmoid", "sigmoid_grad", "maxout", "maxout_grad"),
    *(
        "reflect_pad",
        "reflect_pad_grad",
        "upsample_nearest",
        "upsample_nearest_grad",
        "depth_to_space",
        "space_to_depth",
    ),
)
OVER_CHANNELS = (
    *("channel_sum", "batchnorm", "batchnorm_grad", "batchnorm_double_grad", "batchnorm_frozen"),
    *("batchnorm_frozen_leaky_relu", "batchnorm_frozen_grad", "batchnorm_leaky_relu", "batchnorm_leaky_relu_grad"),
    *("group_norm", "group_norm_grad", "group_norm_double_grad"),
    *("scale_channels", "scale_channels_grad", "noise_leaky_relu", "noise_leaky_relu_grad"),
)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(scope="module")
def make():
    """GpuBackend over the stand-in."""
    with fake_cupy.installed():
        yield type(get_backend("gpu"))


@pytest.fixture(scope="module")
def gpu(make):
    return make()


def run(backend, kernel, dtype):
    """One call of the contract's table."""
    arguments, options = inputs_of(kernel, dtype, 3)
    return (update if kernel in IN_PLACE else call)(backend, kernel, *arguments, **options)


# ---------------------------------------------------------------------------------------- who does what


@pytest.mark.usefixtures("make")
@given(
    examples=st.integers(1, 40),
    pixels=st.one_of(st.integers(1, 70), st.sampled_from([128 * 64, 2**21, 2**31 + 8])),
    channels=st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 512, 1000, 100_000])),
    wide=st.sampled_from([2, 4]),
    aligned=st.booleans(),
    blocks=st.sampled_from([1, 16, 528]),
    sums=st.booleans(),
)
def test_each_number_belongs_to_one_thread(examples, pixels, channels, wide, aligned, blocks, sums):
    from minigan.backends.gpu.columns import LANES, SUM_LANES, plan_columns
    from minigan.backends.gpu.launch import THREADS

    most = SUM_LANES if sums else LANES
    plan = plan_columns(examples, pixels, channels, wide=wide, aligned=aligned, blocks=blocks, most_lanes=most)
    assert (plan.rows * plan.fold, plan.columns) == (pixels, channels * plan.fold)
    assert plan.vector in ((1, wide) if aligned else (1,))
    assert plan.columns % plan.vector == 0
    assert 1 <= plan.lanes <= most <= THREADS
    assert not sums or plan.fold == 1 or plan.grid[1] == 1  # a channel's columns are in one block
    along, across = plan.grid
    assert (across - 1) * plan.lanes * plan.vector < plan.columns <= across * plan.lanes * plan.vector
    assert across < 2**16
    assert along == examples * plan.parts
    assert (plan.parts - 1) * (THREADS // plan.lanes) < plan.rows  # no block without a row
    assert plan.parts == 1 or along * across <= blocks


@dtypes
@pytest.mark.parametrize("kernel", [*PASSES, *(k for k in IN_PLACE if k != "clip_norm")])
def test_a_grid_of_few_threads_goes_over_everything(gpu, kernel, dtype, monkeypatch):
    whole = run(gpu, kernel, dtype)
    monkeypatch.setattr(
        gpu.launch,
        "elementwise",
        lambda family, kernel, _, *arguments, **options: gpu.launch(
            family, kernel, (2,), *arguments, block=8, **options
        ),
    )
    assert_same_bits(run(gpu, kernel, dtype), whole)


@dtypes
@pytest.mark.parametrize("last_thread_first", [0, 1])
@pytest.mark.parametrize("length", [1, 255, 300_001])
def test_a_norm_summed_by_many_blocks(gpu, length, last_thread_first, dtype, monkeypatch):
    """More of them than a block that adds up their sums has threads."""
    monkeypatch.setattr(cuda_on_cpu, "BACKWARDS", last_thread_first)
    monkeypatch.setattr(sys.modules["minigan.backends.gpu.optim"], "blocks_for", lambda size: min(size, 300))
    monkeypatch.setattr(gpu, "multiprocessors", 100)
    (x,) = draws(1, dtype, (length,))
    norm = np.linalg.norm(x.astype(float))
    assert_close(update(gpu, "clip_norm", x, limit=norm / 3)[0], x / 3)
    assert_same_bits(update(gpu, "clip_norm", x, limit=norm * 1.001)[0], x)


@dtypes
@pytest.mark.parametrize("kernel", ["maxout", "maxout_grad", *PASSES[-4:]])
def test_offsets_of_huge_arrays_lead_to_the_same_places(gpu, kernel, dtype, monkeypatch):
    """Arrays of 2^32 numbers are not for tests; the index that they need is."""
    narrow = run(gpu, kernel, dtype)
    launch, wide = gpu.launch.elementwise, []

    def elementwise(*arguments, settings, **options):
        assert ("WIDE", 0) in settings
        wide.append(settings)
        launch(*arguments, settings=(*(s for s in settings if s[0] != "WIDE"), ("WIDE", 1)), **options)

    monkeypatch.setattr(gpu.launch, "elementwise", elementwise)
    assert_same_bits(run(gpu, kernel, dtype), narrow)
    assert wide


@dtypes
@pytest.mark.parametrize("kernel", [*PASSES, *OVER_CHANNELS, *IN_PLACE])
def test_arrays_may_begin_anywhere(gpu, kernel, dtype):
    """A view that begins between two multiples of 16 bytes is read number by number; nothing else changes."""

    def moved(value):
        if isinstance(value, tuple):
            return tuple(moved(item) for item in value)
        if not isinstance(value, np.ndarray):
            return value
        room = gpu.asarray(np.zeros(value.size + 1, value.dtype))
        view = room[1:].reshape(value.shape)
        view[...] = gpu.asarray(value)
        return view

    arguments, options = inputs_of(kernel, dtype, 3)
    expected = run(gpu, kernel, dtype)
    arguments, options = moved(arguments), {name: moved(value) for name, value in options.items()}
    result = getattr(gpu, kernel)(*arguments, **options)
    if kernel in IN_PLACE:
        result = arguments
    elif "add_to" in options:
        result = (result, options["add_to"])
    for one, other in zip(leaves(to_host(gpu, result)), leaves(expected), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("kernel", [*PASSES, *OVER_CHANNELS])
def test_images_may_be_views_whose_numbers_lie_apart(gpu, kernel):
    """Such as some channels of a larger image; what is written to lies side by side, or is refused."""

    def apart(value):
        if not isinstance(value, np.ndarray) or value.ndim == 1:
            return value if not isinstance(value, np.ndarray) else gpu.asarray(value)
        return gpu.asarray(np.concatenate([value, value], axis=-1))[..., : value.shape[-1]]

    arguments, options = inputs_of(kernel, DTYPES[0], 3)
    of_groups = 2 if kernel.startswith("group_norm_") else 0  # mean and variance come last and are no images
    few = len(arguments) - of_groups
    views = (*map(apart, arguments[:few]), *to_backend(gpu, arguments[few:]))
    sums = {name: to_backend(gpu, value) for name, value in options.items()}
    result = getattr(gpu, kernel)(*views, **sums)
    result = (result, sums["add_to"]) if "add_to" in sums else result
    for one, other in zip(leaves(to_host(gpu, result)), leaves(run(gpu, kernel, DTYPES[0])), strict=True):
        assert_same_bits(one, other)


def leaves(value):
    return (
        [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple) else [value] * (value is not None)
    )


# ---------------------------------------------------------------------------------------- sums of channels


@dtypes
@pytest.mark.parametrize("multiprocessors", [1, 30])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((6, 10, 10, 12), 3),
        ((3, 7, 9, 5), 5),
        ((2, 25, 8, 130), 2),
        ((2, 600), 4),
        ((1, 2503, 1, 132), 2),  # so many rows that few threads add up several runs each
    ],
    ids=str,
)
def test_few_and_many_blocks_give_the_same_sums(make, reference, shape, groups, multiprocessors, dtype):
    gpu = make()
    gpu.multiprocessors = multiprocessors
    x, gamma, beta = draws(1, dtype, shape, shape[-1:], shape[-1:])
    x = x + np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)).astype(dtype)
    v, dy, dgamma, dbeta = draws(2, dtype, shape, shape, shape[-1:], shape[-1:])
    assert_agree(gpu, reference, "channel_sum", dy, add_to=dbeta)
    _, mean, var = call(reference, "batchnorm", x, gamma, beta, eps=1e-3)
    sums = (dgamma, dbeta)
    assert_agree(gpu, reference, "batchnorm", x, gamma, beta, eps=1e-3)
    assert_agree(gpu, reference, "batchnorm_grad", dy, x, gamma, mean, var, eps=1e-3, add_to=sums)
    assert_agree(gpu, reference, "batchnorm_double_grad", v, dy, x, gamma, mean, var, eps=1e-3, add_to=dgamma)
    _, mean, var = call(reference, "group_norm", x, gamma, beta, groups=groups, eps=1e-3)
    assert_agree(gpu, reference, "group_norm", x, gamma, beta, groups=groups, eps=1e-3)
    assert_agree(gpu, reference, "group_norm_grad", dy, x, gamma, mean, var, eps=1e-3, add_to=sums)
    assert_agree(gpu, reference, "group_norm_double_grad", v, dy, x, gamma, mean, var, eps=1e-3, add_to=dgamma)


def test_a_run_that_begins_with_an_outlier_keeps_its_variance(gpu):
    """The first number of each run is what the others are taken from."""
    (x,) = draws(3, np.float32, (5000, 3))
    x[0] = 1e4
    _, mean, var = call(gpu, "batchnorm", x, np.ones(3, np.float32), np.zeros(3, np.float32), eps=1e-5)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=float), rtol=1e-6)
    np.testing.assert_allclose(var, x.var(axis=0, dtype=float), rtol=1e-5)


# ---------------------------------------------------------------------------------------- steps


NUMBERS = {
    "adam_step": {"lr": 0.1, "step": 7, "beta2": 0.93},
    "sgd_step": {"lr": 0.1},
    "rmsprop_step": {"lr": 0.1},
    "ema_step": {"decay": 0.93},
}


@dtypes
@pytest.mark.parametrize("kernel", NUMBERS)
def test_a_number_may_lie_on_the_device(gpu, kernel, dtype):
    """As in a captured step, of which the number is the only thing that changes."""
    arguments, options = inputs_of(kernel, dtype, 3)
    options |= NUMBERS[kernel] | ({"weight_decay": 0.01} if kernel == "adam_step" else {})
    by_value = update(gpu, kernel, *arguments, **options)
    for numbers in NUMBERS[kernel], *({name: number} for name, number in NUMBERS[kernel].items()):
        there = {name: gpu.asarray(np.array([0, number], np.float64))[1] for name, number in numbers.items()}
        assert_same_bits(update(gpu, kernel, *arguments, **options | there), by_value)


@dtypes
@pytest.mark.parametrize("kernel", IN_PLACE)
def test_a_step_that_is_not_sound_changes_nothing(gpu, monkeypatch, kernel, dtype):
    arguments, options = inputs_of(kernel, dtype, 3)
    changed = update(gpu, kernel, *arguments, **options)
    assert any((one != other).any() for one, other in zip(changed, arguments, strict=True))
    for sound, expected in (True, changed), (False, arguments):
        monkeypatch.setattr(gpu, "guard", SimpleNamespace(sound=gpu.asarray(np.array(sound))))
        assert_same_bits(update(gpu, kernel, *arguments, **options), expected)


# ---------------------------------------------------------------------------------------- numbers at the edge


EDGES = [-math.inf, -1e30, -1.0, -0.0, 0.0, 1e-40, 1.0, 1e30, math.inf, math.nan]


@dtypes
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        *(("leaky_relu", {"slope": slope}) for slope in (0.0, 0.2, 1.0)),
        ("tanh", {}),
        ("sigmoid", {}),
        ("upsample_nearest", {"factor": (2, 3)}),
        ("depth_to_space", {"factor": (1, 2)}),
        ("reflect_pad", {"padding": ((0, 0), (0, 0))}),
    ],
    ids=str,
)
def test_edges_are_those_of_the_reference(gpu, reference, kernel, options, dtype):
    """Also the sign of zero."""
    x = np.array(EDGES, dtype).reshape(1, 1, 1, -1)
    with np.errstate(all="ignore"):
        expected = call(reference, kernel, x, **options)
    actual = call(gpu, kernel, x, **options)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(actual)[expected == 0], np.signbit(expected)[expected == 0])


@dtypes
@pytest.mark.parametrize("kernel", ["leaky_relu_grad", "tanh_grad", "sigmoid_grad"])
def test_edges_of_gradients_are_those_of_the_reference(gpu, reference, kernel, dtype):
    options = {"slope": 0.2} if kernel == "leaky_relu_grad" else {}
    dy, y = (np.array(t, dtype).ravel() for t in np.meshgrid(EDGES, [-1.0, -0.0, 0.0, 0.5, 1.0, math.nan]))
    with np.errstate(all="ignore"):
        expected = call(reference, kernel, dy, y, **options)
    np.testing.assert_allclose(call(gpu, kernel, dy, y, **options), expected, rtol=1e-6)


@dtypes
def test_infinity_spoils_its_own_channel_as_in_the_reference(gpu, reference, dtype):
    x, gamma, beta = draws(1, dtype, (40, 9), (9,), (9,))
    x[[0, 20], [2, 5]] = math.inf, -math.inf
    with np.errstate(all="ignore"):
        expected = call(reference, "batchnorm", x, gamma, beta, eps=1e-5)
    for actual, wanted in zip(call(gpu, "batchnorm", x, gamma, beta, eps=1e-5), expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(wanted))


@dtypes
def test_an_empty_batch_launches_nothing(gpu, dtype):
    empty = np.zeros((0, 4, 4, 8), dtype)
    assert call(gpu, "leaky_relu", empty, slope=0.2).shape == empty.shape
    assert call(gpu, "upsample_nearest", empty, factor=(2, 2)).shape == (0, 8, 8, 8)
    (start,) = draws(1, dtype, (8,))
    assert_same_bits(call(gpu, "channel_sum", empty, add_to=start)[1], start)
    flat = to_backend(gpu, empty.ravel())
    gpu.clip_norm(flat, limit=1.0)


def test_what_a_kernel_would_read_beyond_is_refused(gpu):
    x, y, few, all_ = (gpu.asarray(np.zeros(shape, np.float32)) for shape in ((4, 2, 2, 6), (4, 2, 2, 5), (5,), (6,)))
    for call_it, problem in (
        (lambda: gpu.leaky_relu_grad(x, y, slope=0.2), r"dy: expected shape \(4, 2, 2, 5\)"),
        (lambda: gpu.maxout(y, pieces=2), r"x: expected shape \(4, 2, 2, 4\)"),
        (lambda: gpu.space_to_depth(x, factor=(2, 3)), r"y: expected shape \(4, 2, 0, 6\)"),
        (lambda: gpu.depth_to_space(y, factor=(2, 2)), r"x: expected shape \(4, 2, 2, 4\)"),
        (lambda: gpu.upsample_nearest_grad(x, factor=(3, 1)), r"dy: expected shape \(4, 0, 2, 6\)"),
        (lambda: gpu.reflect_pad_grad(x, padding=((1, 0), (0, 0))), "2x2 pixels cannot be an image padded by"),
        (lambda: gpu.sgd_step(all_, few, all_, lr=0.1, momentum=0), r"expected shape \(6,\), got \(5,\)"),
        (lambda: gpu.channel_sum(x, add_to=few), r"add_to: expected shape \(6,\)"),
        (lambda: gpu.batchnorm(x, few, all_, eps=1e-5), r"gamma: expected shape \(6,\)"),
        (lambda: gpu.batchnorm_frozen(x, all_, all_, few, few, eps=1e-5), r"mean: expected shape \(6,\)"),
        (lambda: gpu.group_norm(x, all_, all_, groups=4, eps=1e-5), "6 channels cannot form 4 groups"),
        (
            lambda: gpu.batchnorm_grad(x, x, all_, all_, all_, eps=1e-5, add_to=(all_, few)),
            r"dbeta: expected shape \(6,\)",
        ),
    ):
        with pytest.raises(ShapeError, match=problem):
            call_it()
