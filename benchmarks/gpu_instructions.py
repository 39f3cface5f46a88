"""Instructions of the GPU's products for each operation of the tensor cores, counted without a GPU.

    python -m benchmarks.gpu_instructions --out benchmarks/results/instructions.json

conv.cu is compiled by nvcc for each tile and precision. Of each kernel are told: its registers, the bytes that it
spills, the shared memory of its tiles under way, and the instructions of its innermost loop, all in all and for each
`HMMA`. It needs nvcc, and nvdisasm of CUDA's toolkit (pip install nvidia-cuda-nvdisasm, or --nvdisasm); exit code 2
without them.
"""

import argparse
import collections
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import minigan

FORMAT = "minigan-gpu-instructions/1"
RESULTS = Path(__file__).with_name("results")
FOLDER = Path(minigan.__file__).parent / "backends" / "gpu"
KERNELS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
HOPPER_SHARED = 227 << 10  # bytes that a block can have
OPERATION = "HMMA"


def plans() -> ModuleType:
    """plan.py by itself: its package needs CuPy."""
    spec = importlib.util.spec_from_file_location("gpu_plan", FOLDER / "plan.py")
    if spec is None or spec.loader is None:
        raise ImportError("plan.py is not in the package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its classes are looked for
    spec.loader.exec_module(module)
    return module


def compiled(settings: tuple[tuple[str, int], ...], folder: Path, arch: str) -> tuple[Path, str]:
    """The machine code of conv.cu's kernels, and the compiler's report."""
    macros = ["-DSCALAR=float", *(f"-D{name}={value}" for name, value in settings)]
    cubin = folder / "conv.cubin"
    command = ["nvcc", "-std=c++17", f"-arch={arch}", "-cubin", "-Xptxas", "-v", *macros, "-o", str(cubin)]
    done = subprocess.run([*command, str(FOLDER / "conv.cu")], capture_output=True, text=True, check=True)
    return cubin, done.stderr


def resources(report: str) -> dict[str, tuple[int, int]]:
    """Registers of a thread, and bytes spilled, of each kernel."""
    pattern = r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers"
    return {name: (int(used), int(spilled)) for name, spilled, used in re.findall(pattern, report, re.DOTALL)}


def inner_loop(listing: str) -> list[str]:
    """The operations of the loop with the most tensor core operations, from a kernel's disassembly."""
    operations: list[str] = []
    places: dict[str, int] = {}
    best: list[str] = []
    for line in listing.splitlines():
        label = re.match(r"\s*\.?(L_x_\d+):", line)
        if label:
            places[label[1]] = len(operations)
        instruction = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*?);", line)
        if not instruction:
            continue
        operations.append(instruction[1].partition(".")[0])
        target = re.search(r"L_x_\d+", instruction[2]) if operations[-1] == "BRA" else None
        if target and target[0] in places:  # backwards
            body = operations[places[target[0]] :]
            best = max(best, body, key=lambda loop: loop.count(OPERATION))
    return best


def kernel_listings(listing: str) -> dict[str, str]:
    """The disassembly of each kernel, from that of a module."""
    _, *parts = re.split(r"\.section\s+\.text\.(\w+)", listing)
    return dict(zip(parts[::2], parts[1::2], strict=True))


class Modules:
    """conv.cu's modules, each compiled once."""

    def __init__(self, nvdisasm: str, arch: str) -> None:
        self._nvdisasm, self._arch = nvdisasm, arch
        self._done: dict[Any, tuple[dict[str, tuple[int, int]], dict[str, str]]] = {}

    def row(self, plan: Any, kernel: str) -> dict[str, Any]:
        """The figures of one kernel."""
        used, listings = self._module(plan.settings)
        loop = collections.Counter(inner_loop(listings[kernel]))
        operations = loop[OPERATION]
        return {
            "kernel": kernel,
            "precision": plan.precision,
            "tile": f"{plan.tile.rows}x{plan.tile.columns}",
            "registers": used[kernel][0],
            "spilled_bytes": used[kernel][1],
            "shared_bytes": plan.shared_bytes(kernel),
            "blocks": plan.tile.blocks,
            "instructions": loop.total(),
            "tensor_core_operations": operations,
            "instructions_each": round(loop.total() / operations, 2) if operations else None,
            "most_frequent": dict(loop.most_common(8)),
        }

    def _module(self, settings: Any) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
        if settings not in self._done:
            with TemporaryDirectory() as folder:
                cubin, report = compiled(settings, Path(folder), self._arch)
                command = [self._nvdisasm, "-c", str(cubin)]
                listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self._done[settings] = resources(report), kernel_listings(listing)
        return self._done[settings]


def rows(modules: Modules, tiles: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each precision, tile and kernel; those of the tiles for groups are of convolutions in groups."""
    module = plans()
    for precision in ("tf32", "bf16"):
        for tile in module.tiles_of(precision, grouped=True):
            grouped = tile in module.GROUP_TILES
            if tiles and f"{tile.rows}x{tile.columns}" not in tiles:
                continue
            for kernel in KERNELS:
                plan = module.ProductPlan(precision, tile, 32, 2, (4, 4), 1, (1, 1, 1), grouped)
                yield modules.row(plan.fitted(kernel, HOPPER_SHARED), kernel)


def table(found: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    names = ("kernel", "precision", "tile", "registers", "spilled_bytes", "shared_bytes", "instructions_each")
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in found)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="where the rows go, too")
    parser.add_argument("--arch", default="sm_90", help="of the machine code (default sm_90)")
    parser.add_argument("--nvdisasm", default="nvdisasm", help="the disassembler, if it is not on the PATH")
    parser.add_argument("--tile", nargs="+", default=[], metavar="ROWSxCOLUMNS", help="only these (default: all)")
    options = parser.parse_args(arguments)
    for tool in ("nvcc", options.nvdisasm):
        if shutil.which(tool) is None:
            print(f"benchmarks.gpu_instructions needs {tool} of CUDA's toolkit on the PATH.", file=sys.stderr)
            return 2
    found = []
    for row in rows(Modules(options.nvdisasm, options.arch), options.tile):
        found.append(row)
        print(f"{row['precision']} {row['tile']} {row['kernel']}: {row['instructions_each']}", file=sys.stderr)
    print(table(found))
    if options.out is not None:
        document = {"format": FORMAT, "arch": options.arch, "nvcc": nvcc_version(), "rows": found}
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def nvcc_version() -> str:
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"V([\d.]+)", said)
    return found[1] if found else said.strip()


if __name__ == "__main__":
    sys.exit(main())
