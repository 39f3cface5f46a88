"""Items in brackets, and arrays that a notebook shows as pictures."""

import base64
import copy
import html
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from minigan.data import Loader, open_dataset, open_pairs
from minigan.data.channels import Recolored
from minigan.data.dataset import Dataset, PairDataset
from minigan.data.pictures import ImageBatch, image_grid, to_pixels
from minigan.data.png import encode_png
from minigan.data.subset import split_dataset
from minigan.errors import ConfigError, DataError, DTypeError, MiniganError, ShapeError


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def datasets() -> dict[str, Dataset]:
    digits = open_dataset("digits", size=8, count=30)
    return {
        "digits": digits,
        "shapes": open_dataset("shapes", size=8, count=10),
        "stacked": open_dataset("stacked:digits", size=8, count=12),
        "recolored": Recolored(digits, channels=3),
        "held out": split_dataset(digits, held_out=3, part="val"),
        "float array": open_dataset(floats(5, 4, 4, 1)),
        "uint8 array": open_dataset(np.arange(5 * 48, dtype=np.uint8).reshape(5, 4, 4, 3)),
        "points": open_dataset("ring", count=20),
    }


@pytest.mark.parametrize("name", datasets())
def test_items_are_those_of_a_batch(name: str):
    dataset = datasets()[name]
    count = len(dataset)
    everything = dataset.read(np.arange(count))
    first = dataset[0]
    assert first.shape == dataset.shape and first.dtype == np.float32
    np.testing.assert_array_equal(first, everything[0])
    np.testing.assert_array_equal(dataset[np.int64(1)], everything[1])
    np.testing.assert_array_equal(dataset[-1], everything[-1])
    np.testing.assert_array_equal(dataset[1:3], everything[1:3])
    np.testing.assert_array_equal(dataset[::-1], everything[::-1])
    np.testing.assert_array_equal(dataset[[2, -1]], everything[[2, -1]])
    np.testing.assert_array_equal(dataset[np.array([2, 0])], everything[[2, 0]])
    items = list(dataset)
    assert len(items) == count
    np.testing.assert_array_equal(np.stack(items), everything)
    assert isinstance(first, ImageBatch) == (len(dataset.shape) == 3)
    if first.ndim == 3:
        assert np.abs(everything).max() <= 1
    for index in (count, -count - 1):
        with pytest.raises(IndexError, match=f"index {index} is out of range: the set holds {count} items"):
            dataset[index]


@pytest.mark.parametrize("index", ["a", 1.5, None, (0, 1), True, [[0]], [0.5], [True, False]])
def test_an_index_of_another_kind_is_refused(index):
    dataset = open_dataset("digits", size=8, count=3)
    if index == (0, 1):  # a list of indices, as NumPy would not have it
        assert dataset[index].shape == (2, 8, 8, 1)
        return
    with pytest.raises(DataError, match=r"expected an index, a slice or a list of indices, got .*Write dataset\[0\]"):
        dataset[index]


def test_a_list_with_an_index_out_of_range_is_refused():
    with pytest.raises(DataError, match="expected indices from 0 to 2, got 3"):
        open_dataset("digits", size=8, count=3)[[0, 3]]


def test_items_of_pairs_are_tuples():
    pairs = open_pairs("shapes", size=16, count=5)
    assert isinstance(pairs, PairDataset)
    a, b = pairs.read(np.arange(5))
    one, batch = pairs[-2], pairs[1:3]
    assert type(one) is tuple and type(batch) is tuple
    np.testing.assert_array_equal(one[0], a[3])
    np.testing.assert_array_equal(one[1], b[3])
    np.testing.assert_array_equal(batch[1], b[1:3])
    assert [x.shape for x in one] == [(16, 16, 3)] * 2
    assert len(list(pairs)) == 5
    assert isinstance(one[0], ImageBatch) and isinstance(batch[1], ImageBatch)
    with pytest.raises(IndexError):
        pairs[5]


def test_items_are_what_the_loader_gives():
    dataset = open_dataset("digits", size=8, count=6)
    with Loader(dataset, batch_size=6, seed=0, shuffle=False) as batches:
        np.testing.assert_array_equal(next(batches), dataset[:])


def test_arrays_are_datasets():
    pixels = np.arange(4 * 27, dtype=np.uint8).reshape(4, 3, 3, 3)
    dataset = open_dataset(pixels, count=2)
    assert len(dataset) == 2
    np.testing.assert_array_equal(to_pixels(dataset[:]), pixels[[0, 2]])
    assert "array: 2 color images 3x3" in repr(dataset)
    np.testing.assert_array_equal(open_dataset(pixels.astype(np.int64)).pixels(range(4)), pixels)
    with pytest.raises(DataError, match="the array: expected uint8, integers up to 16 bits, or floats"):
        open_dataset(pixels.astype(np.int64) - 200)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: open_dataset(3), "expected a name or a path, got 3."),
        (lambda: open_dataset(None), "expected a name or a path, got None."),
        (lambda: open_pairs(floats(2, 4, 4, 1)), "expected a name or a path, got an array (2, 4, 4, 1) of float32."),
        (
            lambda: Loader(floats(2, 4, 4, 1), batch_size=2, seed=0),
            "got an array (2, 4, 4, 1) of float32. Write",
        ),
        (
            lambda: Loader("digits", batch_size=2, seed=0),
            "a Loader reads a dataset, got 'digits'. Write Loader(",
        ),
        (lambda: Loader(open_dataset("digits"), batch_size="64", seed=0), "got '64'. Write batch_size=64."),
        (
            lambda: Loader(open_dataset("digits"), batch_size=64, seed=None),
            "seed must be an integer from 0 up, got N",
        ),
    ],
)
def test_sources_that_are_none(make, says: str):
    with pytest.raises(ConfigError) as caught:
        make()
    assert says in str(caught.value)


def test_a_loader_shows_its_data_and_its_place():
    with Loader(open_dataset("digits", size=8, count=10), batch_size=3, seed=4) as batches:
        shown = "Loader of digits: 10 grayscale images 8x8, 10 classes; batches of 3, seed 4; "
        assert repr(batches) == f"{shown}next: epoch 0, batch 0 of 3"
        for _ in range(4):
            next(batches)
        assert repr(batches) == f"{shown}next: epoch 1, batch 1 of 3"
    assert repr(batches) == f"{shown}closed"


def test_a_copied_loader_is_at_the_same_place():
    dataset = open_dataset("digits", size=8, count=30)
    with Loader(dataset, batch_size=8, seed=0) as batches:
        next(batches)
        copies = [copy.copy(batches), copy.deepcopy(batches), pickle.loads(pickle.dumps(batches))]
        expected = [next(batches) for _ in range(4)]
    assert copies[1].dataset is dataset
    for other in copies:
        with other:
            for batch in expected:
                np.testing.assert_array_equal(next(other), batch)


@pytest.mark.parametrize("name", ["shuffle", "drop_last"])
def test_a_loaders_flags_are_true_or_false(name: str):
    with pytest.raises(ConfigError, match=f"Loader: {name} must be True or False, got 'no'"):
        Loader(open_dataset("digits", size=8, count=30), batch_size=8, seed=0, **{name: "no"})


# ---------------------------------------------------------------------------------------- pictures of arrays


def png_size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return height, width


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_shows_itself_as_its_grid(channels: int):
    images = floats(5, 6, 7, channels)
    batch = images.view(ImageBatch)
    assert png_size(batch._repr_png_()) == image_grid(images).shape[:2]
    assert png_size(batch[0]._repr_png_()) == image_grid(images[:1]).shape[:2]
    assert repr(batch) == (
        f"<ImageBatch: 5 images 6x7x{channels}, float32 from {images.min():.2f} to {images.max():.2f}>"
    )
    assert repr(batch[0]).startswith(f"<ImageBatch: an image 6x7x{channels}")
    assert batch._repr_html_().startswith(f'<img alt="{html.escape(repr(batch))}" src="data:image/png;base64,')
    many = np.zeros((500, 4, 4, channels), np.float32).view(ImageBatch)
    assert png_size(many._repr_png_()) == image_grid(many[:64]).shape[:2]


def test_a_batch_is_an_ordinary_array_for_everything_else(tmp_path):
    images = floats(3, 4, 4, 1)
    batch = images.view(ImageBatch)
    for result in (batch + 1, 2 * batch, -batch, np.tanh(batch), batch.mean(axis=0), batch > 0, np.clip(batch, 0, 1)):
        assert type(result) is np.ndarray
    for number in (batch.mean(), batch.max(), np.abs(batch).sum(), batch[0, 0, 0, 0]):
        assert isinstance(number, np.floating)
    np.testing.assert_array_equal(batch + 1, images + 1)
    assert type(np.asarray(batch)) is np.ndarray
    assert str(batch) == f"{batch}" == repr(batch) != str(images)
    odd = batch[..., 0]  # no images: as any array
    assert (str(odd), f"{odd}") == (str(images[..., 0]),) * 2
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch), batch.copy()):
        np.testing.assert_array_equal(other, images)
    np.save(tmp_path / "batch.npy", batch)
    np.testing.assert_array_equal(np.load(tmp_path / "batch.npy"), images)


@pytest.mark.parametrize(
    "odd",
    [
        lambda batch: batch[0, 0],
        lambda batch: batch[..., 0],
        lambda batch: batch.transpose(0, 3, 1, 2),
        lambda batch: batch.reshape(3, -1),
        lambda batch: batch.astype(np.int64),
        lambda batch: batch[:0],
        lambda batch: (2.5 * batch).view(ImageBatch),
        lambda batch: np.full_like(batch, np.nan),
    ],
)
def test_what_is_no_image_is_not_shown_as_one(odd):
    array = odd(floats(3, 5, 5, 1).view(ImageBatch))
    assert array._repr_png_() is None
    assert "object at" not in repr(array)


def test_to_pixels_takes_images_only():
    images = floats(2, 3, 3, 1)
    pixels = to_pixels(images.view(ImageBatch))
    assert type(pixels) is ImageBatch and pixels.dtype == np.uint8
    assert type(to_pixels(images[0, 0, 0])) is np.ndarray  # no picture
    with pytest.raises(ConfigError, match="got NaN among them"):
        to_pixels(np.where(images > 0, np.nan, images))
    assert to_pixels(np.array([-1.0, 1.0, 7.0])).tolist() == [0, 255, 255]
    with pytest.raises(DTypeError, match=r"expected float images in \[-1, 1\], got .* They are pixels already"):
        to_pixels(pixels)
    with pytest.raises(DTypeError, match=r"int64.*images / 127\.5 - 1"):
        to_pixels(pixels.astype(np.int64))
    with pytest.raises(ConfigError, match=r"got values from 0 to 255\. Convert them: images / 127\.5 - 1"):
        to_pixels(np.array([0.0, 255.0]))


def test_pixels_are_shown_as_the_images_they_are():
    images = floats(5, 6, 7, 3).view(ImageBatch)
    pixels = to_pixels(images)
    assert pixels._repr_png_() == images._repr_png_()
    assert repr(pixels) == f"<ImageBatch: 5 images 6x7x3, uint8 from {pixels.min()} to {pixels.max()}>"
    assert pixels._repr_html_().startswith("<img alt=")


def shown(html_text: str) -> list[bytes]:
    """The pictures in a piece of HTML."""
    return [base64.b64decode(png) for png in re.findall(r'src="data:image/png;base64,([^"]+)"', html_text)]


@pytest.mark.parametrize("name", datasets())
def test_a_notebook_shows_a_dataset(name: str):
    dataset = datasets()[name]
    text = dataset._repr_html_()
    assert html.escape(dataset.describe()) in text
    (png,) = shown(text)
    rows = np.linspace(0, len(dataset) - 1, min(len(dataset), 16), dtype=int)
    items = dataset.read(rows)
    if items.ndim == 4:
        assert png == encode_png(image_grid(items, columns=min(len(rows), 8)))
        labeled = dataset.with_labels()._repr_html_() if dataset.labels is not None else text
        assert shown(labeled) == [png]
    if dataset.classes:
        assert html.escape(", ".join(dataset.classes)) in text


def test_a_notebook_shows_pairs_and_what_cannot_be_read(monkeypatch):
    pairs = open_pairs("shapes", size=16, count=3)
    assert shown(pairs._repr_html_()) == [encode_png(image_grid(part, columns=3)) for part in pairs.read([0, 1, 2])]
    dataset = open_dataset("digits", size=8, count=3)

    def fail(_):
        raise DataError("a file is gone")

    monkeypatch.setattr(dataset, "read", fail)
    assert dataset._repr_html_().startswith(f"<div>{dataset.describe()}</div>") and "<img" not in dataset._repr_html_()


def test_an_embedded_set_may_be_named_by_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_dataset(Path("digits"), size=8, count=4).name == "digits"
    assert len(open_dataset(Path("stacked:digits"), size=8, count=4)) == 4
    assert len(open_pairs(Path("shapes"), size=16, count=2)) == 2
    np.save("digits", np.zeros((2, 3, 3, 1), np.uint8))
    Path("digits.npy").rename("digits")
    assert len(open_dataset(Path("digits"))) == 2  # the file
    assert len(open_dataset("digits", size=8, count=4)) == 4  # the set


def test_the_users_home_is_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    np.save("x", np.zeros((2, 3, 3, 1), np.uint8))
    for source in ("~/x.npy", Path("~/x.npy")):
        assert len(open_dataset(source)) == 2
    with pytest.raises(DataError, match="~/nothing: no such file"):
        open_dataset("~/nothing")
    Path("~").mkdir()
    np.save("~/x", np.zeros((5, 3, 3, 1), np.uint8))
    assert len(open_dataset("~/x.npy")) == 5  # a folder of that very name


def test_a_grid_is_made_of_images_or_of_pixels():
    images = floats(3, 4, 4, 3)
    np.testing.assert_array_equal(image_grid(to_pixels(images)), image_grid(images))
    for odd in (images[0], images[:0], images[..., 0]):
        with pytest.raises(ShapeError, match=r"a grid is made of images \(N, H, W, C\).*images\[None\]"):
            image_grid(odd)
    assert issubclass(ShapeError, MiniganError)
