"""The CPUs that this process may keep busy."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from minigan.support.cgroup import allowed_cpus
from minigan.support.launch import Launch, find_launch, rank_variables

__all__ = ["Cpus", "usable_cpus"]


class Cpus(NamedTuple):
    """CPUs by what limits them.

    Attributes:
        machine: the machine's.
        affinity: those that this process may run on.
        quota: CPU time that the container allows, in CPUs; None without a limit.
        share: this process's part, if ranks on this host share CPUs that their launcher binds to none of them.
        ranks: processes of one launch on this host.
    """

    machine: int
    affinity: int
    quota: float | None
    share: int | None = None
    ranks: int = 1

    @property
    def threads(self) -> int:
        """The number of threads that are worth starting: a quota of 1.5 CPUs keeps two threads busy."""
        return max(1, min(self.affinity, math.ceil(self.quota or self.affinity), self.share or self.affinity))

    def __str__(self) -> str:
        limits = [f"{self.affinity} allowed"] if self.affinity < self.machine else []
        limits += [f"the container's limit is {self.quota:g}"] if self.quota and self.quota < self.affinity else []
        limits += [f"{self.ranks} ranks share them"] if self.share and self.share < self.affinity else []
        why = f" ({', '.join(limits)})" if limits else ""
        return f"{self.threads} of {self.machine} CPUs{why}"


def usable_cpus() -> Cpus:
    """The CPUs of the machine, and those of them that this process may use."""
    machine = os.cpu_count() or 1
    try:
        affinity = len(os.sched_getaffinity(0)) or machine
    except (AttributeError, OSError):  # another system, or a sandbox that does not tell
        affinity = machine
    quota, launch = allowed_cpus(), find_launch()
    share = None if launch.local_size == 1 else _share(launch, affinity, quota)
    return Cpus(max(machine, affinity), affinity, quota, share, launch.local_size)


def _share(launch: Launch, affinity: int, quota: float | None) -> int:
    """An equal part of what the launcher has: MPICH binds no rank to a CPU, and each would take them all."""
    whole = launcher_affinity() or affinity
    return max(1, min(whole, math.ceil(quota or whole)) // launch.local_size)


def launcher_affinity(
    process: int | None = None,
    *,
    proc: Path = Path("/proc"),
    count: Callable[[int], int] = lambda process: len(os.sched_getaffinity(process)),
) -> int | None:
    """CPUs of the launcher's own process, which it has not bound to the few of one rank; None if nothing tells.

    Args:
        process: of a rank; None is this one.
        proc: the system's folder of processes; another one for tests.
        count: the number of CPUs that a process may run on.
    """
    names = tuple(f"{name}=".encode() for name in rank_variables())
    found = os.getpid() if process is None else process
    try:
        while any(
            line.startswith(names) for line in (proc / str(found) / "environ").read_bytes().split(b"\0")
        ):  # a script around this program is a rank, too
            found = int((proc / str(found) / "stat").read_text().rpartition(")")[2].split()[1])
    except PermissionError:  # the launcher is another user's: the system's
        pass
    except (OSError, ValueError, IndexError):
        return None
    try:
        return count(found)
    except (AttributeError, OSError):
        return None
