"""Systems that start no more threads, and what works without them: with the same results."""

import _thread
import threading
import warnings

import numpy as np
import pytest

import minigan
from minigan.data import Loader
from minigan.support import progress, threads
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress, open_progress
from minigan.support.threads import can_start_threads, limit_blas, warn_fewer_threads

REFUSAL = "can't start new thread"


@pytest.fixture
def few_threads(monkeypatch):
    """Lets so many threads more start, by default none; as a container's limit does, or Python in a browser."""
    warn_fewer_threads.cache_clear()

    def refuse(*_arguments, **_keywords):
        raise RuntimeError(REFUSAL)

    def allow(count=0):
        starts, start = iter(range(count)), threading.Thread.start
        monkeypatch.setattr(
            threading.Thread, "start", lambda self: refuse() if next(starts, None) is None else start(self)
        )
        if not count:
            monkeypatch.setattr(_thread, "start_new_thread", refuse)

    yield allow
    warn_fewer_threads.cache_clear()


def test_whether_threads_can_be_started(few_threads):
    assert can_start_threads()
    few_threads()
    assert not can_start_threads()


@pytest.mark.parametrize("allowed", [0, 1, 2])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_loader_reads_in_the_callers_thread(few_threads, allowed, workers):
    data = minigan.open_dataset(np.arange(40, dtype=np.float32).reshape(20, 2) / 40)
    with Loader(data, batch_size=4, seed=3, prefetch=0) as loader:
        expected, state = [next(loader) for _ in range(12)], loader.state()
    few_threads(allowed)
    with (
        warnings.catch_warnings(record=True) as told,
        Loader(data, batch_size=4, seed=3, prefetch=4, workers=workers) as loader,
    ):
        warnings.simplefilter("always")
        found = [next(loader) for _ in range(12)]
        assert np.array_equal(found, expected)
        assert loader.state() == state
    assert [str(warning.message)[:34] for warning in told] == ["the system starts no more threads:"] * (
        allowed < min(workers, 2) or workers > allowed
    )


def test_an_error_of_the_data_is_raised_without_threads(few_threads):
    class Broken(minigan.data.Dataset):
        def read(self, _indices):
            raise minigan.errors.DataError("broken.png: cannot be read.")

    few_threads()
    with (
        pytest.warns(RuntimeWarning, match="starts no more threads"),
        Loader(Broken(name="broken", count=8, shape=(2,)), batch_size=2, seed=0) as loader,
    ):
        for _ in range(2):
            with pytest.raises(minigan.errors.DataError, match="broken"):
                next(loader)


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_team_computes_all_parts(few_threads, allowed):
    team_of = pytest.importorskip("minigan.backends.cpu.threads").Team
    few_threads(allowed)
    team, done = team_of(4), np.zeros(4, np.int64)

    def kernel(part, parts, out):
        out[part] += parts

    with pytest.warns(RuntimeWarning, match="starts no more threads"):
        team.run(kernel, done)
    team.run(kernel, done)
    assert done.tolist() == [8, 8, 8, 8]

    def broken(part, _parts):
        if part == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        team.run(broken)
    team.run(kernel, done)
    assert done.tolist() == [12, 12, 12, 12]


def test_the_cpu_backend_computes_the_same_bits(few_threads):
    pytest.importorskip("numba")
    from minigan.backends.cpu import CpuBackend

    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    expected = CpuBackend(threads=3).matmul(x, w)
    few_threads()
    with pytest.warns(RuntimeWarning, match="starts no more threads"):
        assert np.array_equal(CpuBackend(threads=3).matmul(x, w), expected)


def test_workers_run_anywhere_if_a_sandbox_forbids_to_place_them(monkeypatch):
    module = pytest.importorskip("minigan.backends.cpu.threads")

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    for forbidden in ("sched_setaffinity", "sched_getaffinity"):
        monkeypatch.setattr(module.os, forbidden, refuse, raising=False)
        monkeypatch.setattr(module, "current_cpu", lambda: 0)
        team, done = module.Team(2), np.zeros(2)
        team.run(lambda part, _parts, out=done: out.__setitem__(part, 1))
        assert done.tolist() == [1, 1]


class Terminal:
    encoding, closed = "utf-8", False

    def isatty(self):
        return True


def test_plain_lines_where_no_thread_redraws_the_bar(few_threads, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    few_threads()
    assert isinstance(open_progress(start=0, total=1, stream=Terminal()), PlainProgress)
    monkeypatch.setattr(progress, "can_start_threads", lambda: True)
    assert not isinstance(open_progress(start=0, total=1, stream=Terminal()), PlainProgress)


def test_ctrl_c_is_heard_without_a_thread_to_announce_it(few_threads):
    few_threads()
    with Interruption(pytest.fail) as interruption:
        interruption._on_signal(2, None)
        assert interruption.requested


def test_training_goes_on_without_threads(few_threads, tmp_path):
    arguments = {"steps": 3, "batch_size": 8, "width": 4, "backend": "reference", "quiet": True}
    expected = minigan.train("dcgan", out=tmp_path / "a", **arguments)
    few_threads()
    with pytest.warns(RuntimeWarning, match="starts no more threads"):
        found = minigan.train("dcgan", out=tmp_path / "b", **arguments)
    files = [(run.folder / "model.safetensors").read_bytes() for run in (expected, found)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("limit", "room", "chosen", "expected"),
    [
        (10**6, 1, {}, None),
        (10**6, 0, {}, "1"),  # an old container forbids every thread
        (20, 1, {}, "1"),
        (20, 99, {}, None),
        (20, 0, {"OPENBLAS_NUM_THREADS": "4"}, "4"),  # the user knows better
        (20, 0, {"OMP_NUM_THREADS": "4"}, None),
    ],
)
def test_openblas_starts_no_threads_where_there_is_no_room(monkeypatch, limit, room, chosen, expected):
    for name in threads.BLAS_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.sys, "modules", {})
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "_process_limit", lambda: limit)
    monkeypatch.setattr(threads, "_started_at_once", lambda count: count <= room)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", chosen.get("OPENBLAS_NUM_THREADS", ""))
    if "OPENBLAS_NUM_THREADS" not in chosen:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    limit_blas()
    assert threads.os.environ.get("OPENBLAS_NUM_THREADS") == expected


def test_so_many_threads_at_once(few_threads):
    assert threads._started_at_once(3)
    few_threads(2)
    assert not threads._started_at_once(3)
