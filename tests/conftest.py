"""Shared by all tests: the backends, and how hard Hypothesis works."""

import importlib.util
import os
from typing import Any

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


LIBRARIES = {"numba": "numba", "cupy": "cupy"}


def backend_parameter(name: str) -> Any:
    """A backend whose library is not installed is skipped; `-m gpu` and `-m "not gpu"` choose as well."""
    marks = [pytest.mark.gpu] if name == "cupy" else []
    library = LIBRARIES.get(name)
    if library is not None and importlib.util.find_spec(library) is None:
        marks.append(pytest.mark.skip(reason=f"{library} is not installed"))
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="session", params=[backend_parameter(name) for name in BACKENDS])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; one object for the whole session, so that what one call leaves behind shows.

    A library without its device skips. A backend whose own code fails to import is an error.
    """
    try:
        return get_backend(request.param)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def reference() -> Backend:
    return get_backend("numpy")
