"""FID, KID, precision, recall, density, coverage, and the distances below them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.errors import ConfigError, DataError, DTypeError, ShapeError
from minigan.evaluation.metrics import (
    Moments,
    distance_blocks,
    frechet_distance,
    kernel_distance,
    kth_nearest,
    mmd,
    nearest,
    prdc,
)

pytest.importorskip("scipy")

import naive_metrics as naive

sets = st.builds(
    lambda seed, n, f, scale: scale * np.random.default_rng(seed).standard_normal((n, f)),
    st.integers(0, 10**6),
    st.integers(8, 24),
    st.integers(1, 6),
    st.sampled_from([0.1, 1.0, 30.0]),
)


def fid(x, y):
    return frechet_distance(Moments.of(x), Moments.of(y))


# ---------------------------------------------------------------------------------------- distances


def test_distances_in_blocks_are_those_of_a_loop(rng, monkeypatch):
    monkeypatch.setattr("minigan.evaluation.metrics.distances.BLOCK", 50)
    x, y = rng.standard_normal((23, 3)) + 1000, rng.standard_normal((19, 3)) + 1000
    parts = list(distance_blocks(x, y))
    assert len(parts) > 5
    np.testing.assert_allclose(np.concatenate([block for _, block in parts]), naive.distances(x, y), atol=1e-9)
    own = naive.distances(x, x)
    np.testing.assert_allclose(kth_nearest(x, k=3), np.sort(own, axis=1)[:, 3], atol=1e-9)
    indices, found = nearest(x, y, k=4)
    table = naive.distances(x, y)
    np.testing.assert_array_equal(indices, np.argsort(table, axis=1)[:, :4])
    np.testing.assert_allclose(found, np.sort(table, axis=1)[:, :4], atol=1e-9)


@given(x=sets, far=st.sampled_from([0.0, 1e3, 1e6]), outlier=st.sampled_from([1.0, 1e5, 1e9]))
def test_near_vectors_far_from_the_rest_keep_their_distances(x, far, outlier):
    """The short formula would lose all digits of a distance of 1e-3 between vectors of length 1e6."""
    x = np.concatenate([x + far, x[:5] + far + 1e-3, x[:3] + far, outlier * x[:1]])
    table = naive.distances(x, x)
    found = np.concatenate([block for _, block in distance_blocks(x, x)])
    np.testing.assert_allclose(found, table, rtol=1e-7, atol=1e-12)
    assert (found[table == 0] == 0).all()


def test_copies_are_the_nearest_at_distance_0(rng):
    train = rng.integers(0, 256, (200, 300)).astype(np.float32) / 127.5 - 1
    indices, found = nearest(train[50:60], train)
    assert indices[:, 0].tolist() == list(range(50, 60))
    assert (found == 0).all()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(3), ShapeError, r"expected feature vectors \(N, F\), got \(3,\)"),
        (np.zeros((1, 3)), ShapeError, "at least 2 examples, got 1"),
        (np.full((4, 3), np.nan), DataError, "expected finite numbers, found 12 of 12"),
        (np.zeros((4, 3), complex), DTypeError, "expected real numbers, got complex128"),
    ],
)
def test_what_is_no_set_of_vectors(x, error, message, rng):
    with pytest.raises(error, match=message):
        Moments.of(x)
    with pytest.raises(error, match=message):
        kernel_distance(x, rng.standard_normal((4, 3)), rng=rng)
    with pytest.raises(error, match=message):
        prdc(rng.standard_normal((4, 3)), x, k=1)


def test_sets_of_different_length(rng):
    x, y = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    for compare in (fid, mmd, prdc, nearest):
        with pytest.raises(ShapeError, match=r"got \w?\w?\w?\w?\w? ?3 and 2 features"):
            compare(x, y)


# ---------------------------------------------------------------------------------------- FID


@given(x=sets, shift=st.floats(-3, 3))
def test_fid_is_that_of_scipys_square_root(x, shift):
    rng = np.random.default_rng(x.size)
    mix = rng.standard_normal((x.shape[1],) * 2)
    y = x[rng.integers(len(x), size=40)] @ mix + shift + rng.standard_normal((40, x.shape[1]))
    x = x + rng.standard_normal(x.shape)
    expected = (
        naive.frechet(x, y) if x.shape[1] > 1 else ((x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2)
    )
    assert fid(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_fid_of_gaussians_in_closed_form():
    """Diagonal covariances: |m|² + sum (σ_a - σ_b)²; equal up to a factor s²: tr C (1 - s)²."""
    zeros = np.zeros(3)
    a = Moments(zeros, np.diag([1.0, 4.0, 0.0]), 9)
    b = Moments(np.array([1.0, 0, 2]), np.diag([9.0, 1.0, 0.25]), 9)
    assert frechet_distance(a, b) == pytest.approx(5 + 4 + 1 + 0.25)
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    c = q @ np.diag([1.0, 2, 3]) @ q.T
    assert frechet_distance(Moments(zeros, c, 9), Moments(zeros, 4 * c, 9)) == pytest.approx(6)


@given(x=sets)
def test_fid_of_a_set_with_itself_is_0_in_any_order(x):
    scale = np.square(x).mean() * x.shape[1]
    assert fid(x, x) <= 1e-9 * scale
    assert fid(x, np.random.default_rng(0).permutation(x)) <= 1e-9 * scale


@given(x=sets)
def test_fid_is_symmetric_and_sees_a_shift(x):
    y = x + 0.5
    assert fid(x, y) == pytest.approx(0.25 * x.shape[1], rel=1e-6, abs=1e-7 * np.square(x).mean())
    assert fid(2 * x, y) == pytest.approx(fid(y, 2 * x), rel=1e-6, abs=1e-9)


def test_fid_of_fewer_examples_than_features(rng):
    x, y = rng.standard_normal((10, 60)), rng.standard_normal((12, 60))
    assert fid(x, y) == pytest.approx(naive.frechet(x, y), rel=1e-4)


# ---------------------------------------------------------------------------------------- KID


@given(x=sets, n=st.integers(2, 12))
def test_mmd_is_that_of_a_loop(x, n):
    y = np.random.default_rng(n).standard_normal((n, x.shape[1])) + 0.3
    assert mmd(x, y) == pytest.approx(naive.mmd(x, y), rel=1e-9, abs=1e-9 * max(1, np.abs(x).max() ** 6))


def test_kid_over_the_whole_set_is_mmd_and_over_subsets_its_mean(rng):
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((50, 3)) + 1
    whole = kernel_distance(x[:40], y[:40], rng=rng, subsets=3)
    assert whole.mean == pytest.approx(mmd(x, y[:40]))
    assert whole.std == pytest.approx(0, abs=1e-12)
    some = kernel_distance(x, y, rng=np.random.default_rng(0), subsets=400, subset_size=10)
    assert some.mean == pytest.approx(mmd(x, y), rel=0.1)
    assert some.std > 0
    assert some == kernel_distance(x, y, rng=np.random.default_rng(0), subsets=400, subset_size=10)


def test_kid_of_one_distribution_is_0_on_average(rng):
    values = [mmd(rng.standard_normal((30, 4)), rng.standard_normal((30, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


def test_kid_checks_its_numbers(rng):
    x = rng.standard_normal((5, 2))
    with pytest.raises(ConfigError, match="subset_size: expected a whole number from 2 up, got 1"):
        kernel_distance(x, x, rng=rng, subset_size=1)
    with pytest.raises(ConfigError, match="subsets: expected"):
        kernel_distance(x, x, rng=rng, subsets=0)


# ---------------------------------------------------------------------------------------- PRDC


@given(real=sets, n=st.integers(6, 30), k=st.integers(1, 5), scale=st.sampled_from([0.3, 1.0, 2.0]))
def test_prdc_is_that_of_loops(real, n, k, scale):
    fake = scale * np.random.default_rng(n).standard_normal((n, real.shape[1]))
    assert prdc(real, fake, k=k) == pytest.approx(naive.prdc(real, fake, k))


@given(x=sets, k=st.integers(1, 5))
def test_what_is_on_a_border_is_inside(x, k):
    """Copies of the data lie on the borders of its balls; rounding must not put some of them outside."""
    x = np.concatenate([x, x[:3]])  # duplicates in the data: balls of radius 0, if k is 1
    copies = np.random.default_rng(0).permutation(x)
    assert prdc(x, copies, k=k) == pytest.approx(naive.prdc(x, x, k))


@given(x=sets, k=st.integers(1, 5))
def test_prdc_does_not_depend_on_the_order(x, k):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((20, x.shape[1]))
    assert prdc(x, y, k=k) == pytest.approx(prdc(rng.permutation(x), rng.permutation(y), k=k))


@pytest.mark.parametrize("outlier", [1e3, 1e7, 1e12])
def test_one_outlier_widens_no_other_ball(outlier, rng):
    """The definition of the package prdc (Naeem et al. 2020), for data without ties."""
    real, fake = rng.standard_normal((60, 4)), 1.5 * rng.standard_normal((50, 4)) + 0.5
    real[7] = outlier
    rr, ff, rf = naive.distances(real, real), naive.distances(fake, fake), naive.distances(real, fake)
    k = 5
    r_radius, f_radius = (np.partition(table, k, axis=1)[:, k] for table in (rr, ff))  # the k-th after itself
    expected = (
        (rf < r_radius[:, None]).any(axis=0).mean(),
        (rf < f_radius).any(axis=1).mean(),
        (rf < r_radius[:, None]).sum(axis=0).mean() / k,
        (rf.min(axis=1) < r_radius).mean(),
    )
    assert prdc(real, fake, k=k) == pytest.approx(expected)
    fake[3] = -outlier
    assert prdc(real, fake, k=k) == pytest.approx(naive.prdc(real, fake, k))


def test_prdc_tells_what_is_wrong(rng):
    data = rng.standard_normal((400, 2))
    same = prdc(data, rng.standard_normal((400, 2)))
    assert min(same.precision, same.recall, same.coverage) > 0.9
    assert same.density == pytest.approx(1, abs=0.15)
    far = prdc(data, rng.standard_normal((400, 2)) + 100)
    assert far == (0, 0, 0, 0)
    collapsed = prdc(data, 0.05 * rng.standard_normal((400, 2)))
    assert collapsed.precision == 1
    assert collapsed.recall < 0.1
    assert collapsed.coverage < 0.1


def test_prdc_of_a_k_that_is_too_large(rng):
    x = rng.standard_normal((5, 2))
    with pytest.raises(ConfigError, match="k: expected a whole number from 1 to 4, got 5"):
        prdc(x, x)
