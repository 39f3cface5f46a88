"""Surveys of data: what is counted, what is found damaged, and the picture of it all."""

import io
import json
import sys
import zipfile
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import minigan
from minigan.data import preview, survey, surveying
from minigan.data.png import encode_png
from minigan.data.surveying import open_for_survey, survey_of
from minigan.errors import ConfigError, DataError, MissingExtraError

Image = pytest.importorskip("PIL.Image")


def picture(height: int, width: int, *, seed: int = 0, channels: int = 3) -> bytes:
    pixels = np.random.default_rng(seed).integers(1, 255, (height, width, channels), dtype=np.uint8)
    return encode_png(pixels)


def jpeg(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(1, 255, (height, width, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three sizes, two classes, one gray picture, two damaged ones, one of one color, one twice."""
    files = {f"cat/{n}.png": picture(30, 40, seed=n) for n in range(5)}
    files |= {f"dog/{n}.png": picture(40, 30, seed=n) for n in range(2)}
    files |= {
        "dog/gray.png": picture(20, 20, channels=1),
        "dog/cut.jpg": jpeg(40, 30)[:-200],
        "dog/no.png": b"nonsense",
        "cat/red.png": encode_png(np.full((30, 40, 3), (200, 0, 0), np.uint8)),
        "cat/again.png": picture(30, 40, seed=3),
    }
    return put(tmp_path / "photos", files)


def test_a_folder_with_everything_in_it(photos: Path):
    found = survey(photos, check=True)
    assert (found.name, found.kind, found.items, found.count) == ("photos", "folder of pictures", "pictures", 12)
    assert found.sizes == {(30, 40): 7, (40, 30): 3, (20, 20): 1}
    assert list(found.sizes) == [(30, 40), (40, 30), (20, 20)]
    assert (found.grayscale, found.color) == (1, 10)
    assert found.classes == {"cat": 7, "dog": 5}
    assert [Path(line.partition(": ")[0]).name for line in found.damaged] == ["cut.jpg", "no.png"]
    assert (found.duplicates, found.constant, found.checked, found.read) == (1, 1, True, 12)
    assert (found.lowest, found.highest, found.eight_bits) == (0, 254, True)
    assert found.size is None
    assert repr(found) == "<Survey photos: 12 pictures of mixed sizes, 2 classes, 2 damaged>"


def test_without_a_check_what_is_damaged_in_its_header_is_told(photos: Path):
    found = minigan.survey(photos)
    assert found.looked_at == 12
    assert (found.checked, found.duplicates, found.constant) == (False, None, None)
    assert any("no.png" in line for line in found.damaged)


def test_nothing_but_damaged_pictures(tmp_path: Path):
    found = survey(put(tmp_path / "bad", {f"{n}.png": b"nonsense" for n in range(20)}), check=True)
    assert (len(found.damaged), found.sizes, found.color, found.grayscale) == (20, {}, 0, 0)
    assert "nothing could be read" in str(found)
    with (
        pytest.raises(DataError, match=r"0\.png: expected an image"),
        closing(open_for_survey(tmp_path / "bad")) as dataset,
    ):
        preview(dataset)


def test_the_first_and_the_last_of_many_damaged_files_are_found(tmp_path: Path):
    files = {f"{n:03}.png": picture(8, 8, seed=n) for n in range(100)}
    bad = ("000.png", "001.png", "057.png", "099.png")
    found = survey(put(tmp_path / "p", {**files, **dict.fromkeys(bad, b"\x89PNG\r\n\x1a\nnonsense")}), check=True)
    assert tuple(Path(line.partition(": ")[0]).name for line in found.damaged) == bad
    assert found.sizes == {(8, 8): 96}


def test_it_watches_each_item(photos: Path):
    seen: list[tuple[int, bool]] = []
    survey(photos, check=True, watch=lambda read, wrong: seen.append((read, wrong is not None)))
    assert [read for read, _ in seen] == list(range(1, 13))
    assert Counter(wrong for _, wrong in seen) == {False: 10, True: 2}


def sources(folder: Path) -> dict[str, object]:
    """A source of each kind, of 8 pictures of 6x5."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 6, 5, 3), dtype=np.uint8)
    np.save(folder / "x.npy", pixels)
    np.save(folder / "f.npy", (pixels / 127.5 - 1).astype(np.float32))
    np.savez(folder / "x.npz", images=pixels, labels=np.arange(8) % 2)
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for n, image in enumerate(pixels):
            archive.writestr(f"{'ab'[n % 2]}/{n}.png", encode_png(image))
    return {"array": pixels, **{name: folder / name for name in ("x.npy", "f.npy", "x.npz", "x.zip")}}


@pytest.mark.parametrize(
    ("name", "kind", "classes", "eight_bits"),
    [
        ("array", "array", {}, True),
        ("x.npy", ".npy file", {}, True),
        ("f.npy", ".npy file", {}, False),
        ("x.npz", ".npz file", {"0": 4, "1": 4}, True),
        ("x.zip", "zip of pictures", {"a": 4, "b": 4}, True),
    ],
)
def test_files_of_each_kind(tmp_path: Path, name: str, kind: str, classes: dict[str, int], eight_bits: bool):
    source = sources(tmp_path)[name]
    for check in (False, True):
        found = survey(source, check=check)
        assert (found.kind, found.count, found.sizes, found.color) == (kind, 8, {(6, 5): 8}, 8)
        assert (found.classes, found.eight_bits, found.damaged) == (classes, eight_bits, ())
        assert (found.lowest, found.highest) == ((0, 255) if eight_bits else (-1, 1))
    with closing(open_for_survey(source)) as dataset:
        assert preview(dataset).shape[2] == 3


@pytest.mark.parametrize("name", ["digits", "shapes", "stacked:digits", "ring", "grid"])
def test_embedded_sets(name: str):
    found = survey(name)
    dataset = minigan.open_dataset(name)
    assert found.count == len(dataset)
    assert sum(found.classes.values()) == len(dataset)
    assert len(found.classes) == len(dataset.classes)
    assert found.items == ("points" if name in ("ring", "grid") else "pictures")
    assert found.sizes == ({} if found.items == "points" else {dataset.shape[:2]: len(dataset)})
    assert preview(dataset).dtype == np.uint8
    assert all(len(line) < 80 for line in str(found).splitlines())


def test_mnist_and_cifar(tmp_path: Path):
    idx = b"\0\0\x08\x03" + np.array([3, 4, 5], ">u4").tobytes() + bytes(range(60))
    put(tmp_path, {"idx/train-images-idx3-ubyte": idx, "data.bin": b"".join(bytes([n]) * 3073 for n in range(5))})
    found = survey(tmp_path / "idx", check=True)
    assert (found.kind, found.count, found.sizes, found.grayscale) == ("IDX file", 3, {(4, 5): 3}, 3)
    found = survey(tmp_path / "data.bin", check=True)
    assert (found.kind, found.count, found.constant, found.classes["cat"]) == ("CIFAR-10 binary", 5, 5, 1)


def test_one_damaged_item_among_those_read_together():
    images = np.random.default_rng(0).uniform(-1, 1, (600, 4, 4, 1)).astype(np.float32)
    dataset = open_for_survey(images)
    images[300] = np.nan  # after it was opened
    found = survey_of(dataset, check=True)
    assert len(found.damaged) == 1
    assert "in item 300" in found.damaged[0]
    assert found.duplicates == 0


# ------------------------------------------------------------------------------------------ pairs


def test_pairs_are_seen_by_their_shape_or_as_told(tmp_path: Path):
    folder = put(tmp_path / "ab", {f"train/{n}.png": picture(16, 32, seed=n) for n in range(4)})
    put(folder, {"val/5.png": picture(16, 32, seed=5)})
    found = survey(folder, check=True)
    assert (found.items, found.count, found.sizes) == ("pairs", 4, {(16, 16): 4})
    assert any("twice as wide as high" in note for note in found.notes)
    assert survey(folder, split="val").count == 1
    assert survey(folder, pairs=False).items == "pictures"
    both = np.zeros((16, 30, 3), np.uint8)
    both[:, 15:] = 200
    single = put(tmp_path / "single", {"1.png": encode_png(both)})
    assert survey(single).items == "pictures"
    assert (survey(single, pairs=True).items, survey(single, pairs=True).sizes) == ("pairs", {(16, 15): 1})
    with pytest.raises(ConfigError, match="`split` and `targets` are of pairs"):
        survey(single, pairs=False, split="val")
    assert survey("shapes", pairs=True).items == "pairs"


def test_pairs_in_two_folders_are_seen_by_their_names(tmp_path: Path):
    names = [f"{n}.png" for n in range(3)]
    for a, b in (("A/train", "B/train"), ("photos", "maps")):
        folder = tmp_path / a.replace("/", "-")
        put(folder, {f"{a}/{name}": picture(16, 20, seed=n) for n, name in enumerate(names)})
        put(folder, {f"{b}/{name}": picture(16, 20, seed=n + 9) for n, name in enumerate(names)})
        found = survey(folder, check=True)
        assert (found.items, found.count, found.sizes, found.damaged) == ("pairs", 3, {(16, 20): 3}, ())
        assert "the names agree two by two: taken as pairs" in found.notes
        assert survey(folder / a, targets=folder / b).items == "pairs"
        assert survey(folder, pairs=False).items == "pictures"


@pytest.mark.parametrize("names", [("cat", "dog"), ("A", "B", "C"), ("trainA", "trainB")])
def test_classes_and_unpaired_folders_are_no_pairs(tmp_path: Path, names: tuple[str, ...]):
    put(tmp_path / "p", {f"{name}/{name}{n}.png": picture(16, 20, seed=n) for name in names for n in range(3)})
    assert survey(tmp_path / "p").items == "pictures"


def test_a_damaged_map_among_maps_is_listed(tmp_path: Path):
    classes = np.random.default_rng(0).integers(0, 3, (6, 16, 20, 1), dtype=np.uint8)
    maps = {f"maps/{n}.png": encode_png(pixels) for n, pixels in enumerate(classes)}
    put(tmp_path / "p", maps | {f"photos/{n}.png": picture(16, 20, seed=n) for n in range(6)})
    whole = survey(tmp_path / "p", check=True)
    assert any("3 classes" in note for note in whole.notes)
    put(tmp_path / "p", {"maps/0.png": maps["maps/0.png"][:-30], "photos/1.png": b"nonsense"})
    found = survey(tmp_path / "p", check=True)
    assert [Path(line.partition(": ")[0]).name for line in found.damaged] == ["0.png", "1.png"]
    assert any("classes" in note for note in found.notes)


def test_damaged_pairs_are_listed(tmp_path: Path):
    files = {"1.png": picture(16, 32), "2.png": picture(16, 31), "3.png": picture(8, 16), "4.png": b"nonsense"}
    found = survey(put(tmp_path / "ab", files), pairs=True, check=True)
    assert found.sizes == {(16, 16): 1, (16, 15): 1, (8, 8): 1}
    assert [Path(line.partition(": ")[0]).name for line in found.damaged] == ["2.png", "4.png"]


# ------------------------------------------------------------------------------------------ shown


def test_the_table(photos: Path):
    lines = str(survey(photos, check=True)).splitlines()
    assert lines[0] == "photos"
    assert "  size      30x40 (7), 40x30 (3), 20x20 (1) (height x width)" in lines
    assert "  color     mixed: 10 in color, 1 grayscale" in lines
    assert "  classes   2, of 5 to 7 each" in lines
    assert "              cat  7  ########################" in lines
    assert "              dog  5  #################" in lines
    assert "  check     all 12 were read: 10 fine, 2 damaged" in lines


def test_a_notebook_shows_the_same_facts(photos: Path):
    found = replace(survey(photos, check=True), name="<b>photos", classes={"<script>": 3, "cat & dog": 1})
    shown = found._repr_html_()
    root = ElementTree.fromstring(shown)  # each tag is closed, and names are text
    assert root.findtext("caption") == "<b>photos"
    cells = [(row.findtext("th"), row.findtext("td/pre")) for row in root.iter("tr")]
    facts = [
        f"  {title if n == 0 else '':10}{line}" for title, text in cells for n, line in enumerate(text.split("\n"))
    ]
    assert len(facts) > 8
    assert {fact for fact in facts if len(fact) < 80} <= set(str(found).splitlines())
    assert "<script>" in dict(cells)["classes"] and "<script>" not in shown


def test_a_table_stays_narrow(tmp_path: Path):
    names = [f"{'class with a long name ' * 4}{n}" for n in range(50)]
    files = {f"{name}/{n}.png": picture(5 + n % 9, 6) for n, name in enumerate(names)}
    text = str(survey(put(tmp_path / ("folder of a long name " * 6).strip(), files), check=True))
    assert max(map(len, text.splitlines())) < 80
    assert "and 20 more, of 1 to 1 each" in text
    assert "and 3 more; heights 5 to 13, widths 6 to 6" in text.replace("\n" + " " * 12, " ")


def test_a_class_without_items_is_seen(tmp_path: Path):
    np.savez(tmp_path / "x.npz", images=np.zeros((3, 4, 4), np.uint8), labels=np.array([0, 2, 2]))
    assert survey(tmp_path / "x.npz").classes == {"0": 1, "1": 0, "2": 2}


def test_json_has_all_of_it(photos: Path):
    found = survey(photos, check=True)
    record = json.loads(json.dumps(found.to_json()))
    assert record["sizes"][0] == {"height": 30, "width": 40, "count": 7}
    assert record["classes"] == {"cat": 7, "dog": 5}
    assert record.keys() == found.__dataclass_fields__.keys()


# ------------------------------------------------------------------------------------------ preview


def cells(drawn: np.ndarray, color: tuple[int, int, int]) -> int:
    """The number of pixels of exactly that color."""
    return int((drawn == color).all(axis=2).sum())


def test_a_preview_has_a_row_for_each_class_with_its_name(tmp_path: Path):
    red, blue = (250, 0, 0), (0, 0, 250)
    files = {f"b/{n}.png": encode_png(np.full((16, 16, 3), blue, np.uint8)) for n in range(3)}
    files |= {f"a/{n}.png": encode_png(np.full((16, 16, 3), red, np.uint8)) for n in range(12)}
    put(tmp_path / "p", files)
    with closing(open_for_survey(tmp_path / "p")) as dataset:
        drawn = preview(dataset)
    # 16 pixels a side are shown with 64; ten in a row at most
    assert (cells(drawn, red), cells(drawn, blue)) == (10 * 64 * 64, 3 * 64 * 64)
    reds, blues = (np.flatnonzero((drawn == color).all(axis=2).any(axis=1)) for color in (red, blue))
    assert reds.max() < blues.min()
    between, below = drawn[reds.max() + 3 : blues.min()], drawn[blues.max() + 3 :]
    assert between.max() > 150  # letters
    assert below.max() > 150


def test_a_preview_leaves_damaged_items_out_and_shows_mixed_sizes_whole(photos: Path):
    put(photos, {"dog/wide.png": encode_png(np.full((10, 200, 3), (1, 200, 1), np.uint8))})
    for path in (photos / "cat").iterdir():
        path.unlink()
    with closing(open_for_survey(photos / "dog")) as dataset:
        drawn = preview(dataset)
    # a picture 200 wide is scaled to 128, and nothing is cut off
    wide = (drawn == (1, 200, 1)).all(axis=2)
    assert wide.any(axis=0).sum() == 128
    assert wide.any(axis=1).sum() == 6


def test_a_preview_of_pairs_puts_them_side_by_side(tmp_path: Path):
    both = np.zeros((16, 32, 3), np.uint8)
    both[:, :16], both[:, 16:] = (250, 0, 0), (0, 0, 250)
    put(tmp_path / "ab", {f"{n}.png": encode_png(both) for n in range(2)})
    with closing(open_for_survey(tmp_path / "ab")) as dataset:
        drawn = preview(dataset)
    red, blue = ((drawn == color).all(axis=2) for color in ((250, 0, 0), (0, 0, 250)))
    assert red.sum() == blue.sum() == 2 * 64 * 64
    assert (red[:, :-1] & blue[:, 1:]).any(axis=1).sum() == 64  # they touch


@pytest.mark.parametrize("name", ["Ärzte", "猫", "\N{PILE OF POO}", "line\nbreak", "x" * 200, "a\u202eb"])
def test_names_of_any_kind(tmp_path: Path, name: str):
    put(tmp_path / "p", {f"{name}/1.png": picture(8, 8), "other/1.png": picture(8, 8, seed=1)})
    found = survey(tmp_path / "p")
    assert name in found.classes
    assert len(str(found).splitlines()) < 12
    with closing(open_for_survey(tmp_path / "p")) as dataset:
        assert preview(dataset)[-20:].max() > 150


def test_without_pillow_there_is_no_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert survey("digits").count == 20_000
    with pytest.raises(MissingExtraError, match="writing text into pictures needs Pillow"):
        preview(minigan.open_dataset("digits"))


def test_the_text_without_freetype(monkeypatch):
    from PIL import ImageFont

    plain = ImageFont.load_default_imagefont() if hasattr(ImageFont, "load_default_imagefont") else None
    if plain is None:
        pytest.skip("this Pillow has no bitmap font of its own")
    monkeypatch.setattr(ImageFont, "load_default", lambda *_: plain)
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1), dtype=np.uint8)
    buffer = io.BytesIO(preview(minigan.open_dataset(images)).tobytes())
    assert max(buffer.getvalue()) > 150


def test_a_survey_without_a_check_is_quick(photos: Path, monkeypatch):
    monkeypatch.setattr(surveying, "SECONDS", -1.0)
    found = survey(photos)
    assert (found.count, found.looked_at, found.read, found.sizes) == (12, 0, 0, {})
    assert survey(photos, check=True).looked_at == 12
