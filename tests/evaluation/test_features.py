"""Features: pixels, the classifier that minigan trains, and where it is kept."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest

from minigan.backends import get_backend
from minigan.data import open_dataset, open_unpaired
from minigan.errors import ConfigError, DataError
from minigan.evaluation import (
    PixelFeatures,
    StackedClassifier,
    cache_folder,
    choose_features,
    kept_classifier,
    open_like,
    train_classifier,
)
from minigan.evaluation.classifier import network
from minigan.evaluation.classifier_cache import dataset_identity
from minigan.evaluation.features import block_means
from minigan.nn.gradcheck import check_network


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where classifiers are kept, which learn for 2 steps only."""
    monkeypatch.setattr("minigan.evaluation.classifier_cache.train_classifier", quickly)
    monkeypatch.setenv("MINIGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def quickly(dataset, *, seed, backend):
    return train_classifier(dataset, seed=seed, backend=backend, steps=2)


def few_digits(count=300, **options):
    return open_dataset("digits", size=8, count=count, **options)


# ---------------------------------------------------------------------------------------- pixels


def test_pixels_are_few_enough(rng):
    features = PixelFeatures()
    for shape, length in (((28, 28, 1), 784), ((32, 32, 3), 768), ((64, 64, 3), 768), ((9, 200, 3), 603)):
        images = rng.standard_normal((2, *shape)).astype(np.float32)
        found = features(images)
        assert found.shape == (2, length)
        np.testing.assert_allclose(found.mean(), images.mean(), atol=0.02)
    assert str(features) == "pixels"


def test_blocks_at_the_border_are_smaller(rng):
    images = rng.standard_normal((3, 5, 4, 2))
    means = block_means(images, factor=2)
    assert means.shape == (3, 3, 2, 2)
    np.testing.assert_allclose(means[:, 0, 1], images[:, :2, 2:].mean(axis=(1, 2)))
    np.testing.assert_allclose(means[:, 2, 0], images[:, 4:, :2].mean(axis=(1, 2)))
    np.testing.assert_array_equal(block_means(images, factor=1), images)


# ---------------------------------------------------------------------------------------- the classifier


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (8, 8, 1), (15, 20, 3), (64, 48, 3), (1, 1, 1)])
def test_the_network_fits_any_image(shape, rng):
    net = network(shape, 7).build(shape, backend="reference", rng=rng)
    assert net.output_shape == (7,)
    assert net.layers[0].output_shape == (128,)


def test_its_gradients(rng):
    shape = (6, 6, 1)
    net = network(shape, 3).build(shape, backend="reference", dtype="float64", rng=rng)
    assert all(check.passed for check in check_network(net, rng.standard_normal((4, *shape)), rng=rng))


def test_it_learns_the_embedded_digits():
    digits = open_dataset("digits", size=12, count=2400, seed=1)
    classifier = train_classifier(digits, steps=80)
    assert classifier.accuracy > 0.85
    assert (classifier.classes, classifier.count) == (10, 2000)
    images = digits.read(np.arange(300))
    features, labels = classifier(images), classifier.labels(images)
    assert features.shape == (300, 128)
    assert (features >= 0).all()
    assert (labels == digits.labels[:300]).mean() > 0.85
    np.testing.assert_allclose(classifier(images[7:8]), features[7:8], atol=1e-4)  # whatever else is in the batch
    assert str(classifier).startswith("classifier of digits (")


def test_the_same_seed_gives_the_same_classifier():
    digits = few_digits()
    one, again, other = (train_classifier(digits, seed=s, backend="reference", steps=2) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.net.arena.flat, again.net.arena.flat)
    assert (one.net.arena.flat != other.net.arena.flat).any()


def test_channels_are_stacked():
    stacked = open_dataset("stacked:digits", size=8, count=30)
    single = train_classifier(stacked.source, steps=2, backend="reference")
    classifier = StackedClassifier(single)
    images = stacked.read(np.arange(30))
    a, b, c = (single.labels(images[..., k, None]) for k in range(3))
    np.testing.assert_array_equal(classifier.labels(images), 100 * a + 10 * b + c)
    assert classifier(images).shape == (30, 3 * 128)
    assert classifier.classes == 1000


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "expected labeled images for a classifier, found no labels. Use `features='pixels'`"),
        (np.zeros(20, int), "2 to 1000 classes counted from 0, found labels from 0 to 0"),
        (np.arange(20) * 60, "found labels from 0 to 1140"),
        (np.arange(20) - 1, "found labels from -1 to 18"),
    ],
)
def test_what_cannot_be_classified(labels, message, tmp_path):
    arrays = {"images": np.zeros((20, 8, 8), np.uint8)} | ({} if labels is None else {"labels": labels})
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(DataError, match=message):
        train_classifier(open_dataset(tmp_path / "some.npz"))


def test_too_few_to_learn_from():
    with pytest.raises(DataError, match="at least 6 images for a classifier, found 5"):
        train_classifier(few_digits(5))


# ---------------------------------------------------------------------------------------- kept


def test_a_classifier_is_kept_and_read_again(cache):
    said = []
    one = kept_classifier(few_digits(), backend="reference", say=said.append)
    assert said == [
        f"training a classifier of digits: 300 grayscale images 8x8, 10 classes, once; it will be kept in {cache}"
    ]
    again = kept_classifier(few_digits(), backend="reference", say=said.append)
    assert len(said) == 1
    images = few_digits().read(np.arange(9))
    np.testing.assert_array_equal(one(images), again(images))
    assert (again.accuracy, again.count) == (one.accuracy, 250)
    for other in (few_digits(seed=1), few_digits(301), open_dataset("digits", size=9, count=300)):
        kept_classifier(other, backend="reference", say=said.append)
    kept_classifier(few_digits(), seed=1, backend="reference", say=said.append)
    assert len(said) == len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other"])
def test_a_damaged_one_is_trained_again(damage, cache):
    said = []
    kept_classifier(few_digits(), backend="reference", say=said.append)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    if damage == "other":
        kept_classifier(open_dataset("digits", size=9, count=300), backend="reference", say=said.append)
        (other,) = set(cache.iterdir()) - {path}
        other.replace(path)
    else:
        path.write_bytes({"cut": whole[:-100], "text": b"hello", "empty": b""}[damage])
    said.clear()
    kept_classifier(few_digits(), backend="reference", say=said.append)
    assert said[0].startswith("the kept classifier cannot be used and is trained again: ")
    assert said[1].startswith("training a classifier")
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(cache):
    cache.write_text("a file")
    said = []
    assert kept_classifier(few_digits(), backend="reference", say=said.append).classes == 10
    assert said[-1].startswith("the classifier is not kept: cannot write ")
    assert said[-1].endswith("Or name another folder in MINIGAN_CACHE.")


def test_where_it_is_kept(monkeypatch, cache):
    assert cache_folder() == cache
    monkeypatch.delenv("MINIGAN_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache_folder() == Path("/there/minigan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "minigan"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "minigan"


def test_an_identity_is_of_the_content():
    assert dataset_identity(few_digits()) == dataset_identity(few_digits())
    others = [few_digits(seed=1), few_digits(301), open_dataset("digits", size=9, count=300), open_dataset("ring")]
    assert len({dataset_identity(d) for d in [few_digits(), *others]}) == 5


# ---------------------------------------------------------------------------------------- choosing


def test_features_are_chosen_by_the_data(tmp_path):
    said = []
    np.save(tmp_path / "gray.npy", np.zeros((10, 8, 8), np.uint8))
    plain = open_dataset(tmp_path / "gray.npy")
    assert isinstance(choose_features(plain, say=said.append), PixelFeatures)
    assert said == ["features are pixels: gray.npy: expected labeled images for a classifier, found no labels."]
    assert isinstance(choose_features(few_digits(), "pixels", say=said.append), PixelFeatures)
    assert choose_features(few_digits(), backend="reference", say=said.append).classes == 10
    stacked = open_dataset("stacked:digits", size=8, count=20)
    assert isinstance(choose_features(stacked, backend=get_backend("reference"), say=said.append), StackedClassifier)
    with pytest.raises(DataError, match="found no labels"):
        choose_features(plain, "classifier", say=said.append)
    with pytest.raises(ConfigError, match="one of classifier, pixels, got 'inception'"):
        choose_features(plain, "inception", say=said.append)


def test_data_is_opened_as_the_generator_draws():
    assert open_like((28, 28, 1), "digits").shape == (28, 28, 1)
    assert open_like((32, 32, 3), "stacked:digits", seed=3).shape == (32, 32, 3)
    assert open_like((2,), "grid").shape == (2,)
    with pytest.raises(DataError, match="expected 2-D points like the generator's, found digits"):
        open_like((2,), "digits")
    with pytest.raises(
        ConfigError, match="the generator draws 28x28 images with 1 channels; ring: points have no size"
    ):
        open_like((28, 28, 1), "ring")


def test_images_of_one_class_are_compared_by_their_pixels(tmp_path):
    """A classifier of ten classes that has seen one knows nothing."""
    np.savez(tmp_path / "x.npz", images=np.zeros((40, 8, 8), np.uint8), labels=np.full(40, 7))
    told: list[str] = []
    with contextlib.closing(open_dataset(tmp_path / "x.npz")) as dataset:
        assert isinstance(choose_features(dataset, say=told.append), PixelFeatures)
        assert "expected images of several classes, found those of one alone" in told[0]
        with pytest.raises(DataError, match="found those of one alone"):
            choose_features(dataset, "classifier", say=told.append)


def test_a_class_that_was_chosen_is_compared_in_the_features_of_all(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(60) % 3)
    with contextlib.closing(open_unpaired(tmp_path / "x.npz", a_class="0", b_class="2")) as dataset:
        features = choose_features(dataset.b, backend="reference", say=[].append)
        assert features.classes == 3
        assert len(features(dataset.b.read(np.arange(4)))) == 4
