"""Finding a source by its name or content, pairs on disk, and imports."""

import gzip
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import minigan.data.pillow
import minigan.data.source
from minigan.data import open_dataset, open_pairs
from minigan.errors import ConfigError, DataError, MissingExtraError, MixedSizesError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "Did you mean 'digits'"),
        ("Shapes", "Did you mean 'shapes'"),
        ("no/such/path", "no/such/path: no such file.*one of digits, shapes, tinted, ring, grid"),
        ("x" * 5000, "xxx"),
    ],
)
@pytest.mark.parametrize("opener", [open_dataset, open_pairs])
def test_unknown_names(name, message, opener):
    with pytest.raises(DataError, match=message):
        opener(name)


def test_a_folder_named_like_an_embedded_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(open_dataset("digits")) == 20_000
    with pytest.raises(DataError, match="empty folder"):
        open_dataset("./digits")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"hello there", r"text\. Give the folder of the pictures"),
        (b"\xff\x00hello", "7 bytes that begin with ff 00 68"),
        (gzip.compress(b"hello there", mtime=0), "gzip data without an IDX"),
        (pickle.dumps({"data": 1}), "a pickle, which is never loaded"),
        (b"\xff\xd8\xff\xe0", "a single image. Give its folder"),
    ],
)
def test_files_of_another_kind(tmp_path, content, message):
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        open_dataset(path)
    assert str(error.value).startswith(f"{path}: expected an IDX, CIFAR-10 binary")


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_seeds_out_of_range(seed):
    with pytest.raises(ConfigError, match="seed"):
        open_dataset("digits", seed=seed)
    with pytest.raises(ConfigError, match="seed"):
        open_pairs("shapes", seed=seed)


def test_without_pillow(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), np.uint8))
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    monkeypatch.setattr(minigan.data.pillow.importlib, "import_module", missing)
    assert open_dataset(tmp_path / "x.npy").read([0]).shape == (1, 4, 4, 1)
    with pytest.raises(MissingExtraError, match=r"minigan\[images\]"):
        open_dataset(tmp_path)
    with pytest.raises(MissingExtraError, match="Pillow"):
        open_dataset(tmp_path / "x.npy", size=8).read([0])


def test_importing_takes_in_no_extras():
    code = "import sys, minigan.data as d; d.open_dataset('digits').read([0]); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"PIL", "numba", "cupy", "scipy", "matplotlib"} & set(modules)


def save_pair(path, *, width=12, height=6, left=(255, 0, 0), right=(0, 0, 255)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (width, height), left)
    image.paste(right, (width // 2, 0, width, height))
    image.save(path)


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    for k in range(3):
        save_pair(folder / f"train/{k}.png")
    save_pair(folder / "val/0.png", left=(0, 255, 0))
    return folder


RED, GREEN, BLUE = [1, -1, -1], [-1, 1, -1], [-1, -1, 1]


@pytest.mark.parametrize("size", [None, 4, (3, 5)])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pairs(pairs, tmp_path, size, kind):
    source = pairs
    if kind == "zip":
        source = tmp_path / "pairs.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in pairs.rglob("*.png"):
                archive.write(file, file.relative_to(tmp_path))
    data = open_pairs(source, size=size)
    assert len(data) == 3
    height, width = {None: (6, 6), 4: (4, 4)}.get(size, (3, 5))
    assert data.a_shape == data.b_shape == (height, width, 3)
    a, b = data.read([0, 2])
    assert a.shape == b.shape == (2, height, width, 3)
    assert a.flags.c_contiguous
    assert b.flags.c_contiguous
    np.testing.assert_array_equal(a, np.broadcast_to(RED, a.shape))  # nothing of B bleeds into A
    np.testing.assert_array_equal(b, np.broadcast_to(BLUE, b.shape))


def test_split_and_direction(pairs):
    a, b = open_pairs(pairs, split="val", direction="BtoA").read([0])
    assert a[0, 0, 0].tolist() == BLUE
    assert b[0, 0, 0].tolist() == GREEN
    assert len(open_pairs(pairs / "val")) == 1
    with pytest.raises(ConfigError, match="expected a folder named 'test', found train, val"):
        open_pairs(pairs, split="test")
    with pytest.raises(ConfigError, match="direction must be one of AtoB, BtoA"):
        open_pairs(pairs, direction="ba")


def test_gray_pairs(pairs):
    a, _ = open_pairs(pairs, channels=1).read([0])
    assert a.shape == (1, 6, 6, 1)
    assert abs(a[0, 0, 0, 0] - (76 / 127.5 - 1)) < 0.01


def test_pairs_of_odd_width(tmp_path):
    save_pair(tmp_path / "a.png", width=13)
    with pytest.raises(DataError, match=r"a\.png: expected two images .* odd width of 13"):
        open_pairs(tmp_path)
    with pytest.raises(DataError, match="odd width of 13"):
        open_pairs(tmp_path, size=4).read([0])


def test_pairs_of_different_sizes(tmp_path):
    save_pair(tmp_path / "a.png")
    save_pair(tmp_path / "b.png", width=20)
    with pytest.raises(MixedSizesError, match="differ in size"):
        open_pairs(tmp_path)
    assert open_pairs(tmp_path, size=8).read([0, 1])[0].shape == (2, 8, 8, 3)


def test_a_single_pair_that_differs_among_many(tmp_path, monkeypatch):
    for k in range(40):
        save_pair(tmp_path / f"{k:02}.png", width=20 if k == 1 else 12)
    with pytest.raises(MixedSizesError, match=r"00\.png is 6x12, 01\.png is 6x20"):
        open_pairs(tmp_path)
    monkeypatch.setattr("minigan.data.image_files.MOST_PROBED", 16)
    with pytest.raises(DataError, match=r"01\.png: expected halves of 6x6"):
        open_pairs(tmp_path).read([1])


def test_sources_without_pairs(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DataError, match="expected a folder or zip of side-by-side images"):
        open_pairs(tmp_path / "x.npy")
    with pytest.raises(ConfigError, match="digits: expected pairs, found none"):
        open_pairs("digits")
    with pytest.raises(ConfigError, match="no splits"):
        open_pairs("shapes", split="val")


def test_what_stands_in_the_place_of_pictures_is_named(tmp_path):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for name in "abc":
        (tmp_path / "folder" / f"{name}.txt").write_text("text")
    with pytest.raises(DataError, match=r"found only a\.txt, b\.txt, c\.txt and 1 more\."):
        open_dataset(tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(DataError, match=r"found only a\.txt\."):
        open_dataset(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip", "w"):
        pass
    with pytest.raises(DataError, match=r"expected image files .*, found nothing\."):
        open_dataset(tmp_path / "x.zip")


def test_empty_files_and_arrays(tmp_path):
    np.savez(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"expected an array named 'images' or 'x', or a single array; found none"):
        open_dataset(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.array(5.0))
    with pytest.raises(DataError, match=r"expected an array of items, found a single float64"):
        open_dataset(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", images=np.array(5.0))
    with pytest.raises(DataError, match=r"expected an array of items, found a single float64"):
        open_dataset(tmp_path / "x.npz")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(DataError, match="found an empty file"):
        open_dataset(tmp_path / "x.bin")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data_batch_1.bin").write_bytes(b"")
    with pytest.raises(DataError, match="found an empty file"):
        open_dataset(tmp_path / "folder")


def test_of_a_folder_that_holds_several_kinds_the_files_used_are_named(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    Image.new("L", (4, 4)).save(folder / "x.png")
    record = np.zeros((2, 3073), np.uint8)
    for n in (1, 2):
        (folder / f"data_batch_{n}.bin").write_bytes(record.tobytes())
    assert open_dataset(folder).describe().startswith("mixed/data_batch_1.bin to data_batch_2.bin: 4 color")
    header = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2])
    (folder / "train-images-idx3-ubyte").write_bytes(header + bytes(12))
    assert open_dataset(folder).describe().startswith("mixed/train-images-idx3-ubyte: 3 grayscale images 2x2")


def test_pictures_that_look_like_pairs_are_told_of_where_they_are_cropped(tmp_path):
    for n in range(3):
        Image.new("RGB", (16, 8), (n, n, n)).save(tmp_path / f"{n}.png")
    assert "pairs" not in open_dataset(tmp_path).describe()
    assert (
        open_dataset(tmp_path, size=8)
        .describe()
        .endswith("; these look like side-by-side pairs, of which only the center is used")
    )
    Image.new("RGB", (16, 9)).save(tmp_path / "3.png")
    assert "pairs" not in open_dataset(tmp_path, size=8).describe()


@pytest.mark.parametrize("opener", [open_dataset, open_pairs])
def test_a_closed_zip_is_given_back(tmp_path, opener):
    Image.new("L", (8, 4)).save(tmp_path / "x.png")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x.png", "x.png")
    data = opener(tmp_path / "x.zip")
    archive = (data._store if opener is open_dataset else data._layout.stores[0])._archive
    assert archive.fp is not None
    data.close()
    assert archive.fp is None


def test_a_zip_that_does_not_do_is_closed(tmp_path, monkeypatch):
    Image.new("L", (8, 4)).save(tmp_path / "0.png")
    Image.new("L", (8, 5)).save(tmp_path / "1.png")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("0.png", "1.png"):
            archive.write(tmp_path / name, name)
    stores = []
    right = minigan.data.source.ZipStore.__init__
    monkeypatch.setattr(
        minigan.data.source.ZipStore, "__init__", lambda self, root: (stores.append(self), right(self, root))[1]
    )
    with pytest.raises(MixedSizesError):
        open_dataset(tmp_path / "x.zip")
    assert stores[0]._archive.fp is None
