"""Pairs as people have them: side by side, in two folders, in folders of many names; and what is no pair."""

import re
import shutil
import zipfile

import numpy as np
import pytest

from minigan.data import open_pairs
from minigan.data.pair_names import find_sides, match_names
from minigan.errors import ConfigError, DataError
from minigan.recipes import Pix2Pix

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def photo(height=16, width=16):
    """A smooth picture with a little noise: no seam, many values."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([128 + 90 * np.sin(x / 9 + c) * np.cos(y / 7) for c in range(3)], axis=2)
    return np.clip(waves + RNG.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


def save(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo() if pixels is None else pixels).save(path, **options)


def shade(value, height=16, width=16):
    """A picture of one color, which tells the files apart."""
    return np.full((height, width, 3), (value, 255 - value, 90), np.uint8)


def two_folders(root, a, b, *, shades=(10, 20, 30)):
    """Files named by `a` and `b` with numbers in place of {}: of a pair, B is 100 brighter."""
    for number, value in enumerate(shades):
        save(root / a.format(number), shade(value))
        save(root / b.format(number), shade(value + 100))


def values(data):
    """The red of each pair's two pictures."""
    return [np.rint((x[:, 0, 0, 0] + 1) * 127.5).astype(int).tolist() for x in data.read(range(len(data)))]


LAYOUTS = [
    ("A/train/{}.png", "B/train/{}.png"),
    ("A/{}.png", "B/{}.jpg"),
    ("train/A/{}.png", "train/B/{}.png"),
    ("train/{}.png", "trainannot/{}.png"),
    ("train/{}.png", "train_labels/{}_L.png"),
    ("trainA/{}_A.png", "trainB/{}_B.png"),
    ("photos/{}.jpg", "maps/{}.png"),
    ("train/images/x/{}.png", "train/masks/x/{}.png"),
    ("images/training/{}.png", "annotations/training/{}.png"),
    (
        "leftImg8bit/train/ulm/ulm_{}_000019_leftImg8bit.png",
        "gtFine/train/ulm/ulm_{}_000019_gtFine_labelIds.png",
    ),
    ("JPEGImages/2007_{}.jpg", "SegmentationClass/2007_{}.png"),
    ("{}_sat.png", "{}_mask.png"),
    ("some/where/input/{}.png", "some/where/target/{}.png"),
    ("{}.jpg", "{}.png"),
    ("{}.jpg", "{}_L.png"),
    ("A/{}.png", "B/000{}.png"),
    ("train/GOPR1/blur/{}.png", "train/GOPR1/sharp/{}.png"),
    ("ours485/low/{}.png", "ours485/high/{}.png"),
]


@pytest.mark.parametrize(("a", "b"), LAYOUTS)
def test_two_sides_in_one_folder(tmp_path, a, b):
    two_folders(tmp_path, a, b)
    data = open_pairs(tmp_path)
    left, right = values(data)
    np.testing.assert_allclose(left, [10, 20, 30], atol=3)  # JPEG is not exact
    np.testing.assert_allclose(right, [110, 120, 130], atol=3)
    assert re.match(r"3 pairs by name(, without (\S+( and \S+)?|zeros before numbers))?: A is ", data.notes[0])
    swapped = open_pairs(tmp_path, direction="BtoA")
    assert values(swapped) == [right, left]


def test_two_folders_of_any_names(tmp_path):
    two_folders(tmp_path, "foo/deep/{}.png", "bar/deep/{}.png")
    data = open_pairs(tmp_path / "foo", targets=tmp_path / "bar")
    assert values(data) == [[10, 20, 30], [110, 120, 130]]
    assert data.notes == ("3 pairs by name: A is deep/0.png, B is deep/0.png, and so on",)
    inside = open_pairs(tmp_path, targets=tmp_path / "bar")  # those below the targets are no sources
    assert values(inside) == values(data)


def test_two_zips(tmp_path):
    two_folders(tmp_path, "foo/{}.png", "bar/{}.png")
    for name in ("foo", "bar"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in (tmp_path / name).iterdir():
                archive.write(file, f"{name}/{file.name}")
    zips = open_pairs(tmp_path / "foo.zip", targets=tmp_path / "bar.zip")
    assert values(zips) == [[10, 20, 30], [110, 120, 130]]
    mixed = open_pairs(tmp_path / "foo.zip", targets=tmp_path / "bar")
    assert values(mixed) == values(zips)
    for data in (zips, mixed):
        archive = data._layout.stores[0]._archive
        data.close()
        assert archive.fp is None


@pytest.mark.parametrize(
    ("a", "b", "without"),
    [
        ("{}.png", "{}_L.png", ", without _L"),
        ("img_{}.png", "mask_{}.png", ", without img_ and mask_"),
        ("{}.png", "{}.jpg.png", ", without .jpg"),
        ("IM_{}.PNG", "im_{}.png", ""),
        ("some/{}{}.png", "{}{}.png", ""),
    ],
)
def test_how_names_may_differ(tmp_path, a, b, without):
    for number, value in enumerate((10, 20)):
        save(tmp_path / "a" / a.format(number, number), shade(value))
        save(tmp_path / "b" / b.format(number, number), shade(value + 100))
    data = open_pairs(tmp_path / "a", targets=tmp_path / "b")
    assert values(data) == [[10, 20], [110, 120]]
    assert data.notes[0].startswith(f"2 pairs by name{without}: ")


def test_numbers_that_agree_by_chance_are_no_pairs():
    horses = [f"n0238_{number}.jpg" for number in range(10, 20)]
    zebras = [f"n0239_{number}.jpg" for number in range(15, 25)]
    assert match_names(horses, zebras, beginnings=True) is None
    assert len(match_names(horses, [name.replace("8_", "9_") for name in horses], beginnings=True).rows) == 10


@pytest.mark.parametrize(
    "names",
    [
        ["cat_1.png", "cat_2.png", "dog_1.png", "dog_2.png"],  # numbers are no sides
        ["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"],
        ["1.jpg", "2.jpg", "3.png", "4.png"],
        ["1_x.jpg", "2_x.jpg", "1_y.png", "2_y.png", "3_z.png"],
    ],
)
def test_ends_that_are_no_sides(names):
    assert find_sides(names, root="") is None


def test_what_has_no_partner_is_left_out_and_told(tmp_path):
    two_folders(tmp_path, "photos/{}.png", "maps/{}.png")
    for name in ("x", "y"):
        save(tmp_path / f"photos/{name}.png")
    save(tmp_path / "maps/z.png")
    data = open_pairs(tmp_path / "photos", targets=tmp_path / "maps")
    assert len(data) == 3
    assert data.notes[1:] == (
        "2 of photos have no partner and are left out: x.png, y.png",
        "1 of maps has no partner and is left out: z.png",
    )


def test_names_that_do_not_agree(tmp_path):
    two_folders(tmp_path, "photos/{}.png", "maps/m{}.png")
    with pytest.raises(DataError, match=r"photos and .*maps: expected .* found for example 0\.png and m0\.png"):
        open_pairs(tmp_path / "photos", targets=tmp_path / "maps")
    with pytest.raises(DataError, match=r"found for example photos/0\.png and maps/m0\.png"):
        open_pairs(tmp_path)
    with pytest.raises(DataError, match="expected the targets in another folder, found the same"):
        open_pairs(tmp_path / "photos", targets=tmp_path / "photos")
    save(tmp_path / "photos/m0.png")
    save(tmp_path / "photos/m0.jpg")
    with pytest.raises(DataError, match=r"m0\.jpg and m0\.png could both belong to the same pair"):
        open_pairs(tmp_path / "photos", targets=tmp_path / "maps")
    with pytest.raises(DataError, match=r"labels and masks. Name the two"):
        save(tmp_path / "three/images/0.png")
        save(tmp_path / "three/masks/0.png")
        save(tmp_path / "three/labels/0.png")
        open_pairs(tmp_path / "three")
    with pytest.raises(ConfigError, match="an embedded dataset has no other targets"):
        open_pairs("shapes", targets=tmp_path)


def test_splits_of_two_folders(tmp_path):
    for split, shades in (("train", (10, 20)), ("validation", (30,)), ("test", (40,))):
        two_folders(tmp_path, f"A/{split}/{{}}.png", f"B/{split}/{{}}.png", shades=shades)
    data = open_pairs(tmp_path)
    assert values(data)[0] == [10, 20]
    assert "the split train is taken, 2 of 4 pairs" in data.notes
    assert values(open_pairs(tmp_path, split="val"))[0] == [30]
    assert values(open_pairs(tmp_path, split="test"))[1] == [140]
    held_out = Pix2Pix(targets=str(tmp_path / "B")).open_split(str(tmp_path / "A"), (16, 16, 3), split=None, seed=0)
    assert values(held_out) == [[30], [130]]
    for split in ("train", "validation"):
        shutil.rmtree(tmp_path / f"A/{split}")
    assert "the pairs of test are taken; there is no training set" in open_pairs(tmp_path).notes
    flat = open_pairs(tmp_path / "A/test", targets=tmp_path / "B/test", split="train")
    assert values(flat) == [[40], [140]]  # without splits, all is to train on


def test_training_says_which_pairs_its_pictures_show(tmp_path):
    two_folders(tmp_path, "A/train/{}.png", "B/train/{}.png")
    (line,) = [line for line in Pix2Pix(size=16).open_data(str(tmp_path), seed=0).notes if "held out" in line]
    assert line.startswith("no pairs are held out: pictures show those of the training")
    two_folders(tmp_path, "A/test/{}.png", "B/test/{}.png")
    assert not [line for line in Pix2Pix(size=16).open_data(str(tmp_path), seed=0).notes if "held out" in line]


def test_unpaired_folders_are_refused_or_doubted(tmp_path):
    for side, start in (("A", 10), ("B", 30)):
        for number in range(start, start + 3):
            save(tmp_path / f"odd/train{side}/{number}.png")
            save(tmp_path / f"same/train{side}/{number - start}.png")
    with pytest.raises(DataError, match=r"found the unpaired folders of trainA/10\.png \(3 .* 0 names in common"):
        open_pairs(tmp_path / "odd")
    notes = open_pairs(tmp_path / "same").notes
    assert any(line.startswith("folders like trainA and trainB often hold unpaired pictures") for line in notes)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (40, 60), (36, 64), (48, 48), (64, 32)])
def test_single_photographs_are_not_cut(tmp_path, height, width):
    for number in range(3):
        save(tmp_path / f"{number}.jpg", photo(height, width))
    expected = rf"0\.jpg: expected two images side by side, found a picture of {height}x{width} without a seam"
    with pytest.raises(DataError, match=expected):
        open_pairs(tmp_path, size=16)


def test_a_cut_is_told(tmp_path):
    for number in range(3):
        save(tmp_path / f"portraits/{number}.png", np.concatenate([photo(32, 24), photo(32, 24) // 4], axis=1))
        save(tmp_path / f"wide/{number}.png", photo(16, 32))
        margins = np.pad(photo(24, 12), ((4, 4), (4, 4), (0, 0)), constant_values=255)
        save(tmp_path / f"margins/{number}.png", np.concatenate([margins, margins], axis=1))
    seam = "each picture is cut in the middle: its left half, 32x24, is A, its right half B"
    assert open_pairs(tmp_path / "portraits").notes == (seam,)
    for name in ("wide", "margins"):
        assert open_pairs(tmp_path / name).notes[0].endswith("; no seam is seen there: check that these are pairs")


@pytest.mark.parametrize("side", ["a photograph", "numbers"])
def test_photographs_beside_maps_are_not_cut(tmp_path, side):
    for number in range(4):
        save(tmp_path / f"x{number}.jpg", photo(48, 48))
        save(tmp_path / f"y{number}.png", photo(48, 48) if side == "a photograph" else photo(48, 48) // 128)
    with pytest.raises(DataError, match="without a seam"):
        open_pairs(tmp_path)


def test_three_pictures_side_by_side_are_not_cut(tmp_path):
    for number in range(3):
        parts = [photo(16, 18), photo(16, 18) // 4, photo(16, 18)]
        save(tmp_path / f"{number}.png", np.concatenate(parts, axis=1))
    with pytest.raises(DataError, match=r"found what looks like three: .* Save only the two that belong together"):
        open_pairs(tmp_path)


def test_twin_folders_do_not_say_which_is_the_source(tmp_path):
    two_folders(tmp_path, "day/{}.png", "night/{}.png")
    with pytest.raises(DataError, match=r"folders day and night hold files of the same names\.") as caught:
        open_pairs(tmp_path)
    assert f"`data='{tmp_path}/day', targets='{tmp_path}/night'`" in str(caught.value)
    for place in ("north", "south"):  # two folders of pairs side by side
        for number in range(2):
            save(tmp_path / f"wide/{place}/{number}.png", np.concatenate([shade(10), shade(200)], axis=1))
    data = open_pairs(tmp_path / "wide")
    assert values(data) == [[10] * 4, [200] * 4]
    assert data.notes[0].endswith("the folders north and south hold files of the same names, which are not joined")


def test_pictures_of_different_sizes(tmp_path):
    for number in range(2):
        save(tmp_path / f"a/{number}.png", shade(10, 32, 48))
        save(tmp_path / f"b/{number}.png", shade(20, 16, 24))
        save(tmp_path / f"square/{number}.png", shade(20, 32, 32))
    data = open_pairs(tmp_path / "a", targets=tmp_path / "b")
    assert data.b_shape == (32, 48, 3)
    assert values(data) == [[10, 10], [20, 20]]
    assert "A is 32x48, B 16x24: both are scaled to one size, that of A if none is set" in data.notes
    notes = open_pairs(tmp_path / "a", targets=tmp_path / "square", size=16).notes
    assert any("0.png is 32x48" in line and "may not lie on each other" in line for line in notes)
