"""The loader: order, position, resuming, threads, errors."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.data import Dataset, Digits, Loader, ShapePairs
from minigan.errors import ConfigError, DataError


class Numbers(Dataset):
    """Item i is the point (i, i); item `broken` cannot be read."""

    def __init__(self, count, *, broken=None, delay=0.0, labels=True):
        values = np.arange(count, dtype=np.int64) if labels else None
        super().__init__(name="numbers", count=count, shape=(2,), labels=values)
        self.broken = broken
        self.delay = delay
        self.threads = set()
        self.reads = 0

    def read(self, indices):
        self.threads.add(threading.current_thread())
        self.reads += 1
        time.sleep(self.delay)
        if self.broken in indices:
            raise DataError(f"numbers: item {self.broken} is broken")
        return np.repeat(np.asarray(indices, dtype=np.float32)[:, None], 2, axis=1)


def take(loader, count):
    return [next(loader)[:, 0].astype(int).tolist() for _ in range(count)]


def test_an_epoch_is_a_permutation_that_numpy_tells():
    with Loader(Numbers(10), batch_size=3, seed=5) as loader:
        assert loader.steps_per_epoch == 3
        batches = take(loader, 6)
    for epoch in range(2):
        order = np.random.default_rng([5, epoch]).permutation(10).tolist()
        assert batches[3 * epoch : 3 * epoch + 3] == [order[0:3], order[3:6], order[6:9]]


def test_keeping_the_last_batch():
    with Loader(Numbers(7), batch_size=3, seed=0, shuffle=False, drop_last=False) as loader:
        assert loader.steps_per_epoch == 3
        assert take(loader, 4) == [[0, 1, 2], [3, 4, 5], [6], [0, 1, 2]]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.data(),
    st.integers(0, 10),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0, 2]),
    st.booleans(),
    st.booleans(),
)
def test_resuming_anywhere_goes_on_bit_for_bit(count, data, steps, before, after, shuffle, drop_last):
    batch_size = data.draw(st.integers(1, count))
    settings = {"batch_size": batch_size, "seed": 3, "shuffle": shuffle, "drop_last": drop_last}
    with Loader(Numbers(count), prefetch=before, **settings) as loader:
        take(loader, steps)
        state = loader.state()
        expected = take(loader, 5)
    assert all(type(value) is int for value in state.values())
    with Loader(Numbers(count), prefetch=after, state=state, **settings) as resumed:
        assert resumed.state() == state
        assert take(resumed, 5) == expected
        resumed.restore(state)
        assert take(resumed, 5) == expected


def test_the_position_is_the_consumers_not_the_threads():
    with Loader(Numbers(100), batch_size=10, seed=0, prefetch=4) as loader:
        assert (loader.state()["epoch"], loader.state()["offset"]) == (0, 0)
        take(loader, 1)
        time.sleep(0.02)
        assert loader.state()["offset"] == 10
        take(loader, 9)
        assert (loader.state()["epoch"], loader.state()["offset"]) == (1, 0)
    assert (loader.state()["epoch"], loader.state()["offset"]) == (1, 0)  # after closing, too


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_keep_the_order(workers):
    data = Numbers(64, delay=0.001)
    with Loader(data, batch_size=4, seed=1, prefetch=4, workers=workers) as loader:
        batches = take(loader, 40)
    with Loader(Numbers(64), batch_size=4, seed=1, prefetch=0) as loader:
        assert take(loader, 40) == batches
    assert threading.main_thread() not in data.threads
    assert not any(thread.is_alive() for thread in data.threads)


def test_reading_ahead_happens_in_the_background():
    """Three batches are read while nobody asks for them."""
    data = Numbers(64)
    with Loader(data, batch_size=4, seed=1, prefetch=3) as loader:
        next(loader)
        patience = time.monotonic() + 30
        while data.reads < 4 and time.monotonic() < patience:
            time.sleep(0.001)
        assert data.reads >= 4
    assert threading.main_thread() not in data.threads


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_an_error_in_the_thread_surfaces_at_its_batch(prefetch):
    with Loader(Numbers(20, broken=9), batch_size=4, seed=1, shuffle=False, prefetch=prefetch) as loader:
        assert take(loader, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
        for _ in range(2):
            with pytest.raises(DataError, match="item 9 is broken"):
                next(loader)
            assert loader.state()["offset"] == 8


def test_labels():
    digits = Digits(count=40, size=(8, 8))
    with Loader(digits.with_labels(), batch_size=10, seed=2) as loader:
        x, labels = next(loader)
    order = np.random.default_rng([2, 0]).permutation(40)[:10]
    np.testing.assert_array_equal(x, digits.read(order))
    np.testing.assert_array_equal(labels, digits.labels[order])
    assert labels.dtype == np.int64


def test_pairs():
    pairs = ShapePairs(count=8, size=(8, 8))
    with Loader(pairs, batch_size=3, seed=2) as loader:
        a, b = next(loader)
    order = np.random.default_rng([2, 0]).permutation(8)[:3]
    np.testing.assert_array_equal(a, pairs.read(order)[0])
    np.testing.assert_array_equal(b, pairs.read(order)[1])


def test_threads_may_share_a_cache():
    digits = Digits(count=300, size=(12, 12))
    with Loader(digits, batch_size=8, seed=2, prefetch=6, workers=4) as loader:
        batches = [next(loader) for _ in range(80)]
    with Loader(Digits(count=300, size=(12, 12), cache_bytes=0), batch_size=8, seed=2, prefetch=0) as loader:
        for batch in batches:
            np.testing.assert_array_equal(batch, next(loader))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, "batch_size is 11, but numbers holds 10 items. Lower batch_size"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"seed": -1}, "seed must be"),
        ({"prefetch": -1}, "prefetch must be"),
        ({"workers": 0}, "workers must be"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        Loader(Numbers(10), **{"batch_size": 2, "seed": 0, **options})


def test_labels_that_do_not_exist():
    with pytest.raises(ConfigError, match="numbers: expected labels, found none"):
        Numbers(10, labels=False).with_labels()


def test_a_labeled_dataset_is_its_source_with_labels():
    digits = Digits(count=40, size=(8, 8))
    labeled = digits.with_labels()
    assert labeled.describe() == digits.describe()
    assert (labeled.name, len(labeled), labeled.classes) == ("digits", 40, digits.classes)
    with pytest.raises(DataError, match="from 0 to 39, got 40"):
        labeled.read([40])


def test_something_that_is_no_dataset():
    with pytest.raises(ConfigError, match=r"a Loader reads a dataset, got an array .* Write Loader\(open"):
        Loader(np.zeros((10, 2)), batch_size=2, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": 11}, "items=11, but this loader has items=10"),
        ({"batch_size": 5}, "batch_size=5"),
        ({"seed": 1}, "seed=1"),
        ({"shuffle": 0}, "shuffle=0"),
        ({"offset": 1}, "damaged"),
        ({"offset": 10}, "damaged"),
        ({"offset": -2}, "damaged"),
        ({"epoch": -1}, "damaged"),
    ],
)
def test_states_of_another_loader(change, message):
    loader = Loader(Numbers(10), batch_size=2, seed=0)
    with pytest.raises(ConfigError, match=message):
        loader.restore({**loader.state(), **change})
    with pytest.raises(ConfigError, match="lacks epoch"):
        loader.restore({"offset": 0})


def test_a_closed_loader_says_so():
    loader = Loader(Numbers(10), batch_size=2, seed=0)
    next(loader)
    loader.close()
    loader.close()
    with pytest.raises(ConfigError, match="closed"):
        next(loader)
    assert loader.state()["offset"] == 2
