"""The convolution kernels layer by layer: their algorithms, and how near they come to the processor's limits.

    python -m benchmarks.kernels --group dcgan64 --peer torch --json result.json

Each kernel is first compared with the reference; then it and the peer take turns, and the medians are printed.

GFLOP/s count a direct convolution's operations, whatever the algorithm; GB/s the operands and the result, each once.
"bound" is the most that either limit allows, in GFLOP/s: `fma`, the multiply-adds, or `mem`, the memory's bandwidth
times operations per byte. Both are measured in the same run. Winograd's algorithms can go beyond 100 % of it, and so
can operands that are still in a cache.
"""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import command, environment
from minigan.backends import Backend
from minigan.backends.geometry import ConvGeometry, conv_geometry
from minigan.backends.reference import ReferenceBackend
from minigan.cli.measurements import measure, medians
from minigan.inspection.limits import Limits, measured_limits

SHAPES = Path(__file__).with_name("shapes.toml")
KERNELS = {"forward": "conv2d", "input grad": "conv2d_input_grad", "weight grad": "conv2d_weight_grad"}
FLOAT = np.dtype(np.float32)
Call = Callable[[], Any]


class Layer(NamedTuple):
    group: str
    name: str
    batch: int
    geometry: ConvGeometry

    @property
    def flops(self) -> int:
        """Operations of each of the three kernels."""
        return self.batch * self.geometry.flops

    @property
    def moved(self) -> int:
        """Bytes of images, weights and results: the same arrays in each of the three kernels."""
        g = self.geometry
        images = self.batch * (np.prod(g.input_shape) + np.prod(g.output_shape))
        return int(FLOAT.itemsize * (images + np.prod(g.weight_shape)))


class Row(NamedTuple):
    """One kernel's figures."""

    group: str
    layer: str
    kernel: str
    algorithm: str | None
    error: float  # of the largest number
    seconds: float
    peer_seconds: float | None
    gflop: float
    gigabytes: float
    bound: float | None  # GFLOP/s
    bound_by: str | None

    @staticmethod
    def title(peer: bool) -> str:
        return (
            f"  {'layer':13} {'kernel':11} {'algorithm':20} {'error':>7} {'ms':>8} {'GFLOP/s':>8} {'GB/s':>6} "
            f"{'bound':>8} {'reached':>8}" + (f" {'peer ms':>8} {'ratio':>6}" if peer else "")
        )

    def __str__(self) -> str:
        speed = self.gflop / self.seconds
        bound = f"{self.bound:4.0f} {self.bound_by} {speed / self.bound:8.0%}" if self.bound else " " * 17
        peer = self.peer_seconds
        against = f" {1e3 * peer:8.2f} {peer / self.seconds:6.2f}" if peer else ""
        return (
            f"  {self.layer:13} {self.kernel:11} {self.algorithm or '':20} {self.error:7.0e} {1e3 * self.seconds:8.2f} "
            f"{speed:8.0f} {self.gigabytes / self.seconds:6.1f} {bound}{against}"
        ).rstrip()


def shapes() -> dict[str, Any]:
    """Groups of layers, by name."""
    with open(SHAPES, "rb") as file:
        return tomllib.load(file)


def layers(groups: list[str]) -> list[Layer]:
    table = shapes()
    return [
        Layer(group, row["name"], table[group]["batch"], conv_geometry(
            tuple(row["image"]), row["filters"], (row["filter"],) * 2, (row["stride"],) * 2, row["padding"],
            row.get("groups", 1),
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


def torch_calls(layer: Layer, *, device: str = "cpu", dtype: str = "float32") -> dict[str, Call]:
    """The same three products in PyTorch, channels_last: its faster layout for these."""
    import torch

    g = layer.geometry
    x, w, dy = (torch.from_numpy(array).to(device, getattr(torch, dtype)) for array in arrays(layer))
    x, dy = x.permute(0, 3, 1, 2), dy.permute(0, 3, 1, 2)
    w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    stride, padding = list(g.stride), [g.padding[0][0], g.padding[1][0]]

    def backward(*wanted: bool) -> Call:
        return lambda: torch.ops.aten.convolution_backward(
            dy, x, w, None, stride, padding, [1, 1], False, [0, 0], g.groups, wanted
        )

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, None, stride, padding, groups=g.groups),
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


def measured(backend: Backend, layer: Layer, limits: Limits | None, *, peer: bool, **turns: Any) -> list[Row]:
    """The three kernels of a layer."""
    error = validate(backend, layer)
    ours, theirs = calls(backend, layer), torch_calls(layer) if peer else {}
    bound = limits.bound(layer.flops, layer.moved) if limits else (None, None)
    rows = []
    for label, kernel in KERNELS.items():
        contestants = {"ours": ours[label]} | ({"theirs": theirs[label]} if peer else {})
        seconds = medians(measure(contestants, **turns))
        rows.append(
            Row(
                layer.group,
                layer.name,
                label,
                backend.algorithm(kernel, layer.geometry, layer.batch, FLOAT),
                error,
                seconds["ours"],
                seconds.get("theirs"),
                1e-9 * layer.flops,
                1e-9 * layer.moved,
                *bound,
            )
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, seconds=0.03, backends=command.HOST)
    parser.add_argument(
        "--group", choices=shapes(), action="append", default=[], help="of shapes.toml; repeat for several; default all"
    )
    options = command.parse(parser, arguments)
    backend, peer = options.backend, bool(options.peer)
    limits = measured_limits(backend)
    setting = environment.describe(backend, options.peer)
    if limits:
        setting["limits"] = limits.describe()
    environment.show(setting)

    rows: list[Row] = []
    group = None
    for layer in layers(options.group):
        if layer.group != group:
            group = layer.group
            print(f"{group}, batch {layer.batch}:\n{Row.title(peer)}")
        for row in measured(backend, layer, limits, peer=peer, rounds=options.rounds, seconds=options.seconds):
            print(row, flush=True)
            rows.append(row)
    found = {"setting": setting, "limits": limits and limits._asdict(), "kernels": [row._asdict() for row in rows]}
    command.write_json(options.json, found)


if __name__ == "__main__":
    main()
