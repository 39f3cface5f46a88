"""The CPUs that this process may keep busy."""

import math
import os
from typing import NamedTuple

from minigan.support.cgroup import allowed_cpus

__all__ = ["Cpus", "usable_cpus"]


class Cpus(NamedTuple):
    """CPUs by what limits them.

    Attributes:
        machine: the machine's.
        affinity: those that this process may run on.
        quota: CPU time that the container allows, in CPUs; None without a limit.
    """

    machine: int
    affinity: int
    quota: float | None

    @property
    def threads(self) -> int:
        """The number of threads that are worth starting: a quota of 1.5 CPUs keeps two threads busy."""
        return max(1, min(self.affinity, math.ceil(self.quota or self.affinity)))

    def __str__(self) -> str:
        limits = [f"{self.affinity} allowed"] if self.affinity < self.machine else []
        limits += [f"the container's limit is {self.quota:g}"] if self.quota and self.quota < self.affinity else []
        why = f" ({', '.join(limits)})" if limits else ""
        return f"{self.threads} of {self.machine} CPUs{why}"


def usable_cpus() -> Cpus:
    """The CPUs of the machine, and those of them that this process may use."""
    machine = os.cpu_count() or 1
    try:
        affinity = len(os.sched_getaffinity(0)) or machine
    except (AttributeError, OSError):  # another system, or a sandbox that does not tell
        affinity = machine
    return Cpus(max(machine, affinity), affinity, allowed_cpus())
