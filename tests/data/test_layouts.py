"""Folders and zips as people have them: splits, classes, labels in a file, litter, endings; and their notes."""

import io
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.cli import main
from minigan.data import open_dataset
from minigan.data.dataset import Dataset
from minigan.errors import DataError

PNG = io.BytesIO()
Image.new("RGB", (4, 4), (9, 99, 199)).save(PNG, "PNG")


def lay(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG.getvalue())
    return root


def zip_of(path: Path, files: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def opened(path: Path) -> Dataset:
    data = open_dataset(path)
    assert data.read(range(len(data))).shape == (len(data), 4, 4, 3)
    return data


SPLITS = {  # names, classes, number of pictures, notes
    "above classes": (
        ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/dog/4.png"),
        ("cat", "dog"),
        ("the pictures of train (2) are taken; left out: test (1), val (1)",),
    ),
    "capitals": (("Train/a/1.png", "Train/b/2.png", "Test/a/3.png"), ("a", "b"), ("left out: Test (1)",)),
    "other words": (("training/a/1.png", "training/b/2.png", "validation/a/3.png"), ("a", "b"), ("validation (1)",)),
    "twice": (
        ("training_set/training_set/a/1.png", "training_set/training_set/b/2.png", "test_set/test_set/a/3.png"),
        ("a", "b"),
        ("left out: test_set (1)",),
    ),
    "numbered, deeper": (("x/images/train2017/1.png", "x/images/val2017/2.png"), None, ("left out: val2017 (1)",)),
    "three": (
        ("seg_train/a/1.png", "seg_train/b/2.png", "seg_test/a/3.png", "seg_pred/4.png"),
        ("a", "b"),
        ("left out: seg_pred (1), seg_test (1)",),
    ),
    "inside of classes": (
        ("a/train/1.png", "a/test/2.png", "b/train/3.png", "b/test/4.png"),
        ("a", "b"),
        ("the pictures of train (2) are taken; left out: test (2)",),
    ),
    "with others": (
        ("train/a/1.png", "train/b/2.png", "test/a/3.png", "ground_truth/a/4.png", "preview.png"),
        ("a", "b"),
        ("left out: pictures beside them (1), ground_truth (1), test (1)",),
    ),
    "two domains": (("trainA/1.png", "trainB/2.png", "testA/3.png"), ("A", "B"), ("left out: test (1)",)),
    "without classes": (("train/1.png", "train/2.png", "valid/3.png"), None, ("left out: valid (1)",)),
    "none for training": (
        ("val/a/1.png", "test/a/2.png", "test/b/3.png"),
        ("a", "b"),
        ("the pictures of test and val (3) are taken; there is no training set",),
    ),
    "a test set alone": (("test/a/1.png", "test/b/2.png"), ("a", "b"), ("test is taken; there is no training set",)),
    "trains as a class": (("train/1.png", "bus/2.png", "plane/3.png"), ("bus", "plane", "train"), ()),
    "classes only": (("cat/1.png", "dog/2.png"), ("cat", "dog"), ()),
}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("case", SPLITS)
def test_splits_are_no_classes(tmp_path, case, kind):
    names, classes, notes = SPLITS[case]
    if kind == "folder":
        data = opened(lay(tmp_path / "d", *names))
    else:
        data = opened(zip_of(tmp_path / "d.zip", {f"top/{name}": PNG.getvalue() for name in names}))
    assert data.classes == classes
    assert len(data.notes) == len(notes) and all(note in line for note, line in zip(notes, data.notes, strict=True))


def test_rows_and_labels_are_those_of_the_split(tmp_path):
    root = lay(tmp_path, "test/dog/0.png", "train/cat/1.png", "train/dog/2.png", "train/dog/3.png")
    for k in range(1, 4):
        Image.new("RGB", (4, 4), (k, 0, 0)).save(next(root.glob(f"train/*/{k}.png")))
    data = open_dataset(root)
    assert data.pixels(range(3))[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert data.labels.tolist() == [0, 1, 1]
    assert open_dataset(root, count=2).labels.tolist() == [0, 1]


def test_what_lies_beside_the_pictures(tmp_path):
    root = lay(tmp_path, "cat/1.png", "dog/1.png", "dog/._2.png", ".cache/3.png", "@eaDir/4.png")
    for name in ("labels.csv", "dog/x.tga", "dog/y.TGA", "README", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (root / name).write_bytes(b"text")
    (root / "bird").mkdir()
    (root / "broken.png").symlink_to("nowhere")
    (root / "again").symlink_to(root / "cat")
    data = opened(root)
    assert data.classes == ("again", "dog")
    assert data.notes == (
        "4 files left out: 2 .tga, 1 README, 1 .csv",
        "broken.png is left out: the link leads nowhere, or where it was before",
        "cat is left out: the link leads nowhere, or where it was before",
        "a folder without pictures is no class: bird",
    )


def test_pictures_beside_folders(tmp_path):
    data = opened(lay(tmp_path, "cat/1.png", "dog/1.png", "x.png"))
    assert data.labels is None
    assert data.notes == ("1 picture lies beside the folders cat, dog: the folders are no classes",)


def test_folders_like_parts_of_a_set_are_told_of(tmp_path):
    for a, b in (("00000", "00001"), ("batch_1", "batch_2"), ("part1", "part2"), ("Images 1", "Images 2")):
        (note,) = opened(lay(tmp_path / a, f"{a}/1.png", f"{b}/2.png")).notes
        assert note.startswith(f"the folders {a}, {b} are used as classes")


@pytest.mark.parametrize(
    ("folders", "note"),
    [
        (("our485", "eval15"), "eval15 is used as a class, though its name is that of a split"),
        (("tom", "val", "dev"), "dev, val are used as classes, though their names are those of a split"),
        (("Cat", "cat", "dog"), "the classes 'Cat', 'cat' differ only in case or spaces"),
        (("a b", "a  b", "a b "), "the classes 'a  b', 'a b', 'a b ' differ only in case or spaces"),
    ],
)
def test_classes_that_may_be_none_are_told_of(tmp_path, folders, note):
    data = opened(lay(tmp_path, *(f"{folder}/1.png" for folder in folders)))
    assert data.classes == tuple(sorted(folders)) and data.notes == (note,)


def test_folders_that_are_numbers_are_in_their_order(tmp_path):
    data = opened(lay(tmp_path, *(f"{number}/{number}.png" for number in range(12)), "-1/x.png", "b/x.png"))
    assert data.classes == (*map(str, range(12)), "-1", "b")
    assert data.labels.tolist() == [12, 0, 1, 10, 11, *range(2, 10), 13]  # in the order of the files


def test_names_of_any_bytes(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    lay(tmp_path, "b/1.png")
    Path(os.fsdecode(folder), "1.png").write_bytes(PNG.getvalue())
    Path(os.fsdecode(folder), os.fsdecode(b"\xff\n.t\xff")).write_bytes(b"")
    data = opened(tmp_path)
    assert data.describe().endswith(r", 2 classes (b, caf\xe9)")
    assert data.notes == (r"1 file left out: .t\xff",)


# ---------------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_content_tells_a_picture_whatever_its_name(tmp_path, kind):
    formats = {"a.jfif": "JPEG", "b.jpe": "JPEG", "c": "PNG", "d.download": "JPEG", "e.dat": "WEBP", "f.bak": "GIF"}
    formats |= {"g.jpg_large": "JPEG", "h.pic": "BMP", "i.txt": "TIFF", "j.raw": "PPM"}
    files = {}
    for name, form in formats.items():
        file = io.BytesIO()
        Image.new("RGB", (4, 4), (9, 99, 199)).save(file, form)
        files[name] = file.getvalue()
    files |= {"BMX.txt": b"BM is no bitmap", "P5.txt": b"P5 things", "photo.nef": b"II*\0" + bytes(20)}
    if kind == "zip":
        data = opened(zip_of(tmp_path / "x.zip", files))
    else:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        data = opened(tmp_path)
    assert len(data) == len(formats)
    assert data.notes == ("3 files left out: 2 .txt, 1 .nef",)


def test_files_that_are_no_pictures_despite_their_ending_are_named(tmp_path):
    lay(tmp_path, *(f"{k}.png" for k in range(3)))
    (tmp_path / "page.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "zero.jpg").write_bytes(b"")
    data = open_dataset(tmp_path)
    assert data.notes == ("2 pictures that cannot be read, at which training stops: page.jpg, zero.jpg",)
    with pytest.raises(DataError, match=r"page\.jpg: expected an image"):
        data.read([3])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x.npy": b"\x93NUMPY"}, r"found only x\.npy\. Give x\.npy itself\."),
        ({"a/data.zip": b"PK"}, r"Give a/data\.zip itself\."),
        ({"data_batch_1": b"\x80\x04xx", "batches.meta": b"\x80\x04xx"}, "Pickles are never loaded: use the dataset's"),
    ],
)
def test_a_folder_of_other_things_says_what_to_give(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_backslashes_separate_folders_in_a_zip(tmp_path):
    names = ("d\\train\\cat\\1.png", "d\\train\\dog\\1.png", "d\\test\\dog\\1.png", "__MACOSX\\d\\._1.png")
    data = opened(zip_of(tmp_path / "x.zip", dict.fromkeys(names, PNG.getvalue())))
    assert data.classes == ("cat", "dog")
    with pytest.raises(DataError, match="expected names inside the archive"):
        open_dataset(zip_of(tmp_path / "y.zip", {"a\\..\\..\\1.png": PNG.getvalue()}))


def test_a_name_that_occurs_twice_in_a_zip_is_told_of(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, warnings.catch_warnings(action="ignore"):
        for name in ("a.png", "a.png", "b.png", "d\\c.png", "d/c.png"):
            archive.writestr(name, PNG.getvalue())
    data = opened(tmp_path / "x.zip")
    assert len(data) == 3
    assert data.notes[0] == "2 files are left out, as a later one in the zip has the same name"


# ---------------------------------------------------------------------------------------------- dataset.json

SHARDS = [f"{k // 2:05}/img{k:08}.png" for k in range(6)]
LISTS = {
    "numbers": ([[name, k % 3] for k, name in enumerate(SHARDS)], [0, 1, 2, 0, 1, 2], "are those of dataset.json"),
    "by name": ({name: k % 2 for k, name in enumerate(SHARDS)}, [0, 1, 0, 1, 0, 1], "dataset.json: 2 classes"),
    "vectors": ([[name, [0, 1] if k else [1, 0]] for k, name in enumerate(SHARDS)], [0, 1, 1, 1, 1, 1], "2 classes"),
    "none": (None, None, "dataset.json has no labels: its folders are no classes"),
    "some": ([[name, 1] for name in SHARDS[:4]], None, "has labels for 4 of 6 pictures: they are not used"),
    "negative": ([[name, -1] for name in SHARDS], None, "are no class numbers: they are not used"),
    "floats": ([[name, 0.5] for name in SHARDS], None, "are no class numbers: they are not used"),
}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("case", LISTS)
def test_labels_that_stylegans_tools_list(tmp_path, case, kind):
    labels, expected, note = LISTS[case]
    text = json.dumps({"labels": labels})
    if kind == "zip":
        data = opened(zip_of(tmp_path / "x.zip", {**dict.fromkeys(SHARDS, PNG.getvalue()), "dataset.json": text}))
    else:
        lay(tmp_path, *SHARDS)
        (tmp_path / "dataset.json").write_text(text)
        data = opened(tmp_path)
    assert (None if data.labels is None else data.labels.tolist()) == expected
    assert len(data.notes) == 1 and note in data.notes[0]


@pytest.mark.parametrize("text", ['{"labels": "x"}', '{"labels": [1, 2]}', "[" * 100_000, "", '{"a": 1}', "\xff"])
def test_another_dataset_json_is_left_out(tmp_path, text):
    files = {"cat/1.png": PNG.getvalue(), "dog/2.png": PNG.getvalue(), "dataset.json": text}
    data = opened(zip_of(tmp_path / "x.zip", files))
    assert (data.classes, data.notes) == (("cat", "dog"), ("1 file left out: .json",))


# ---------------------------------------------------------------------------------------------- sizes and colors


def test_a_color_picture_among_many_gray_ones_decides(tmp_path):
    for k in range(40):
        Image.new("L" if k != 17 else "RGB", (4, 4), 200 if k != 17 else (1, 2, 3)).save(tmp_path / f"{k:02}.png")
    data = open_dataset(tmp_path)
    assert data.shape == (4, 4, 3)
    assert data.notes == ("39 of 40 pictures are grayscale and are used with three equal channels",)


def test_sizes_that_are_changed_are_told_of(tmp_path):
    Image.radial_gradient("L").resize((8, 6)).convert("RGB").save(tmp_path / "a.png")
    assert open_dataset(tmp_path, size=(3, 4)).notes == ()
    assert open_dataset(tmp_path, size=6).notes == ("the middle of each picture is used: 25% at its sides are cut off",)
    Image.new("RGB", (6, 12)).save(tmp_path / "b.png")
    assert open_dataset(tmp_path, size=6).notes == (
        "sizes from 6x8 to 12x6 are scaled to 6x6",
        "the middle of each picture is used: up to 50% at its sides are cut off",
    )


def test_maps_of_class_numbers_are_told_of(tmp_path):
    Image.new("L", (4, 4), 11).save(tmp_path / "a.png")
    Image.new("L", (4, 4), 9).save(tmp_path / "b.png")
    assert open_dataset(tmp_path).notes == ("no value is above 11 where white is 255: the images are nearly black",)


def test_translate_takes_every_picture_of_every_folder(tmp_path, capsys):
    run = tmp_path / "run"
    settings = ["size=16", "width=4", "d_width=4", "depth=3", "batch_size=2"]
    train = ["train", "denoise", "--data", "digits", "--steps", "1", "--out", str(run), "--backend", "reference"]
    assert main([*train, "--set", *settings]) == 0
    lay(tmp_path / "in", "train/1.png", "test/2.png")
    (tmp_path / "in/x.tga").write_bytes(b"")
    capsys.readouterr()
    assert (
        main(["translate", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--backend", "reference"])
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["1.png", "2.png"]
    assert "minigan: 1 file left out: .tga\n" in capsys.readouterr().err
    assert np.asarray(Image.open(tmp_path / "out/test/2.png")).shape[:2] == (16, 16)
