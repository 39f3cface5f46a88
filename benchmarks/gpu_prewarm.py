"""Compiles the modules that the benchmark uses into CuPy's cache, by many processes at once.

    python -m benchmarks.gpu_prewarm [PROCESSES]

One process would take minutes for them, of a GPU that is lent for some. The last line is JSON: how many `modules` were
compiled in how many `seconds`, and the `failures`, each with the module's settings.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

Module = tuple[str, tuple[tuple[str, int], ...]]  # the family, and its settings

SHARED = 227 << 10  # bytes that a block can have on Hopper
KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")


def modules() -> list[Module]:
    """All of float32; those that take longest first."""
    from minigan.backends.gpu import groups_plan
    from minigan.backends.gpu import plan as plans

    def products() -> Iterator[Module]:
        for precision in ("tf32", "bf16", "fp32"):
            for tile, vectors in itertools.product(plans.tiles_of(precision), itertools.product((4, 1), repeat=2)):
                deep = precision != "fp32" and min(vectors) > 1
                for depth, kernel in itertools.product((32, 16) if deep else (16,), KERNELS):
                    plan = plans.ProductPlan(precision, tile, depth, plans.STAGES, vectors, 1, (1, 1, 1))
                    if plans.has_registers(plan):
                        yield "conv", plan.fitted(kernel, SHARED).settings
            for tile, kernel in itertools.product(plans.tiles_of(precision, grouped=True)[-3:], KERNELS):
                depth = 16 if precision == "fp32" else 32
                plan = plans.ProductPlan(precision, tile, depth, plans.STAGES, (4, 4), 1, (1, 1, 1), grouped=True)
                yield "conv", plan.fitted(kernel, SHARED).settings

    def in_narrow_groups() -> Iterator[Module]:
        own, common, mixed = groups_plan.OWN, groups_plan.COMMON, groups_plan.MIXED
        for vector, share, fetch in ((4, own, 1), (4, common, 4), (4, common, 1), (4, mixed, 1), (1, common, 1)):
            yield "groups", groups_plan.GroupsPlan(vector, share, fetch, 1, 1, 1, (1, 1)).settings

    narrow, wide = (("VECTOR", 1),), (("VECTOR", 4),)
    of_columns = itertools.product(("norm", "group_norm", "double_norm", "modulation", "noise"), (narrow, wide))
    flat = itertools.product(("optim", "resize", "activation", "combine"), (narrow, wide))
    passes = [*of_columns, *((family, (*settings, ("WIDE", 0))) for family, settings in flat)]
    largest = sorted(set(products()), key=lambda module: -dict(module[1])["BM"] * dict(module[1])["BN"])
    return [*largest, *in_narrow_groups(), *passes, ("logits", (("VECTOR", 1), ("WIDE", 0)))]


def compiled(module: Module) -> str | None:
    """None, or what went wrong, in one line."""
    from minigan.backends.gpu.launch import Launcher

    family, settings = module
    try:
        Launcher()._module(family, np.dtype(np.float32), settings).compile()
    except Exception as error:
        return f"{family} {dict(settings)}: {' '.join(str(error).split())[:400]}"
    return None


def prewarm(seconds: float) -> dict[str, Any]:
    """Runs the command, for so long at most; what it printed."""
    command = [sys.executable, "-m", "benchmarks.gpu_prewarm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        found = {"modules": 0, "failures": [f"{type(error).__name__}: {error}"[:400]]}
    return found


def main(arguments: list[str]) -> int:
    began, chosen = time.monotonic(), modules()
    processes = int(arguments[0]) if arguments else max(1, (os.cpu_count() or 2) - 1)
    with ProcessPoolExecutor(processes) as pool:
        failures = [failure for failure in pool.map(compiled, chosen) if failure is not None]
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"modules": len(chosen), "seconds": seconds, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
