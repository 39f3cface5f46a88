"""Unpaired data: two orders that have nothing to do with each other, sources of both sides, and the known pair."""

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.data import Digits, Tinted, UnpairedDataset, UnpairedLoader, open_dataset, open_unpaired
from minigan.data.dataset import Dataset
from minigan.data.enlarged import Enlarged
from minigan.data.unpaired_sources import COUNTERPARTS
from minigan.errors import ConfigError, DataError, MixedSizesError


def digits(count: int, seed: int = 0) -> Digits:
    return Digits(size=(8, 8), count=count, seed=seed)


def pair(a: int = 10, b: int = 7) -> UnpairedDataset:
    return UnpairedDataset(digits(a), digits(b, seed=1))


def pictures(folder: Path, count: int, *, size=(12, 10), gray: bool = False, value: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        shape = size if gray else (*size, 3)
        Image.fromarray(np.full(shape, value + k, np.uint8)).save(folder / f"{k:03}.png")
    return folder


def rows_of(loader: UnpairedLoader, dataset: UnpairedDataset, batches: int) -> tuple[list[int], list[int]]:
    """Which items of each side the batches hold."""
    found = ([], [])
    known = [[image.tobytes() for image in side.read(np.arange(len(side)))] for side in (dataset.a, dataset.b)]
    for _ in range(batches):
        for side, images in enumerate(next(loader)):
            found[side].extend(known[side].index(image.tobytes()) for image in images)
    return found


# ---------------------------------------------------------------------------------------------- the loader


@pytest.mark.parametrize("prefetch", [0, 2])
def test_each_side_goes_through_its_own_shuffled_epochs(prefetch):
    dataset = pair(10, 6)
    with UnpairedLoader(dataset, batch_size=2, seed=3, prefetch=prefetch) as loader:
        a, b = rows_of(loader, dataset, 30)
    for rows, count in ((a, 10), (b, 6)):
        epochs = [rows[k : k + count] for k in range(0, len(rows), count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs), "each epoch has an order of its own"


def test_no_image_of_a_side_keeps_to_one_of_the_other():
    dataset = pair(8, 8)
    with UnpairedLoader(dataset, batch_size=1, seed=0) as loader:
        a, b = rows_of(loader, dataset, 64)
    partners = {row: {y for x, y in zip(a, b, strict=True) if x == row} for row in range(8)}
    assert min(map(len, partners.values())) >= 3


def test_a_rest_that_makes_no_batch_is_left_out_on_each_side_by_itself():
    dataset = pair(9, 5)
    with UnpairedLoader(dataset, batch_size=2, seed=0) as loader:
        assert loader.steps_per_epoch == 4
        a, b = rows_of(loader, dataset, 8)
    assert [len(set(a[:8])), len(set(a[8:]))] == [8, 8]
    assert all(len(set(b[k : k + 4])) == 4 for k in range(0, 16, 4))


@pytest.mark.parametrize("done", [0, 3, 11])
def test_a_restored_loader_gives_the_same_batches(done):
    dataset = pair()
    with UnpairedLoader(dataset, batch_size=2, seed=5) as loader:
        for _ in range(done):
            next(loader)
        state, wanted = loader.state(), [next(loader) for _ in range(9)]
    with UnpairedLoader(dataset, batch_size=2, seed=5, prefetch=0, state=state) as again:
        for expected, actual in zip(wanted, again, strict=False):
            for one, other in zip(expected, actual, strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_side_that_has_grown_goes_on_in_a_new_epoch():
    with UnpairedLoader(pair(10, 6), batch_size=2, seed=5) as loader:
        for _ in range(3):
            next(loader)
        state = loader.state()
    with UnpairedLoader(pair(10, 8), batch_size=2, seed=5) as grown:
        with pytest.raises(ConfigError, match="b_items=6, but this loader has b_items=8"):
            grown.restore(state)
        grown.restore(state, same_items=False)
        assert (grown.state()["epoch"], grown.state()["offset"]) == (1, 0)


def test_the_dataset_has_as_many_items_as_the_longer_side():
    dataset = pair(10, 6)
    assert len(dataset) == 10
    a, b = dataset.read([0, 7])
    np.testing.assert_array_equal(a, dataset.a.read([0, 7]))
    np.testing.assert_array_equal(b, dataset.b.read([0, 1]))
    assert (
        dataset.describe()
        == "A digits: 10 grayscale images 8x8, 10 classes; B digits: 6 grayscale images 8x8, 10 classes"
    )


@pytest.mark.parametrize(("a", "b", "letter", "count"), [(9, 3, "B", "3 images"), (1, 9, "A", "1 image")])
def test_a_batch_that_a_side_cannot_fill_is_refused(a, b, letter, count):
    with pytest.raises(ConfigError, match=f"`batch_size` is 4, but {letter}, digits, holds {count} to train on"):
        UnpairedLoader(pair(a, b), batch_size=4, seed=0)


# ---------------------------------------------------------------------------------------------- the known pair


def test_tinted_digits_lie_between_two_colors():
    plain = digits(4)
    colored = Tinted(plain)
    pixels, gray = colored.pixels(np.arange(4)), plain.pixels(np.arange(4))
    assert colored.shape == (8, 8, 3)
    assert {tuple(p) for p in pixels[gray[..., 0] == 0]} == {(38, 70, 132)}
    ink = np.array([246, 190, 74]) * (gray / 255) + np.array([38, 70, 132]) * (1 - gray / 255)
    np.testing.assert_allclose(pixels, ink, atol=0.5001)


@pytest.mark.parametrize(("a", "b"), [("digits", "tinted"), ("digits", ""), ("tinted", "digits"), ("tinted", "")])
def test_the_known_pair_has_the_truth_of_both_sides_and_shares_no_image(a, b):
    with contextlib.closing(open_unpaired(a, b, size=8)) as dataset:
        rows = np.arange(6)
        digit, colored = (dataset.a, dataset.b) if a == "digits" else (dataset.b, dataset.a)
        digit_truth, colored_truth = (
            (dataset.a_truth, dataset.b_truth) if a == "digits" else (dataset.b_truth, dataset.a_truth)
        )
        assert (digit.shape, colored.shape) == ((8, 8, 1), (8, 8, 3))
        np.testing.assert_array_equal(Tinted(digit).read(rows), digit_truth.read(rows))
        np.testing.assert_array_equal(Tinted(colored_truth).read(rows), colored.read(rows))
        some = np.arange(200)
        seen = {image.tobytes() for image in digit.read(some)}
        assert not seen & {image.tobytes() for image in colored_truth.read(some)}
    with contextlib.closing(open_unpaired(a, b, size=8, part="held-out")) as fresh:
        assert not np.array_equal(fresh.a.read(rows), dataset.a.read(rows))
    assert COUNTERPARTS[COUNTERPARTS[a]] == a


def test_the_known_pair_in_other_channels():
    with contextlib.closing(open_unpaired("digits", size=8, a_channels=3, b_channels=1)) as dataset:
        assert (dataset.a_shape, dataset.b_shape) == ((8, 8, 3), (8, 8, 1))
        assert (dataset.a_truth.shape, dataset.b_truth.shape) == ((8, 8, 1), (8, 8, 3))


def test_tinted_is_a_dataset_of_its_own():
    with contextlib.closing(open_dataset("tinted", size=8, count=20)) as colored:
        assert colored.shape == (8, 8, 3) and len(colored) == 20 and colored.kind == "embedded"


# ---------------------------------------------------------------------------------------------- files


LAYOUTS = {
    "trainA": ("trainA", "trainB", "testA", "testB"),
    "train/A": ("train/A", "train/B", "test/A", "test/B"),
    "A/train": ("A/train", "B/train", "A/val", "B/val"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_one_folder_or_zip_with_both_sides_and_what_it_holds_out(tmp_path, layout, zipped):
    names = LAYOUTS[layout]
    for k, (name, count) in enumerate(zip(names, (5, 3, 2, 1), strict=True)):
        pictures(tmp_path / "set" / name, count, value=40 * k)
    source = tmp_path / "set"
    if zipped:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for file in sorted(source.rglob("*.png")):
                archive.write(file, file.relative_to(source))
        source = tmp_path / "set.zip"
    with contextlib.closing(open_unpaired(source)) as training:
        assert (len(training.a), len(training.b)) == (5, 3)
        assert training.b.pixels([0])[0, 0, 0, 0] == 40
        assert "A: 5 pictures are trained on, 2 are held out by their folder" in training.notes
    with contextlib.closing(open_unpaired(source, part="held-out")) as held:
        assert (len(held.a), len(held.b)) == (2, 1)
        assert held.a.pixels([0])[0, 0, 0, 0] == 80


def test_folders_named_a_and_b_hold_out_a_tenth(tmp_path):
    pictures(tmp_path / "A", 20), pictures(tmp_path / "B", 9)
    parts = {}
    for part in ("train", "held-out"):
        with contextlib.closing(open_unpaired(tmp_path, part=part, held_back=5)) as dataset:
            parts[part] = [
                {int(v) for v in side.pixels(np.arange(len(side)))[:, 0, 0, 0]} for side in (dataset.a, dataset.b)
            ]
            notes = dataset.notes
    assert [len(side) for side in parts["train"]] == [18, 9]
    assert not parts["train"][0] & parts["held-out"][0]
    assert parts["train"][1] == parts["held-out"][1], "too few to hold any out"
    with contextlib.closing(open_unpaired(tmp_path, held_back=5)) as dataset:
        assert "A: 2 of 20 images are held out of training, for pictures and figures" in dataset.notes
        assert any(line.startswith("B: all 9 images are trained on; none is held out") for line in dataset.notes)
    assert not any("held out" in line for line in notes if line.startswith("B: 2"))


def test_two_sources_of_other_kinds_sizes_and_channels(tmp_path):
    pictures(tmp_path / "photos", 12, size=(20, 16))
    with contextlib.closing(open_unpaired(tmp_path / "photos", "digits", size=(12, 8), held_back=1)) as dataset:
        assert (dataset.a_shape, dataset.b_shape) == ((12, 8, 3), (12, 8, 1))
        assert dataset.a_truth is None and dataset.b_truth is None


def test_a_class_of_each_side(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.arange(40, dtype=np.uint8).repeat(64).reshape(40, 8, 8), y=np.arange(40) % 4)
    with contextlib.closing(open_unpaired(tmp_path / "set.npz", a_class="1", b_class="3")) as dataset:
        assert [len(dataset.a), len(dataset.b)] == [10, 10]
        taken = [{int(side.source.labels[row]) for row in side.taken} for side in (dataset.a, dataset.b)]
        assert taken == [{1}, {3}]
        assert dataset.a.labels is dataset.b.labels is dataset.a.classes is None, "a single class tells nothing apart"
    with pytest.raises(ConfigError, match=r"expected a class of .*, got b_class='9'. Choose one of them"):
        open_unpaired(tmp_path / "set.npz", a_class="1", b_class="9")
    pictures(tmp_path / "plain", 3)
    with pytest.raises(ConfigError, match=r"plain has no classes, got a_class='cat'\. Leave `a_class` out"):
        open_unpaired(tmp_path / "plain", "digits", a_class="cat", size=8)


# ---------------------------------------------------------------------------------------------- what is refused


def test_a_folder_without_a_second_side_tells_how_to_give_one(tmp_path):
    pictures(tmp_path / "trainA", 3)
    with pytest.raises(
        DataError, match=r"expected pictures in folders trainA and trainB, found trainA: none of B.*data_b=SOURCE"
    ):
        open_unpaired(tmp_path)
    (tmp_path / "trainB").mkdir()  # empty
    with pytest.raises(DataError, match="none of B"):
        open_unpaired(tmp_path)
    pictures(tmp_path / "testB", 2)
    with pytest.raises(
        DataError, match="pictures of B to train on, in a folder named trainB, found only held-out ones"
    ):
        open_unpaired(tmp_path)


def test_an_empty_second_source_and_a_missing_one_and_points(tmp_path):
    pictures(tmp_path / "a", 3)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"b: expected .*; found an empty folder"):
        open_unpaired(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match="nowhere: no such file"):
        open_unpaired(tmp_path / "a", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="B, ring: expected images, got points"):
        open_unpaired(tmp_path / "a", "ring")
    with pytest.raises(ConfigError, match="part must be one of train, held-out, got 'test'"):
        open_unpaired(tmp_path / "a", "digits", part="test")


def test_sides_of_several_sizes_want_one(tmp_path):
    pictures(tmp_path / "A", 2), pictures(tmp_path / "B", 1)
    Image.new("RGB", (30, 20)).save(tmp_path / "B" / "large.png")
    with pytest.raises(MixedSizesError):
        open_unpaired(tmp_path)
    with contextlib.closing(open_unpaired(tmp_path, size=8)) as dataset:
        assert (dataset.a_shape, dataset.b_shape) == ((8, 8, 3), (8, 8, 3))


def test_a_single_picture_on_a_side_is_trained_on(tmp_path):
    pictures(tmp_path / "A", 1), pictures(tmp_path / "B", 4)
    with contextlib.closing(open_unpaired(tmp_path, held_back=200)) as dataset:
        assert (
            "A: the only image is trained on; none is held out, so pictures and figures show those of the training"
            in (dataset.notes)
        )
        with UnpairedLoader(dataset, batch_size=1, seed=0) as loader:
            assert [next(loader)[0].shape for _ in range(3)] == [(1, 12, 10, 3)] * 3


# ---------------------------------------------------------------------------------------------- one source for both


@pytest.mark.parametrize("again", ["{a}", "{a}/", "{a}/../a", "link"])
def test_the_same_source_twice_is_refused(tmp_path, again):
    a = pictures(tmp_path / "a", 3)
    (tmp_path / "link").symlink_to(a)
    b = str(tmp_path / "link") if again == "link" else again.format(a=a)
    with pytest.raises(ConfigError, match=r"A and B are the same source, .*/a\. Give another `data_b`"):
        open_unpaired(a, b)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"a_class": "1"}, "got a_class='1' alone: .* Add `b_class=NAME`, or `data_b=SOURCE`"),
        ({"b_class": "1"}, "got b_class='1' alone: .* Add `a_class=NAME`"),
        ({"a_class": "1", "b_class": "1"}, "A and B are the same images, the class 1 of"),
        ({"b": "the set", "a_class": "1", "b_class": "1"}, "A and B are the same images, the class 1 of"),
    ],
    ids=str,
)
def test_a_class_of_one_source_needs_another_of_it(tmp_path, given, problem):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(12) % 4)
    given = {**given, "b": tmp_path / "set.npz" if "b" in given else ""}
    with pytest.raises(ConfigError, match=problem):
        open_unpaired(tmp_path / "set.npz", **given)
    with contextlib.closing(open_unpaired(tmp_path / "set.npz", a_class="1", b_class="3")) as dataset:
        assert (len(dataset.a), len(dataset.b)) == (3, 3)


def test_the_name_and_the_number_of_a_class_are_one(tmp_path):
    for name in ("cat", "dog"):
        pictures(tmp_path / "set" / name, 3)
    with pytest.raises(ConfigError, match="A and B are the same images, the class dog of"):
        open_unpaired(tmp_path / "set", a_class="dog", b_class="1")


def test_classes_are_not_ignored_where_folders_tell_the_sides(tmp_path):
    for name in ("trainA", "trainB"):
        pictures(tmp_path / "both" / name, 3)
    with pytest.raises(ConfigError, match="got a_class='cat' alone"):
        open_unpaired(tmp_path / "both", a_class="cat")
    with pytest.raises(ConfigError, match="expected a class of A, B, got a_class='cat'"):
        open_unpaired(tmp_path / "both", a_class="cat", b_class="dog")


def test_an_embedded_set_without_a_counterpart_needs_another_source():
    with pytest.raises(ConfigError, match=r"shapes has no counterpart .* Add `data_b=SOURCE`\."):
        open_unpaired("shapes")


# ---------------------------------------------------------------------------------------------- jitter


class ArrayImages(Dataset):
    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__(name="ramps", count=len(pixels), shape=pixels.shape[1:])
        self.images = pixels

    def read(self, indices):
        return self.images[self.checked(indices)].astype(np.float32)


def ramps(count: int, side: int) -> ArrayImages:
    """Images whose pixels tell the image, the row and the column."""
    k, y, x = np.ogrid[:count, :side, :side]
    return ArrayImages((64 * k + 8 * y + x).astype(np.uint8)[..., None])


def corners_of(batch: np.ndarray) -> list[tuple[int, int, int]]:
    """The image, row and column of each part's corner; each must be a whole part."""
    y, x = np.ogrid[: batch.shape[1], : batch.shape[2]]
    first = batch[:, :1, :1, 0].astype(int)
    np.testing.assert_array_equal(batch[..., 0], first + 8 * y + x)
    return [(int(k) // 64, int(k) % 64 // 8, int(k) % 8) for k in first.ravel()]


@pytest.mark.parametrize("mirror", [False, True])
def test_another_part_of_each_image_is_cut_out_every_time(mirror):
    sides = [Enlarged(ramps(3, 8), size=(6, 5)), Enlarged(ramps(2, 8), size=(6, 5))]
    dataset = UnpairedDataset(*sides)
    assert dataset.a_shape == (6, 5, 1) and sides[0].margin == (2, 3)
    assert corners_of(dataset.a.read([2, 0])) == [(2, 1, 1), (0, 1, 1)], "the middle, where nobody asks for another"
    found, plain = set(), []
    with UnpairedLoader(dataset, batch_size=1, seed=4, prefetch=0, mirror=mirror) as loader:
        for _ in range(200):
            a, b = next(loader)
            if not mirror:
                found |= {*corners_of(a)}
                plain += [corners_of(a)[0], corners_of(b)[0]]
            assert a.shape == b.shape == (1, 6, 5, 1)
        state, wanted = loader.state(), [next(loader) for _ in range(5)]
    if not mirror:
        assert found == {(k, y, x) for k in range(3) for y in range(3) for x in range(4)}
        with UnpairedLoader(UnpairedDataset(ramps(3, 8), ramps(2, 8)), batch_size=1, seed=4, prefetch=0) as loader:
            order = [int(side[0, 0, 0, 0]) // 64 for _ in range(200) for side in next(loader)]
        assert [k for k, _, _ in plain] == order, "the order is that without"
    with UnpairedLoader(dataset, batch_size=1, seed=4, mirror=mirror, state=state) as again:
        for batch in wanted:
            for one, other in zip(batch, next(again), strict=True):
                np.testing.assert_array_equal(one, other)
    with pytest.raises(ConfigError, match="enlarged=3, but this loader has enlarged=0"):
        UnpairedLoader(UnpairedDataset(ramps(3, 8), ramps(2, 8)), batch_size=1, seed=4, mirror=mirror, state=state)


def test_a_part_cannot_be_larger_than_the_image():
    with pytest.raises(ConfigError, match="expected images of at least 9x5 to cut parts out, got 8x8"):
        Enlarged(ramps(1, 8), size=(9, 5))


def test_what_holds_for_both_sides_is_told_once(tmp_path):
    """Files that are left out belong to the one folder, and so do equal numbers."""
    for name, count in (("trainA", 3), ("trainB", 3), ("testA", 1), ("testB", 1)):
        pictures(tmp_path / "both" / name, count, value=200)
    (tmp_path / "both" / "notes.txt").write_text("by hand")
    with contextlib.closing(open_unpaired(tmp_path / "both")) as dataset:
        held = "A and B: 3 pictures are trained on, 1 are held out by their folder"
        assert held in dataset.notes
        assert all(note.startswith("A and B: ") for note in dataset.notes) and len(dataset.notes) == 2
    pictures(tmp_path / "both" / "testB" / "more", 1, value=200)
    with contextlib.closing(open_unpaired(tmp_path / "both")) as dataset:
        assert [note[:9] for note in dataset.notes] == ["A and B: ", "A: 3 pict", "B: 3 pict"]
