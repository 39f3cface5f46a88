"""The environment of a benchmark, printed above its figures."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import numpy as np

from minigan.backends import Backend


def describe(backend: Backend, peers: Iterable[str] = ()) -> dict[str, Any]:
    """Processor, threads, SIMD width, BLAS and library versions."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": _blas(),
    }
    overrides = {name: value for name, value in os.environ.items() if name.startswith(("OPENBLAS", "NUMBA", "OMP"))}
    if overrides:
        found["environment"] = overrides
    found["minigan"] = backend.describe()
    for peer in peers:
        found[peer] = version(peer)
        if peer == "torch":
            import torch

            found[peer] += f", {torch.get_num_threads()} threads"
    return found


def show(setting: dict[str, Any]) -> None:
    """A line for each, and an empty one."""
    for name, value in setting.items():
        print(f"{name}: {value}")
    print(flush=True)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _blas() -> str:
    """NumPy's BLAS and the kernels it chose: `OPENBLAS_CORETYPE` can halve its speed."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown (pip install threadpoolctl)"
    return ", ".join(
        f"{lib['internal_api']} {lib.get('version')} {lib.get('architecture', '')} {lib['num_threads']} threads"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    )
