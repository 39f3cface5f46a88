"""Ranks that are processes: what MPI carries is what threads have shown."""

import itertools
import json
import os
from pathlib import Path

import pytest
from mpiexec import Launched, needs_mpi

from minigan.distributed.mpi import PROMPT, MpiRanks
from minigan.errors import RankError

needs_mpi()
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.parametrize(
    ("size", "recipes"),
    [(2, ["dcgan"]), (4, ["vae"]), pytest.param(4, ["multi-d", "cyclegan"], marks=pytest.mark.exhaustive)],
)
def test_processes_follow_one(size, recipes):
    path = os.pathsep.join([str(HELPERS.parents[1]), str(HELPERS)])
    done = Launched(size, [str(HELPERS / "on_mpi.py"), *recipes], folder=HELPERS, PYTHONPATH=path).end()
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["size"] == size
    assert found["exchanges"] == [[]] * size
    line = "G.w is no longer the same on all ranks: rank 1 differs from rank 0."
    assert [text[: len(line)] for text in found["disagreement"]] == [line] * size
    for values, arrays, same in found["parity"].values():
        assert values < 1e-12
        assert arrays < 1e-9
        assert same


def test_an_exchange_that_is_over_counts_though_another_has_failed_since():
    """A rank that was not running meanwhile hears of the failure first."""

    class Failed:
        exchanges = 0

        def expect_all(self, _waited):
            raise RankError("rank 1: it has failed.")

    class Exchange:
        def __init__(self, over_after):
            self.looks, self.over_after = itertools.count(1), over_after

        def Test(self):
            return next(self.looks) > self.over_after

    ranks = MpiRanks.__new__(MpiRanks)
    ranks.watch = Failed()
    ranks._finish(Exchange(PROMPT + 1))
    with pytest.raises(RankError):
        ranks._finish(Exchange(float("inf")))
    assert ranks.watch.exchanges == 2
