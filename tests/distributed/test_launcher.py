"""Ranks from a launch: what is missing for them, told in one line."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from thread_ranks import on_ranks

from minigan.distributed import ALONE, expect_same_start, find_ranks, launcher
from minigan.errors import BackendError, ConfigError, MissingExtraError


@pytest.fixture
def launched(monkeypatch):
    """As if `mpiexec -n 3` had started this process."""
    for name, value in {"PMI_SIZE": "3", "PMI_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    launcher._started_together.cache_clear()
    yield
    launcher._started_together.cache_clear()


def test_one_process_asks_no_mpi(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert find_ranks() is ALONE


@pytest.mark.usefixtures("launched")
def test_without_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    text = "training on the 3 processes that were started needs mpi4py, which is not installed. Run: pip install "
    with pytest.raises(MissingExtraError, match=text):
        find_ranks()


def fake(monkeypatch, **attributes):
    package = ModuleType("mpi4py")
    vars(package).update(attributes)
    monkeypatch.setitem(sys.modules, "mpi4py", package)


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("error", [RuntimeError("cannot load MPI library\nlibmpi.so: no"), ImportError("libmpi.so.12")])
def test_without_an_mpi_library(monkeypatch, error):
    def missing(_):
        raise error

    fake(monkeypatch, __getattr__=missing)
    with pytest.raises(
        BackendError, match=r"mpi4py is installed, but finds no MPI library: .*Install one: pip install"
    ):
        find_ranks()


@pytest.mark.usefixtures("launched")
def test_a_launcher_of_another_mpi(monkeypatch):
    library = "Open MPI v5.0.8, package: Open MPI\n"
    fake(monkeypatch, MPI=SimpleNamespace(COMM_WORLD=SimpleNamespace(size=1), Get_library_version=lambda: library))
    line = "MPICH or Intel MPI started 3 processes, but mpi4py's Open MPI v5.0.8 sees 1. Start it with the mpiexec of"
    with pytest.raises(ConfigError, match=line):
        find_ranks()


@pytest.mark.usefixtures("launched")
def test_each_by_itself(monkeypatch):
    monkeypatch.setenv("MINIGAN_RANKS", "off")
    assert find_ranks() is ALONE


# ---------------------------------------------------------------------------------------- a start alike


def lines_of(size, facts):
    def start(ranks):
        with pytest.raises(ConfigError) as error:
            expect_same_start(ranks, facts(ranks.rank))
        return str(error.value)

    return set(on_ranks(size, start))


def test_what_is_the_same_starts():
    assert on_ranks(3, lambda ranks: expect_same_start(ranks, {"NumPy": "2", "`seed`": "0"})) == [None] * 3


def test_the_first_difference_is_named_on_all():
    (line,) = lines_of(4, lambda rank: {"NumPy": "2", "`seed`": str(int(rank > 1)), "the data": str(rank)})
    assert line.startswith("all ranks must train alike, but `seed` is 0 on rank 0 and 1 on rank 2, 3. Start them with")


def test_a_fact_that_one_rank_lacks():
    (line,) = lines_of(2, lambda rank: {"`pack`": "2"} if rank else {})
    assert "`pack` is not there on rank 0 and 2 on rank 1." in line
