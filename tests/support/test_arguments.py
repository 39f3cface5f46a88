"""Checks of arguments, and how objects show the call that makes them."""

import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from minigan.errors import ConfigError
from minigan.support.arguments import did_you_mean, flag, instance, kind_of, number, path, whole
from minigan.support.representation import brief, constructor_call, fields, memory_size, short_path


@pytest.mark.parametrize(("value", "least"), [(1, 1), (0, 0), (np.int64(7), 1), (np.uint8(3), 2), (10**30, 1)])
def test_whole_numbers(value, least: int):
    result = whole(value, "n", least=least)
    assert result == value and type(result) is int


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "n must be a positive integer, got 0."),
        (True, "n must be a positive integer, got True."),
        (64.0, "n must be a positive integer, got 64.0. Write n=64."),
        ("64", "n must be a positive integer, got '64'. Write n=64."),
        (64.5, "n must be a positive integer, got 64.5."),
        (math.inf, "n must be a positive integer, got inf."),
        (math.nan, "n must be a positive integer, got nan."),
        (None, "n must be a positive integer, got None."),
        ([1], "n must be a positive integer, got [1]."),
    ],
)
def test_what_is_no_whole_number(value, says: str):
    with pytest.raises(ConfigError) as caught:
        whole(value, "n")
    assert str(caught.value) == says


def test_an_error_names_the_owner_the_limit_and_the_remedy():
    with pytest.raises(ConfigError, match=r"^D\.3: n must be an integer from 2 up, got 1\. Use more\.$"):
        whole(1, "n", of="D.3", least=2, remedy="Use more.")


def test_paths():
    assert path("a/b", "out") == path(Path("a/b"), "out") == Path("a/b")
    for value, got in ((3, "3"), ("", "''"), (None, "None"), (b"a", "a bytes")):
        with pytest.raises(ConfigError) as caught:
            path(value, "out")
        assert str(caught.value) == f"out must be a path, got {got}. Write out='FOLDER'."


@pytest.mark.parametrize(
    ("limits", "good", "bad", "expected"),
    [
        ({"least": 0, "below": 1}, (0, 0.5, np.float32(0.25)), (1, -0.1, math.nan, "0.5", True, None), "in [0, 1)"),
        ({"above": 0, "most": 1}, (1, 0.001), (0, 1.1), "in (0, 1]"),
        ({"above": 0}, (1e-300, 5), (0, -1, math.inf), "positive"),
        ({"least": 0}, (0, 3), (-1, math.inf), "a finite number from 0 up"),
        ({}, (-5, 0.0), (math.inf, math.nan, [1.0]), "a finite number"),
    ],
)
def test_numbers_within_limits(limits, good, bad, expected: str):
    for value in good:
        result = number(value, "r", **limits)
        assert result == value and type(result) in (int, float)
    for value in bad:
        with pytest.raises(ConfigError) as caught:
            number(value, "r", **limits)
        assert f"r must be {expected}, got {kind_of(value)}." in str(caught.value)


def test_a_number_in_quotes_is_written_without():
    with pytest.raises(ConfigError, match=r"got '1e-4'\. Write lr=1e-4\.$"):
        number("1e-4", "lr")
    with pytest.raises(ConfigError, match=r"got 'fast'\.$"):
        number("fast", "lr")


@dataclasses.dataclass(frozen=True)
class Loss:
    scale: float = 1.0


class Needy:
    def __init__(self, x: int) -> None:
        self.x = x


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("loss", "Write f=Loss()."),
        ("other", "Write f=Loss(scale=2.0)."),
        ("unknown", "Write f=Loss(3)."),
        (Loss, "Write f=Loss()."),
        (Needy, "Write f=Needy(...)."),
        (3, "Write f=Loss(3)."),
    ],
)
def test_an_object_in_place_of_its_name_or_class(value, remedy: str):
    assert instance(Loss(), Loss, "f", a="a loss", example="Loss(3)") == Loss()
    with pytest.raises(ConfigError) as caught:
        instance(value, Loss, "f", a="a loss", example="Loss(3)", named={"loss": Loss, "other": Loss(2.0)})
    assert str(caught.value) == f"f must be a loss, got {kind_of(value)}. {remedy}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (np.float32(0.5), "0.5"),
        ("a", "'a'"),
        ("a" * 100, "a string of 100 characters"),
        (Loss, "the class Loss"),
        (math.sqrt, "the function sqrt"),
        (np.zeros((2, 3)), "an array (2, 3) of float64"),
        ((1, "a"), "(1, 'a')"),
        ([1], "[1]"),
        (list(range(9)), "a list of 9"),
        ([np.zeros(5)], "a list of 1"),
        ({}, "a dict"),
        (Loss(), "a Loss"),
        (object(), "an object"),
    ],
)
def test_kinds_in_words(value, text: str):
    assert kind_of(value) == text


class Filter:
    def __init__(self, size, pair=1, *, stride=1, bias=True, init=None, hidden=0, weights=None):
        self.size, self.pair, self.stride, self.bias, self.init, self.weights = size, pair, stride, bias, init, weights
        self._hidden = hidden


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (Filter(3), "Filter(3)"),
        (Filter((3, 3), stride=(2, 2)), "Filter(3, stride=2)"),
        (Filter((3, 4), (1, 1), stride=(1, 1)), "Filter((3, 4))"),
        (Filter(3, 2, bias=False), "Filter(3, pair=2, bias=False)"),
        (Filter(3, hidden=4), "Filter(3)"),
        (Filter([1, 2], init=math.sqrt), "Filter([1, 2], init=sqrt)"),
        (Filter("a", init=Loss), "Filter('a', init=Loss)"),
        (Filter(np.zeros((2, 2)), weights=np.zeros(9)), "Filter(<float64 (2, 2)>, weights=<float64 (9,)>)"),
    ],
)
def test_the_call_that_makes_an_object(item, text: str):
    assert constructor_call(item) == text


def test_more_and_less_of_a_call():
    item = Filter(3, stride=2)
    assert constructor_call(item, defaults=True) == "Filter(3, pair=1, stride=2, bias=True)"
    assert constructor_call(item, leave_out=("size",)) == "Filter(stride=2)"
    assert constructor_call(item, elide=("size",)) == "Filter(..., stride=2)"


class Values(NamedTuple):
    loss: object
    images: object


def test_fields_in_brief():
    assert fields(Values(np.float32(0.693147), np.zeros((2, 3)))) == "Values(loss=0.693147, images=<float64 (2, 3)>)"
    assert fields(Loss()) == "Loss(scale=1.0)"
    assert brief((1,)) == "(1,)" and brief(()) == "()" and brief(Values(1, 2)) == "Values(loss=1, images=2)"
    assert (memory_size(12_345_678), memory_size(1_500)) == ("12.3 MB", "1.5 kB")


def test_flags_are_true_or_false():
    assert (flag(True, "a"), flag(np.False_, "a")) == (True, False)
    for wrong in (1, 0, "yes", None, np.ones(2)):
        with pytest.raises(ConfigError, match=r"^a must be True or False, got .*\. Write a=True or a=False\.$"):
            flag(wrong, "a")


def test_a_hint_names_the_likely_name():
    assert did_you_mean(" Adam ", ("adam", "sgd")) == " Did you mean adam?"
    assert did_you_mean("lion", ("adam", "sgd")) == did_you_mean(3, ("adam",)) == ""


def test_a_path_is_short_inside_the_present_folder(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert short_path(tmp_path / "a" / "b") == "b"
    assert short_path(tmp_path / "b") == str(tmp_path / "b")
    (tmp_path / "a").rmdir()
    assert short_path(tmp_path / "b") == str(tmp_path / "b")


def test_a_path_without_nul_and_from_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert path("~/runs", "out") == Path("/home/me/runs")
    with pytest.raises(ConfigError, match=r"^out must be a path, got 'a\\x00'\. Write it\.$"):
        path("a\0", "out", remedy="Write it.")
