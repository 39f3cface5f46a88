"""Promises of every layer in addition to correct gradients: purity, destinations, independent tapes, shapes, dtypes."""

import numpy as np
import pytest
from layer_cases import (
    BATCH,
    CASES,
    Case,
    batch,
    both_modes,
    built,
    condition,
    cotangent,
    every_case,
    host,
    masks,
    same_bits,
)

from minigan.backends import Backend
from minigan.nn import NoiseInjection
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Dropout, Layer, MinibatchStdDev, Reshape, SpectralNorm
from minigan.nn.layers.augmentation import Augmentation
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.mapping import MappingNetwork

SINGLE = "float32"  # for what is compared bit by bit


@every_case
@both_modes
def test_forward_is_pure(backend: Backend, case: Case, train: bool):
    layer, x = built(case, backend, dtype=SINGLE), batch(case, backend, dtype=SINGLE)
    before = [host(backend, a) for a in (x, layer.arena.flat, layer.state.flat)]
    y, _ = layer.forward(x, train=train, rng=masks())
    again, _ = layer.forward(x, train=train, rng=masks())
    assert same_bits(backend, y, again)
    for array, old in zip((x, layer.arena.flat, layer.state.flat), before, strict=True):
        assert same_bits(backend, array, backend.asarray(old))


@every_case
@both_modes
def test_backward_changes_only_its_destination(backend: Backend, case: Case, train: bool):
    layer, x, dy = (
        built(case, backend, dtype=SINGLE),
        batch(case, backend, dtype=SINGLE),
        cotangent(case, backend, dtype=SINGLE),
    )
    y, cache = layer.forward(x, train=train, rng=masks())
    arrays = (x, y, dy, layer.arena.flat, layer.state.flat)
    before = [host(backend, a) for a in arrays]
    first, second = layer.gradients(), layer.gradients()
    dx = layer.backward(dy, cache, grads=first)
    again = layer.backward(dy, cache, grads=second)
    assert same_bits(backend, dx, again)
    assert same_bits(backend, first.flat, second.flat)
    for array, old in zip(arrays, before, strict=True):
        assert same_bits(backend, array, backend.asarray(old))


@every_case
@both_modes
def test_two_live_tapes_do_not_disturb_each_other(backend: Backend, case: Case, train: bool):
    layer, rng = built(case, backend, dtype=SINGLE), masks()
    inputs = [batch(case, backend, dtype=SINGLE, seed=10), batch(case, backend, dtype=SINGLE, seed=11)]
    cotangents = [cotangent(case, backend, dtype=SINGLE, seed=12), cotangent(case, backend, dtype=SINGLE, seed=13)]
    caches = [layer.forward(x, train=train, rng=rng)[1] for x in inputs]
    late = [layer.gradients(), layer.gradients()]
    dx_late = [None, None]
    for i in (1, 0):  # the other way round than forward
        dx_late[i] = layer.backward(cotangents[i], caches[i], grads=late[i])

    rng = masks()
    for i in (0, 1):
        _, cache = layer.forward(inputs[i], train=train, rng=rng)
        grads = layer.gradients()
        assert same_bits(backend, layer.backward(cotangents[i], cache, grads=grads), dx_late[i])
        assert same_bits(backend, grads.flat, late[i].flat)


@every_case
@both_modes
def test_frozen_computes_the_same_dx(backend: Backend, case: Case, train: bool):
    layer, x, dy = built(case, backend), batch(case, backend), cotangent(case, backend)
    _, cache = layer.forward(x, train=train, rng=masks())
    grads = layer.gradients()
    assert same_bits(backend, layer.backward(dy, cache, grads=None), layer.backward(dy, cache, grads=grads))
    assert bool((abs(grads.flat).max() > 0) if case.parameters else grads.flat.size == 0)

    dx, record = layer.backward_recorded(dy, cache)
    v = backend.asarray(np.random.default_rng(5).normal(size=dx.shape))
    frozen = layer.double_backward(v, record, cache, grads=None)
    free = layer.double_backward(v, record, cache, grads=layer.gradients())
    for one, other in zip(frozen, free, strict=True):
        assert (one is None and other is None) or same_bits(backend, one, other)


@every_case
@both_modes
def test_without_dx_the_parameter_gradients_are_the_same(backend: Backend, case: Case, train: bool):
    layer, x, dy = built(case, backend), batch(case, backend), cotangent(case, backend)
    _, cache = layer.forward(x, train=train, rng=masks())
    with_dx, without = layer.gradients(), layer.gradients()
    assert layer.backward(dy, cache, grads=with_dx) is not None
    assert layer.backward(dy, cache, grads=without, need_dx=False) is None
    assert same_bits(backend, with_dx.flat, without.flat)
    assert layer.backward(dy, cache, grads=None, need_dx=False) is None


@every_case
def test_gradients_accumulate(backend: Backend, case: Case):
    layer, x = built(case, backend), batch(case, backend)
    dys = [cotangent(case, backend, seed=20), cotangent(case, backend, seed=21)]
    _, cache = layer.forward(x, train=True, rng=masks())
    both, apart = layer.gradients(), [layer.gradients(), layer.gradients()]
    for dy, grads in zip(dys, apart, strict=True):
        layer.backward(dy, cache, grads=both)
        layer.backward(dy, cache, grads=grads)
    expected = host(backend, apart[0].flat + apart[1].flat)
    np.testing.assert_allclose(host(backend, both.flat), expected, rtol=1e-12, atol=1e-12)
    both.zero()
    assert not host(backend, both.flat).any()


@every_case
def test_double_backward_accumulates(backend: Backend, case: Case):
    layer, x, dy = built(case, backend), batch(case, backend), cotangent(case, backend)
    _, cache = layer.forward(x, train=True, rng=masks())
    dx, record = layer.backward_recorded(dy, cache)
    v = backend.asarray(np.random.default_rng(6).normal(size=dx.shape))
    once, twice = layer.gradients(), layer.gradients()
    layer.double_backward(v, record, cache, grads=once)
    layer.double_backward(v, record, cache, grads=twice)
    layer.double_backward(v, record, cache, grads=twice)
    np.testing.assert_allclose(host(backend, twice.flat), 2 * host(backend, once.flat), rtol=1e-12, atol=1e-12)


@every_case
def test_shapes_and_names_are_inferred(backend: Backend, case: Case):
    layer = built(case, backend)
    assert layer.input_shape == case.input_shape
    assert layer.output_shape == case.output_shape
    assert {name: p.value.shape for name, p in layer.named_parameters()} == case.parameters
    assert len(layer.arena) == sum(int(np.prod(shape)) for shape in case.parameters.values())
    y, _ = layer.forward(batch(case, backend), train=False)
    assert y.shape == (BATCH, *case.output_shape)


@every_case
@both_modes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_stays(backend: Backend, case: Case, train: bool, dtype: str):
    layer = built(case, backend, dtype=dtype)
    x, dy = batch(case, backend, dtype=dtype), cotangent(case, backend, dtype=dtype)
    y, cache = layer.forward(x, train=train, rng=masks())
    grads = layer.gradients()
    dx, record = layer.backward_recorded(dy, cache)
    ddy, ddx = layer.double_backward(dx, record, cache, grads=grads)
    layer.commit_statistics(cache)
    arrays = [y, layer.backward(dy, cache, grads=grads), dx, ddy, grads.flat, layer.arena.flat, layer.state.flat]
    assert {str(a.dtype) for a in [*arrays, *([] if ddx is None else [ddx])]} == {dtype}


@every_case
def test_float32_follows_float64(backend: Backend, case: Case):
    results = {}
    for dtype in ("float32", "float64"):
        layer = built(case, backend, dtype=dtype)
        y, cache = layer.forward(batch(case, backend, dtype=dtype), train=True, rng=masks())
        grads = layer.gradients()
        dx = layer.backward(cotangent(case, backend, dtype=dtype), cache, grads=grads)
        results[dtype] = [host(backend, a) for a in (y, dx, grads.flat)]
    for single, double in zip(results["float32"], results["float64"], strict=True):
        np.testing.assert_allclose(single, double, rtol=2e-4, atol=2e-4)


@every_case
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
def test_every_backend_computes_what_the_reference_does(
    backend: Backend, reference: Backend, case: Case, dtype: str, tolerance: float
):
    results = []
    for engine in (backend, reference):
        layer, dy = built(case, engine, dtype=dtype), cotangent(case, engine, dtype=dtype)
        y, cache = layer.forward(batch(case, engine, dtype=dtype), train=True, rng=masks())
        grads = layer.gradients()
        dx, record = layer.backward_recorded(dy, cache)
        layer.backward(dy, cache, grads=grads)
        ddy, _ = layer.double_backward(dx, record, cache, grads=grads)
        results.append([host(engine, a) for a in (y, dx, ddy, grads.flat)])
    for actual, expected in zip(*results, strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items() if case.alone])
def test_an_example_alone_in_eval_mode_gets_what_it_gets_in_a_batch(backend: Backend, case: Case):
    layer, x = built(case, backend), batch(case, backend)
    y, _ = layer.forward(x, train=False)
    alone, _ = layer.given(condition(case, backend)[1:2]).forward(x[1:2], train=False)
    np.testing.assert_allclose(host(backend, alone[0]), host(backend, y[1]), rtol=1e-12, atol=1e-12)


@every_case
def test_a_separable_layer_does_to_two_batches_what_it_does_to_one_of_both(backend: Backend, case: Case):
    """Without random numbers, and no statistics are left to commit."""
    layer = built(case, backend)
    meeting = (BatchNorm, Dropout, NoiseInjection, SpectralNorm, MinibatchStdDev, Pack, Augmentation, MappingNetwork)
    assert layer.is_separable == (not any(isinstance(inner, meeting) for _, inner in layer.walk()))
    if not layer.is_separable:
        return
    assert not layer.state.flat.size
    x, dy, c = batch(case, backend), cotangent(case, backend), condition(case, backend)
    results = []
    for parts in ([slice(0, BATCH)], [slice(0, 1), slice(1, BATCH)]):
        grads, outputs = layer.gradients(), []
        for part in parts:
            given = layer.given(None if c is None else c[part])
            y, cache = given.forward(x[part], train=True)
            outputs.append([y, given.backward(dy[part], cache, grads=grads)])
        ys, dxs = (backend.xp.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        results.append([host(backend, a) for a in (ys, dxs, grads.flat)])
    for whole, separate in zip(*results, strict=True):
        np.testing.assert_allclose(separate, whole, rtol=1e-10, atol=1e-12)


@every_case
def test_views_that_are_not_contiguous_are_read_right(backend: Backend, case: Case):
    """Such as the NHWC view of an NCHW array."""
    layer, x, dy = built(case, backend), batch(case, backend), cotangent(case, backend)
    reversed_axes = tuple(range(x.ndim))[::-1]
    x_view = backend.xp.ascontiguousarray(x.transpose(reversed_axes)).transpose(reversed_axes)
    dy_view = backend.xp.concatenate([dy, dy], axis=-1)[..., : dy.shape[-1]]
    results = []
    for a, b in ((x, dy), (x_view, dy_view)):
        y, cache = layer.forward(a, train=True, rng=masks())
        grads = layer.gradients()
        results.append([host(backend, t) for t in (y, layer.backward(b, cache, grads=grads), grads.flat)])
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------- BatchNorm's statistics


@pytest.mark.parametrize("name", ["BatchNorm images", "BatchNorm vectors"])
def test_statistics_change_when_committed_and_only_then(backend: Backend, name: str):
    case = CASES[name]
    layer, x = built(case, backend), batch(case, backend)
    mean, var = host(backend, layer.running_mean.value), host(backend, layer.running_var.value)
    _, cache = layer.forward(x, train=True)
    layer.backward(cotangent(case, backend), cache, grads=layer.gradients())
    assert same_bits(backend, layer.running_mean.value, backend.asarray(mean))

    layer.commit_statistics(cache)
    rows = host(backend, x).reshape(-1, x.shape[-1])
    np.testing.assert_allclose(
        host(backend, layer.running_mean.value), 0.9 * mean + 0.1 * rows.mean(axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(
        host(backend, layer.running_var.value), 0.9 * var + 0.1 * rows.var(axis=0, ddof=1), rtol=1e-12
    )


def test_an_eval_pass_has_no_statistics_to_commit(backend: Backend):
    case = CASES["BatchNorm images"]
    layer = built(case, backend, dtype=SINGLE)
    before = host(backend, layer.state.flat)
    _, cache = layer.forward(batch(case, backend, dtype=SINGLE), train=False)
    layer.commit_statistics(cache)
    assert same_bits(backend, layer.state.flat, backend.asarray(before))


def test_an_eval_tape_keeps_the_statistics_it_used(backend: Backend):
    """A commit between forward and backward must not change the backward pass."""
    case = CASES["BatchNorm images"]
    layer, x, dy = (
        built(case, backend, dtype=SINGLE),
        batch(case, backend, dtype=SINGLE),
        cotangent(case, backend, dtype=SINGLE),
    )
    _, cache = layer.forward(x, train=False)
    before = host(backend, layer.backward(dy, cache, grads=None))
    _, training = layer.forward(x, train=True)
    layer.commit_statistics(training)
    assert same_bits(backend, layer.backward(dy, cache, grads=None), backend.asarray(before))


@pytest.mark.parametrize("name", ["Sequential, nested", "Residual", "Residual, shortcut", "SkipConcat, nested"])
def test_combinators_hand_commits_down(backend: Backend, name: str):
    case = CASES[name]
    layer = built(case, backend, dtype=SINGLE)
    before = layer.state.to_dict()
    _, cache = layer.forward(batch(case, backend, dtype=SINGLE), train=True, rng=masks())
    layer.commit_statistics(cache)
    after = layer.state.to_dict()
    assert len(after) == 2
    assert all((after[key] != before[key]).all() for key in after)


def test_a_shortcut_commits_its_statistics(backend: Backend):
    layer = Residual([Dense(3)], shortcut=[BatchNorm()])
    layer.build((3,), backend=backend, rng=np.random.default_rng(0))
    x = backend.asarray(np.random.default_rng(1).normal(5, 1, (4, 3)), dtype=np.dtype(np.float32))
    _, cache = layer.forward(x, train=True)
    layer.commit_statistics(cache)
    assert (layer.state.to_dict()["shortcut.0.running_mean"] > 0.2).all()


@pytest.mark.parametrize(
    "layer",
    [Parallel([[BatchNorm()], [Conv2D(2, 1), BatchNorm()]]), Inpainting([BatchNorm(), Conv2D(2, 1), BatchNorm()])],
    ids=["Parallel", "Inpainting"],
)
def test_all_that_is_inside_commits_its_statistics(backend: Backend, layer: Layer):
    layer.build((4, 4, 3), backend=backend, rng=np.random.default_rng(0))
    before = layer.state.to_dict()
    x = backend.asarray(np.random.default_rng(1).normal(5, 1, (4, 4, 4, 3)), dtype=np.dtype(np.float32))
    _, cache = layer.forward(x, train=True)
    layer.commit_statistics(cache)
    after = layer.state.to_dict()
    assert len(after) == 4
    assert all((after[key] != before[key]).all() for key in after)


# ---------------------------------------------------------------------------------------------- Dropout


def test_dropout_keeps_the_mean_and_drops_at_its_rate(backend: Backend):
    layer = Dropout(0.3).build((10000,), backend=backend, rng=np.random.default_rng(0))
    x = backend.xp.ones((2, 10000), dtype=np.float32)
    y = host(backend, layer.forward(x, train=True, rng=np.random.default_rng(1))[0])
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert not np.array_equal(y[0], y[1])


def test_dropout_does_nothing_in_eval_mode(backend: Backend):
    layer = Dropout(0.9).build((8,), backend=backend, rng=np.random.default_rng(0))
    x = backend.xp.ones((2, 8), dtype=np.float32)
    assert (host(backend, layer.forward(x, train=False)[0]) == 1).all()


def test_dropout_draws_from_the_generator_it_is_given(backend: Backend):
    net = Sequential([Dropout(0.5), Dense(2), Dropout(0.5)])
    net.build((6,), backend=backend, rng=np.random.default_rng(0))
    x = backend.xp.ones((2, 6), dtype=np.float32)
    first, second, other = (
        host(backend, net.forward(x, train=True, rng=np.random.default_rng(seed))[0]) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_reshape_copies_nothing(backend: Backend):
    layer = Reshape((2, 3)).build((6,), backend=backend, rng=np.random.default_rng(0))
    x = backend.xp.zeros((2, 6), dtype=np.float32)
    y, _ = layer.forward(x, train=True)
    x[...] = 1
    assert (host(backend, y) == 1).all()
