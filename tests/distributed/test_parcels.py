"""Values on their way from rank to rank."""

import math
from pathlib import Path

import numpy as np
import pytest

from minigan.distributed.parcels import packed, unpacked

VALUES = (
    None,
    True,
    -3,
    0.1,
    math.inf,
    "a",
    "\udcff",  # of a name that is no text
    Path("runs/\udcff"),
    ["a", "f8", [2], 0],  # as an array is written
    {"a": [1, {"b": None}], 2: "c"},
    [],
)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_arrives(value):
    arrived = unpacked(packed(value))
    assert arrived == value
    assert type(arrived) is type(value)


def test_tuples_become_lists():
    assert unpacked(packed((1, ("a", None)))) == [1, ["a", None]]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 3), np.float32),
        np.array(7),
        np.array([np.nan], ">f4"),
        np.ones(3, bool),
    ],
)
def test_an_array_arrives_to_the_bit(array):
    first, number, second = unpacked(packed([array, np.float32(0.1), array]))
    for arrived in (first, second):
        assert (arrived.dtype, arrived.shape, arrived.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert arrived.flags.writeable
    assert isinstance(number, np.float32)
    assert number == np.float32(0.1)


def test_nan_arrives():
    assert math.isnan(unpacked(packed(math.nan)))


def test_other_things_are_refused():
    with pytest.raises(TypeError):
        packed(object())
