"""The CUDA sources as nvcc sees them, as text, in the wheel, and with their threads in another order."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cuda_on_cpu
import fake_cupy
import pytest
from calling import DTYPES, assert_same_bits, call, update
from kernel_calls import IN_PLACE, RETURNING, inputs_of

import minigan
from minigan.backends import get_backend

ROOT = Path(minigan.__file__).parents[1]
FOLDER = ROOT / "minigan" / "backends" / "gpu"
SOURCES = sorted(path.name for pattern in ("*.cu", "*.cuh") for path in FOLDER.glob(pattern))
NVCC = shutil.which("nvcc")
# Bytes that a kernel at float32 may keep in memory for want of registers: a thread of the largest tile has 64 sums, and
# the loaders of the input gradient, which handle strides and single fetches, are the next largest.
SPILLS = {
    ("conv float fp32 128x128", "conv2d"): 8,
    ("conv float fp32 128x128", "conv2d_input_grad"): 104,
}


class Compilation(NamedTuple):
    """A source with settings that the host may choose."""

    family: str
    name: str
    settings: dict[str, object]

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


def compilations() -> Iterator[Compilation]:
    """Every tile and every precision, but not each with each, as a compilation takes seconds; all passes."""
    with fake_cupy.installed():
        from minigan.backends.gpu.groups_plan import COMMON, MIXED, OWN, GroupsPlan
        from minigan.backends.gpu.plan import (
            DOUBLE_TILES,
            GROUP_TILES,
            HUGE,
            PLAIN_GROUP_TILES,
            PLAIN_TILES,
            TILES,
            WIDE,
            ProductPlan,
        )
    in_groups = {WIDE, *GROUP_TILES, *PLAIN_GROUP_TILES}
    for precision, tile, fetch in (
        *(("tf32", tile, 4) for tile in TILES),
        *(("bf16", tile, 4) for tile in (HUGE, TILES[-1])),
        *(("fp32", tile, 4) for tile in (PLAIN_TILES[0], PLAIN_TILES[-1])),
        ("tf32", WIDE, 1),
        ("fp64", DOUBLE_TILES[0], 2),
        *(("tf32", tile, 4) for tile in GROUP_TILES),
        ("bf16", GROUP_TILES[1], 4),
        ("fp32", PLAIN_GROUP_TILES[0], 4),
    ):
        depth = 32 if precision in ("tf32", "bf16") and fetch > 1 else 16
        plan = ProductPlan(precision, tile, depth, 2, (fetch, fetch), 1, (1, 1, 1), tile in in_groups)
        settings = {"SCALAR": "double" if precision == "fp64" else "float", **dict(plan.settings)}
        name = f"{settings['SCALAR']} {precision} {tile.rows}x{tile.columns}"
        yield Compilation("conv", name + (" by one" if fetch == 1 else ""), settings)
    for scalar, vector, share, fetch in (
        *(("float", 4, share, fetch) for share, fetch in ((COMMON, 4), (OWN, 1), (COMMON, 1), (MIXED, 1))),
        *(("float", 1, COMMON, 1), ("double", 2, COMMON, 2), ("double", 2, OWN, 1)),
    ):
        settings = {"SCALAR": scalar, **dict(GroupsPlan(vector, share, fetch, 1, 1, 1, (1, 1)).settings)}
        kind = {OWN: "own", COMMON: "common", MIXED: "mixed"}[share]
        yield Compilation("groups", f"{scalar} {kind} {vector} from {fetch}", settings)
    for family in sorted({path.stem for path in FOLDER.glob("*.cu")} - {"conv", "groups"}):
        text = (FOLDER / f"{family}.cu").read_text()
        for scalar, wide in (("float", 4), ("double", 2)):
            yield Compilation(family, scalar, {"SCALAR": scalar, "VECTOR": wide})
        if "VECTOR" in text:
            yield Compilation(family, "float by one", {"SCALAR": "float", "VECTOR": 1, "WIDE": 1})


COMPILATIONS = list(compilations())
# Every source once, in single precision; convolutions take seconds for each tile.
QUICK = {"groups float common 4 from 4"}


def is_quick(compilation: Compilation) -> bool:
    return str(compilation) in QUICK or compilation.name == "float"


def spills(report: str) -> dict[str, int]:
    """Bytes that each kernel stores for want of registers, by what ptxas tells."""
    found = re.findall(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores", report, re.DOTALL)
    return {kernel: int(nbytes) for kernel, nbytes in found}


@pytest.mark.skipif(NVCC is None, reason="no nvcc")
@pytest.mark.parametrize(
    "compilation",
    [pytest.param(one, id=str(one), marks=[] if is_quick(one) else pytest.mark.exhaustive) for one in COMPILATIONS],
)
def test_nvcc_compiles_it_without_a_warning_and_registers_suffice(tmp_path, compilation):
    assert {str(each) for each in COMPILATIONS} >= QUICK
    macros = [f"-D{name}={value}" for name, value in compilation.settings.items()]
    flags = ["-std=c++17", "-arch=sm_90", "-cubin", "-Werror", "all-warnings", "-Xptxas", "-v", *macros]
    command = [str(NVCC), *flags, str(FOLDER / f"{compilation.family}.cu"), "-o", str(tmp_path / "kernels.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stored = spills(done.stderr)
    assert set(stored) == kernels_of(compilation.family)
    if compilation.settings["SCALAR"] == "float":
        too_many = {k: n for k, n in stored.items() if n > SPILLS.get((str(compilation), k), 0)}
        assert not too_many, f"bytes spilled: {too_many}"


def kernels_of(family: str) -> set[str]:
    """The kernels that a family's source defines."""
    text = (FOLDER / f"{family}.cu").read_text(encoding="utf-8")
    return set(re.findall(r'extern "C" __global__ void(?: __launch_bounds__\([^)]*\))?\s+(\w+)\(', text))


def without_comments(text: str) -> str:
    return re.sub(r"//.*", "", text)


@pytest.mark.parametrize("name", SOURCES)
def test_no_result_depends_on_who_comes_first(name):
    """Floats are not associative: no atomic operation, in CUDA or PTX, adds anything up."""
    text = without_comments((FOLDER / name).read_text(encoding="utf-8"))
    counting = text.replace("atomicAdd(tickets + blockIdx.y, 1u)", "")  # blocks; their sums are added in order
    assert not re.findall(r"atomic\w*|\b(?:red|atom)\.\w+", counting)


@pytest.mark.parametrize("name", SOURCES)
def test_every_include_is_in_the_package(name):
    with fake_cupy.installed():
        from minigan.backends.gpu.launch import source

        whole = source(name)
    assert "#include" not in whole
    assert whole.count("using T = SCALAR;") <= 1


def test_the_wheel_holds_every_source():
    wheel = pytest.importorskip("hatchling.builders.wheel")
    inside = {included.distribution_path for included in wheel.WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"minigan/backends/gpu/{name}" for name in SOURCES} <= inside


@pytest.fixture(scope="module")
def gpu():
    with fake_cupy.installed():
        yield type(get_backend("gpu"))(precision="tf32")


@pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler for running CUDA on the CPU")
@pytest.mark.parametrize("kernel", (*RETURNING, *IN_PLACE))
def test_the_last_thread_may_come_first(gpu, kernel, monkeypatch):
    """Where a barrier is missing a thread reads what another has not written yet."""
    arguments, options = inputs_of(kernel, DTYPES[0], 3)
    run = update if kernel in IN_PLACE else call
    forwards = run(gpu, kernel, *arguments, **options)
    monkeypatch.setattr(cuda_on_cpu, "BACKWARDS", 1)
    assert_same_bits(run(gpu, kernel, *arguments, **options), forwards)
