"""Ranks with a GPU each, on stand-ins for CuPy and NCCL: they follow one rank, captured steps included."""

import itertools
import sys
import threading

import cuda_on_cpu
import fake_cuda
import fake_nccl
import numpy as np
import pytest
from fake_cuda import DEVICE
from rank_parity import Trace, digest, distances, expect_same, small
from thread_ranks import on_ranks

from minigan.distributed import ALONE, dealt
from minigan.distributed.nccl import NcclRanks, Seat, expect_own_devices
from minigan.errors import BackendError, ConfigError, DivergenceError
from minigan.runs.config import new_config
from minigan.runs.prepare import prepare_run
from minigan.support.launch import Launch
from minigan.training.stepper import Stepper

STEPS = 5
CASES = {
    "dcgan": {"penalty": "r1", "penalty_interval": 2, "loss": "relativistic-average"},
    "pool": {"fake_pool": 10, "augment": "adaptive", "augment_over": 100, "n_critic": 2},
    "matching": {"feature_matching": 1.0, "penalty": "dragan", "accumulate": 2},
}


@pytest.fixture(autouse=True)
def _two_devices(monkeypatch):
    monkeypatch.setattr(fake_cuda.Device, "count", 2)


def joined(device, ranks):
    """A backend on this rank's device."""
    sys.modules["cupy"].cuda.Device(ranks.rank).use()
    backend = type(device)(precision="fp32")
    backend.share(ranks)
    return backend


def trained(device, case, ranks=ALONE, *, dtype="float64", spoilt=None, steps=STEPS) -> tuple[Trace, int]:
    """A training as `minigan train` does it, on random images, and how many graphs were launched in it."""
    recipe = small("dcgan", condition="none", optimizer="sgd", lr=0.01, **CASES[case])
    backend = joined(device, ranks)
    ranks = backend.ranks
    ranks.deal(recipe.batch_size)
    rng, images = np.random.default_rng(0), np.random.default_rng(1)
    learner = recipe.assemble((16, 16, 1), backend=backend, dtype=dtype, rng=rng)
    own = dealt(rng, ranks)

    def batch(number):
        whole = images.uniform(-1, 1, (recipe.batch_size, 16, 16, 1))
        rows = ranks.own(whole)
        rows[...] = np.inf if (number, ranks.rank) == spoilt else rows
        return recipe.batch(rows, own)

    stepper = Stepper(learner, map(batch, itertools.count()), own)
    before, values, digests = DEVICE.launches, [], []
    with np.errstate(all="ignore"):
        for _ in range(steps):
            values.append([float(value) for value in stepper.step()])
            digests.append(digest(learner))
        stepper.check()
    return Trace(np.array(values), learner.to_dict(), digests, rng.bit_generator.state), DEVICE.launches - before


@pytest.mark.parametrize("case", CASES)
def test_captured_steps_follow_one_rank(device, case):
    one, launches = trained(device, case)
    (first, launched), (other, _) = on_ranks(2, lambda ranks: trained(device, case, ranks))
    assert first.digests == other.digests
    expect_same(first, one)
    assert launched == launches > 0


@pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize("backend", ["gpu on the CPU"], indirect=True)
def test_kernels_with_exchanges_between_their_passes(backend):
    options = {"dtype": "float32", "steps": 3}  # the first is not captured
    one, launches = trained(backend, "matching", **options)
    (first, launched), (other, _) = on_ranks(2, lambda ranks: trained(backend, "matching", ranks, **options))
    assert first.digests == other.digests
    assert max(distances(first, one)) < 2e-5
    assert launched == launches > 0


def nothing(*_):
    """In place of an all-reduce."""


def own_rows(link, send, receive, count, kind, stream):
    """In place of an all-gather."""
    own, parts = fake_nccl.memory(send, count, kind), fake_nccl.memory(receive, 2 * count, kind)
    link._put_on(stream, lambda: np.concatenate([own, own], out=parts))


@pytest.mark.parametrize(("call", "instead"), [("allReduce", nothing), ("allGather", own_rows)])
def test_each_kind_of_exchange_is_needed(device, monkeypatch, call, instead):
    one, _ = trained(device, "pool")
    monkeypatch.setattr(fake_nccl.NcclCommunicator, call, instead)
    (first, _), (other, _) = on_ranks(2, lambda ranks: trained(device, "pool", ranks))
    assert first.digests != other.digests
    assert max(distances(first, one)) > 1e-5


def test_a_replay_exchanges_anew(device, monkeypatch):
    """As it would not, if the numbers were added up while the step is captured."""
    one, _ = trained(device, "matching")
    right = fake_nccl.NcclCommunicator._put_on

    def put_on(self, stream, operation):
        if DEVICE.graph is None:
            right(self, stream, operation)

    monkeypatch.setattr(fake_nccl.NcclCommunicator, "_put_on", put_on)
    (first, _), _ = on_ranks(2, lambda ranks: trained(device, "matching", ranks))
    assert max(distances(first, one)) > 1e-5


def test_a_number_that_is_not_finite_on_one_rank_ends_both(device):
    ended = []

    def work(ranks):
        with pytest.raises(DivergenceError, match="not finite") as caught:
            trained(device, "dcgan", ranks, spoilt=(4, 1))
        ended.append((str(caught.value), caught.value.steps_ago))

    on_ranks(2, work)
    assert ended[0] == ended[1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_exchanges(device, dtype):
    def work(ranks):
        backend = joined(device, ranks)
        xp, ranks = backend.xp, backend.ranks
        assert isinstance(ranks, NcclRanks)
        assert ranks.capturable
        array = xp.asarray(np.full((2, 3), 1 + ranks.rank, dtype))
        assert ranks.sum(array) is array
        turned = xp.asarray(np.arange(6, dtype=dtype).reshape(2, 3)).T
        assert ranks.sum(turned) is turned
        scalar = xp.asarray(np.array(ranks.rank, dtype))
        mean = ranks.mean(xp.asarray(np.array([4 * ranks.rank], dtype) / 2))
        total = ranks.sum(scalar)
        ranks.deal(8, together=2)
        rows = np.arange(16, dtype=dtype).reshape(8, 2)
        whole = ranks.whole(xp.asarray(ranks.own(rows)))
        host = ranks.sum(np.ones(2)), ranks.mean(np.float64(ranks.rank)), ranks.whole(ranks.own(rows))
        found = [array, turned, scalar, mean, total, whole]
        return [backend.to_numpy(each) for each in found], host, ranks.any(ranks.rank == 1), ranks.from_first("a")

    rows = np.arange(16, dtype=dtype).reshape(8, 2)
    for rank, (found, host, any_, first) in enumerate(on_ranks(2, work)):
        double = 2 * np.arange(6).reshape(2, 3).T
        for one, wanted in zip(found, [np.full((2, 3), 3), double, rank, [1], 1, rows], strict=True):
            np.testing.assert_array_equal(one, wanted)
            assert one.dtype == dtype or dtype == "int64"
        np.testing.assert_array_equal(host[0], [2, 2])
        assert host[1] == 0.5
        np.testing.assert_array_equal(host[2], rows)
        assert (any_, first) == (True, "a")


def test_each_process_of_a_host_takes_the_gpu_of_its_number(device, monkeypatch):
    from minigan.backends.gpu import device as module

    monkeypatch.setattr(module, "find_launch", lambda: Launch(4, 3, 2, 1, "mpiexec"))
    assert type(device)().seat().device == "0000:01:00.0"
    monkeypatch.setattr(module, "find_launch", lambda: Launch(4, 2, 2, 0, "mpiexec"))
    assert type(device)().seat().device == "0000:00:00.0"
    monkeypatch.setattr(fake_cuda.Device, "count", 1)  # each process is shown its own alone
    monkeypatch.setattr(module, "find_launch", lambda: Launch(4, 3, 2, 1, "mpiexec"))
    assert type(device)().seat().device == "0000:00:00.0"


def test_one_gpu_for_two_ranks_is_refused_on_both(device):
    lines = []

    def work(ranks):
        with pytest.raises(ConfigError) as caught:
            type(device)().share(ranks)
        lines.append(str(caught.value))

    on_ranks(2, work)
    assert lines[0] == lines[1]
    assert lines[0].startswith("ranks 0, 1 have one GPU (0000:00:00.0 of ")
    expect_own_devices([Seat("gpu", "a", "0000:00:00.0"), Seat("gpu", "b", "0000:00:00.0")])


@pytest.mark.parametrize("is_there", [True, False], ids=["no library", "no module"])
def test_without_nccl_no_rank_begins(device, monkeypatch, is_there):
    if is_there:
        monkeypatch.setattr(sys.modules["cupy.cuda.nccl"], "available", False)
    else:
        monkeypatch.delitem(sys.modules, "cupy.cuda.nccl")

    def work(ranks):
        with pytest.raises(BackendError, match=r"2 ranks on GPUs need NCCL, .* pip install nvidia-nccl-cu13"):
            joined(device, ranks)

    on_ranks(2, work)
    joined(device, ALONE)  # which needs none


def test_ranks_with_different_backends_meet(device):
    """The start of a run names the difference: nobody waits for it in NCCL."""
    from minigan.backends import get_backend

    def work(ranks):
        backend = get_backend("reference") if ranks.rank else type(device)()
        backend.share(ranks)
        return ranks.gather(backend.ranks is ranks)

    assert on_ranks(2, work) == [[True, True]] * 2


def test_a_run_trains_through_nccl(device, tmp_path):
    """As `mpiexec -n 2 minigan train --backend gpu` prepares it."""
    config = new_config(small("dcgan", steps=2), data="digits", seed=0, backend="gpu")

    def work(ranks):
        device.xp.cuda.Device(ranks.rank).use()
        run = prepare_run(config, tmp_path / "run", ranks=ranks)
        run.dataset.close()
        assert isinstance(run.trainer.state.ranks, NcclRanks)
        assert ranks.units == run.backend.ranks.units == run.recipe.batch_size
        return run.backend.seat().device

    assert on_ranks(2, work) == ["0000:00:00.0", "0000:01:00.0"]


def test_what_nccl_refuses_is_one_line(device, monkeypatch):
    def refuse(*_):
        raise fake_nccl.NcclError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")

    monkeypatch.setattr(fake_nccl.NcclCommunicator, "__init__", refuse)

    def work(ranks):
        with pytest.raises(BackendError, match="NCCL cannot connect the GPUs of 2 ranks: NCCL_ERROR_SYSTEM_ERROR"):
            joined(device, ranks)

    on_ranks(2, work)


def test_a_device_of_the_stand_in_is_a_threads_own():
    DEVICE.launches = 7
    found = []
    thread = threading.Thread(target=lambda: found.append(DEVICE.launches))
    thread.start()
    thread.join()
    assert found == [0]
    DEVICE.reset()
