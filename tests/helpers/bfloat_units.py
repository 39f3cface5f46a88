"""The units that multiply bfloat16 numbers, for tests that force each."""

from contextlib import contextmanager

import numpy as np
import pytest

from minigan.backends.cpu import CpuBackend, plan, products_plan, tiles_plan
from minigan.backends.cpu.bfloat16 import bfloat16
from minigan.backends.cpu.tile_units import Unit, find_unit


def units():
    """This machine's unit, and plain loops: these among the exhaustive tests where there is a unit; others skipped."""
    found = find_unit()
    missing = pytest.mark.skip(reason=f"not here, where there is {found.name}: {found.reason}")
    loops = [pytest.mark.exhaustive] if found.name else []
    marks = {"emulated": loops, found.name: []}
    return [pytest.param(name, marks=marks.get(name, missing)) for name in ("emulated", "dot", "amx")]


# Only with tile registers does anyone want three products of bfloat16 numbers; to compile them takes seconds.
THREE = pytest.param(3, marks=[] if find_unit().name == "amx" else pytest.mark.exhaustive)


@contextmanager
def forced():
    """Takes products of bfloat16 numbers wherever they are possible."""
    caches = (plan.choose, products_plan.choose_product)
    with pytest.MonkeyPatch.context() as patch:
        for products in tiles_plan.GAINS:
            patch.setitem(tiles_plan.GAINS, products, 0.0)
        for cache in caches:
            cache.cache_clear()
        yield
    for cache in caches:
        cache.cache_clear()


def backend_of(name, products, *, threads=2):
    backend = CpuBackend(threads=threads, precision="bf16")
    backend.unit = Unit(name, products)
    return backend


def rounded(array):
    """Rounded to bfloat16 by ml_dtypes, in double precision."""
    return array.astype(bfloat16()).astype(np.float64)
