"""The backends that can run here."""

import importlib.util

from minigan.backends import BACKENDS

LIBRARIES = {"reference": "numpy", "cpu": "numba", "gpu": "cupy"}


def is_installed(backend: str) -> bool:
    """Whether the library that a backend's kernels need can be imported."""
    return importlib.util.find_spec(LIBRARIES[backend]) is not None


# Backends whose arrays are NumPy's: what compares with NumPy's own numbers, or by finite differences, runs on these.
ON_THE_HOST = [name for name in BACKENDS if name != "gpu" and is_installed(name)]
