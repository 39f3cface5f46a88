"""The convolution kernels layer by layer: GFLOP/s, and how near they come to the processor's limit.

    python -m benchmarks.kernels --group dcgan64 --peer torch --json result.json

Each kernel is first compared with the reference; then it and the peer take turns, and the medians are printed. The
limit is measured in the same run: multiply-adds on registers, in all threads at once.
"""

import argparse
import json
import statistics
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import environment
from minigan.backends import Backend, get_backend
from minigan.backends.reference import ReferenceBackend
from minigan.shapes import ConvGeometry, conv_geometry

SHAPES = Path(__file__).with_name("shapes.toml")
KERNELS = ("forward", "input grad", "weight grad")
PAUSE, CALLS_A_TURN = 0.05, 3
Call = Callable[[], Any]


class Layer(NamedTuple):
    group: str
    name: str
    batch: int
    geometry: ConvGeometry


def layers(groups: list[str]) -> list[Layer]:
    with open(SHAPES, "rb") as file:
        table = tomllib.load(file)
    return [
        Layer(group, row["name"], table[group]["batch"], conv_geometry(
            tuple(row["image"]), row["filters"], (row["filter"],) * 2, (row["stride"],) * 2, row["padding"]
        ))
        for group in groups or table
        for row in table[group]["layers"]
    ]  # fmt: skip


def arrays(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, w and dy."""
    rng = np.random.default_rng(0)
    shapes = (
        (layer.batch, *layer.geometry.input_shape), layer.geometry.weight_shape,
        (layer.batch, *layer.geometry.output_shape),
    )  # fmt: skip
    x, w, dy = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return x, w, dy


def calls(backend: Backend, layer: Layer) -> dict[str, Call]:
    x, w, dy = map(backend.asarray, arrays(layer))
    dw = backend.xp.zeros_like(w)
    return {
        "forward": lambda: backend.conv2d(x, w, None, layer.geometry),
        "input grad": lambda: backend.conv2d_input_grad(dy, w, layer.geometry),
        "weight grad": lambda: backend.conv2d_weight_grad(x, dy, layer.geometry, add_to=dw),
    }


def torch_calls(layer: Layer) -> dict[str, Call]:
    """The same three products in PyTorch, channels_last."""
    import torch

    g = layer.geometry
    x, w, dy = map(torch.from_numpy, arrays(layer))
    x, dy = x.permute(0, 3, 1, 2), dy.permute(0, 3, 1, 2)
    w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    stride, padding = list(g.stride), [g.padding[0][0], g.padding[1][0]]

    def backward(*wanted: bool) -> Call:
        return lambda: torch.ops.aten.convolution_backward(
            dy, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, wanted
        )

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, None, stride, padding),
        "input grad": backward(True, False, False),
        "weight grad": backward(False, True, False),
    }


def validate(backend: Backend, layer: Layer) -> float:
    """The largest error against the reference in double precision, relative to the largest number.

    On the whole batch that is timed: the algorithm that a kernel chooses depends on it.
    """
    worst, results = 0.0, []
    for engine, dtype in ((ReferenceBackend(), np.float64), (backend, np.float32)):
        x, w, dy = (engine.asarray(array, dtype=np.dtype(dtype)) for array in arrays(layer))
        dw = engine.xp.zeros_like(w)
        engine.conv2d_weight_grad(x, dy, layer.geometry, add_to=dw)
        y, dx = engine.conv2d(x, w, None, layer.geometry), engine.conv2d_input_grad(dy, w, layer.geometry)
        results.append([engine.to_numpy(array) for array in (y, dx, dw)])
    for expected, actual in zip(*results, strict=True):
        worst = max(worst, float(np.abs(actual - expected).max() / np.abs(expected).max()))
    if not worst < 1e-5:
        sys.exit(f"{layer.group} {layer.name}: off by {worst:.1e}, so no time would mean anything")
    return worst


def interleaved(contestants: list[Call], rounds: int) -> list[float]:
    """Median seconds of each, taking turns.

    A turn begins with a pause and an untimed call: for some milliseconds after an engine's call its idle threads spin
    and would take a core from the next engine's.
    """
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for call, record in zip(contestants, times, strict=True):
            time.sleep(PAUSE)
            call()
            for _ in range(CALLS_A_TURN):
                began = time.perf_counter()
                call()
                record.append(time.perf_counter() - began)
    return [statistics.median(record) for record in times]


def measured_limit(backend: Backend) -> float | None:
    """GFLOP/s of the microkernel on operands in the first-level cache, all threads at once; the CPU backend only."""
    team = getattr(backend, "team", None)
    if team is None:
        return None
    from minigan.backends.cpu.engine import flat
    from minigan.backends.cpu.microkernel import spin_tiles
    from minigan.backends.cpu.simd import TILE_ROWS, tile_columns

    columns, depth, repeats = tile_columns(4), 256, 4000
    a, b = flat(np.ones((TILE_ROWS, depth), np.float32)), flat(np.ones((depth, columns), np.float32))
    seconds = interleaved([lambda: team.run(spin_tiles, a, b, depth, columns, repeats)], 7)[0]
    return float(2e-9 * team.size * repeats * TILE_ROWS * columns * depth / seconds)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", default=[], help="of shapes.toml; repeat for several; default all")
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--peer", choices=("torch",))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)

    backend = get_backend(options.backend)
    setting = environment.describe() | {"backend": backend.describe()}
    if options.peer:
        import torch

        setting["torch"] = f"{torch.__version__}, {torch.get_num_threads()} threads, channels_last"
    limit = measured_limit(backend)
    if limit:
        setting["multiply-add limit"] = f"{limit:.0f} GFLOP/s"
    for name, value in setting.items():
        print(f"{name}: {value}")

    rows = []
    print(f"\n{'layer':22} {'kernel':12} {'error':>8} {'ms':>8} {'GFLOP/s':>8} {'of limit':>8}"
          + (f" {'peer ms':>8} {'ratio':>6}" if options.peer else ""))  # fmt: skip
    for layer in layers(options.group):
        error = validate(backend, layer)
        ours, theirs = calls(backend, layer), torch_calls(layer) if options.peer else {}
        for kernel in KERNELS:
            seconds = interleaved([ours[kernel], theirs[kernel]] if theirs else [ours[kernel]], options.rounds)
            speed = 1e-9 * layer.batch * layer.geometry.flops / seconds[0]
            rows.append({"group": layer.group, "layer": layer.name, "kernel": kernel, "seconds": seconds[0],
                         "peer_seconds": seconds[1] if theirs else None, "gflops": speed, "error": error})  # fmt: skip
            share = f"{speed / limit:8.0%}" if limit else " " * 8
            peer = f" {1e3 * seconds[1]:8.2f} {seconds[1] / seconds[0]:6.2f}" if theirs else ""
            print(
                f"{layer.group + ' ' + layer.name:22} {kernel:12} {error:8.1e} {1e3 * seconds[0]:8.2f} {speed:8.0f} "
                f"{share}{peer}",
                flush=True,
            )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"setting": setting, "limit_gflops": limit, "kernels": rows}, file, indent=1)


if __name__ == "__main__":
    main()
