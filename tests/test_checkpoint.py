"""Files that are there whole or not at all, and checkpoints made of them."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from minigan.checkpoint import (
    MODEL_FORMAT,
    load_arrays,
    load_model,
    load_network,
    network_arrays,
    save_arrays,
)
from minigan.checkpoint_folder import CheckpointFolder
from minigan.errors import CheckpointError, OutputError, ShapeError
from minigan.files import atomic_write, make_folder
from minigan.layers import BatchNorm, Dense
from minigan.network import Sequential

MODEL = {"recipe": "dcgan", "settings": {}, "shape": [28, 28, 1], "dtype": "float32", "extent": 1.0}
CHECKPOINT = {"rng": {}, "loader": {}, "model": MODEL, "config": ""}
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([7], np.int64)}


def network(features=3, seed=0):
    layers = [Dense(features), BatchNorm(), Dense(2)]
    return Sequential(layers, name="G").build((4,), backend="numpy", rng=np.random.default_rng(seed))


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


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot write .*x"):
        make_folder(tmp_path / "x" / "y")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such thing here")
def test_a_device_or_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"cannot write .*pipe: it is no file but a device or pipe\. Name a file\."):
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


def test_the_last_few_checkpoints_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path / "c", keep=2)
    for step in (1, 20, 300):
        folder.save(step, ARRAYS, description=CHECKPOINT)
    assert [p.name for p in folder.paths()] == ["step-00000020.safetensors", "step-00000300.safetensors"]
    path, arrays, description = folder.load()
    assert (path.name, description["step"]) == ("step-00000300.safetensors", 300)
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])


def test_a_damaged_last_checkpoint_names_the_one_before(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(1, ARRAYS, description=CHECKPOINT)
    folder.save(2, ARRAYS, description=CHECKPOINT).write_bytes(b"torn")
    with pytest.raises(
        CheckpointError,
        match=r"cannot read .*step-00000002.*Go on from step 1 with: minigan train --resume .*step-00000001.safetensors$",
    ):
        folder.load()


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        CheckpointFolder(tmp_path).load()


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
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    (tmp_path / f".x.{process.pid}.tmp").write_bytes(b"dead")
    (tmp_path / f".x.{os.getppid()}.tmp").write_bytes(b"alive")
    (tmp_path / f".y.{process.pid}.tmp").write_bytes(b"another file's")
    atomic_write(tmp_path / "x", b"new")
    left = {f".x.{os.getppid()}.tmp", f".y.{process.pid}.tmp", "x"}
    assert {p.name for p in tmp_path.iterdir()} == left


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


def test_only_what_is_named_like_a_checkpoint_counts(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(999_999_999, ARRAYS, description=CHECKPOINT)
    last = folder.save(1_000_000_000, ARRAYS, description=CHECKPOINT)
    for name in ("step-best.safetensors", "step-00000001 (copy).safetensors", "step-.safetensors"):
        (tmp_path / name).write_bytes(b"a user's")
    (tmp_path / "step-2000000000.safetensors").mkdir()
    assert folder.paths()[-1] == last
    assert len(folder.paths()) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rng": None}, "'rng' must be an object, got None"),
        ({"step": -1}, "'step' must be a whole number from 0 up, got -1"),
        ({"step": True}, "'step' must be a whole number"),
        ({"model": {}}, "'model' lacks 'recipe'"),
        ({"model": {**MODEL, "shape": [28, 0, 1]}}, r"'shape' must be \[2\] or \[H, W, C\], got \[28, 0, 1\]"),
        ({"model": {**MODEL, "extent": float("nan")}}, "'extent' must be a positive number, got nan"),
        ({"model": {**MODEL, "dtype": "foo"}}, "'dtype' must be one of float32, float64, got 'foo'"),
    ],
)
def test_a_description_that_does_not_do_is_refused(tmp_path, change, message):
    folder = CheckpointFolder(tmp_path)
    folder.save(5, ARRAYS, description={**CHECKPOINT, **change})
    with pytest.raises(CheckpointError, match=message):
        folder.load()


def test_a_model_that_lacks_something_is_refused(tmp_path):
    save_arrays(tmp_path / "m", ARRAYS, description={"format": MODEL_FORMAT, **MODEL})
    with pytest.raises(CheckpointError, match=r"m lacks 'step'\. It is damaged: choose another"):
        load_model(tmp_path / "m")
