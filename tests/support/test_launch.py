"""Processes that a launcher has started, from its environment."""

import pytest

from minigan.support import cpu_limit, launch
from minigan.support.cpu_limit import Cpus, launcher_affinity, usable_cpus
from minigan.support.launch import Launch, find_launch, forget_launch

MPICH = {"PMI_SIZE": "4", "PMI_RANK": "3", "MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "1"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
STEP = {
    "SLURM_STEP_NUM_TASKS": "11",
    "SLURM_PROCID": "10",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Launch()),
        (MPICH, Launch(4, 3, 2, 1, "MPICH or Intel MPI")),
        (OPEN_MPI, Launch(8, 5, 4, 1, "Open MPI")),
        (STEP, Launch(11, 10, 3, 2, "srun")),
        ({**STEP, "SLURM_NODEID": "1"}, Launch(11, 10, 4, 2, "srun")),
        (STEP | MPICH, Launch(4, 3, 2, 1, "MPICH or Intel MPI")),  # mpiexec in a step
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, Launch()),
        ({"PMI_SIZE": "x", "PMI_RANK": "0"}, Launch()),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Launch()),  # a batch script is one process
        ({"PMI_SIZE": "2", "PMI_RANK": "1"}, Launch(2, 1, 2, 1, "MPICH or Intel MPI")),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "many"}, Launch(11, 10, 11, 2, "srun")),
        ({**MPICH, "MINIGAN_RANKS": "off"}, Launch()),
    ],
)
def test_the_place_among_the_started(environment, expected):
    assert find_launch(environment) == expected


def test_the_command_that_starts_as_many():
    assert find_launch(MPICH).command == "mpiexec -n 4"
    assert find_launch(STEP).command == "srun -n 11"


def test_a_process_that_goes_on_alone():
    environment = dict(MPICH)
    forget_launch(environment)
    assert find_launch(environment) == Launch()


@pytest.mark.parametrize(
    ("affinity", "whole", "quota", "local", "threads"),
    [
        (16, 16, None, 4, 4),  # MPICH binds none
        (4, 16, None, 4, 4),  # bound to four each
        (8, 16, None, 4, 4),  # two ranks have one socket
        (1, 16, None, 4, 1),
        (16, 16, 6.0, 4, 1),
        (2, 2, None, 4, 1),
        (16, None, None, 4, 4),
        (16, 16, None, 1, 16),
    ],
)
def test_ranks_of_a_host_share_its_cpus(monkeypatch, affinity, whole, quota, local, threads):
    monkeypatch.setattr(cpu_limit.os, "sched_getaffinity", lambda _: range(affinity), raising=False)
    monkeypatch.setattr(cpu_limit, "launcher_affinity", lambda: whole)
    monkeypatch.setattr(cpu_limit, "allowed_cpus", lambda: quota)
    monkeypatch.setattr(cpu_limit, "find_launch", lambda: Launch(local, 0, local, 0, "x"))
    assert usable_cpus().threads == threads


def test_the_share_in_words():
    assert str(Cpus(16, 16, None, 4, 4)) == "4 of 16 CPUs (4 ranks share them)"
    assert str(Cpus(16, 4, None, 4, 4)) == "4 of 16 CPUs (4 allowed)"


def test_the_launcher_is_the_first_above_that_is_no_rank(tmp_path):
    """A script around the program is a rank as well, and may be bound to one CPU."""
    for process, parent, environment in (
        (30, 20, b"A=1\0PMI_RANK=1\0"),
        (20, 10, b"PMI_RANK=1\0"),
        (10, 1, b"A=1\0"),
    ):
        (tmp_path / str(process)).mkdir()
        (tmp_path / str(process) / "environ").write_bytes(environment)
        (tmp_path / str(process) / "stat").write_text(f"{process} (a (b) c) S {parent} 0 0")
    assert launcher_affinity(30, proc=tmp_path, count={10: 16}.__getitem__) == 16
    assert launcher_affinity(40, proc=tmp_path, count={}.__getitem__) is None
    assert launch.rank_variables()


def test_a_run_is_resumed_by_as_many_processes():
    assert Launch().resume("runs/a-1") == "minigan train --resume runs/a-1"
    assert Launch(size=4).resume("runs/a-1") == "mpiexec -n 4 minigan train --resume runs/a-1"
    assert Launch(size=2, launcher="srun").resume() == "srun -n 2 minigan train --resume"
