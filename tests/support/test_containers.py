"""Limits of containers: memory, CPU time and processes, from trees of files as Linux has them."""

import os

import numpy as np
import pytest

from minigan.data.cache import PixelCache
from minigan.errors import OutOfMemoryError
from minigan.support import cpu_limit, memory_limit
from minigan.support.cgroup import allowed_cpus, allowed_memory, allowed_processes
from minigan.support.cpu_limit import Cpus, usable_cpus
from minigan.support.memory_limit import expect_room

MiB = 2**20
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = """31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:33 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids"""
OWN_V1 = "4:memory:/docker/abc\n3:pids:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n0::/"


def tree(root, files, *, own="0::/", mounts=V2):
    """A file system with these files below /sys/fs/cgroup."""
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": own, "proc/self/mountinfo": mounts, **files}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "own", "mounts", "limit"),
    [
        ({"memory.max": "536870912"}, "0::/", V2, 512 * MiB),
        ({"memory.max": "max"}, "0::/", V2, None),
        ({}, "0::/", V2, None),
        ({"memory.max": "garbage"}, "0::/", V2, None),
        ({"a/b/memory.max": "max", "a/memory.max": "1048576"}, "0::/a/b", V2, MiB),  # the outer group binds
        ({"a/b/memory.max": "1048576", "a/memory.max": "2097152"}, "0::/a/b", V2, MiB),
        ({"a/memory.max": "1048576"}, "0::/b", V2, None),  # another group's
        ({"memory.max": "1048576"}, "0::/../..", V2, MiB),  # outside of this namespace: what is mounted counts
        ({"my pod/memory.max": "1048576"}, "0::/my pod", V2, MiB),
        ({"memory.max": "1048576"}, "0::/x", V2.replace(" / /", r" /x /").replace("cgroup rw", "cgroup rw"), MiB),
        ({"memory/memory.limit_in_bytes": "1048576"}, OWN_V1, V1, MiB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, OWN_V1, V1, None),
        ({"memory/memory.limit_in_bytes": "1048576"}, OWN_V1.replace("abc", "other"), V1, MiB),
        # both versions at once: the controller is in version 1's tree
        ({"memory/memory.limit_in_bytes": "1048576", "unified/memory.max": "max"}, OWN_V1, V1, MiB),
        ({"memory.max": "1048576"}, None, None, MiB),  # no /proc: the usual places
        ({"memory/memory.limit_in_bytes": "1048576"}, None, None, MiB),
        ({"memory.max": "1048576"}, "", "broken\n1 2 - cgroup2\n - \n", MiB),
        ({"memory.max": None}, None, None, None),
    ],
)
def test_memory(tmp_path, files, own, mounts, limit):
    assert allowed_memory(tree(tmp_path, files, own=own, mounts=mounts)) == limit


def test_a_mount_with_a_space_in_its_name(tmp_path):
    mounts = V2.replace("/sys/fs/cgroup", r"/sys/fs/my\040groups")
    root = tree(tmp_path, {"../my groups/memory.max": "1048576"}, mounts=mounts)
    assert allowed_memory(root) == MiB


def test_a_file_that_cannot_be_read(tmp_path):
    root = tree(tmp_path, {})
    (root / "sys/fs/cgroup/memory.max").mkdir(parents=True)
    assert allowed_memory(root) is None


@pytest.mark.parametrize(
    ("files", "own", "mounts", "limit"),
    [
        ({"cpu.max": "150000 100000"}, "0::/", V2, 1.5),
        ({"cpu.max": "max 100000"}, "0::/", V2, None),
        ({"cpu.max": ""}, "0::/", V2, None),
        ({"cpu.max": "100 0"}, "0::/", V2, None),
        ({"a/cpu.max": "max 100000", "cpu.max": "50000 100000"}, "0::/a", V2, 0.5),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, OWN_V1, V1, 1.5),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, OWN_V1, V1, None),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "150000"}, OWN_V1, V1, None),
    ],
)
def test_cpus(tmp_path, files, own, mounts, limit):
    assert allowed_cpus(tree(tmp_path, files, own=own, mounts=mounts)) == limit


@pytest.mark.parametrize(
    ("files", "own", "mounts", "limit"),
    [
        ({"pids.max": "20"}, "0::/", V2, 20),
        ({"pids.max": "max"}, "0::/", V2, None),
        ({"pids/pids.max": "20"}, OWN_V1, V1, 20),
    ],
)
def test_processes(tmp_path, files, own, mounts, limit):
    assert allowed_processes(tree(tmp_path, files, own=own, mounts=mounts)) == limit


@pytest.mark.parametrize(
    ("cpus", "threads", "text"),
    [
        (Cpus(64, 64, None), 64, "64 of 64 CPUs"),
        (Cpus(64, 64, 1.5), 2, "2 of 64 CPUs (the container's limit is 1.5)"),
        (Cpus(64, 4, None), 4, "4 of 64 CPUs (4 allowed)"),
        (Cpus(64, 4, 0.2), 1, "1 of 64 CPUs (4 allowed, the container's limit is 0.2)"),
        (Cpus(2, 2, 8.0), 2, "2 of 2 CPUs"),
    ],
)
def test_threads_worth_starting(cpus, threads, text):
    assert (cpus.threads, str(cpus)) == (threads, text)


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


def test_a_sandbox_that_does_not_tell_its_cpus(monkeypatch):
    monkeypatch.setattr(cpu_limit.os, "sched_getaffinity", refuse, raising=False)
    assert usable_cpus().affinity == os.cpu_count()


def test_the_cpu_backend_starts_as_many_threads_as_the_container_feeds(monkeypatch):
    pytest.importorskip("numba")
    from minigan.backends.cpu import engine

    monkeypatch.setattr(engine, "usable_cpus", lambda: Cpus(64, 64, 1.5))
    config = {"NUMBA_NUM_THREADS": 64, "NUMBA_DEFAULT_NUM_THREADS": 64}
    for name, value in config.items():
        monkeypatch.setattr(engine.numba.config, name, value)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert engine.default_threads() == 2
    monkeypatch.setenv("NUMBA_NUM_THREADS", "64")  # what was asked for
    assert engine.default_threads() == 64


def test_room_in_a_container(monkeypatch):
    monkeypatch.setattr(memory_limit, "allowed_memory", lambda: 512 * MiB)
    expect_room(512 * MiB, what="this")
    with pytest.raises(
        OutOfMemoryError, match=r"this would take 0\.6 GiB, but only 0\.5 GiB are available \(the container's limit\)"
    ):
        expect_room(600 * MiB, what="this")


def test_room_where_nothing_is_known(monkeypatch):
    monkeypatch.setattr(memory_limit, "allowed_memory", lambda: None)
    monkeypatch.setattr(memory_limit, "_process", list)
    monkeypatch.setattr(memory_limit.os, "sysconf", refuse, raising=False)
    expect_room(2**62, what="this")


def test_the_limit_of_a_process(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (MiB, 2 * MiB) if kind == resource.RLIMIT_AS else (-1, -1))
    with pytest.raises(OutOfMemoryError, match=r"only 0\.0 GiB are available \(this process's limit\)"):
        expect_room(2 * MiB, what="this")
    monkeypatch.setattr(resource, "getrlimit", refuse)
    expect_room(2 * MiB, what="this")


def test_decoded_images_leave_room_for_training(monkeypatch):
    def decode(rows):
        return np.stack([np.full((4, 4, 1), row, np.uint8) for row in rows])

    decoded, rows = [], np.arange(8)
    for allowed in (8 * 16 * 4, 8 * 16 * 4 - 1):
        monkeypatch.setattr(memory_limit, "allowed_memory", lambda allowed=allowed: allowed)
        cache, count = PixelCache(count=8, shape=(4, 4, 1), limit=MiB), []
        for _ in range(2):
            images = cache.fetch(rows, decode=lambda missing, count=count: count.append(1) or decode(missing))
            assert np.array_equal(images[:, 0, 0, 0], rows)
        decoded.append(len(count))
    assert decoded == [1, 2]


def test_no_addresses_for_the_cache(monkeypatch):
    """`ulimit -v` counts memory that is never touched."""
    real = np.empty
    monkeypatch.setattr(np, "empty", lambda shape, **dtype: refuse_memory() if shape[0] else real(shape, **dtype))

    def refuse_memory():
        raise MemoryError

    cache = PixelCache(count=8, shape=(4, 4, 1), limit=MiB)
    assert cache.fetch(np.arange(2), decode=lambda rows: np.ones((len(rows), 4, 4, 1), np.uint8)).sum() == 32
