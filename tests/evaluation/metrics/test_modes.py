"""Mode coverage, labels, the birthday test, memorization."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.data import grid, ring
from minigan.errors import ConfigError, DataError, ShapeError
from minigan.evaluation.metrics import (
    birthday_test,
    close_distance,
    kl_divergence,
    label_coverage,
    memorization,
    mode_coverage,
)


@pytest.mark.parametrize("mixture", [ring, grid])
def test_the_data_itself_has_all_modes(mixture):
    data = mixture(count=2500, seed=3)
    found = mode_coverage(data.read(np.arange(2500)), centers=data.centers, sigma=data.sigma)
    assert found.modes == found.of == len(data.centers)
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.01)  # a Gaussian in the plane, within 3 σ
    assert found.reverse_kl < 0.02
    assert found.histogram.sum() == round(2500 * found.high_quality)


def test_modes_by_hand():
    centers = np.array([[0.0, 0], [10, 0], [0, 10]])
    points = np.array([[0.0, 0], [0, 2.9], [10, 3.1], [10, -5], [4, 0]])  # the last three are of low quality
    found = mode_coverage(points, centers=centers, sigma=1.0)
    assert (found.modes, found.of, found.high_quality) == (1, 3, 0.4)
    assert found.histogram.tolist() == [2, 0, 0]
    assert found.reverse_kl == pytest.approx(0.6 * math.log(1.8) + 0.4 * math.log(1.2))


def test_modes_of_bad_input():
    centers = np.zeros((2, 2))
    with pytest.raises(DataError, match="points: expected finite numbers, found 1 of 4"):
        mode_coverage(np.array([[0, np.inf], [0, 0]]), centers=centers, sigma=1.0)
    with pytest.raises(ConfigError, match="sigma"):
        mode_coverage(centers, centers=centers, sigma=0.0)
    with pytest.raises(ShapeError, match="3 and 2 features"):
        mode_coverage(np.zeros((4, 3)), centers=centers, sigma=1.0)


def test_labels_by_hand():
    found = label_coverage(np.array([0, 0, 2, 2]), classes=4)
    assert (found.modes, found.of, found.histogram.tolist()) == (2, 4, [2, 0, 2, 0])
    assert found.reverse_kl == pytest.approx(math.log(2))
    assert label_coverage(np.array([0, 1]), classes=3, data_labels=np.array([1, 0, 0, 1])).reverse_kl == 0
    assert label_coverage(np.array([2]), classes=3, data_labels=np.array([1, 0])).reverse_kl == math.inf
    with pytest.raises(ConfigError, match="expected labels from 0 to 2, got 0 to 3"):
        label_coverage(np.array([0, 3]), classes=3)
    with pytest.raises(ShapeError, match="expected integers"):
        label_coverage(np.array([0.5]), classes=3)


@given(p=st.lists(st.integers(0, 50), min_size=3, max_size=3), q=st.lists(st.integers(1, 50), min_size=3, max_size=3))
def test_kl_is_scipys(p, q):
    stats = pytest.importorskip("scipy.stats")
    p, q = np.array(p) + (sum(p) == 0), np.array(q)
    assert kl_divergence(p, q) == pytest.approx(stats.entropy(p, q), abs=1e-12)
    assert kl_divergence(p, 3 * p) == pytest.approx(0, abs=1e-12)


# ---------------------------------------------------------------------------------------- birthday


@pytest.mark.parametrize("support", [50, 400])
def test_birthday_finds_the_support(support, rng):
    images = rng.standard_normal((support, 8))
    batch = images[rng.integers(support, size=2000)] + 1e-4 * rng.standard_normal((2000, 8))
    found = birthday_test(batch, threshold=0.01)
    assert found.support == pytest.approx(support, rel=0.1)
    assert found.even_batch == pytest.approx(1.18 * math.sqrt(support), rel=0.1)
    assert found.pairs == 2000 * 1999 // 2


def test_birthday_by_hand(monkeypatch):
    monkeypatch.setattr("minigan.evaluation.metrics.distances.BLOCK", 8)
    batch = np.array([[0.0], [5], [0.1], [9], [5.05], [20]])
    found = birthday_test(batch, threshold=0.2, show=3)
    assert (found.pairs, found.duplicates, found.support) == (15, 2, 7.5)
    assert found.closest.tolist() == [[1, 4], [0, 2], [3, 4]]
    np.testing.assert_allclose(found.distances, [0.05, 0.1, 3.95])
    assert birthday_test(batch, threshold=0.01).support == math.inf
    assert len(birthday_test(batch[:2], threshold=0.01).closest) == 1
    assert close_distance(batch, share=3 / 15) == pytest.approx(3.95)
    assert close_distance(batch) == pytest.approx(0.05)


@pytest.mark.parametrize("features", [2, 784])
def test_birthday_finds_exact_duplicates_without_a_tolerance(features, rng):
    images = rng.integers(0, 256, (150, features)) / 127.5 - 1
    batch = rng.permutation(np.concatenate([images, images]))
    found = birthday_test(batch, threshold=0.0, show=200)
    assert found.duplicates == 150
    assert (found.distances[:150] == 0).all()
    assert (batch[found.closest[:150, 0]] == batch[found.closest[:150, 1]]).all()
    assert close_distance(batch) == 0


def test_a_threshold_includes_itself(rng):
    """Rounding does not take pairs of exactly the distance out, wherever the points are."""
    for center in (0.0, 1e3, 1 / 3):
        batch = np.array([[0.0, 0], [3, 4], [100, 0], [103, 4]]) + center
        assert birthday_test(batch, threshold=5.0).duplicates == 2
    batch = rng.standard_normal((40, 30))
    assert birthday_test(batch, threshold=close_distance(batch, share=0.1)).duplicates == 78


def test_one_image_drawn_again_and_again():
    batch = np.tile(np.random.default_rng(0).random((3, 50)), (400, 1))
    assert birthday_test(batch, threshold=0).duplicates == 3 * 400 * 399 // 2


def test_birthday_of_bad_input(rng):
    with pytest.raises(ShapeError, match="at least 2 examples, got 1"):
        birthday_test(np.zeros((1, 3)), threshold=1.0)
    with pytest.raises(ConfigError, match="threshold"):
        birthday_test(np.zeros((3, 3)), threshold=float("nan"))
    with pytest.raises(ConfigError, match="share"):
        close_distance(rng.standard_normal((3, 3)), share=0)


# ---------------------------------------------------------------------------------------- memorization


def test_memorization_tells_copies_from_fresh_and_from_foreign(rng):
    train, held_out = rng.standard_normal((500, 2)), rng.standard_normal((500, 2))
    copies = memorization(train[:100] + 1e-5, train)
    assert copies.nearer > 0.98
    assert copies.neighbors.tolist() == list(range(100))
    assert copies.ratio < 0.01
    fresh = memorization(rng.standard_normal((500, 2)), train, held_out=held_out)
    assert fresh.nearer == pytest.approx(0.5, abs=0.05)
    assert fresh.ratio == pytest.approx(1, abs=0.2)
    assert memorization(rng.standard_normal((500, 2)), train).nearer == pytest.approx(0.5, abs=0.05)
    assert memorization(rng.standard_normal((50, 2)) + 50, train).nearer == 0


def test_copies_are_at_distance_0(rng):
    train = rng.integers(0, 256, (400, 100)) / 127.5 - 1
    found = memorization(train[:50], train, held_out=rng.random((9, 100)))
    assert (found.distances == 0).all()
    assert found.ratio == 0


def test_memorization_counts_equal_distances_half():
    train = np.array([[0.0], [1], [2], [3]])  # every real one has a neighbor at 1
    assert memorization(np.array([[4.0], [-1]]), train).nearer == 0.5
    assert memorization(np.array([[0.0], [9]]), train).nearer == 0.5
    assert memorization(train, np.zeros((3, 1))).ratio == math.inf
