"""Metadata, odd or damaged, are never fatal: the pixels count, and which way is up."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minigan.data import open_dataset
from minigan.errors import DataError

QUARTERS = np.zeros((8, 12, 3), np.uint8)  # red, green / blue, white
QUARTERS[:4, :6], QUARTERS[:4, 6:], QUARTERS[4:, :6], QUARTERS[4:, 6:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
PICTURE = Image.fromarray(QUARTERS)
ORIENTATION = 0x0112


def encoded(form: str, **options) -> bytes:
    file = io.BytesIO()
    exact = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    PICTURE.save(file, form, **exact, **options)
    return file.getvalue()


def read(tmp_path, content: bytes, name: str = "x"):
    (tmp_path / name).write_bytes(content)
    data = open_dataset(tmp_path)
    return data, data.pixels([0])[0]


def expect_quarters(pixels: np.ndarray) -> None:
    assert pixels.shape == QUARTERS.shape
    assert abs(pixels[2::4, 3::6].astype(int) - QUARTERS[2::4, 3::6]).max() < 8


@pytest.mark.parametrize("turn", range(11))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_once(tmp_path, form, turn):
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    upright = {
        2: QUARTERS[:, ::-1],
        3: QUARTERS[::-1, ::-1],
        4: QUARTERS[::-1],
        5: QUARTERS.transpose(1, 0, 2),
        6: np.rot90(QUARTERS, -1),
        7: np.rot90(QUARTERS, 2).transpose(1, 0, 2),
        8: np.rot90(QUARTERS),
    }.get(turn, QUARTERS)
    data, pixels = read(tmp_path, encoded(form, exif=exif))
    assert data.shape == upright.shape
    assert abs(pixels[1::2, 1::2].astype(int) - upright[1::2, 1::2]).max() < 60
    scaled = open_dataset(tmp_path, size=upright.shape[:2])
    np.testing.assert_array_equal(scaled.pixels([0])[0], pixels)
    assert scaled.notes == ()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


SEGMENTS = {
    "EXIF of nothing": (0xE1, b"Exif\0\0garbage!!"),
    "EXIF that leads nowhere": (0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "EXIF cut short": (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\0\0\0\x01"),
    "a profile": (0xE2, b"ICC_PROFILE\0\x01\x01broken"),
    "a part of a profile": (0xE2, b"ICC_PROFILE\0\x07\x02x"),
    "Photoshop": (0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff\xff\xff"),
    "several pictures": (0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    "a comment": (0xFE, b"\xff" * 60_000),
    "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_metadata_of_jpeg(tmp_path, name):
    jpeg = encoded("JPEG")
    expect_quarters(read(tmp_path, jpeg[:2] + segment(*SEGMENTS[name]) + jpeg[2:])[1])


def test_what_surrounds_a_jpeg(tmp_path):
    jpeg = encoded("JPEG")
    expect_quarters(read(tmp_path, jpeg + b"trailing" * 1000)[1])
    expect_quarters(read(tmp_path, b"\xff\xd8\xff\xff\xff" + jpeg[3:])[1])
    expect_quarters(read(tmp_path, jpeg[:2] + segment(0xFE, b"x" * 65_000) * 20 + jpeg[2:])[1])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


MUCH = zlib.compress(bytes(2**21))  # Pillow takes no more than 2^20
CHUNKS = {
    "a text that swells": chunk(b"zTXt", b"c\0\0" + MUCH),
    "many texts that swell": chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(10**6))) * 70,
    "a text of the world that swells": chunk(b"iTXt", b"k\0\1\0\0\0" + MUCH),
    "a profile that swells": chunk(b"iCCP", b"n\0\0" + MUCH),
    "a profile of nothing": chunk(b"iCCP", b"n\0\0garbage"),
    "an empty profile": chunk(b"iCCP", b"x"),
    "EXIF of nothing": chunk(b"eXIf", b"garbage"),
    "EXIF as a text": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  99\nzz"),
    "a long text": chunk(b"tEXt", b"c\0" + b"x" * 10**6),
    "a wrong checksum": struct.pack(">I", 5) + b"tEXthello\0\0\0\0",
    "chunks that are too short": chunk(b"tIME", b"x") + chunk(b"pHYs", b"x") + chunk(b"gAMA", b"x"),
    "a text without a method": chunk(b"zTXt", b"c"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_metadata_of_png(tmp_path, name):
    png = encoded("PNG")
    at = png.index(b"IDAT") - 4
    np.testing.assert_array_equal(read(tmp_path, png[:at] + CHUNKS[name] + png[at:] + b"trailing")[1], QUARTERS)


def test_xmp_may_tell_which_way_is_up(tmp_path):
    png = encoded("PNG")
    at = png.index(b"IDAT") - 4
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>6")
    assert read(tmp_path, png[:at] + xmp + png[at:])[0].shape == (12, 8, 3)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_used_and_said(tmp_path, form):
    data, pixels = read(tmp_path, encoded(form, save_all=True, append_images=[PICTURE.rotate(180)]))
    expect_quarters(pixels)
    assert data.notes == ("1 file of several frames or pages: the first is used",)


def test_a_phones_second_picture_is_not_worth_a_word(tmp_path):
    data, pixels = read(tmp_path, encoded("MPO", save_all=True, append_images=[PICTURE.rotate(180)]))
    assert pixels.shape == QUARTERS.shape
    assert data.notes == ()


def test_inks_of_a_jpeg_are_not_inverted(tmp_path):
    file = io.BytesIO()
    PICTURE.convert("CMYK").save(file, "JPEG", quality=100, subsampling=0)
    expect_quarters(read(tmp_path, file.getvalue())[1])


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "JPEG"])
def test_metadata_of_a_damaged_picture_do_not_hide_the_damage(tmp_path, form):
    content = encoded(form)
    (tmp_path / "x").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match="x: expected an image"):
        open_dataset(tmp_path).read([0])
