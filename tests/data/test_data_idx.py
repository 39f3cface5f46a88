"""IDX files, raw and gzipped, whole and broken."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan.data import open_dataset
from minigan.data.idx import TYPES, read_idx
from minigan.errors import DataError

CODES = {np.dtype(name): code for code, name in TYPES.items()}


def idx_bytes(array: np.ndarray) -> bytes:
    dtype = array.dtype.newbyteorder(">") if array.dtype.itemsize > 1 else array.dtype
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[dtype], array.ndim, *array.shape)
    return head + array.astype(dtype).tobytes()


def images(n=6, h=5, w=4):
    return np.random.default_rng(0).integers(0, 256, (n, h, w), dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(TYPES.values())).flatmap(
        lambda name: hnp.arrays(np.dtype(name), hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
    ),
    st.booleans(),
)
def test_round_trip(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / "values"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte"])
def test_mnist_folder(tmp_path, zipped, name):
    x, labels = images(), np.array([3, 1, 4, 1, 5, 2], dtype=np.uint8)
    label_name = name.replace("images", "labels").replace("idx3", "idx1")
    for file, array in (
        (name, x),
        (label_name, labels),
        (name.replace("train", "t10k"), x[:2]),
    ):
        data = idx_bytes(array)
        (tmp_path / (file + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    data = open_dataset(tmp_path)
    assert data.shape == (5, 4, 1)
    assert data.labels.tolist() == labels.tolist()
    assert data.classes == tuple("012345")
    np.testing.assert_allclose(data.read([0, 5])[..., 0], x[[0, 5]] / 127.5 - 1, atol=1e-7)


def test_a_file_without_labels(tmp_path):
    (tmp_path / "faces").write_bytes(idx_bytes(images()))
    assert open_dataset(tmp_path / "faces").labels is None


def test_in_a_folder_the_content_counts_not_the_name(tmp_path):
    (tmp_path / "faces.data").write_bytes(idx_bytes(images()))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden").write_bytes(idx_bytes(images(n=2)))
    assert len(open_dataset(tmp_path)) == 6


def test_count_spreads_evenly(tmp_path):
    x = images(n=10)
    (tmp_path / "faces").write_bytes(idx_bytes(x))
    data = open_dataset(tmp_path / "faces", count=5)
    np.testing.assert_array_equal(data.pixels(range(5))[..., 0], x[::2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-7], r"declares \(6, 5, 4\), 120 bytes of values; found 113 bytes"),
        (lambda data: data + b"x", "found more"),
        (lambda data: data[:9], "header is cut short"),
        (lambda data: b"\0\0\x07\x03" + data[4:], "expected IDX.*found 00 00 07 03"),
        (lambda data: data[:4] + b"\xff" * 8 + data[12:], "declares"),
        (lambda data: data[:0], "found an empty file"),
        (lambda data: data[:4] + b"\0" * 12, "empty IDX"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_broken_files(tmp_path, damage, message, zipped):
    path = tmp_path / "train-images-idx3-ubyte"
    data = damage(idx_bytes(images()))
    path.write_bytes(gzip.compress(data) if zipped else data)
    for source in (path, tmp_path):
        with pytest.raises(DataError, match=message) as error:
            open_dataset(source)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_cut_gzip(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(images(n=100)))[:-500])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: the gzip data are damaged or cut short"):
        open_dataset(path)


def test_labels_of_another_set(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(images()))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(DataError, match="5 labels for 6 items"):
        open_dataset(tmp_path)


def test_labels_are_not_images(tmp_path):
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(DataError, match="expected images"):
        open_dataset(tmp_path / "train-labels-idx1-ubyte")
