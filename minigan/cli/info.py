"""The command `minigan info`: versions, backends and their kernels."""

import argparse
import contextlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import minigan
from minigan.backends import BACKENDS, get_backend
from minigan.errors import MiniganError
from minigan.support.cpu_limit import usable_cpus
from minigan.support.memory_limit import NO_LIMIT, memory_limit
from minigan.support.output import Output
from minigan.training.out_of_memory import size

__all__ = ["info"]


def info(options: argparse.Namespace) -> int:
    """Shows versions, and the backends that can be used on this machine."""
    out = Output.of(options)
    versions = {"minigan": minigan.__version__, "python": platform.python_version(), "numpy": np.__version__}
    out.show("minigan {minigan}, Python {python}, NumPy {numpy}".format_map(versions))
    (memory, whose), cpus = memory_limit(), usable_cpus()
    out.show(f"{cpus}; memory: {'no limit is known' if memory == NO_LIMIT else f'{size(memory)}, {whose}'}")
    mpi = installed_mpi()
    nccl = installed("nvidia-nccl-cu13", "nvidia-nccl-cu12")
    out.show(f"ranks: {mpi}" if mpi else "ranks: one process; several need pip install 'minigan[mpi]'")
    if mpi:
        out.show(f"  between GPUs: {nccl or 'no package of NCCL is installed'}")
    backends = {name: _backend_info(name) for name in BACKENDS}
    for name, found in backends.items():
        out.show(f"{name}: {found.get('engine') or found['error']}")
        if found.get("memory"):
            used, held, peak, free, total = map(size, found["memory"].values())
            out.show(f"  memory: {free} of {total} free; {held} held here (at most {peak}), of which arrays use {used}")
        for precision, how in found.get("precisions", {}).items():
            out.show(f"  precision {precision}{' (default)' * (precision == found['precision'])}: {how}")
        for origin in ("native", "inherited"):
            if found.get(origin):
                out.show(f"  {origin} kernels: {', '.join(found[origin])}")
    machine = {"cpus": cpus._asdict(), "memory": None if memory == NO_LIMIT else memory}
    libraries = {"mpi": mpi or None, "nccl": nccl or None}
    out.record({**versions, **machine, **libraries, "backends": backends})
    return 0


def installed_mpi() -> str:
    """mpi4py and MPI's library, as far as packages tell: to ask the library would begin an MPI program. "" without."""
    found = installed("mpi4py", "mpich", "openmpi", "impi-rt")
    return found if found.startswith("mpi4py") else ""


def installed(*packages: str) -> str:
    """The installed ones of some packages, with their versions; "" for none."""
    found = []
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def _backend_info(name: str) -> dict[str, Any]:
    """A backend's engine and its kernels by origin, or the error that keeps it from running."""
    try:
        backend = get_backend(name)
    except MiniganError as error:
        return {"error": str(error)}
    memory, coverage = backend.memory(), backend.coverage()
    kernels = {origin: [row.kernel for row in coverage if row.origin == origin] for origin in ("native", "inherited")}
    precision = {"precision": backend.precision, "precisions": dict(backend.precisions())}
    return {"engine": backend.describe(), "memory": memory and memory._asdict(), **precision, **kernels}
