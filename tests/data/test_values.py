"""Values of every kind: scaled, clipped or refused, for the whole set alike, and said; never trained as black."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.data import open_dataset
from minigan.data.tones import HALF_STEP
from minigan.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 8, 8, 3))
PIXELS.flat[:2] = 0, 255


def pixels_of(values: np.ndarray) -> np.ndarray:
    data = open_dataset(values)
    return np.rint((data.read(range(len(data))) + 1) * 127.5).astype(int)


def notes_of(values: np.ndarray) -> str:
    return " | ".join(open_dataset(values).notes)


# ---------------------------------------------------------------------------------------------- integers


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "u2", ">i2", ">u4"])
def test_integers_that_hold_8_bits(dtype):
    np.testing.assert_array_equal(pixels_of(PIXELS.astype(dtype)), PIXELS)
    assert notes_of(PIXELS.astype(dtype)) == "values from 0 to 255 are taken as tones from 0 (black) to 255 (white)"


@pytest.mark.parametrize(("dtype", "bits"), [("u2", 10), ("i4", 12), ("u2", 16), ("i8", 16), ("i2", 15), (">i2", 15)])
def test_integers_of_more_bits_are_scaled(dtype, bits):
    white = 2**bits - 1
    values = np.rint(PIXELS / 255 * white).astype(dtype)
    assert abs(pixels_of(values) - PIXELS).max() <= (1 if bits == 10 else 0)
    assert notes_of(values).endswith(f"from 0 (black) to {white:g} (white)")


def test_one_scale_for_all_images():
    values = np.stack([np.full((8, 8), tone, np.uint16) for tone in (200, 300, 4000)])
    assert pixels_of(values)[:, 0, 0, 0].tolist() == [12, 19, 249]
    assert open_dataset(values, count=1).pixels([0])[0, 0, 0, 0] == 12


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_masks_are_black_and_white(dtype):
    values = (PIXELS > 127).astype(dtype)
    np.testing.assert_array_equal(pixels_of(values), np.where(PIXELS > 127, 255, 0))
    assert notes_of(values) == "values from 0 to 1 are taken as tones from 0 (black) to 1 (white)"


def test_deep_transparency():
    values = np.concatenate([PIXELS, np.full((20, 8, 8, 1), 255)], axis=3).astype(np.uint16) * 257
    np.testing.assert_array_equal(pixels_of(values), PIXELS)


@pytest.mark.parametrize(
    "values",
    [PIXELS - 5, (PIXELS - 128).astype(np.int8), PIXELS * 300, np.zeros((4, 8, 8), np.int32), PIXELS.astype(complex)],
)
def test_integers_that_are_no_tones_are_refused(values):
    with pytest.raises(DataError, match=rf"expected uint8, .*found {values.dtype}"):
        open_dataset(values)


def test_dark_and_flat_images_are_told_of():
    assert notes_of((PIXELS % 10).astype(np.uint8)) == (
        "no value is above 9 where white is 255: the images are nearly black"
    )
    assert notes_of(np.full((9, 8, 8), 100, np.uint8)) == "all values are 100"
    assert notes_of(PIXELS / 255**2) == ("no value is above 0.00392157 where white is 1: the images are nearly black")
    assert "all values are 0" in notes_of(np.zeros((9, 8, 8)))
    clear = np.dstack([np.arange(192, dtype=np.uint8).reshape(8, 8, 3), np.zeros((8, 8, 1), np.uint8)])
    assert notes_of(np.stack([clear] * 3)) == "all values are 255"
    assert notes_of(np.zeros((3, 8, 8, 4), np.uint8)) == "all values are 255"
    late = np.zeros((5000, 2, 2), np.uint8)
    late[1] = 200  # not among the images that are looked at first
    assert notes_of(late) == ""


COLORS = PIXELS[0].astype(np.uint8)
NIGHT = "no value is above {} where white is 255: the images are nearly black"


@pytest.mark.parametrize(
    ("pixels", "notes"),
    [
        (np.zeros((9, 9, 3), np.uint8), ["all values are 0", NIGHT.format(0)]),
        (np.full((9, 9), 77, np.uint8), ["all values are 77"]),
        (COLORS // 16, [NIGHT.format(15)]),
        (np.dstack([COLORS, np.zeros((8, 8), np.uint8)]), ["all values are 255"]),
        (COLORS, []),
    ],
)
@pytest.mark.parametrize("count", [3, 20])
def test_dark_and_flat_pictures_are_told_of(tmp_path, pixels, notes, count):
    for number in range(count):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    seen = "" if count == 3 else " in the 16 pictures looked at"
    assert open_dataset(tmp_path).notes == tuple(note + seen for note in notes)


# ---------------------------------------------------------------------------------------------- floats


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (np.where(PIXELS == 255, np.nextafter(1, 2, dtype="f4"), PIXELS / 255).astype("f4"), "0 to 1.00000012 are"),
        (np.where(PIXELS == 0, -1e-7, PIXELS / 255), "-1e-07 to 1 are clipped to [0, 1]: rounding errors"),
        ((PIXELS / 255 * 1.001).astype("f2"), "are clipped to [0, 1]"),
        (PIXELS / 127.5 * 1.0005 - 1, "from -1 to 1.001 are clipped to [-1, 1]"),
        (PIXELS / 255, ""),
        (PIXELS / 127.5 - 1, ""),
        (np.asfortranarray(PIXELS / 255).astype(">f8"), ""),
    ],
)
def test_rounding_errors_are_clipped(values, note):
    np.testing.assert_array_equal(pixels_of(values), PIXELS)
    assert note in notes_of(values) and bool(note) == bool(notes_of(values))


def test_more_than_a_rounding_error_is_refused():
    for excess in (1.5 * HALF_STEP, 0.1):
        with pytest.raises(DataError, match=r"expected float images in \[0, 1\].* in item 7"):
            values = PIXELS / 255
            values[7, 0, 0, 0] = 1 + excess
            open_dataset(values)


def test_a_range_that_is_guessed_is_told_of():
    assert notes_of(PIXELS / 255 * 0.9 - 0.04) == (
        "the lowest value is -0.04: the images are taken to be in [-1, 1], where 0 is gray"
    )


# ---------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_single_picture_is_no_set(channels, dtype):
    with pytest.raises(DataError, match=r"looks like a single picture \(H, W, C\)"):
        open_dataset(np.ones((16, 12, channels), dtype))
    assert len(open_dataset(np.ones((1, 16, 12, 3), dtype))) == 1


def test_what_may_be_a_picture_with_its_channels_first_is_told_of():
    assert "is taken as 3 grayscale images, not as one picture" in notes_of(RNG.random((3, 16, 16)))
    assert notes_of(RNG.random((30, 16, 16))) == ""


def test_classes_without_items_are_told_of(tmp_path):
    np.savez(tmp_path / "x.npz", x=PIXELS.astype(np.uint8), y=np.arange(20) % 3 + 1)
    assert open_dataset(tmp_path / "x.npz").notes == ("no item is of class 0",)


U8 = PIXELS.astype(np.uint8)
LABELS = np.arange(20) % 3


@pytest.mark.parametrize(
    ("arrays", "note"),
    [
        ({"x_train": U8, "y_train": LABELS, "x_test": U8[:3], "y_test": LABELS[:3]}, "left out: x_test, y_test"),
        (
            {"test_images": U8[:3], "train_images": U8, "val_labels": LABELS[:2], "train_labels": LABELS[:, None]},
            "train_images and train_labels are taken; left out: test_images, val_labels",
        ),
        ({"X": U8, "Y": LABELS}, ""),
        ({"data": U8, "target": LABELS}, ""),
        ({"x_test": U8, "y_test": LABELS}, "x_test is taken; there is no training set"),
        ({"train": U8, "train_labels": LABELS, "test": U8[:3]}, "train and train_labels are taken; left out: test"),
        ({"images": U8, "labels": LABELS, "names": np.array(["a"] * 20)}, "left out: names"),
    ],
)
def test_arrays_by_their_names(tmp_path, arrays, note):
    np.savez(tmp_path / "x.npz", **arrays)
    data = open_dataset(tmp_path / "x.npz")
    np.testing.assert_array_equal(data.pixels(range(20)), U8)
    assert data.labels.tolist() == LABELS.tolist()
    assert note in " | ".join(data.notes) and bool(note) == bool(data.notes)


# ---------------------------------------------------------------------------------------------- pictures


def folder_of(tmp_path: Path, *pictures: np.ndarray, suffix: str = "tif") -> Path:
    for k, values in enumerate(pictures):
        Image.fromarray(values).save(tmp_path / f"{k}.{suffix}")
    return tmp_path


RAMP = np.arange(256).reshape(16, 16)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (RAMP.astype(np.int32), "values from 0 to 255 are taken as tones from 0 (black) to 255 (white)"),
        (
            (RAMP * 16 + 15).astype(np.uint16),
            "values from 15 to 4095 are taken as tones from 0 (black) to 4095 (white)",
        ),
        ((RAMP * 257).astype(np.uint16), "values from 0 to 65535 are taken as tones from 0 (black) to 65535 (white)"),
        ((RAMP / 255).astype(np.float32), "floats from 0 to 1 are taken as tones from 0 (black) to 1 (white)"),
        ((RAMP / 127.5 - 1).astype(np.float32), "floats from -1 to 1 are taken as tones from -1 (black) to 1 (white)"),
        ((RAMP / 254.99).astype(np.float32), "floats from 0 to 1.00004 are taken as tones from 0 (black) to 1 (white)"),
    ],
)
def test_tiffs_of_many_bits(tmp_path, values, note):
    data = open_dataset(folder_of(tmp_path, values))
    assert abs(data.pixels([0])[0, ..., 0].astype(int) - RAMP).max() <= 1
    assert data.notes == (note,)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_one_scale_for_all_pictures(tmp_path, suffix):
    folder = folder_of(tmp_path, *(np.full((4, 4), tone, np.uint16) for tone in (200, 4000)), suffix=suffix)
    Image.new("L", (4, 4), 200).save(folder / "8-bit.png")
    assert open_dataset(folder).pixels(range(3))[:, 0, 0, 0].tolist() == [12, 249, 200]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((RAMP - 5).astype(np.int32), "found values from -5 to 250"),
        ((RAMP * 300).astype(np.int32), "found values from 0 to 76500"),
        (np.zeros((8, 8), np.int32), "found values from 0 to 0"),
        ((RAMP / 2).astype(np.float32), "found 32-bit values from 0 to 127.5"),
        (np.full((8, 8), np.nan, np.float32), "found NaN or infinity"),
    ],
)
def test_tiffs_that_hold_no_tones_are_refused(tmp_path, values, message):
    with pytest.raises(DataError, match=rf"0\.tif: expected .*{message}"):
        open_dataset(folder_of(tmp_path, values))


def test_values_beyond_those_looked_at_are_refused_when_read(tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.data.image_files.MOST_DEEP", 2)
    folder = folder_of(tmp_path, *(np.full((4, 4), tone, np.uint16) for tone in (200, 4000, 200, 200)))
    data = open_dataset(folder)
    with pytest.raises(DataError, match=r"1\.tif: expected values from 0 to 255, found uint16 from 4000 to 4000"):
        data.read([0, 1])
