"""Parameters of which the quick tests take a few."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def few_quick(parameters: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """All parameters, those that are not among the quick ones for the exhaustive tests."""
    known = list(parameters)
    unknown = [one for one in quick if one not in known]
    if unknown:
        raise ValueError(f"no such parameters: {unknown}")
    return [one if one in quick else pytest.param(one, marks=pytest.mark.exhaustive) for one in known]
