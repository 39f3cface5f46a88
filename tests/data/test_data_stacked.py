"""Stacked images: three grayscale ones as the channels of one, and a run on them that is resumed."""

import gzip
import struct

import numpy as np
import pytest

from minigan.cli.command_line import main
from minigan.data import open_dataset
from minigan.errors import ConfigError, DataError
from minigan.runs.config import lasting_source
from minigan.runs.folders import new_folder


def test_channels_and_labels_are_those_of_the_members():
    stacked = open_dataset("stacked:digits", seed=4)
    digits = open_dataset("digits", seed=4)
    assert len(stacked) == 128_000
    assert stacked.shape == (28, 28, 3)
    assert stacked.describe() == "stacked digits: 128,000 color images 28x28, 1000 classes"
    rows = [0, 7, 127_999, 7]
    images = stacked.read(rows)
    assert images.flags.c_contiguous
    assert images.dtype == np.float32
    for channel in range(3):
        np.testing.assert_array_equal(images[..., channel], digits.read(stacked.members[rows, channel])[..., 0])
    a, b, c = digits.labels[stacked.members].T
    np.testing.assert_array_equal(stacked.labels, 100 * a + 10 * b + c)
    assert stacked.classes[42] == "042"
    counts = np.bincount(stacked.labels, minlength=1000)
    assert 70 < counts.min() < counts.max() < 190  # 128 each, but for chance


def test_the_same_seed_gives_the_same_set_and_a_longer_one_begins_with_it():
    one, again, more, other = (
        open_dataset("stacked:digits", seed=seed, count=count) for seed, count in ((1, 50), (1, 50), (1, 99), (2, 50))
    )
    np.testing.assert_array_equal(one.read(range(50)), again.read(range(50)))
    np.testing.assert_array_equal(one.members, more.members[:50])
    assert (one.members != other.members).any()
    assert open_dataset("stacked:digits", size=14, count=3).shape == (14, 14, 3)


def idx_folder(path):
    path.mkdir()
    pixels, labels = np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8), np.arange(5, dtype=np.uint8)
    images = b"\0\0\x08\x03" + struct.pack(">3I", 5, 8, 8) + pixels.tobytes()
    (path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 5) + labels.tobytes())


def test_a_path_is_stacked_and_lasts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    idx_folder(tmp_path / "few")
    stacked = open_dataset("stacked:few", count=20)
    assert stacked.shape == (8, 8, 3)
    np.testing.assert_array_equal(stacked.labels, stacked.members @ [100, 10, 1])
    assert lasting_source("stacked:few") == f"stacked:{tmp_path / 'few'}"
    assert lasting_source("stacked:digits") == "stacked:digits"
    assert new_folder("dcgan", "stacked:few").name == "dcgan-stacked-few-1"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("stacked:shapes", "expected grayscale images to stack, found shapes: 10,000 color images 64x64"),
        ("stacked:ring", "expected grayscale images to stack, found ring: 100,000 2-D points"),
        ("stacked:digitz", "Did you mean 'digits'"),
        ("stacked:gray.npy", "gray.npy: expected labels from 0 to 9 to stack, found no labels"),
        ("stacked:many.npz", "many.npz: expected labels from 0 to 9 to stack, found labels from 0 to 11"),
    ],
)
def test_what_cannot_be_stacked(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("gray.npy", np.zeros((4, 8, 8), np.uint8))
    np.savez("many.npz", images=np.zeros((12, 8, 8), np.uint8), labels=np.arange(12))
    with pytest.raises(DataError, match=message):
        open_dataset(source)


def test_nothing_is_stacked_twice():
    with pytest.raises(ConfigError, match=r"stacked:stacked:: stacked images have colors and cannot be stacked again"):
        open_dataset("stacked:stacked:digits")


def test_they_are_color_images():
    with pytest.raises(ConfigError, match="stacked images have 3 channels, got channels=1"):
        open_dataset("stacked:digits", channels=1)


def test_a_run_is_resumed_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    idx_folder(tmp_path / "few")
    quick = ["--data", "stacked:few", "--backend", "reference", "--set", "width=2", "batch_size=4", "size=8"]
    assert main(["train", "--steps", "4", "--out", "whole", *quick]) == 0
    assert main(["train", "--steps", "2", "--out", "parts", *quick]) == 0
    monkeypatch.chdir("/")
    assert main(["train", "--resume", str(tmp_path / "parts"), "--steps", "4"]) == 0
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
