"""Dealing, random numbers, agreement and errors among ranks."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from rank_parity import small, trained
from thread_ranks import ThreadRanks, on_ranks

from minigan.backends import get_backend
from minigan.data import Loader, open_dataset
from minigan.distributed import ALONE, dealt, same_everywhere
from minigan.errors import ConfigError, DivergenceError, ShapeError
from minigan.nn.layers import MinibatchStdDev
from minigan.nn.network import Sequential
from minigan.training.rank_means import mean_over_ranks
from minigan.training.replays import replays_of
from minigan.training.stepper import Stepper


def rank_of(rank: int, size: int) -> ThreadRanks:
    """One that talks to nobody."""
    return ThreadRanks(rank, size, None)


# ---------------------------------------------------------------------------------------- one process


def test_one_process_keeps_what_it_has():
    array = np.arange(3.0)
    for same in (ALONE.sum, ALONE.mean, ALONE.whole, ALONE.own, ALONE.from_first):
        assert same(array) is array
    assert (ALONE.any(True), ALONE.any(False), ALONE.gather(3)) == (True, False, [3])
    assert ALONE.deal(7, together=2) == 7, "a recipe refuses it where packs need that"
    assert ALONE.units is None
    rng = np.random.default_rng(0)
    assert dealt(rng, ALONE) is rng
    same_everywhere(ALONE, {"w": array})
    with pytest.raises(SystemExit):
        ALONE.abort(3)


def test_alone_is_within_a_context():
    backend = get_backend("reference")
    backend.ranks = ranks = rank_of(0, 2)
    with backend.alone():
        assert backend.ranks is ALONE
        with backend.alone():
            pass
        assert backend.ranks is ALONE
    assert backend.ranks is ranks
    with pytest.raises(ZeroDivisionError), backend.alone():
        _ = 1 / 0
    assert backend.ranks is ranks
    assert get_backend("reference").ranks is ALONE


# ---------------------------------------------------------------------------------------- dealing


def test_rows_are_dealt_like_cards():
    ranks = rank_of(1, 3)
    assert ranks.deal(6) == 2
    assert ranks.own(np.arange(6)).tolist() == [1, 4]
    assert ranks.own(np.arange(12).reshape(6, 2)).tolist() == [[2, 3], [8, 9]]


def test_packs_are_dealt_whole_before_and_after_they_are_joined():
    ranks = rank_of(1, 2)
    assert ranks.deal(12, together=3) == 6
    assert ranks.own(np.arange(12)).tolist() == [3, 4, 5, 9, 10, 11]
    assert ranks.own(np.arange(4)).tolist() == [1, 3]


@pytest.mark.parametrize("together", [1, 2])
def test_what_is_dealt_comes_together_again(together):
    rows = np.arange(24.0).reshape(12, 2)

    def work(ranks):
        ranks.deal(12, together=together)
        return ranks.whole(ranks.own(rows))

    for whole in on_ranks(3, work):
        assert np.array_equal(whole, rows)


@pytest.mark.parametrize(
    ("batch_size", "together", "said"),
    [
        (7, 1, "4 ranks need equal parts, got `batch_size=7`. Choose a multiple of 4, or start"),
        (8, 4, "4 ranks need equal parts of packs of 4, got `batch_size=8`. Choose a multiple of 16, or start"),
    ],
)
def test_uneven_parts_are_refused(batch_size, together, said):
    with pytest.raises(ConfigError) as raised:
        rank_of(0, 4).deal(batch_size, together=together)
    assert said in str(raised.value)


def test_each_training_deals_its_own_batches():
    ranks = rank_of(1, 2)
    packs, examples = ranks.dealing(12, together=3), ranks.dealing(8)
    assert packs.own(np.arange(12)).tolist() == [3, 4, 5, 9, 10, 11]
    assert examples.own(np.arange(8)).tolist() == [1, 3, 5, 7]
    for size in (12, 8):
        with Loader(open_dataset("ring"), batch_size=size, seed=0) as loader:
            loader.share(ranks)
    assert ranks.units is None
    assert ALONE.dealing(7, together=2) is ALONE


def test_a_loader_gives_its_rank_each_batch_and_keeps_the_place_of_all():
    dataset = open_dataset("digits").with_labels()

    def of(*ranks, **settings):
        loader = Loader(dataset, batch_size=8, seed=3, mirror=True, **settings)
        for each in ranks:
            loader.share(each)
        return loader

    whole, state = of(), None
    parts = [of(rank_of(rank, 2)) for rank in range(2)]
    for _ in range(3):
        images, labels = next(whole)
        for rank, part in enumerate(parts):
            own_images, own_labels = next(part)
            assert np.array_equal(own_images, images[rank::2])
            assert np.array_equal(own_labels, labels[rank::2])
            assert part.state() == whole.state()
        state = whole.state()
    resumed = of(rank_of(3, 4), state=state)
    assert np.array_equal(next(resumed)[1], next(whole)[1][3::4])
    ahead = of()
    next(ahead)
    ahead.share(rank_of(0, 2))  # what was read ahead is read again
    again = of()
    next(again)
    assert np.array_equal(next(ahead)[1], next(again)[1][0::2])
    for loader in (whole, *parts, resumed, ahead, again):
        loader.close()


def test_a_smaller_last_batch_is_refused():
    loader = Loader(open_dataset("ring"), batch_size=999, seed=0, drop_last=False)
    with pytest.raises(ConfigError, match="2 ranks need batches of one size, got `drop_last=False`"):
        loader.share(rank_of(0, 2))


def test_groups_that_a_rank_cannot_hold_are_refused():
    net, backend = Sequential([MinibatchStdDev(4)]), get_backend("reference")
    backend.ranks = rank_of(0, 4)
    net.build((3,), backend=backend, rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match="groups of 4 examples do not divide a batch of 8, 2 on each of 4 ranks"):
        net.forward(np.zeros((2, 3), np.float32), train=True)


# ---------------------------------------------------------------------------------------- random numbers

DRAWS = {
    "random": lambda rng, n: rng.random((n, 2)),
    "random, float32": lambda rng, n: rng.random(size=(n, 2), dtype=np.float32),
    "standard_normal": lambda rng, n: rng.standard_normal((n, 3)),
    "standard_normal, rows": lambda rng, n: rng.standard_normal(n),
    "normal": lambda rng, n: rng.normal(1, 2, size=(n, 2)),
    "uniform": lambda rng, n: rng.uniform(-1, 1, (n, 1, 1)),
    "integers": lambda rng, n: rng.integers(0, 9, n),
    "integers to": lambda rng, n: rng.integers(np.array([1, 2]), 3, (n, 2), endpoint=True),
    "choice": lambda rng, n: rng.choice(5, size=n),
    "out": lambda rng, n: rng.random(dtype=np.float32, out=np.empty((n, 2), np.float32)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_each_rank_draws_all_and_keeps_its_rows(name):
    draw, whole = DRAWS[name], np.random.default_rng(0)
    expected = draw(whole, 6)
    for rank in range(3):
        rng, ranks = np.random.default_rng(0), rank_of(rank, 3)
        ranks.deal(6)
        own = draw(dealt(rng, ranks), 2)
        assert np.array_equal(own, expected[rank::3])
        assert own.dtype == expected.dtype
        assert rng.bit_generator.state == whole.bit_generator.state


def test_draws_without_rows_are_the_same_on_all_ranks():
    for draw in (lambda rng: rng.permutation(7), lambda rng: rng.integers(2), lambda rng: rng.random()):
        own = draw(dealt(np.random.default_rng(0), rank_of(1, 2)))
        assert np.array_equal(own, draw(np.random.default_rng(0)))


def test_other_draws_are_refused():
    with pytest.raises(ConfigError, match=r"rng\.laplace cannot be shared among 2 ranks: draw by random, uniform"):
        dealt(np.random.default_rng(0), rank_of(1, 2)).laplace(0, 1, 4)


# ---------------------------------------------------------------------------------------- agreement and errors


def test_a_difference_is_told_on_every_rank():
    def work(ranks):
        weights = np.zeros(4, np.float32)
        same_everywhere(ranks, {"G.0.w": weights})
        weights[2] = np.float32(1e-30) * (ranks.rank == 2)
        with pytest.raises(ConfigError) as raised:
            same_everywhere(ranks, {"D.0.w": np.ones(2), "G.0.w": weights})
        return str(raised.value)

    lines = on_ranks(3, work)
    assert len(set(lines)) == 1
    assert lines[0].startswith("G.0.w is no longer the same on all ranks: rank 2 differs from rank 0. ")


@pytest.mark.parametrize("through_stepper", [False, True])
def test_a_number_that_is_not_finite_on_one_rank_stops_all_alike(through_stepper):
    recipe = small("dcgan")

    def train(ranks):
        backend = get_backend("reference")
        backend.ranks = ranks
        ranks.deal(8)
        learner = recipe.assemble((16, 16, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))
        rng = dealt(np.random.default_rng(1), ranks)

        def batches():
            for step in range(9):
                images = np.full((4, 16, 16, 1), 0.5)
                if step == 3 and ranks.rank == 1:
                    images[0, 3, 3, 0] = np.nan
                yield images

        given = batches()
        stepper = Stepper(learner, given, rng)
        step = stepper.step if through_stepper else partial(learner.step, given, rng)
        for _ in range(3):
            step()
        before = learner.to_dict()
        with pytest.raises(DivergenceError) as raised:
            step()
        lost = stepper.back(raised.value) if through_stepper else 0
        after = learner.to_dict()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        return str(raised.value), lost

    (first, lost), other = on_ranks(2, train)
    assert other == (first, lost)
    assert lost == 0
    assert first == "the input of D is not finite."


def test_an_error_of_one_rank_does_not_keep_the_others():
    """The stand-in's own: a rank that waits for one that is gone would hang the tests."""

    def work(ranks):
        if ranks.rank == 1:
            raise ConfigError("of rank 1")
        ranks.barrier()

    with pytest.raises(ConfigError, match="of rank 1"):
        on_ranks(3, work)


def test_values_that_are_no_tuple_are_refused():
    def work(ranks):
        backend = get_backend("reference")
        backend.ranks = ranks
        learner = small("mlp").assemble((4, 4, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))
        with pytest.raises(ConfigError, match="2 ranks share the values of a step as a NamedTuple of up to 15"):
            mean_over_ranks(backend, [learner.grads["D"]], object())

    on_ranks(2, work)


def test_a_guard_that_is_unsound_on_one_rank_is_so_on_all():
    """On a device the host does not wait: what a rank's guard knows travels with the gradients."""

    class Values(NamedTuple):
        loss: float

    class Guard:
        def __init__(self, sound):
            self.sound = np.array(sound)

        def demand_below(self, array, limit):
            self.sound = self.sound & bool((np.abs(array) < limit).all())

    def work(ranks, unsound):
        backend = get_backend("reference")
        backend.ranks = ranks
        learner = small("mlp").assemble((4, 4, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))
        grads, backend.guard = learner.grads["D"], Guard(ranks.rank != unsound)
        grads.flat[...] = ranks.rank
        values = mean_over_ranks(backend, [grads], Values(np.float64(ranks.rank)))
        assert (grads.flat == 0.5).all()
        return float(values.loss), bool(backend.guard.sound)

    assert on_ranks(2, partial(work, unsound=1)) == [(0.5, False)] * 2
    assert on_ranks(2, partial(work, unsound=None)) == [(0.5, True)] * 2


def test_steps_of_several_ranks_are_neither_recorded_nor_captured():
    """Their exchanges would be left out."""
    backend = get_backend("reference")
    backend.ranks = rank_of(0, 2)
    learner = small("mlp").assemble((4, 4, 1), backend=backend, rng=np.random.default_rng(0))
    assert replays_of(learner, None, None, None, again=None) is None


def test_one_process_measures_the_same_with_and_without_room():
    """The stand-in of size 1 goes through the same code as ALONE."""
    one = on_ranks(1, lambda ranks: trained(small("mlp"), ranks, steps=3))[0]
    assert one.digests == trained(small("mlp"), steps=3).digests
