"""Files that claim what they do not hold, and kinds that are no data: each refused in words, and without the memory."""

import os
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fuzzing.formats import Member, npy_bytes, zip_bytes, zip_member
from benchmarks.fuzzing.samples import BOMB, bomb, idx_bytes, npy_of, pixels, png_bytes
from minigan.data import open_dataset, open_pairs
from minigan.data.archive import open_archive, open_member, read_at_most
from minigan.errors import ConfigError, DataError
from minigan.runs.config import lasting_source

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def little_memory():
    """Checks that the test takes less than 32 MiB at its peak."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25


def refused(path, message):
    with pytest.raises(DataError, match=message) as error:
        open_dataset(path).read([0])
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


# ---------------------------------------------------------------------------------------- zip


def archive(tmp_path, *members):
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes(members))
    return path


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "..\\x.png", "C:\\x.png"])
def test_names_that_lead_out_of_a_zip(tmp_path, name):
    path = archive(tmp_path, zip_member("a.png", png_bytes(pixels(4, 4))), zip_member(name, b""))
    for opened in (open_dataset, open_pairs):
        with pytest.raises(DataError, match=r"x\.zip: expected names inside the archive, found"):
            opened(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("claim", [100, 2**20, BOMB * 2**20, 2**32 - 1])
@pytest.mark.parametrize("name", ["x.png", "x.npy"])
def test_a_zip_bomb_is_not_unpacked(tmp_path, name, claim):
    content = npy_of(pixels(4, 5, 4)) if name == "x.npy" else png_bytes(pixels(4, 4))
    path = archive(tmp_path, Member(name.encode(), bomb(content), 0, claim))
    refused(path, r"x\.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flags": 1}, "found an encrypted one. Pack it without a password."),
        ({"method": 12}, "expected a deflated or stored file, found method 12"),
        ({"method": 99}, "expected a deflated or stored file, found method 99"),
        ({"version": 255}, "zip file version 25.5"),
        ({"crc": 1}, "cannot be unpacked"),
        ({"size": 5}, "claims 5 bytes, packed in"),
        ({"size": 2**31}, "claims 2,147,483,648 bytes, packed in"),
        ({"packed": b"\xff" * 50}, "cannot be unpacked"),
    ],
)
@pytest.mark.parametrize("name", ["x.png", "x.npy"])
def test_zip_members_of_no_use(tmp_path, name, change, message):
    member = zip_member(name, npy_of(np.random.default_rng(0).integers(256, size=(40, 50, 4), dtype=np.uint8)))
    if change.get("size") == 2**31 and name == "x.png":
        message = "expected an image, found 2,147,483,648 bytes"
    refused(archive(tmp_path, replace(member, **change)), message)


def test_a_name_that_differs_in_the_two_headers(tmp_path):
    path = archive(tmp_path, zip_member("xyz.png", png_bytes(pixels(4, 4))))
    path.write_bytes(path.read_bytes().replace(b"xyz.png", b"\xff\xff\xff.png", 1))
    refused(path, "cannot be unpacked")


def test_large_members_come_in_pieces(tmp_path):
    content = np.random.default_rng(0).bytes(3 * 2**20 + 5)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as written:
        written.writestr("stored", content)
        written.writestr("deflated", content, compress_type=zipfile.ZIP_DEFLATED)
        written.writestr("empty", b"", compress_type=zipfile.ZIP_DEFLATED)
    with open_archive(tmp_path / "x.zip") as read:
        for info, expected in zip(read.infolist(), (content, content, b""), strict=True):
            with open_member(read, info, where="x") as file:
                assert read_at_most(file, info.file_size, where="x") == expected


# ---------------------------------------------------------------------------------------- arrays


def header(shape="(4, 5, 4)", dtype="'|u1'"):
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (header("(1000000000000, 2)"), "declares uint8"),
        (header("(1000000000000, 0)"), "empty array"),  # no bytes, and yet very many items
        (header("(1000000000000,)", "'|V0'"), "expected plain numbers, found"),
        (header("(-1, -80)"), "declares uint8"),
        (header("(True, 79)"), "declares uint8"),
        (header("(2147483648, 2147483648, 4)"), "declares uint8"),
        (header("(80,)", "[('a', '|u1')]"), "expected plain numbers, found"),
        (header("(80,)", "'|O'"), "pickled Python objects"),
        (header("(80,)", "()"), "damaged"),
        (header("(80,)", "'<M8[99999999999999s]'"), "damaged"),
        (header(f"({'9' * 5000},)"), "damaged"),
        ("(" * 300, "damaged"),
        ("'''", "damaged"),
        (header("(79,)"), "declares uint8"),  # one byte too many
    ],
)
def test_headers_of_arrays(tmp_path, text, message, packed):
    content = npy_bytes(text, bytes(80))
    (tmp_path / "x").write_bytes(zip_bytes([zip_member("x.npy", content)]) if packed else content)
    refused(tmp_path / "x", message)


def test_arrays_by_columns_and_of_other_byte_orders(tmp_path):
    x = (np.arange(60).reshape(3, 5, 4) / 60).astype(">f4")
    for n, array in enumerate((x, np.asfortranarray(x))):
        np.save(tmp_path / f"{n}.npy", array)
        np.savez(tmp_path / f"{n}.npz", array)
        for kind in ("npy", "npz"):
            read = open_dataset(tmp_path / f"{n}.{kind}").read(range(3))
            np.testing.assert_allclose(read[..., 0], 2 * x.astype("<f4") - 1, atol=1e-6)


def test_numbers_beyond_single_precision(tmp_path):
    np.save(tmp_path / "images.npy", np.full((2, 3, 3), 1e300))
    refused(tmp_path / "images.npy", "found inf in item 0")
    points = np.zeros((3, 2))
    points[1, 0] = 1e300
    np.save(tmp_path / "points.npy", points)
    refused(tmp_path / "points.npy", "expected finite numbers of single precision, found .* in item 1")


@pytest.mark.usefixtures("little_memory")
def test_labels_that_claim_too_much(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(pixels(6, 5, 4)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(pixels(6), (2**32 - 1,)))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: the IDX header declares"):
        open_dataset(tmp_path)


# ---------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PNG", "GIF"])
def test_palettes(tmp_path, kind):
    suffix = kind.lower()[:4].replace("tiff", "tif")
    gray, red = Image.fromarray(pixels(6, 8)), np.zeros((6, 8, 3), np.uint8)
    red[..., 0] = pixels(6, 8)
    for name, image, channels in (("gray", gray.convert("P"), 1), ("red", Image.fromarray(red).convert("P"), 3)):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / f"x.{suffix}", format=kind)
        data = open_dataset(tmp_path / name)
        assert data.shape == (6, 8, channels)
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(6, 8, channels)
        np.testing.assert_array_equal(data.pixels([0])[0], expected)


@pytest.mark.parametrize("kind", ["PCX", "TGA", "EPS", "ICO"])
def test_other_formats_are_not_even_tried(tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png", format=kind)
    refused(tmp_path, f"x.png: expected an image, found {'an icon' if kind == 'ICO' else 'one that cannot be read'}")


def test_a_file_too_large_for_a_picture(tmp_path):
    with open(tmp_path / "x.png", "wb") as file:
        file.truncate(2**40)  # a hole: it takes no place on the disk
    refused(tmp_path, r"x\.png: expected an image, found 1,099,511,627,776 bytes")


def test_a_side_that_no_picture_has(tmp_path):
    (tmp_path / "x.png").write_bytes(png_bytes(pixels(1, 4), (2**23, 8)))
    refused(tmp_path, r"x\.png: the image claims a side of 8,388,608 pixels")


def test_a_picture_too_large_to_be_read_as_it_is(tmp_path):
    Image.new("L", (4098, 2)).save(tmp_path / "x.png")
    refused(tmp_path, r"x\.png: expected at most 4,096 pixels a side, found 2x4098\. Give a size")
    assert open_dataset(tmp_path, size=2).read([0]).shape == (1, 2, 2, 1)
    Image.new("L", (8194, 2)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png: expected at most 4,096 pixels a side, found 2x4097"):
        open_pairs(tmp_path).read([0])


# ---------------------------------------------------------------------------------------- no files


def test_folders_inside_each_other_without_end(tmp_path):
    folder = tmp_path.joinpath(*"a" * 120)
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="expected at most 100 folders inside each other, found more"):
        open_dataset(tmp_path)


def test_nothing_is_stacked_twice():
    with pytest.raises(ConfigError, match="cannot be stacked again"):
        open_dataset("stacked:" * 3000 + "digits")
    assert lasting_source("stacked:" * 3000 + "digits") == "stacked:" * 3000 + "digits"


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path):
    path = archive(tmp_path, zip_member("\x1b[2J\n\u2028é.png", b""))
    refused(path, r"x\.zip/\\x1b\[2J\\n\\u2028é\.png: expected an image")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such thing here")
def test_a_pipe_or_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        for opened in (open_dataset, open_pairs):
            with pytest.raises(DataError, match="expected a file or folder, found a device or pipe"):
                opened(path)
