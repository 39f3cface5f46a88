"""Real data sets, where MINIGAN_DATA names a folder that holds them."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from minigan.data import Dataset, Loader, open_dataset, open_pairs


def real(name: str) -> Path:
    folder = os.environ.get("MINIGAN_DATA")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"MINIGAN_DATA has no {name}")
    return Path(folder) / name


@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1307), ("fashion-mnist", 0.2860)])
def test_mnist_and_its_kin(name, mean):
    data = open_dataset(real(name))
    assert data.describe() == f"{name}/train-images-idx3-ubyte.gz: 60,000 grayscale images 28x28, 10 classes"
    assert abs(data.pixels(np.arange(60_000)).mean() / 255 - mean) < 1e-4  # the published means
    assert np.bincount(data.labels).min() > 5000
    test = open_dataset(real(name) / "t10k-images-idx3-ubyte.gz", size=32)
    assert (len(test), test.shape) == (10_000, (32, 32, 1))
    assert test.read([0, 1]).shape == (2, 32, 32, 1)


@pytest.fixture(scope="module")
def zipped() -> tuple[Dataset, np.ndarray, float]:
    """A zip of 50,000 pictures, a batch of it, and the processor's time until then: other programs do not count."""
    path, start = real("cifar10/cifar10_jpg_train.zip"), time.process_time()
    data = open_dataset(path)
    with Loader(data, batch_size=64, seed=0) as loader:
        x = next(loader)
    return data, x, time.process_time() - start


def test_cifar_as_binary_and_as_pictures(zipped):
    binary = open_dataset(real("cifar10") / "data_batch_1_first4000.bin")
    zipped, _, _ = zipped
    assert (len(binary), len(zipped)) == (4000, 50_000)
    assert binary.classes == zipped.classes
    assert np.bincount(zipped.labels).tolist() == [5000] * 10
    # the same pictures, one of them through JPEG: the means of each class agree
    a = binary.pixels(np.flatnonzero(binary.labels == 3)).mean(axis=(0, 1, 2))
    b = zipped.pixels(np.flatnonzero(zipped.labels == 3)[:1000]).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(a, b, atol=8)


def test_a_zip_of_50_000_starts_at_once(zipped):
    _, x, seconds = zipped
    assert seconds < 3
    assert x.shape == (64, 32, 32, 3)
    assert -1 <= x.min() < -0.9
    assert 0.9 < x.max() <= 1


def test_camvid_pairs():
    folder = real("camvid_ab")
    train, val = open_pairs(folder, size=64), open_pairs(folder, split="val")
    assert (len(train), len(val)) == (367, 101)
    assert val.a_shape == val.b_shape == (256, 256, 3)
    photo, classes = train.read([0, 200])
    assert photo.shape == classes.shape == (2, 64, 64, 3)
    photo, classes = val.read([0])
    # class maps are made of a few flat colors, photos are not
    assert len(np.unique(np.round(4 * classes[0]).reshape(-1, 3), axis=0)) < 200
    roughness = [np.abs(np.diff(x[0], axis=1)).mean() for x in (photo, classes)]
    assert all(np.isfinite(roughness))
