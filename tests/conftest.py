"""Shared by all tests: the backends, and how hard Hypothesis works."""

import importlib.util
import os
import sys
from collections.abc import Iterator

import fake_cupy
import pytest
from hypothesis import HealthCheck, settings

from minigan.backends import BACKENDS, Backend, get_backend
from minigan.errors import BackendError

# A kernel's first call may compile for seconds, so no deadline and no complaint about slow first examples.
# In CI the examples are the same in every run; elsewhere each run looks at new ones.
settings.register_profile(
    "minigan",
    deadline=None,
    max_examples=int(os.environ.get("MINIGAN_EXAMPLES", "40")),
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("minigan")


def is_installed(backend: str) -> bool:
    """NumPy always is; the other backends are named after their libraries."""
    return importlib.util.find_spec(backend) is not None


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=pytest.mark.gpu if name == "cupy" else ()) for name in BACKENDS if is_installed(name)
    ],
)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; one object for the whole session, so that what one call leaves behind shows.

    Where a library is not installed there is one skipped test that says so, `test_library_is_installed`,
    rather than hundreds. A library without its device skips. A backend whose own code fails to import is an
    error.
    """
    try:
        return get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def reference() -> Backend:
    return get_backend("numpy")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The gpu backend over the stand-in for CuPy, see `fake_cupy`, even where CuPy is installed."""
    module = fake_cupy.make_module()
    monkeypatch.setitem(sys.modules, "cupy", module)
    gpu = importlib.import_module("minigan.backends.gpu")
    monkeypatch.setattr(gpu, "cupy", module)
    monkeypatch.setattr(gpu.GpuBackend, "xp", module)
    yield get_backend("cupy")
    sys.modules.pop("minigan.backends.gpu", None)  # so that other tests import the real one, or fail to
