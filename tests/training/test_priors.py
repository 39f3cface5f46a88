"""Distributions of latent vectors: narrowed, and joined by paths that stay where they draw."""

import numpy as np
import pytest

from minigan.training.priors import NormalPrior, UniformPrior

PRIORS = (NormalPrior(), UniformPrior())
every_prior = pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.name)


def rng(seed=0):
    return np.random.default_rng(seed)


@every_prior
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_truncation_draws_from_the_middle_share(prior, share: float):
    """Numbers inside stay, the others are drawn anew; together they are spread as the middle of the distribution is."""
    z = prior.draw(rng(), 400, 50)
    narrowed, bound = prior.truncated(z, share, rng(1)), prior.bound(share)
    inside = np.abs(z) <= bound
    assert abs(inside.mean() - share) < 0.02
    assert np.abs(narrowed).max() <= bound
    np.testing.assert_array_equal(narrowed[inside], z[inside])
    # Kolmogorov-Smirnov: those drawn anew are spread like those that stayed, within chance.
    old, new = np.sort(z[inside]), np.sort(narrowed[~inside])
    if min(len(old), len(new)) > 1000:
        grid = np.linspace(-bound, bound, 200)
        gap = np.abs(np.searchsorted(old, grid) / len(old) - np.searchsorted(new, grid) / len(new)).max()
        assert gap < 1.95 * np.sqrt(1 / len(old) + 1 / len(new))


@every_prior
def test_truncation_1_is_none_and_0_leaves_the_middle_alone(prior):
    z = prior.draw(rng(), 3, 5)
    assert prior.truncated(z, 1, rng(1)) is z
    np.testing.assert_array_equal(prior.truncated(z, 0, rng(1)), np.zeros((3, 5)))
    np.testing.assert_array_equal(z, prior.draw(rng(), 3, 5))


@every_prior
def test_a_vector_does_not_depend_on_how_many_follow(prior):
    z = prior.draw(rng(), 6, 40)
    np.testing.assert_array_equal(prior.truncated(z, 0.5, rng(1))[:2], prior.truncated(z[:2], 0.5, rng(1)))


def test_bounds_are_those_of_the_tables():
    assert NormalPrior().bound(0.7) == pytest.approx(1.0364, abs=1e-4)
    assert NormalPrior().bound(0.95) == pytest.approx(1.9600, abs=1e-4)
    assert UniformPrior().bound(0.7) == pytest.approx(0.7)


@every_prior
def test_a_path_begins_and_ends_exactly_at_its_points(prior):
    a, b = prior.draw(rng(), 2, 100)
    for t, end in ((0, a), (1, b), (0.0, a), (1.0, b)):
        assert prior.between(a, b, t) is end


def test_an_arc_keeps_to_the_sphere_and_a_line_to_the_cube():
    a, b = NormalPrior().draw(rng(), 2, 100)
    a, b = a / np.linalg.norm(a) * 10, b / np.linalg.norm(b) * 10
    arc = np.stack([NormalPrior().between(a, b, t) for t in np.linspace(0, 1, 9)])
    np.testing.assert_allclose(np.linalg.norm(arc, axis=1), 10, rtol=1e-12)
    np.testing.assert_allclose(np.diff(np.linalg.norm(np.diff(arc, axis=0), axis=1)), 0, atol=1e-9)  # even steps
    assert np.linalg.norm((a + b) / 2) < 8  # where a straight line would pass
    a, b = UniformPrior().draw(rng(), 2, 100)
    line = np.stack([UniformPrior().between(a, b, t) for t in (0.25, 0.5)])
    np.testing.assert_allclose(line, [0.75 * a + 0.25 * b, (a + b) / 2])


@pytest.mark.parametrize(("a", "b"), [([1.0], [2.0]), ([1.0, 2.0], [-1.0, -2.0]), ([0.0, 0.0], [1.0, 1.0])])
def test_points_in_line_are_joined_by_a_line(a, b):
    a, b = np.array(a), np.array(b)
    np.testing.assert_allclose(NormalPrior().between(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_what_is_never_drawn_is_moved_back():
    z = NormalPrior().draw(rng(), 3, 100) * np.array([[1], [5], [0]])
    before = z.copy()
    NormalPrior().hold(z)
    np.testing.assert_array_equal(z[0], before[0])
    np.testing.assert_array_equal(z[2], 0)
    assert np.linalg.norm(z[1]) == pytest.approx(13)
    np.testing.assert_allclose(z[1] * np.linalg.norm(before[1]) / 13, before[1])
    z = np.array([[0.5, -3.0]])
    UniformPrior().hold(z)
    np.testing.assert_array_equal(z, [[0.5, -1]])
