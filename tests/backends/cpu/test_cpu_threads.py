"""The team of threads: every part runs once, errors come back, and any number of callers may use it."""

import multiprocessing
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import CpuBackend
from minigan.backends.cpu import launch as mail
from minigan.backends.cpu import threads as threads_module
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.launch import launch, new_mailbox, serve
from minigan.backends.cpu.threads import NO_ROOM, YIELD_ADDRESS, Team, turns_per_second
from minigan.backends.geometry import ConvGeometry
from minigan.backends.workspace import Workspace

GEOMETRY = ConvGeometry(16, 16, 24, 40, 4, 4, (2, 2), ((1, 1), (1, 1)))


def inputs(seed=0):
    """Work enough for two threads."""
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((16, *GEOMETRY.input_shape)).astype(np.float32),
        rng.standard_normal(GEOMETRY.weight_shape).astype(np.float32),
    )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_part_runs_once(size):
    seen = []
    Team(size).run(lambda part, parts, key: seen.append((part, parts, key)), "key")
    assert sorted(seen) == [(part, size, "key") for part in range(size)]


def test_fewer_parts_than_threads():
    seen = []
    Team(4).run(lambda part, parts: seen.append((part, parts)), parts=2)
    assert sorted(seen) == [(0, 2), (1, 2)]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_any_part_reaches_the_caller_and_the_team_lives_on(failing):
    team = Team(3)

    def fail(part, _parts):
        if part == failing:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {failing}"):
        team.run(fail)
    test_every_part_runs_once(3)
    seen = []
    team.run(lambda part, _parts: seen.append(part))
    assert sorted(seen) == [0, 1, 2]


def test_idle_workers_keep_no_arrays_alive():
    import gc
    import weakref

    class Token:
        pass

    team, token = Team(2), Token()
    alive = weakref.ref(token)
    team.run(lambda *_: None, token)
    team.run(lambda *_: None)  # the worker is past the first call's end
    del token
    gc.collect()
    assert alive() is None


def test_two_threads_share_a_backend():
    """A workspace is private to the calling thread, and the team takes any number of callers."""
    backend = CpuBackend(threads=2)
    jobs = {seed: inputs(seed) for seed in range(3)}
    expected = {seed: backend.conv2d(x, w, None, GEOMETRY) for seed, (x, w) in jobs.items()}
    errors = []

    def work(seed):
        x, w = jobs[seed]
        results = [backend.conv2d(x, w, None, GEOMETRY) for _ in range(30)]
        errors.extend(seed for y in results if not np.array_equal(y, expected[seed]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def _child(queue):
    x, w = inputs()
    queue.put(float(BACKEND.conv2d(x, w, None, GEOMETRY).sum()))


BACKEND = CpuBackend(threads=2)


@pytest.mark.skipif(not hasattr(multiprocessing, "get_context") or sys.platform != "linux", reason="fork is Linux's")
def test_a_forked_child_computes():
    """Where OpenMP's threads would be missing and the child would hang or die."""
    x, w = inputs()
    expected = float(BACKEND.conv2d(x, w, None, GEOMETRY).sum())
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork in a process with threads
        child = context.Process(target=_child, args=(queue,))
        child.start()
    child.join(60)
    assert child.exitcode == 0 and queue.get() == expected


def test_a_workspace_reuses_and_grows():
    workspace, dtype = Workspace(), np.dtype(np.float32)
    first = workspace.take("a", 100, dtype)
    assert first.ctypes.data % 64 == 0
    assert np.shares_memory(workspace.take("a", 50, np.dtype(np.float64)), first)
    assert not np.shares_memory(workspace.take("b", 100, dtype), first)
    assert workspace.take("a", 1000, dtype).size == 1000
    before = workspace.nbytes
    workspace.take("a", 500, dtype)
    assert workspace.nbytes == before


def test_a_training_step_allocates_no_scratch_after_the_first():
    backend = CpuBackend(threads=2)
    x, w = inputs()
    dw = np.zeros_like(w)
    sizes = []
    for _ in range(3):
        y = backend.conv2d(x, w, None, GEOMETRY)
        backend.conv2d_input_grad(y, w, GEOMETRY)
        backend.conv2d_weight_grad(x, y, GEOMETRY, add_to=dw)
        sizes.append(backend.workspace.nbytes)
    assert sizes[0] == sizes[1] == sizes[2] > 0


@kernel
def count(part, parts, done, weight):
    done[part] += weight * parts


@kernel
def fail_in(part, parts, failing, done):  # noqa: ARG001
    done[part] += 1
    if part == failing:
        raise ValueError


def test_serving_ends_with_a_ring_or_with_patience():
    mailbox = new_mailbox()
    serve(mailbox, 0)
    mailbox[mail.TURNS] = int(10 * turns_per_second())
    serve(mailbox, 1)  # the ring was before
    timer = threading.Timer(0.05, lambda: mailbox.__setitem__(mail.RINGS, 7))
    timer.start()
    serve(mailbox, 0)
    assert mailbox[mail.RINGS] == 7 and mailbox[mail.AWAKE] == 0
    timer.join()


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_compiled_kernel_does_every_part_once(size, dtype):
    """With any types, one after the other; the first call with each finds no code for them."""
    team, done = Team(size), np.zeros(size, dtype)
    for weight in (dtype(2), 3, 0.5):
        for _ in range(200):
            team.run(count, done, weight)
    assert done.tolist() == [200 * size * 5.5 if dtype is not np.int64 else 200 * size * 5 + 200 * (size // 2)] * size


def test_the_caller_does_all_that_no_worker_claims():
    team = Team(2)
    team.run(count, np.zeros(2), 1.0)  # notes the kernel's address
    done = np.zeros(4)
    assert launch(new_mailbox(), count.addresses, YIELD_ADDRESS, NO_ROOM, 4, done, 1.0) == mail.SUCCEEDED
    assert done.tolist() == [4, 4, 4, 4]


def test_a_second_caller_does_its_parts_itself():
    team, mailbox, done = Team(2), new_mailbox(), np.zeros(3)
    team.run(count, np.zeros(2), 1.0)
    mailbox[mail.BUSY] = 1
    assert launch(mailbox, count.addresses, YIELD_ADDRESS, NO_ROOM, 3, done, 1.0) == mail.SUCCEEDED
    assert done.tolist() == [3, 3, 3]
    assert mailbox[mail.BUSY] == 1 and mailbox[mail.PARTS] == 0


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("busy", [False, True])
def test_a_compiled_kernel_that_fails_in_any_part(failing, busy):
    """All parts are done nevertheless, and the team lives on."""
    team, done = Team(3), np.zeros(3)
    team.run(count, done, 0.0)
    team._mailbox[mail.BUSY] = busy
    with pytest.raises(MemoryError, match="fail_in"):
        team.run(fail_in, failing, done)
    assert done.tolist() == [1, 1, 1]
    team.run(count, done, 1.0)
    assert done.tolist() == [4, 4, 4]


def test_a_part_is_claimed_once_by_many_workers():
    """More workers than CPUs, which claim small parts against each other and fall asleep in between."""
    team, done = Team(9), np.zeros(9)
    for _ in range(3000):
        team.run(count, done, 1.0)
    assert done.tolist() == [27000] * 9


def test_many_callers_share_a_team():
    team, sums = Team(3), np.zeros((4, 3))

    def call(row):
        for _ in range(2000):
            team.run(count, row, 1.0)

    callers = [threading.Thread(target=call, args=(row,)) for row in sums]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert np.array_equal(sums, np.full((4, 3), 6000))


def test_a_worker_that_sleeps_is_woken():
    """It takes its part of a long kernel, so the caller's thread does not do both."""
    team, seen = Team(2), np.zeros((2, 1), np.int64)
    team.run(slow, 1, seen)
    for worker in team._workers:
        assert worker.is_alive()
    for _ in range(50):
        time.sleep(0.002)  # ten times as long as a worker watches
        assert team._mailbox[mail.AWAKE] == 0
        team.run(slow, 20_000_000, seen)
        if team._mailbox[mail.DONE]:
            return
    pytest.fail("no worker came")


@kernel
def slow(part, parts, turns, seen):
    for turn in range(turns):
        seen[part, 0] = seen[part, 0] * 3 + turn + parts


def test_nobody_watches_where_threads_outnumber_the_cpus(monkeypatch):
    monkeypatch.setattr(threads_module.os, "cpu_count", lambda: 2)
    crowded = Team(3)
    crowded.run(lambda _part, _parts: None)
    assert crowded._mailbox[mail.TURNS] == 0
    if threads_module.current_cpu is not None:
        monkeypatch.setattr(threads_module, "current_cpu", lambda: 0)
        monkeypatch.setattr(threads_module.os, "sched_getaffinity", lambda _: {0})
        crowded = Team(2)
        crowded.run(lambda _part, _parts: None)
        assert crowded._mailbox[mail.TURNS] == 0


def test_the_caller_does_what_no_worker_begins():
    """Parts wait for no worker that is busy elsewhere, and are still done once each."""
    team, begun, busy, seen = Team(2), threading.Event(), threading.Event(), []

    def occupy(part, _parts):
        if part == 0:
            begun.wait(10)
        else:
            begun.set()
            busy.wait(10)

    other = threading.Thread(target=team.run, args=(occupy,))
    other.start()
    assert begun.wait(10)
    team.run(lambda part, parts: seen.append((part, parts, threading.current_thread())))
    assert sorted(item[:2] for item in seen) == [(0, 2), (1, 2)]
    assert {item[2] for item in seen} == {threading.current_thread()}
    busy.set()
    other.join(10)
    assert not other.is_alive()


def test_a_team_that_is_gone_takes_its_threads_along():
    team = Team(3)
    team.run(lambda _part, _parts: None)
    workers = team._workers
    del team
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()


def test_a_program_ends_quietly_with_a_team_still_there():
    code = "from minigan.backends.cpu.threads import Team; team = Team(2); team.run(lambda part, parts: None)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
