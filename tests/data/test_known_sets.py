"""Files of well-known data sets, as they are distributed: the training set is taken, and said."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.data import open_dataset
from minigan.data.dataset import Dataset
from minigan.errors import DataError

CODES = {"u1": 0x08, "i4": 0x0C}


def put_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = values.dtype.str[1:]
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, CODES[kind], values.ndim, *values.shape)
    content = head + values.astype(f">{kind}").tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def images(count: int) -> np.ndarray:
    return np.full((count, 4, 4), 10 * count, np.uint8) + np.arange(16, dtype=np.uint8).reshape(4, 4)


def expect_training_set(data: Dataset) -> None:
    assert len(data) == 5
    assert data.read([0])[0, 0, 0, 0] == np.float32(50 / 127.5 - 1)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("stem", "held_out"), [("", "t10k"), ("emnist-letters-", "test"), ("emnist-byclass-", "test"), ("qmnist-", "test")]
)
def test_mnist_and_its_relatives(tmp_path, stem, held_out, packed):
    for split, count in (("train", 5), (held_out, 2)):
        put_idx(tmp_path / f"{stem}{split}-images-idx3-ubyte{packed}", images(count))
        labels = np.arange(count) % 3
        if stem.startswith("qmnist"):
            columns = np.stack([labels, labels + 90], axis=1).astype(np.int32)
            put_idx(tmp_path / f"{stem}{split}-labels-idx2-int{packed}", columns)
        else:
            put_idx(tmp_path / f"{stem}{split}-labels-idx1-ubyte{packed}", labels.astype(np.uint8))
    data = open_dataset(tmp_path)
    expect_training_set(data)
    assert data.labels.tolist() == [0, 1, 2, 0, 1]
    name = f"{stem}train-images-idx3-ubyte{packed}"
    assert data.notes[0] == f"{name} is taken; left out: {stem}{held_out}-images-idx3-ubyte{packed}"
    assert any("rows and columns exchanged" in note for note in data.notes) == stem.startswith("emnist")
    assert any("are the first of 2 columns" in note for note in data.notes) == stem.startswith("qmnist")
    assert open_dataset(tmp_path / name).notes == data.notes[2 if stem.startswith("emnist") else 1 :]


def test_a_file_packed_and_unpacked_is_one(tmp_path):
    for name in ("raw/train-images-idx3-ubyte", "raw/train-images-idx3-ubyte.gz"):
        put_idx(tmp_path / "MNIST" / name, images(5))
    data = open_dataset(tmp_path / "MNIST")
    expect_training_set(data)
    assert data.notes == ("raw/ in MNIST/ is taken",)


def test_a_test_set_alone_is_taken(tmp_path):
    put_idx(tmp_path / "t10k-images-idx3-ubyte", images(5))
    Image.new("RGB", (4, 4)).save(tmp_path / "preview.png")
    data = open_dataset(tmp_path)
    expect_training_set(data)
    assert data.notes == (
        "t10k-images-idx3-ubyte is taken; there is no training set",
        "pictures in the same folder are left out: 1",
    )


@pytest.mark.parametrize(
    "names", [("emnist-digits-train-images-idx3-ubyte", "emnist-letters-train-images-idx3-ubyte"), ("a", "b")]
)
def test_of_several_sets_none_is_guessed(tmp_path, names):
    for name in names:
        put_idx(tmp_path / name, images(5))
    with pytest.raises(DataError, match=rf"found 2: {names[0]}, {names[1]}\. Give one of the files"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("count", [3, 120])
def test_a_picture_named_like_idx_is_a_picture(tmp_path, count):
    for k in range(count):
        Image.new("RGB", (4, 4)).save(tmp_path / f"img_idx3-{k}.png")
    (tmp_path / "img_idx3-0.png").rename(tmp_path / "img_idx3-ubyte")  # its content tells
    assert len(open_dataset(tmp_path)) == count


# ---------------------------------------------------------------------------------------------- CIFAR and STL


def records(count: int, *labels: int) -> np.ndarray:
    found = np.random.default_rng(count).integers(256, size=(count, len(labels) + 3072), dtype=np.uint8)
    found[:, : len(labels)] = labels
    return found


def test_cifar_100(tmp_path):
    train = records(5, 3, 77)
    train.tofile(tmp_path / "train.bin")
    records(2, 1, 2).tofile(tmp_path / "test.bin")
    data = open_dataset(tmp_path)
    np.testing.assert_array_equal(data.pixels([4])[0, 2, 3], train[4, 2:].reshape(3, 32, 32)[:, 2, 3])
    assert set(data.labels) == {77} and data.classes[77] == "77"
    fine = "CIFAR-100: the labels are the 100 fine ones, not the 20 coarse ones"
    assert data.notes[1:] == ("train.bin is taken; left out: test.bin", fine)
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"name{k}" for k in range(100)))
    data = open_dataset(tmp_path / "test.bin")
    assert (len(data), data.classes[2], data.notes[1:]) == (2, "name2", (fine,))


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        ([f"data_batch_{k}.bin" for k in range(1, 6)], ()),
        (["data_batch_1.bin", "test_batch.bin"], ("1 of 5 training batches were found", "test_batch.bin")),
        (["test_batch.bin"], ("test_batch.bin is taken; there is no training set",)),
    ],
)
def test_batches_of_cifar_10(tmp_path, names, notes):
    for name in names:
        records(2, 6).tofile(tmp_path / name)
    data = open_dataset(tmp_path)
    assert len(data) == 2 * sum(name.startswith("data") or len(names) == 1 for name in names)
    found = [note for note in data.notes if "no item" not in note]
    assert len(found) == len(notes) and all(note in line for note, line in zip(notes, found, strict=True))


def test_stl_10(tmp_path):
    planes = np.random.default_rng(0).integers(256, size=(3, 3, 96, 96), dtype=np.uint8)
    for name in ("train_X.bin", "unlabeled_X.bin"):
        planes.tofile(tmp_path / name)
    np.array([1, 10, 3], np.uint8).tofile(tmp_path / "train_y.bin")
    data = open_dataset(tmp_path)
    np.testing.assert_array_equal(data.pixels([2])[0], planes[2].transpose(2, 1, 0))  # a plane is stored by columns
    assert (data.labels.tolist(), data.classes[9]) == ([0, 9, 2], "truck")
    assert data.notes[-1] == "train_X.bin is taken; left out: unlabeled_X.bin"
    assert open_dataset(tmp_path / "unlabeled_X.bin").labels is None
    np.array([1, 11, 3], np.uint8).tofile(tmp_path / "train_y.bin")
    with pytest.raises(DataError, match=r"train_y\.bin: expected 3 labels from 1 to 10"):
        open_dataset(tmp_path)


def test_other_binary_files_are_not_called_damaged(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"no whole records of CIFAR-10 \(3,073 bytes\), CIFAR-100") as error:
        open_dataset(tmp_path / "x.bin")
    assert "again" not in str(error.value)
