"""Files that are there whole or not at all, and arrays in them."""

import builtins
import errno
import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minigan.checkpoints.format import (
    MODEL_FORMAT,
    load_arrays,
    load_checkpoint,
    load_model,
    load_network,
    network_arrays,
    save_arrays,
)
from minigan.errors import CheckpointError, OutputError, ShapeError
from minigan.nn.layers import BatchNorm, Dense
from minigan.nn.network import Sequential
from minigan.support import durable_files
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.file_locks import try_lock

MODEL = {"recipe": "dcgan", "settings": {}, "shape": [28, 28, 1], "dtype": "float32", "extent": 1.0}
CHECKPOINT = {"rng": {}, "loader": {}, "model": MODEL, "config": ""}
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([7], np.int64)}


def network(features=3, seed=0):
    layers = [Dense(features), BatchNorm(), Dense(2)]
    return Sequential(layers, name="G").build((4,), backend="reference", rng=np.random.default_rng(seed))


def test_arrays_and_description_come_back(tmp_path):
    save_arrays(tmp_path / "x", ARRAYS, description={"format": "f/1", "step": 3, "text": "π"})
    arrays, description = load_arrays(tmp_path / "x", format="f/1")
    assert description == {"format": "f/1", "step": 3, "text": "π"}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_every_truncation_is_refused(tmp_path):
    save_arrays(tmp_path / "x", ARRAYS, description={"format": "f/1"})
    content = (tmp_path / "x").read_bytes()
    for length in range(len(content)):
        (tmp_path / "x").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cannot read .*x"):
            load_arrays(tmp_path / "x", format="f/1")


def test_a_flipped_bit_of_any_byte_is_noticed(tmp_path):
    path = tmp_path / "x"
    description = {"format": "f/1", "step": 3, "text": "π"}
    save_arrays(path, ARRAYS, description=description)
    content = path.read_bytes()
    for place, bit in enumerate(np.random.default_rng(0).integers(8, size=len(content)).tolist()):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            arrays, found = load_arrays(path, format="f/1")
        except CheckpointError:
            continue
        # A digit of an escaped letter may be upper or lower case.
        assert found == description, place
        assert arrays.keys() == ARRAYS.keys(), place
        assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS), place


def test_a_flipped_number_is_told_from_a_number(tmp_path):
    save_arrays(tmp_path / "x", ARRAYS, description={"format": "f/1"})
    content = bytearray((tmp_path / "x").read_bytes())
    content[-1] ^= 1
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x is damaged: its content is not what its checksum says\. Choose"):
        load_arrays(tmp_path / "x", format="f/1")


def test_arrays_of_any_layout_come_back(tmp_path):
    arrays = {
        "none": np.zeros((0, 3)),
        "one": np.array(5.0),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "is": np.ones(2, bool),
    }
    save_arrays(tmp_path / "x", arrays, description={"format": "f/1"})
    found, _ = load_arrays(tmp_path / "x", format="f/1")
    assert all(
        np.array_equal(found[name], array) and found[name].shape == array.shape for name, array in arrays.items()
    )


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("minigan-checkpoint/3", "found 'minigan-checkpoint/3'. A newer minigan wrote it: update minigan."),
        (f"minigan-checkpoint/{'9' * 5000}", "9'. A newer minigan wrote it: update minigan."),
        ("minigan-checkpoint/0", "expected a file of format 'minigan-checkpoint/2', found 'minigan-checkpoint/0'."),
        ("minigan-model/1", "found 'minigan-model/1'."),
    ],
)
def test_a_checkpoint_of_another_version_is_refused(tmp_path, found, message):
    save_arrays(tmp_path / "x", ARRAYS, description={"format": found, "step": 1, **CHECKPOINT})
    with pytest.raises(CheckpointError, match=re.escape(message) + "$"):
        load_checkpoint(tmp_path / "x")


def test_another_format_is_refused(tmp_path):
    save_arrays(tmp_path / "x", ARRAYS, description={"format": "f/2"})
    with pytest.raises(CheckpointError, match="expected a file of format 'f/1', found 'f/2'"):
        load_arrays(tmp_path / "x", format="f/1")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "x"
    atomic_write(path, b"old")

    def full_disk(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match=r"cannot write .*x: No space left on device\. Free some space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_synced_before_and_after_the_renaming(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def replaced(old, new):
        assert old.read_bytes() == b"new"
        done.append("renamed")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    atomic_write(tmp_path / "x", b"new")
    assert done == ["file", "renamed", "folder"]
    done.clear()
    make_folder(tmp_path / "a" / "b")
    assert done == ["folder", "folder"]  # what is above each of the new ones


def test_a_folder_that_cannot_be_synced_is_written_to(tmp_path, monkeypatch):
    def refused(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refused)
    atomic_write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot write .*x"):
        make_folder(tmp_path / "x" / "y")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such thing here")
def test_a_device_or_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"pipe: expected a file, found a device or pipe\. Name a file\."):
        atomic_write(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_network_comes_back_with_its_state():
    one, two = network(seed=0), network(seed=1)
    _, tape = one.forward(np.random.default_rng(0).normal(size=(5, 4)).astype("float32"), train=True)
    one.commit_statistics(tape)
    load_network(two, network_arrays(one, "G"), "G", source="test")
    for kind in ("arena", "state"):
        np.testing.assert_array_equal(getattr(one, kind).flat, getattr(two, kind).flat)
    assert not np.array_equal(one.state.to_dict()["1.running_mean"], np.zeros(3))


def test_another_network_is_refused_and_nothing_changes():
    target = network(features=3)
    before = target.arena.flat.copy()
    with pytest.raises(ShapeError, match=r"test: 1\.running_mean has shape \(5,\), the network expects \(3,\)"):
        load_network(target, network_arrays(network(features=5), "G"), "G", source="test")
    with pytest.raises(CheckpointError, match=r"test is of another network: missing \['1\.running_mean'"):
        load_network(target, {"G.0.w": np.zeros((4, 3))}, "G", source="test")
    np.testing.assert_array_equal(target.arena.flat, before)


def test_an_interrupted_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "x"
    atomic_write(path, b"old")

    def interrupted(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_had_begun_is_removed_by_the_next_write(tmp_path):
    for name in (".x.12.tmp", f".x.{os.getpid()}.tmp", f".x.1.{os.getppid()}.tmp", ".y.12.tmp"):
        (tmp_path / name).write_bytes(b"half of it")  # whatever process has that number now
    with open(tmp_path / ".x.2.12.tmp", "wb") as file:
        assert try_lock(file.fileno())  # it is being written
        atomic_write(tmp_path / "x", b"new")
        assert {p.name for p in tmp_path.iterdir()} == {".x.2.12.tmp", ".y.12.tmp", "x"}


def test_without_locks_the_process_that_had_begun_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_files, "try_lock", lambda _: None)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    (tmp_path / f".x.{process.pid}.tmp").write_bytes(b"dead")
    (tmp_path / f".x.{os.getpid()}.tmp").write_bytes(b"of an earlier process with this number")
    (tmp_path / f".x.{os.getppid()}.tmp").write_bytes(b"alive")
    (tmp_path / f".y.{process.pid}.tmp").write_bytes(b"another file's")
    atomic_write(tmp_path / "x", b"new")
    left = {f".x.{os.getppid()}.tmp", f".y.{process.pid}.tmp", "x"}
    assert {p.name for p in tmp_path.iterdir()} == left


def test_threads_that_write_the_same_file_leave_a_whole_one(tmp_path):
    """As two evaluations that keep the same classifier."""
    contents = [bytes([n]) * 100_000 for n in range(4)]

    def write(content):
        for _ in range(20):
            atomic_write(tmp_path / "x", content)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, contents)) == [None] * 4
    assert (tmp_path / "x").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file/x", "A part of the path is a file: name a folder"),
        ("folder", "It is a folder: name a file in it"),
        ("nowhere/x", "Create the folder first"),
        ("n" * 300, "Choose a shorter name"),
        ("..", "It is a folder: name a file in it"),
    ],
)
def test_a_place_that_cannot_be_written_gets_a_fitting_remedy(tmp_path, place, message):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=message):
        atomic_write(tmp_path / place, b"")


def test_a_file_where_a_folder_should_be_made_gets_a_fitting_remedy(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="It is a file: name a folder"):
        make_folder(tmp_path / "file")


def test_a_model_that_lacks_something_is_refused(tmp_path):
    save_arrays(tmp_path / "m", ARRAYS, description={"format": MODEL_FORMAT, **MODEL})
    with pytest.raises(CheckpointError, match=r"m lacks 'step'\. It is damaged: choose another"):
        load_model(tmp_path / "m")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    save_arrays(tmp_path / "file", {"a": np.zeros(1)}, description={"format": "test/1"})
    right = builtins.open

    def forbidden(path, *arguments, **options):
        if Path(path) == tmp_path / "file":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return right(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", forbidden)
    with pytest.raises(CheckpointError, match=r"^cannot read .*file: Permission denied\. Check its permissions"):
        load_arrays(tmp_path / "file", format="test/1")
