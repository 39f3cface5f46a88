"""Convolutions in groups beside the same one without groups, and depthwise ones beside a copy of their images.

    python -m benchmarks.groups --channels 32 64 128 256 --width 1 2 4 8 16 32 --size 4 8 16 32

For each kernel of a 3x3 convolution, or another: milliseconds; GFLOP/s, as a share of the multiply-add limit, and of
what the kernel reaches without groups, which Winograd's algorithm takes beyond that limit; and how much faster it is
than with a plain filter that has zeros between the groups, whose products are those without groups. For a depthwise 4x4
one with stride 2, as a FIR filter resamples images: the time over that of copying as many bytes as its images have. All
in turns, the least of all rounds; results are compared before anything is timed. In the end, how many of the kernels
in groups were slower than with zeros.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import command, environment
from minigan.backends import Backend
from minigan.backends.geometry import ConvGeometry, conv_geometry
from minigan.cli.measurements import measure
from minigan.inspection.limits import multiplying

PASSES = {"y": "conv2d", "dx": "conv2d_input_grad", "dw": "conv2d_weight_grad"}
TOLERANCE = 1e-4  # of the largest number
FLOAT = np.dtype(np.float32)
SLOWER = 0.97  # of the plain filter's speed; what is nearer to it is timing
SPINS = 100  # tiles in a turn of the multiply-add limit: as short as a small kernel
Calls = dict[str, Callable[[], Any]]


def arrays(g: ConvGeometry, batch: int) -> tuple[np.ndarray, ...]:
    """x, w and dy."""
    rng = np.random.default_rng(0)
    shapes = (batch, *g.input_shape), g.weight_shape, (batch, *g.output_shape)
    return tuple(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)


def with_zeros(w: np.ndarray, g: ConvGeometry) -> np.ndarray:
    """The plain filter (R, S, C, K) that does what w does in groups."""
    deep, wide = g.C // g.groups, g.K // g.groups
    plain = np.zeros((g.R, g.S, g.C, g.K), np.float32)
    for group in range(g.groups):
        outputs = slice(group * wide, (group + 1) * wide)
        plain[:, :, group * deep : (group + 1) * deep, outputs] = w[..., outputs]
    return plain


def calls(backend: Backend, g: ConvGeometry, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> Calls:
    """The three kernels; each returns its result."""
    dw = np.zeros_like(w)

    def weight_grad() -> np.ndarray:
        dw.fill(0)
        backend.conv2d_weight_grad(x, dy, g, add_to=dw)
        return dw

    return {
        "y": lambda: backend.conv2d(x, w, None, g),
        "dx": lambda: backend.conv2d_input_grad(dy, w, g),
        "dw": weight_grad,
    }


def expect_same(found: Calls, plain: Calls) -> None:
    """Ends the program if the groups' y or dx are not those of the plain filter."""
    for name in ("y", "dx"):
        ours, expected = found[name](), plain[name]()
        command.expect_agreement(float(np.abs(ours - expected).max() / np.abs(expected).max()), TOLERANCE)


def copying(g: ConvGeometry, batch: int) -> Callable[[], None]:
    """A copy that reads and writes as many bytes as a convolution's images have."""
    size = batch * (g.H * g.W * g.C + g.P * g.Q * g.K) // 2
    source, to = np.ones(size, np.float32), np.ones(size, np.float32)
    return lambda: np.copyto(to, source)


def least(calls: Calls, options: Any) -> dict[str, float]:
    """The shortest time of each call, in seconds."""
    return {name: min(times) for name, times in measure(calls, rounds=options.rounds, seconds=options.seconds).items()}


def in_groups(backend: Backend, g: ConvGeometry, batch: int, options: Any) -> dict[str, Any]:
    """Times a convolution in groups and the one without, and prints a line for each kernel."""
    x, w, dy = arrays(g, batch)
    plain = replace(g, groups=1)
    own, other = calls(backend, g, x, w, dy), calls(backend, plain, x, with_zeros(w, g), dy)
    expect_same(own, other)
    both = {f"{name} {way}": call for way, found in (("own", own), ("plain", other)) for name, call in found.items()}
    limit = multiplying(backend, repeats=SPINS)
    seconds = least(both | ({"limit": limit.run} if limit else {}), options)
    for name, kernel in PASSES.items():
        t, dense = seconds[f"{name} own"], seconds[f"{name} plain"]
        speed, share = 1e-9 * g.flops * batch / t, dense * g.flops / (t * plain.flops)
        peak = f"{1e11 * speed * seconds['limit'] / limit.flops:5.0f} %" if limit else "      -"
        algorithm = backend.algorithm(kernel, g, batch, FLOAT) or kernel
        print(
            f"  {batch:5} {g.C:5} {g.C // g.groups:5} {g.H:5} {name:4} {1e3 * t:9.2f} {speed:8.0f} {peak}"
            f" {100 * share:6.0f} % {dense / t:8.2f}x  {algorithm}",
            flush=True,
        )
    return {"batch": batch, "channels": g.C, "width": g.C // g.groups, "size": g.H, "seconds": seconds}


def gains(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as fast as with zeros each kernel of each row is, by name."""
    found = {}
    for row in rows:
        for name in PASSES:
            text = f"{name} of {row['channels']}/{row['width']} at {row['size']}, batch {row['batch']}"
            found[text] = row["seconds"][f"{name} plain"] / row["seconds"][f"{name} own"]
    return found


def summary(gains: dict[str, float]) -> str:
    """A line that names the five slowest."""
    slower = sorted((gain, name) for name, gain in gains.items() if gain < SLOWER)
    listed = "".join(f"; {gain:.2f}x {name}" for gain, name in slower[:5])
    return f"slower than with zeros in {len(slower)} of {len(gains)}{listed}"


def resampling(backend: Backend, g: ConvGeometry, batch: int, options: Any) -> dict[str, Any]:
    """Times a depthwise convolution and a copy, and prints a line."""
    found = calls(backend, g, *arrays(g, batch)) | {"copy": copying(g, batch)}
    seconds = least(found, options)
    times = "  ".join(f"{name} {seconds[name] / seconds['copy']:5.2f}" for name in PASSES)
    print(f"  {batch:5} {g.C:5} {g.H:5}  copy {1e3 * seconds['copy']:7.2f} ms, times that: {times}", flush=True)
    return {"batch": batch, "channels": g.C, "size": g.H, "seconds": seconds}


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, peers=(), rounds=5, seconds=0.05, backends=command.HOST)
    parser.add_argument("--batch-size", type=command.count, nargs="+", default=[64], metavar="N")
    parser.add_argument("--channels", type=command.count, nargs="+", default=[64, 128], metavar="N")
    parser.add_argument("--width", type=command.count, nargs="+", default=[1, 16], metavar="N", help="of a group")
    parser.add_argument("--size", type=command.count, nargs="+", default=[8, 16], metavar="N", help="of the images")
    parser.add_argument("--filter", type=command.count, default=3, metavar="N", help="a side (default 3)")
    parser.add_argument("--stride", type=command.count, default=1, metavar="N", help="(default 1)")
    options = command.parse(parser, arguments)
    backend = options.backend
    setting = environment.describe(backend)
    environment.show(setting)

    sides, strides = (options.filter, options.filter), (options.stride, options.stride)
    print(f"{options.filter}x{options.filter}, stride {options.stride}, least of {options.rounds} rounds:")
    print("  batch  C     width  size pass        ms  GFLOP/s of peak of dense  over zeros  algorithm")
    found, sizes = [], [(n, C, size) for n in options.batch_size for C in options.channels for size in options.size]
    for batch, C, size in sizes:
        for width in (width for width in options.width if width < C and C % width == 0):
            g = conv_geometry((size, size, C), C, sides, strides, "same", C // width)
            found.append(in_groups(backend, g, batch, options))
    print(summary(gains(found)))
    print("depthwise 4x4, stride 2:")
    down = [(conv_geometry((size, size, C), C, (4, 4), (2, 2), 1, C), n) for n, C, size in sizes if size > 1]
    resampled = [resampling(backend, g, batch, options) for g, batch in down]
    measured = {"setting": setting, "groups": found, "gains": gains(found), "resampling": resampled}
    command.write_json(options.json, measured)


if __name__ == "__main__":
    main()
