"""Samples of seeds, truncation and walks: which pictures are the same, bit for bit."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from tiny_generators import tiny_generator

import minigan
from minigan.errors import ConfigError, OutOfMemoryError
from minigan.latent import tools
from minigan.recipes import MLP
from minigan.runs import TrainedGenerator
from minigan.training.priors import Prior, UniformPrior

DCGAN = {"name": "dcgan", "shape": (28, 28, 1), "scale": 10.0}
BATCH = {"ema": 0.9, "ema_statistics": "batch", "averaged": True}
KINDS = {
    "mlp": {},
    "classes": {"condition": "concatenation"},
    "dcgan": DCGAN,
    "vae": {"name": "vae", "shape": (28, 28, 1)},
    "points": {"shape": (2,)},
    "batch": {**DCGAN, **BATCH},
    "batch, classes": {**DCGAN, **BATCH, "condition": "concatenation"},
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request) -> TrainedGenerator:
    return tiny_generator(**KINDS[request.param])


def independent(kind: str) -> bool:
    """Whether samples of one stream do not depend on each other; those of seeds never do."""
    return "batch" not in kind


each_by_itself = pytest.mark.parametrize("trained", [*filter(independent, KINDS)], indirect=True)


def test_a_seed_s_picture_is_its_own(trained):
    alone, among = trained.sample(seeds=[7]), trained.sample(seeds=[3, 7, 12, 7])
    np.testing.assert_array_equal(among[[1, 3]], alone[[0, 0]])
    assert (among[0] != among[1]).any()
    narrow = [trained.sample(seeds=seeds, truncation=0.6) for seeds in ([7], [3, 7])]
    np.testing.assert_array_equal(narrow[0][0], narrow[1][1])
    assert (narrow[0] != alone).any()


@each_by_itself
def test_a_seed_draws_the_first_of_its_stream(trained):
    """Up to rounding, which weights as large as these magnify: more samples at a time are summed in another order."""
    stream = trained.sample(5, seed=7)
    np.testing.assert_allclose(trained.sample(seeds=[7])[0], stream[0], atol=1e-3)
    narrow = trained.sample(5, seed=7, truncation=0.6)
    np.testing.assert_allclose(trained.sample(seeds=[7], truncation=0.6)[0], narrow[0], atol=1e-3)
    np.testing.assert_allclose(trained.sample(2, seed=7, truncation=0.6), narrow[:2], atol=1e-3)


def test_truncation_1_is_no_truncation(trained):
    np.testing.assert_array_equal(trained.sample(5, seed=7, truncation=1), trained.sample(5, seed=7))
    np.testing.assert_array_equal(trained.sample(seeds=[4, 7], truncation=1), trained.sample(seeds=[4, 7]))


@each_by_itself
def test_truncation_narrows_and_0_draws_one_picture(trained):
    label = 3 if trained.recipe.class_count else None
    spread = [
        trained.sample(100, seed=1, label=label, truncation=share).std(axis=0).mean() for share in (1, 0.5, 0.1, 0)
    ]
    assert spread[0] > spread[1] > spread[2] > spread[3]
    assert spread[3] < 1e-6


def test_a_seed_s_class_does_not_change_its_z():
    trained = tiny_generator(condition="concatenation")
    z, condition = trained.recipe.sources(np.random.default_rng(7), 1)
    drawn = int(condition.argmax())
    np.testing.assert_array_equal(trained.sample(seeds=[7], label=drawn), trained.sample(seeds=[7]))
    np.testing.assert_array_equal(trained.draw(z, label=drawn), trained.sample(seeds=[7]))
    rows = trained.sample(seeds=[7, 7, 8, 8], label=[1, 2, 1, 2])
    for seed, pair in ((7, rows[:2]), (8, rows[2:])):
        for label, row in zip((1, 2), pair, strict=True):
            np.testing.assert_array_equal(trained.sample(seeds=[seed], label=label)[0], row)


@pytest.mark.parametrize("loop", [True, False])
def test_a_walk_passes_through_its_seeds_pictures(trained, loop: bool):
    walk, stations = trained.walk(3, seeds=[5, 2, 9], loop=loop), trained.sample(seeds=[5, 2, 9])
    assert len(walk) == (12 if loop else 9)
    np.testing.assert_array_equal(walk[[0, 4, 8]], stations)
    # Each picture differs from its neighbors, and by less than the seeds do from each other.
    ahead = np.roll(walk, -1, axis=0)[: len(walk) if loop else -1]
    steps = np.abs(walk[: len(ahead)] - ahead).reshape(len(ahead), -1).mean(axis=1)
    jumps = [np.abs(stations[a] - stations[b]).mean() for a, b in ((0, 1), (1, 2), (2, 0))]
    assert steps.min() > 0
    for number, jump in enumerate(jumps if loop else jumps[:2]):
        assert steps[4 * number : 4 * number + 4].max() < jump


def test_a_walk_in_a_class_and_through_classes():
    trained = tiny_generator(condition="concatenation", classes=[f"c{n}" for n in range(10)])
    within = trained.walk(3, seeds=[5, 2], label="c4")
    np.testing.assert_array_equal(within[[0, 4]], trained.sample(seeds=[5, 2], label=4))
    through = trained.walk(3, seeds=[5], label=["c4", 1, "6"], loop=False)
    np.testing.assert_array_equal(through[[0, 4, 8]], trained.sample(seeds=[5, 5, 5], label=[4, 1, 6]))
    both = trained.walk(1, seeds=[5, 2, 8], label=np.array([4, 1, 6]), truncation=0.5)
    np.testing.assert_array_equal(both[::2], trained.sample(seeds=[5, 2, 8], label=[4, 1, 6], truncation=0.5))
    halfway = trained.recipe.one_hot(np.array([4, 1])).mean(axis=0)
    z = trained.recipe.sources(np.random.default_rng(5), 1, label=4)[0]
    drawn = minigan.generate(trained.G, z, halfway[None])
    np.testing.assert_allclose(through[2], trained.recipe.to_images(drawn)[0], atol=1e-6)


def test_a_walk_takes_the_prior_s_path():
    @dataclass(frozen=True, kw_only=True)
    class Uniform(MLP):
        prior: ClassVar[Prior] = UniformPrior()

    normal, recipe = tiny_generator(), Uniform(latent=6, hidden=24)
    uniform = TrainedGenerator(normal.G, recipe, 0, 1.0, (), averaged=False)
    for trained in (normal, uniform):
        ends = [trained.recipe.sources(np.random.default_rng(seed), 1)[0][0] for seed in (1, 2)]
        halfway = trained.recipe.prior.between(*ends, 0.5)
        np.testing.assert_array_equal(trained.walk(1, seeds=[1, 2])[1], trained.draw(halfway)[0])
    assert np.abs(ends).max() < 1
    np.testing.assert_allclose(halfway, np.mean(ends, axis=0))
    narrowed = uniform.recipe.truncated(np.array([ends[0]]), 0.3, np.random.default_rng(0))
    assert 0 < np.abs(narrowed).max() <= 0.3


def test_latent_vectors_are_drawn_as_they_are(trained):
    label = 3 if trained.recipe.class_count else None
    z = trained.recipe.sources(np.random.default_rng(7), 1, label=label)[0]
    np.testing.assert_array_equal(trained.draw(z[0], label=label), trained.sample(seeds=[7], label=label))
    np.testing.assert_array_equal(
        trained.draw(np.repeat(z, 3, axis=0), label=label)[2], trained.draw(z, label=label)[0]
    )


REFUSED = {
    "seeds must be a list of integers from 0 up, got 7": lambda t: t.sample(seeds=7),
    "seeds must be a list of integers from 0 up, got []": lambda t: t.sample(seeds=[]),
    "seeds must be integers from 0 up, got -1": lambda t: t.sample(seeds=[1, -1]),
    "seeds must be integers from 0 up, got 0.5": lambda t: t.walk(3, seeds=[0.5, 1]),
    "seeds draw one sample each, got `count` or `seed` in addition": lambda t: t.sample(3, seeds=[1, 2]),
    "truncation must be in [0, 1], got 2": lambda t: t.sample(3, truncation=2),
    "truncation must be in [0, 1], got -0.1": lambda t: t.walk(3, truncation=-0.1),
    "truncation must be in [0, 1], got nan": lambda t: t.sample(seeds=[1], truncation=np.nan),
    "frames must be a positive integer, got 0": lambda t: t.walk(0),
    "loop must be True or False, got 'yes'": lambda t: t.walk(3, loop="yes"),
    "a walk needs at least two seeds or classes, got 1": lambda t: t.walk(3, seeds=[1]),
    "a walk needs seeds or classes that differ, got one and the same": lambda t: t.walk(3, seeds=[1, 1], label=4),
    "a walk through 3 classes has one seed, or as many, got 2": lambda t: t.walk(3, seeds=[1, 2], label=[1, 2, 3]),
    "expected a class from 0 to 9, got 10": lambda t: t.walk(3, seeds=[1], label=[9, 10]),
    "label must have a class for each of 2 samples, got 3": lambda t: t.sample(seeds=[1, 2], label=[1, 2, 3]),
    "mlp was trained with classes, got none": lambda t: t.draw(np.zeros(6)),
}


@pytest.mark.parametrize("says", REFUSED)
def test_bad_arguments_are_named(says: str):
    with pytest.raises(ConfigError) as caught:
        REFUSED[says](tiny_generator(condition="concatenation"))
    assert says in str(caught.value)


def test_a_class_of_a_generator_without_classes_is_refused():
    with pytest.raises(ConfigError, match="was trained without classes, got the class 3"):
        tiny_generator().walk(3, label=3)


def test_a_walk_that_memory_cannot_hold_is_refused(monkeypatch):
    trained = tiny_generator()

    def refuse(nbytes, *, what, remedy):
        raise OutOfMemoryError(f"{what}: {nbytes}. {remedy}")

    monkeypatch.setattr(tools, "expect_room", refuse)
    with pytest.raises(OutOfMemoryError, match=r"6,000,006 samples"):
        trained.walk(10**6)
