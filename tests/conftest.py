"""Shared by all tests: the processes, the backends, and how hard Hypothesis works."""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import cuda_on_cpu
import fake_cupy
import pytest
from engines import ON_THE_HOST, is_installed
from hypothesis import HealthCheck, settings
from suite import (  # noqa: F401 (hooks)
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_teardown,
    pytest_terminal_summary,
    pytest_xdist_auto_num_workers,
    pytest_xdist_setupnodes,
)

from minigan.backends import BACKENDS, Backend, get_backend
from minigan.backends.base import KERNELS
from minigan.backends.reference import ReferenceBackend
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

# A test says itself which precision it means; processes that tests start inherit it, too.
os.environ.pop("MINIGAN_PRECISION", None)

INSTALLED = [
    pytest.param(name, marks=pytest.mark.gpu if name == "gpu" else ()) for name in BACKENDS if is_installed(name)
]
# Without CuPy its kernels still run, on the CPU, if there is a C++ compiler.
ON_CPU = [pytest.param("gpu on the CPU", id="gpu-on-cpu")] * (cuda_on_cpu.COMPILER is not None)


@pytest.fixture(scope="session", params=INSTALLED if is_installed("gpu") else INSTALLED + ON_CPU)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn; one object for the whole session, so that what one call leaves behind shows.

    Where a library is not installed there is one skipped test that says so, `test_library_is_installed`,
    rather than hundreds. A library without its device skips. A backend whose own code fails to import is an
    error. On the GPU products are exact, so that all backends have one tolerance.
    """
    yield from made(request.param)


@pytest.fixture(scope="session", params=INSTALLED)
def fast_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """As `backend`, but for hundreds of training steps: not the GPU's kernels on the CPU."""
    yield from made(request.param)


@pytest.fixture(scope="session", params=ON_THE_HOST)
def host_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """As `backend`, but only those whose arrays are NumPy's, for finite differences and for comparisons with NumPy."""
    yield from made(request.param)


def made(name: str) -> Iterator[Backend]:
    """A backend; the stand-in's modules are put away in `STAND_IN`."""
    on_cpu = name == "gpu on the CPU"
    with fake_cupy.installed(STAND_IN) if on_cpu else contextlib.nullcontext():
        try:
            backend = get_backend("gpu" if on_cpu else name)
        except BackendError as error:
            pytest.skip(str(error))
        if backend.name == "gpu":
            backend = type(backend)(precision="fp32")
        if backend.name == "cpu":  # whatever the machine has, so that large arrays are divided
            backend = type(backend)(threads=2)
    yield backend


STAND_IN: dict[str, ModuleType] = {}


@pytest.fixture(autouse=True)
def _stand_in(request: pytest.FixtureRequest) -> Iterator[None]:
    """Installs the stand-in for CuPy for the tests that ask for it, and for no others."""
    on_cpu = getattr(request.node, "callspec", SimpleNamespace(params={})).params.get("backend") == "gpu on the CPU"
    with fake_cupy.installed(STAND_IN) if on_cpu else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session")
def reference() -> Backend:
    return get_backend("reference")


@pytest.fixture
def device() -> Iterator[Backend]:
    """The gpu backend over the stand-in for CuPy, also where CuPy is installed, with the reference's kernels.

    So that it gives the bits of the reference, if all else is right.
    """
    with fake_cupy.installed():
        backend = get_backend("gpu")
        for kernel in (*KERNELS, "move_statistics", "clear_unless_below"):
            setattr(type(backend), kernel, getattr(ReferenceBackend, kernel))
        from minigan.backends.gpu import logits

        logits.takes = lambda _: False
        yield backend
