"""Memory that is used again: arrays never meet, nothing leaks, and a training step asks for no large block."""

import threading
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("numba")

from minigan.backends import recycler as module
from minigan.backends.cpu import CpuBackend
from minigan.backends.recycler import Recycler
from minigan.nn.layers import Conv2D, Dense, Dropout, LeakyReLU
from minigan.nn.network import Residual, Sequential, SkipConcat
from minigan.recipes import DCGAN, MLP

FLOAT32 = np.dtype(np.float32)
LARGE = (40, 50, 60)  # 480 kB of float32

pytestmark = pytest.mark.skipif(not module._EXACT, reason="this interpreter counts no references")


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_is_used_again_once_nobody_has_it():
    recycler = Recycler()
    first = recycler.empty(LARGE, FLOAT32)
    second = recycler.empty(LARGE, FLOAT32)
    assert not np.shares_memory(first, second)
    there = address(first)
    del first
    assert address(recycler.empty(LARGE, FLOAT32)) == there
    assert address(recycler.empty((60, 2000), FLOAT32)) == there  # the array above is gone already
    assert recycler.nbytes < 3 * second.nbytes


@pytest.mark.parametrize(
    "keep",
    [
        lambda a: a.reshape(-1)[5:10],
        lambda a: a.T.view(np.int32)[::-1],
        lambda a: memoryview(a),
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.frombuffer(a, np.uint8)[7:9],
        lambda a: a.base,
        lambda a: a.ctypes.data_as(__import__("ctypes").c_void_p),
        lambda a: iter(a),
    ],
    ids=["slice", "view", "memoryview", "through a memoryview", "bytes", "base", "pointer", "iterator"],
)
def test_whatever_refers_to_an_array_keeps_its_memory(keep):
    recycler = Recycler()
    array = recycler.empty(LARGE, FLOAT32)
    there, kept = address(array), keep(array)
    del array
    assert address(recycler.empty(LARGE, FLOAT32)) != there
    del kept
    assert address(recycler.empty(LARGE, FLOAT32)) == there


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (7,), (1 << 20,), (33, 1001, 3)])
def test_what_is_handed_out(shape, dtype):
    array = Recycler().empty(shape, np.dtype(dtype))
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    if array.nbytes > 1 << 16:
        assert address(array) % 64 == 0
    array.fill(1)


def test_idle_neighbors_make_room_for_a_larger_array():
    recycler = Recycler()
    halves = [recycler.empty((500_000,), FLOAT32) for _ in range(3)]
    there, held = address(halves[0]), recycler.nbytes
    del halves[:2]
    last = halves[0].copy()
    large = recycler.empty((1_000_000,), FLOAT32)
    assert address(large) == there
    large.fill(1)
    assert (halves[0] == last).all()
    assert recycler.nbytes == held


def test_smaller_arrays_share_the_place_of_a_larger_one():
    recycler = Recycler()
    there = address(recycler.empty((1_000_000,), FLOAT32))
    small = [recycler.empty((400_000,), FLOAT32) for _ in range(2)]
    assert [address(array) - there for array in small] == [0, 1_600_000]
    assert recycler.nbytes == 4_000_000


def test_no_more_memory_than_live_arrays_need():
    """Activations of halving size, kept until the way back, where each gradient takes the place of the one above."""
    recycler, sizes = Recycler(), [1 << n for n in range(20, 14, -1)]
    for _ in range(2):
        tape = [recycler.empty((size,), FLOAT32) for size in sizes]
        live = worst = sum(array.nbytes for array in tape)
        dx = recycler.empty((sizes[-1],), FLOAT32)
        for size in reversed(sizes):
            dy, dx = dx, recycler.empty((size,), FLOAT32)
            worst = max(worst, live + dx.nbytes + dy.nbytes)
            del dy
            live -= tape.pop().nbytes
        del dx
    assert worst <= recycler.nbytes <= 1.25 * worst


def test_arrays_of_a_random_course_never_meet():
    rng, recycler, alive = np.random.default_rng(0), Recycler(), {}
    for number in range(1_000):
        array = recycler.empty((int(rng.integers(1 << 14, 1 << 21)),), FLOAT32)
        array[::1000] = number  # one in each page
        alive[number] = array
        while sum(each.nbytes for each in alive.values()) > 1 << 25:
            chosen = int(rng.choice(list(alive)))
            assert (alive.pop(chosen)[::1000] == chosen).all()
    assert recycler.nbytes < 3 << 25


def test_other_shapes_do_not_leak():
    """A network that is gone leaves nothing behind for long; what is in use stays as it is."""
    recycler = Recycler()
    kept = recycler.empty(LARGE, FLOAT32)
    kept.fill(7)
    for size in range(1, 20):
        recycler.empty((size * 100_000,), FLOAT32)
    held = recycler.nbytes
    for _ in range(2 * module._PATIENCE):
        recycler.empty((1 << 16,), FLOAT32).fill(0)
    assert recycler.nbytes < 1 << 20 < held
    assert (kept == 7).all()


def test_free_memory_lets_go_of_all():
    backend = CpuBackend(threads=1)
    x = np.ones((64, 512), np.float32)
    y = backend.matmul(x, np.ones((512, 512), np.float32))
    assert backend.recycler.nbytes > 0
    assert backend.workspace.nbytes > 0
    backend.free_memory()
    assert backend.recycler.nbytes == backend.workspace.nbytes == 0
    assert (y == 512).all()


def test_threads_do_not_share():
    recycler = Recycler()
    arrays = []
    threads = [threading.Thread(target=lambda: arrays.append(recycler.empty(LARGE, FLOAT32))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrays.append(recycler.empty(LARGE, FLOAT32))
    assert len({address(array) for array in arrays}) == 5


def test_without_exact_counts_nothing_is_used_again(monkeypatch):
    monkeypatch.setattr(module, "_EXACT", False)
    recycler = Recycler()
    assert recycler.empty(LARGE, FLOAT32).base is None
    assert recycler.nbytes == 0


def test_a_tape_counts_its_arrays_and_not_the_room_around_them():
    net = Sequential([Conv2D(8, 3), LeakyReLU(), Dropout(0.5), Conv2D(8, 3)])
    net.build((31, 33, 8), backend=CpuBackend(threads=2), rng=np.random.default_rng(0))
    x = np.ones((5, 31, 33, 8), np.float32)
    _, tape = net.forward(x, train=True, rng=np.random.default_rng(0))
    assert tape.nbytes == 4 * x.nbytes  # x, LeakyReLU's y, the mask, the last Conv2D's x


@pytest.mark.parametrize(
    ("recipe", "shape"),
    [(DCGAN(width=32, batch_size=16), (32, 32, 3)), (MLP(), (28, 28, 1))],
    ids=["dcgan", "mlp"],
)
def test_a_training_step_allocates_no_large_array(recipe, shape):
    """After the first steps even all that is allocated and still held at any moment is less than 1 MB."""
    rng = np.random.default_rng(0)
    alternating = recipe.assemble(shape, backend=CpuBackend(threads=2), rng=rng)
    real = rng.uniform(0, 1, (recipe.batch_size, *shape)).astype(np.float32)
    for _ in range(3):
        alternating.step(iter([real]), rng)
    tracemalloc.start()  # NumPy reports its allocations to it
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2):
            alternating.step(iter([real]), rng)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_branches_and_dropout_allocate_no_large_array():
    net = Sequential([SkipConcat([Conv2D(8, 3), Dropout(0.5)]), Residual([Conv2D(16, 3), LeakyReLU()])])
    net.build((64, 64, 8), backend=CpuBackend(threads=2), rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    x, grads = rng.standard_normal((16, 64, 64, 8)).astype(np.float32), net.gradients()

    def step():
        y, tape = net.forward(x, train=True, rng=rng)
        net.backward(y, tape, grads=grads)

    for _ in range(3):
        step()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        step()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_two_networks_of_one_backend_keep_their_tapes():
    backend = CpuBackend(threads=2)
    nets = [Sequential([Dense(300), LeakyReLU(), Dense(200)], name=name) for name in "AB"]
    x = np.random.default_rng(1).normal(size=(128, 256)).astype(np.float32)
    passes = []
    for seed, net in enumerate(nets):
        net.build((256,), backend=backend, rng=np.random.default_rng(seed))
        passes.append(net.forward(x, train=True))
    before = [y.copy() for y, _ in passes]
    dxs = [net.backward(y, tape, grads=None) for net, (y, tape) in zip(nets, passes, strict=True)]
    again = [net.backward(y, tape, grads=None) for net, (y, tape) in zip(nets, passes, strict=True)]
    for (y, _), was, dx, other in zip(passes, before, dxs, again, strict=True):
        assert (y == was).all()
        assert (dx == other).all()
        assert not np.shares_memory(dx, other)
