"""NumPy operations and kernels of a recorded step: done again on new numbers, they give what they give in Python."""

import gc

import numpy as np
import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import CpuBackend
from minigan.backends.cpu import recording as recording_module

SHAPE = (4, 6)


def fresh(seed):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def in_place(function):
    def changed(x):
        y = x.copy()
        function(y)
        return y

    return changed


def assign(y):
    y[1:, 0] = y[0, 1]


def add_row(y):
    y += y[2]


OPERATIONS = {
    "sums": lambda x: x.sum() / x.size + x.mean(axis=0, keepdims=True),
    "numbers of shape ()": lambda x: x.max() - x[0, 1] * x.min(),
    "functions": lambda x: np.where(x >= 0, 1, np.exp(-np.abs(x))),
    "two results": lambda x: np.add(*np.divmod(x, np.float32(0.3))),
    "a copy": lambda x: x.T.copy().reshape(-1) * 2,
    "a copy that reshape makes": lambda x: x.T.reshape(-1) * 2,
    "a copy that ravel makes": lambda x: x.T.ravel() * 2,
    "another type": lambda x: x.astype(np.float64).sum(axis=1),
    "chosen places": lambda x: x[[2, 0]] + x[1],
    "places where": lambda x: x[:, np.array([True, False] * 3)] + 1,
    "rows": lambda x: sum(row * 2 for row in x),
    "repetition": lambda x: np.tile(x[0], 3) + x[0].repeat(3),
    "products": lambda x: x @ x.T + x[0] @ x[1],
    "moved axes": lambda x: np.moveaxis(x, 0, -1) + 1,
    "a concatenation": lambda x: np.concatenate([x, 2 * x]) + 0,
    "an assignment": in_place(assign),
    "a sum in place": in_place(add_row),
    "zeros": in_place(lambda y: y.fill(0)),
    "a copy to an array": in_place(lambda y: np.copyto(y, y[::-1] * 2)),
    "places added to": in_place(lambda y: np.add.at(y, (0, 1), y[3, 3])),
    "a clipped array": lambda x: np.clip(x, -0.5, 0.5, out=np.empty_like(x)),
}


def recorded(backend, function, feed):
    """A recording of function(x), where x is fed, and the result."""
    recording = backend.recording()
    with recording.open():
        result = function(backend.feed(feed))
    return recording, np.asarray(result)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_repeated(name):
    function, inputs = OPERATIONS[name], iter([fresh(0), fresh(1), fresh(2)])
    recording, result = recorded(CpuBackend(threads=1), function, lambda: next(inputs))
    assert recording.refused is None
    np.testing.assert_array_equal(result, function(fresh(0)))
    for seed in (1, 2):
        assert recording.replay()
        np.testing.assert_array_equal(result, function(fresh(seed)))


HOST = {
    "bool": lambda x: bool(x[0, 0] > 0),
    "float": lambda x: float(x[0, 0]),
    "int": lambda x: int(x[0, 0]),
    "item": lambda x: x.max().item(),
    "tolist": lambda x: x.tolist(),
    "any": lambda x: np.array_equal(x, x),
    "a copy unseen": lambda x: np.float32(x.take([1]).sum()),
}


@pytest.mark.parametrize("name", HOST)
def test_numbers_that_the_host_reads_end_a_recording(name):
    recording, _ = recorded(CpuBackend(threads=1), lambda x: (HOST[name](x), x)[1], lambda: fresh(0))
    assert recording.refused


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_are_repeated(threads):
    backend = CpuBackend(threads=threads)
    sums = np.zeros((6, 4), np.float32)
    large = np.ones(1 << 15, np.float32)  # worth two threads
    doubled = backend.empty(large.shape, large.dtype)

    def step(x):
        backend.matmul(x, x[:, :4] * 2, transpose_a=True, add_to=sums)
        np.copyto(doubled, backend.weighted_sum(large, large + x[0, 0], weight=2.0))
        return backend.tanh(backend.leaky_relu(x, slope=0.2))

    inputs = iter([fresh(seed) for seed in range(4)])
    recording, result = recorded(backend, step, lambda: next(inputs))
    assert recording.refused is None
    expected = np.zeros_like(sums)
    for seed in range(4):
        if seed:
            assert recording.replay()
        x = fresh(seed)
        backend.matmul(x, x[:, :4] * 2, transpose_a=True, add_to=expected)
        np.testing.assert_array_equal(sums, expected)
        np.testing.assert_array_equal(doubled, large + 2 * (large + x[0, 0]))
        np.testing.assert_array_equal(result, backend.tanh(backend.leaky_relu(x, slope=0.2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_replay_halts_where_a_number_is_not_finite(bad):
    backend, done = CpuBackend(threads=1), []
    inputs = iter([fresh(0), fresh(1), np.full(SHAPE, bad, np.float32)])

    def step(x):
        assert backend.is_below(2 * x, np.inf)
        backend.perform(lambda: done.append(1))
        return x

    recording, _ = recorded(backend, step, lambda: next(inputs))
    assert recording.replay()
    assert not recording.replay()
    assert len(done) == 2


def test_a_replay_halts_at_another_shape():
    inputs = iter([fresh(0), fresh(1)[:3]])
    recording, _ = recorded(CpuBackend(threads=1), lambda x: x + 1, lambda: next(inputs))
    assert not recording.replay()


LARGE, FLOAT32 = (1 << 16,), np.dtype(np.float32)  # so large that its memory is recycled


def test_memory_of_a_recording_is_its_own():
    backend = CpuBackend(threads=1)
    recording = backend.recording()
    with recording.open():
        first = np.asarray(backend.empty(LARGE, FLOAT32) * 1)
        noted = backend.empty(LARGE, FLOAT32)
    others = [backend.empty(LARGE, FLOAT32) for _ in range(3)]
    assert recording.recycler.uncounted(noted) is not noted
    assert not any(np.may_share_memory(mine, other) for mine in (first, noted) for other in others)


def double(_part, _parts, x, y):
    np.multiply(x, 2, out=y)


def test_a_recording_takes_no_more_memory_than_the_step():
    """Compiled kernels, those that are called through Python, and NumPy's operations: none keeps what it has read."""
    backend, inputs = CpuBackend(threads=1), iter([fresh(seed) for seed in range(3)])

    def chain(x):
        y = backend.empty(LARGE, FLOAT32)
        y[...] = x[0, 0]
        for _ in range(4):
            y = backend.tanh(y)
            rooted, doubled = backend.empty(LARGE, FLOAT32), backend.empty(LARGE, FLOAT32)
            np.sqrt(np.abs(y, out=rooted), out=rooted)
            rooted += y.reshape(256, 256).T.reshape(-1)[0]
            backend.team.run(double, rooted, doubled, parts=1)
            y = doubled
        return y[:1] * 1

    expected = chain(fresh(2))
    in_python = backend.recycler.nbytes
    recording, result = recorded(backend, chain, lambda: next(inputs))
    assert recording.refused is None
    assert recording.recycler.nbytes <= in_python
    assert recording.recycler.in_use == 0
    assert recording.replay()
    assert recording.replay()
    np.testing.assert_array_equal(result, expected)


def test_a_step_in_python_borrows_the_memory_of_a_recording():
    backend, kept = CpuBackend(threads=1), []
    recording, _ = recorded(backend, lambda x: backend.empty(LARGE, FLOAT32)[:1] + x[0, 0], lambda: fresh(0))
    recording.beside(lambda: backend.empty(LARGE, FLOAT32).fill(1))
    assert recording.refused is None
    assert (recording.recycler.nbytes, backend.recycler.nbytes) == (4 * LARGE[0], 0)
    recording.beside(lambda: kept.append(backend.empty(LARGE, FLOAT32)))
    assert "remains" in recording.refused
    assert recording.recycler.uncounted(kept[0]) is not kept[0]
    assert backend.recycler.nbytes == 0
    assert backend.empty(LARGE, FLOAT32).size == backend.recycler.nbytes // 4


def test_a_recording_that_nobody_has_any_more_is_gone():
    """Its calls keep views of arrays that it has traced, of which the garbage collector does not hear."""
    backend, w = CpuBackend(threads=2), fresh(1)
    recording, result = recorded(backend, lambda x: backend.tanh(x.reshape(-1)[:8]) * x[0, 0], lambda: fresh(0))
    traced = backend.recording()
    with traced.open():
        backend.matmul(traced.trace(w)[:2].T, backend.feed(lambda: w[:2]), bias=None)
    assert recording.refused is None and traced.refused is None and traced.replay()
    assert len(backend.recordings) == 2
    del recording, traced
    gc.collect()
    assert not backend.recordings and result.size == 8


def test_large_steps_and_those_without_graphs_are_not_recorded(monkeypatch):
    monkeypatch.setattr(recording_module, "MOST_BYTES", 8 * LARGE[0])
    backend = CpuBackend(threads=1)
    assert backend.recording() is not None
    kept = [backend.empty(LARGE, FLOAT32) for _ in range(3)]
    assert backend.recording() is None
    del kept
    backend.free_memory()
    others = [recorded(backend, lambda x: backend.empty(LARGE, FLOAT32)[:1] + x[0, 0], lambda: fresh(0))[0]]
    others.append(backend.recording())
    assert others[-1] is not None
    backend.empty((2 * LARGE[0],), FLOAT32)
    assert backend.recording() is None  # with what the others keep
    others.clear()
    assert backend.recording() is not None
    monkeypatch.setenv("MINIGAN_GRAPHS", "0")
    assert CpuBackend(threads=1).recording() is None
