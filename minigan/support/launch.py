"""The launch: how many processes `mpiexec`, `srun` or the like has started together, from the environment alone.

No MPI library is asked, so a command that needs one process need not have one.
"""

import os
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

__all__ = ["RESUME", "Launch", "find_launch", "forget_launch"]

RESUME = "minigan train --resume"
SWITCH = "MINIGAN_RANKS"  # "off": each process is one by itself, whatever has started it


class Names(NamedTuple):
    """The variables by which a launcher tells a process where it stands; several for a variable of several versions."""

    size: str
    rank: str
    local_size: tuple[str, ...]
    local_rank: tuple[str, ...]


# The first that is found counts: `mpiexec` inside a step of Slurm is nearer than the step.
LAUNCHERS: Mapping[str, Names] = {
    "Open MPI": Names(
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_RANK",
        ("OMPI_COMM_WORLD_LOCAL_SIZE",),
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
    ),
    "MVAPICH": Names(
        "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", ("MV2_COMM_WORLD_LOCAL_SIZE",), ("MV2_COMM_WORLD_LOCAL_RANK",)
    ),
    "MPICH or Intel MPI": Names(
        "PMI_SIZE",
        "PMI_RANK",
        ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE", "PALS_LOCAL_SIZE"),
        ("MPI_LOCALRANKID", "PMI_LOCAL_RANK", "PALS_LOCAL_RANKID", "MSMPI_LOCALRANK"),
    ),
    # Of a step: a batch script has Slurm's variables, too, but is one process.
    "srun": Names("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", (), ("SLURM_LOCALID",)),
}


class Launch(NamedTuple):
    """The place of this process among those that were started together.

    Attributes:
        size: processes in all; 1 without a launcher.
        rank: from 0 to size - 1, as the launcher counts.
        local_size: processes on this host.
        local_rank: the rank among them.
        launcher: its name; "" for none.
    """

    size: int = 1
    rank: int = 0
    local_size: int = 1
    local_rank: int = 0
    launcher: str = ""

    @property
    def command(self) -> str:
        """The beginning of a command that starts as many processes."""
        return f"{'srun' if self.launcher == 'srun' else 'mpiexec'} -n {self.size}"

    def resume(self, run: str = "") -> str:
        """The command that resumes a run with as many processes; its beginning without a run."""
        start = f"{self.command} " if self.size > 1 else ""
        return f"{start}{RESUME} {run}".rstrip()

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0


def find_launch(environment: Mapping[str, str] | None = None) -> Launch:
    """The launch that this process belongs to; one process, if MINIGAN_RANKS=off says so."""
    found = os.environ if environment is None else environment
    if found.get(SWITCH, "").lower() == "off":
        return Launch()
    for launcher, names in LAUNCHERS.items():
        size, rank = _number(found, names.size), _number(found, names.rank)
        if size is not None and rank is not None and size > 1:
            local_rank = _first_number(found, names.local_rank)
            local_size = _first_number(found, names.local_size) or _tasks_here(found) or size
            return Launch(size, rank, local_size, rank if local_rank is None else local_rank, launcher)
    return Launch()


def forget_launch(environment: MutableMapping[str, str] | None = None) -> None:
    """Makes this process one by itself, and those that it starts."""
    (os.environ if environment is None else environment)[SWITCH] = "off"


def rank_variables() -> tuple[str, ...]:
    """The variables that hold a process's rank."""
    return tuple(names.rank for names in LAUNCHERS.values())


def _tasks_here(environment: Mapping[str, str]) -> int | None:
    """The step's tasks on this node, from Slurm's list of all nodes: 4(x2),3 is 4, 4 and 3."""
    node = _number(environment, "SLURM_NODEID")
    counts: list[str] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        count, _, times = part.partition("(x")
        repeated = times.removesuffix(")") or "1"
        if not (count.isdecimal() and repeated.isdecimal()):
            return None
        counts += [count] * min(int(repeated), 1 << 20)
    return int(counts[node]) if node is not None and node < len(counts) else None


def _first_number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    return next((n for name in names if (n := _number(environment, name)) is not None), None)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None
