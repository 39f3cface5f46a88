"""Ranks that are processes: what MPI carries is what threads have shown."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minigan.errors import RankError

MPIEXEC = Path(sys.executable).with_name("mpiexec")
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.parametrize(("size", "recipes"), [(2, ["dcgan", "cyclegan"]), (4, ["multi-d", "vae"])])
def test_processes_follow_one(size, recipes):
    pytest.importorskip("mpi4py")
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec next to this Python: pip install 'minigan[mpi]'")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HELPERS.parents[1]), str(HELPERS)])
    done = subprocess.run(
        [MPIEXEC, "-n", str(size), sys.executable, HELPERS / "on_mpi.py", *recipes],
        env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
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
    pytest.importorskip("mpi4py")
    from minigan.distributed.mpi import PROMPT, MpiRanks

    class Failed:
        exchanges = 0

        def expect_all(self, waited):
            raise RankError("rank 1: it has failed.")

    class Exchange:
        def __init__(self, over_after):
            self.looks, self.over_after = itertools.count(1), over_after

        def Test(self):  # noqa: N802 (mpi4py's name)
            return next(self.looks) > self.over_after

    ranks = MpiRanks.__new__(MpiRanks)
    ranks.watch = Failed()
    ranks._finish(Exchange(PROMPT + 1))
    with pytest.raises(RankError):
        ranks._finish(Exchange(float("inf")))
    assert ranks.watch.exchanges == 2
