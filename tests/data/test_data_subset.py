"""Parts of a dataset: what is held out, and that training does not see it."""

import numpy as np
import pytest

from minigan.data import Digits, open_dataset
from minigan.data.subset import split_dataset
from minigan.errors import ConfigError


def digits(count: int) -> Digits:
    return Digits(size=(8, 8), count=count, seed=0, cache_bytes=0)


@pytest.mark.parametrize(("count", "held_out", "kept"), [(20_000, 500, 500), (100, 500, 10), (9, 500, 1), (2, 1, 1)])
def test_the_parts_are_disjoint_and_together_all(count: int, held_out: int, kept: int):
    whole = digits(count)
    train, val = (split_dataset(whole, held_out=held_out, part=part) for part in ("train", "val"))
    assert (len(train), len(val)) == (count - kept, kept)
    together = np.sort(np.concatenate([train.taken, val.taken]))
    np.testing.assert_array_equal(together, np.arange(count))


def test_every_class_is_held_out():
    """The digits' classes go round, so that every fortieth is a 0."""
    whole = digits(20_000)
    val = split_dataset(whole, held_out=500, part="val")
    assert np.bincount(val.labels, minlength=10).min() > 20
    np.testing.assert_array_equal(val.labels, whole.labels[val.taken])
    np.testing.assert_array_equal(val.read([3, 7]), whole.read(val.taken[[3, 7]]))


def test_the_lot_is_the_same_each_time():
    one, other = (split_dataset(digits(300), held_out=20, part="val") for _ in range(2))
    np.testing.assert_array_equal(one.taken, other.taken)


def test_one_image_cannot_be_split(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(ConfigError, match="expected at least 2 images"):
        split_dataset(open_dataset(tmp_path / "x.npy"), held_out=1, part="val")
