"""NumPy files and CIFAR-10 binary."""

import zipfile

import numpy as np
import pytest

from minigan.data import open_dataset
from minigan.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def save(path, array):
    np.save(path, array)
    return path


def test_uint8_images(tmp_path):
    data = open_dataset(save(tmp_path / "x.npy", PIXELS))
    assert data.describe() == "x.npy: 5 color images 6x4"
    np.testing.assert_allclose(data.read([4, 0]), PIXELS[[4, 0]] / 127.5 - 1, atol=1e-7)
    assert data.read([0]).flags.c_contiguous


def test_kind_is_found_from_content(tmp_path):
    save(tmp_path / "x.npy", PIXELS[..., 0])
    path = (tmp_path / "x.npy").rename(tmp_path / "x.jpg")
    assert open_dataset(path).shape == (6, 4, 1)


def test_float_ranges(tmp_path):
    unit = RNG.random((5, 6, 4)).astype(np.float64)
    unit[0, 0, 0] = 1
    both = open_dataset(save(tmp_path / "unit.npy", unit)).read(range(5))
    np.testing.assert_allclose(both[..., 0], 2 * unit - 1, atol=1e-6)
    assert both.dtype == np.float32
    signed = open_dataset(save(tmp_path / "signed.npy", 2 * unit - 1)).read(range(5))
    np.testing.assert_allclose(signed, both, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "found nan in item 3"), (200, "found 200 in item 3.*uint8"), (-3, "found -3 in item 3"), (np.inf, "inf")],
)
def test_floats_out_of_range(tmp_path, value, message):
    x = RNG.random((5, 6, 4, 1)).astype(np.float32)
    x[3, 2, 1] = value
    with pytest.raises(DataError, match=message):
        open_dataset(save(tmp_path / "x.npy", x))


def test_a_single_negative_value_among_many_decides(tmp_path):
    x = RNG.random((3000, 2, 2, 1)).astype(np.float32)
    x[1] = -0.5
    data = open_dataset(save(tmp_path / "x.npy", x), cache_bytes=0)
    np.testing.assert_array_equal(data.read([0, 1]), x[:2])


def test_floats_beyond_the_sample_are_checked_when_read(tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.data.arrays.SCANNED", 0)
    monkeypatch.setattr("minigan.data.arrays.SAMPLE", 1024)
    x = RNG.random((3000, 2, 2, 1)).astype(np.float32)
    x[1] = -0.5
    data = open_dataset(save(tmp_path / "x.npy", x))
    assert data.read([0, 2999]).shape == (2, 2, 2, 1)
    with pytest.raises(DataError, match=r"found -0.5 in item 1"):
        data.read([0, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_and_channels(tmp_path, dtype):
    x = PIXELS if dtype == np.uint8 else PIXELS.astype(np.float32) / 255
    path = save(tmp_path / "x.npy", x)
    data = open_dataset(path, size=(8, 10), channels=1)
    out = data.read(range(5))
    assert out.shape == (5, 8, 10, 1)
    assert out.min() >= -1
    assert out.max() <= 1
    np.testing.assert_array_equal(out[[2]], data.read([2]))
    gray = open_dataset(path, channels=1).read([0])[0, ..., 0]
    np.testing.assert_allclose(gray, PIXELS[0] @ [0.299, 0.587, 0.114] / 127.5 - 1, atol=0.005)


def test_a_flat_image_stays_flat_when_resized(tmp_path):
    data = open_dataset(save(tmp_path / "x.npy", np.full((2, 9, 7), 77, np.uint8)), size=13)
    assert set(data.pixels([0, 1]).ravel()) == {77}


def test_rgba_is_laid_over_white(tmp_path):
    x = np.zeros((1, 2, 2, 4), np.uint8)
    x[0, 0, 0] = 10, 20, 30, 255
    data = open_dataset(save(tmp_path / "x.npy", x))
    assert data.pixels([0])[0, 0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_points(tmp_path):
    x = RNG.standard_normal((9, 2)) * 5
    data = open_dataset(save(tmp_path / "x.npy", x))
    assert data.shape == (2,)
    np.testing.assert_allclose(data.read([8, 1]), x[[8, 1]], rtol=1e-6)
    with pytest.raises(ConfigError, match="points"):
        open_dataset(tmp_path / "x.npy", channels=1)
    x[4] = np.nan
    with pytest.raises(DataError, match="item 4"):
        open_dataset(save(tmp_path / "y.npy", x))


@pytest.mark.parametrize("key", ["images", "x", "whatever"])
def test_npz(tmp_path, key):
    np.savez(tmp_path / "d.npz", **{key: PIXELS, "labels": np.arange(5)})
    data = open_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.pixels(range(5)), PIXELS)
    assert data.labels.tolist() == [0, 1, 2, 3, 4]


def test_npz_compressed_without_labels(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", PIXELS)
    assert open_dataset(tmp_path / "d.npz", count=2).labels is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": PIXELS, "b": PIXELS}, "expected an array named 'images' or 'x', or a single array; found a, b"),
        ({"x": PIXELS, "labels": np.arange(4)}, "4 labels for 5 items"),
        ({"x": PIXELS, "labels": np.ones((5, 2))}, r"one integer per item, .* such as y\.argmax\(axis=1\), or leave"),
        ({"x": PIXELS, "labels": np.ones(5)}, "Save the labels as integers, or leave them out"),
        ({"x": np.array([{}, []], dtype=object)}, "pickled Python objects"),
    ],
)
def test_npz_of_no_use(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "d.npz")


def test_npz_that_declares_too_much(tmp_path):
    header = str({"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}).ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(DataError, match=r"array 'x'.*declares"):
        open_dataset(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 784), np.uint8), r"Reshape it with x\.reshape\(-1, 28, 28\)\."),
        (np.zeros((5, 3072), np.uint8), r"found uint8 \(5, 3072\)\. Reshape the array\."),
        (np.zeros((32, 32, 3, 50), np.uint8), r"looks like \(H, W, C, N\)\. Transpose it with np\.transpose"),
        (np.zeros((5, 3, 8, 8), np.uint8), "np.transpose"),
        (np.zeros((5, 8, 8, 2), np.uint8), "C 1 or 3"),
        (np.zeros((5, 8, 8), np.int32), "found int32"),
        (np.zeros((0, 8, 8), np.uint8), "empty array"),
        (np.array(["a", {}], dtype=object), "pickled Python objects"),
    ],
)
def test_arrays_of_no_use(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message) as error:
        open_dataset(tmp_path / "x.npy")
    assert str(tmp_path / "x.npy") in str(error.value)


def test_npy_cut_short(tmp_path):
    path = save(tmp_path / "x.npy", PIXELS)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"x\.npy: .*damaged or cut short"):
        open_dataset(path)


def cifar_records(n, *, seed=0):
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (n, 3073), dtype=np.uint8)
    records[:, 0] = rng.integers(0, 10, n)
    return records


def test_cifar_file(tmp_path):
    records = cifar_records(7)
    (tmp_path / "any_name").write_bytes(records.tobytes())
    data = open_dataset(tmp_path / "any_name")
    assert data.shape == (32, 32, 3)
    assert data.labels.tolist() == records[:, 0].tolist()
    assert data.classes[:2] == ("airplane", "automobile")
    expected = records[3, 1:].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(data.pixels([3])[0], expected)
    assert data.read([3, 1]).flags.c_contiguous


def test_cifar_folder(tmp_path):
    parts = [cifar_records(3, seed=k) for k in range(2)]
    for k, part in enumerate(parts):
        (tmp_path / f"data_batch_{k + 1}.bin").write_bytes(part.tobytes())
    (tmp_path / "test_batch.bin").write_bytes(cifar_records(3, seed=9).tobytes())
    data = open_dataset(tmp_path)
    assert data.labels.tolist() == np.concatenate(parts)[:, 0].tolist()
    np.testing.assert_array_equal(data.pixels([4])[0, 5, 6], parts[1][1, 1:].reshape(3, 32, 32)[:, 5, 6])


def test_a_cifar_file_that_begins_like_idx(tmp_path):
    records = cifar_records(2)
    records[0, :4] = 0, 0, 8, 3
    (tmp_path / "batch").write_bytes(records.tobytes())
    assert open_dataset(tmp_path / "batch").shape == (32, 32, 3)


def test_broken_cifar(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(cifar_records(3).tobytes()[:-5])
    for source in (path, tmp_path):
        with pytest.raises(DataError, match=r"data_batch_1\.bin: expected CIFAR-10 records of 3,073 bytes"):
            open_dataset(source)
    records = cifar_records(3)
    records[2, 0] = 77
    path.write_bytes(records.tobytes())
    with pytest.raises(DataError, match="found 77 in record 2"):
        open_dataset(tmp_path)
