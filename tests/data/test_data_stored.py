"""Arrays in files: rows are read from the open file, and a file that is written to meanwhile is an error."""

import os
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.data import Loader, stored
from minigan.data.stored import StoredArray, stored_array
from minigan.errors import DataError

needs_reading_at = pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system cannot read at a place")


@pytest.fixture(params=[0, 2**26], ids=["read by rows", "read at once"])
def small(request, monkeypatch):
    """Whether files are small enough to be read at once."""
    monkeypatch.setattr(stored, "SMALL", request.param)
    return request.param > 0


def written(path: Path, shape, dtype=np.uint8, order="C"):
    """An array, which lies in the file after seven other bytes."""
    a = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    path.write_bytes(b"sevenxx" + a.tobytes(order=order))
    return a


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("shape", [(50,), (50, 2), (50, 4, 6, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_those_of_the_array(tmp_path, shape, dtype, order):
    a = written(tmp_path / "a", shape, dtype, order)
    s = stored_array(tmp_path / "a", dtype=dtype, shape=shape, offset=7, order=order)
    for rows in ([3], [49, 0, 7, 8, 9, 9, 8], range(50), [], [-1, -50]):
        rows = np.array(rows, dtype=np.int64)
        got = s[rows]
        assert type(got) is np.ndarray
        assert got.dtype == a.dtype
        np.testing.assert_array_equal(got, a[rows])
    np.testing.assert_array_equal(s[:10], a[:10])
    assert s.max() == a.max()
    with pytest.raises(IndexError):
        s[np.array([50])]


@pytest.mark.usefixtures("small")
def test_so_are_those_of_views(tmp_path):
    """As CIFAR-10's planes behind a label, and grayscale images without an axis of channels."""
    a = written(tmp_path / "a", (40, 1 + 3 * 16))
    s = stored_array(tmp_path / "a", dtype=np.uint8, shape=a.shape, offset=7)
    rows = np.array([5, 6, 7, 39, 0])
    for view in (
        lambda x: x[:, 1:].reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1),
        lambda x: x[..., None],
        lambda x: x[10:, ::2],
        lambda x: x[:, ::-1],
        lambda x: x.T[:40],
    ):
        chosen = rows[:4] if len(view(a)) < 40 else rows
        chosen = chosen[chosen < len(view(a))]
        np.testing.assert_array_equal(view(s)[chosen], view(a)[chosen])
    np.testing.assert_array_equal((s + 1)[rows], (a + 1)[rows])


@needs_reading_at
@pytest.mark.parametrize("way", ["cut", "emptied", "rewritten", "longer"])
def test_a_file_that_is_written_to_is_an_error_that_says_so(tmp_path, monkeypatch, way):
    monkeypatch.setattr(stored, "SMALL", 0)
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((64, 8, 8, 1), np.uint8))
    dataset = minigan.open_dataset(path)
    assert isinstance(dataset._images, StoredArray)
    with Loader(dataset, batch_size=4, seed=0) as loader:
        next(loader)
        if way == "cut":
            os.truncate(path, 1000)
        elif way == "emptied":
            path.write_bytes(b"")
        elif way == "rewritten":
            path.write_bytes(path.read_bytes())
        else:
            with path.open("ab") as file:
                file.write(b"more")
        os.utime(path, ns=(1, 1))  # the clock of a file system may be coarse
        with pytest.raises(DataError, match=rf"^{path}: expected the file as it was when it was opened, 4,224 bytes; "):
            for _ in range(6):
                next(loader)


def test_a_file_that_is_replaced_is_read_on(tmp_path, small):
    """As careful programs write: the open file is still the old one."""
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((64, 8, 8, 1), np.uint8))
    dataset = minigan.open_dataset(path)
    np.save(tmp_path / "b.npy", np.full((64, 8, 8, 1), 255, np.uint8))
    if os.name == "nt" and not small:
        pytest.skip("an open file cannot be replaced")
    os.replace(tmp_path / "b.npy", path)
    assert (dataset.read(np.arange(64)) == -1).all()


@pytest.mark.usefixtures("small")
def test_a_file_that_shrank_before_it_is_mapped_is_an_error(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    with pytest.raises(DataError, match="expected the file as it was when it was opened"):
        stored_array(tmp_path / "a", dtype=np.uint8, shape=(5,))
