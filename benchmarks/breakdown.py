"""A breakdown of the time: each kernel on each shape, with the speed that it reaches and the limit that bounds it.

    python -m benchmarks.breakdown --model dcgan64 --batch-size 64

Every call of the backend's kernels is timed inside of whole training steps (of `stack`: see `benchmarks.stack`) or of
drawing samples, with the caches as they are there. GB/s count the arrays that a kernel is given and those that it
returns, each once; GFLOP/s a direct convolution's or matrix product's operations. `fma` rows are bounded by the
processor's multiply-adds, `mem` rows by the memory's bandwidth, and the last column tells how much of that they reach:
Winograd's algorithms and arrays that are still in a cache may go beyond 100 %. What is between the kernels, such as the
losses, is the last row.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import numpy as np

from benchmarks import command, environment, stack
from minigan.backends import Backend
from minigan.backends.base import KERNELS
from minigan.backends.geometry import ConvGeometry
from minigan.cli.measurements import MODELS, random_images, sampling_step, training_step
from minigan.inspection.limits import Limits, measured_limits


class Work:
    """All calls of a kernel on arrays of the same shapes."""

    def __init__(self) -> None:
        self.seconds, self.flops, self.moved = 0.0, 0, 0

    def row(self, steps: int, total: float, limits: Limits | None) -> str:
        speed, bandwidth = 1e-9 * self.flops / self.seconds, 1e-9 * self.moved / self.seconds
        reached = ""
        if limits:
            by = limits.bound(self.flops, self.moved).by
            reached = f" {by:>5} {speed / limits.multiply_adds if by == 'fma' else bandwidth / limits.bandwidth:6.0%}"
        operations = f"{speed:8.0f}" if self.flops else " " * 8
        return f"{1e3 * self.seconds / steps:8.2f} {self.seconds / total:6.1%} {operations} {bandwidth:6.1f}{reached}"


class Recorder:
    """Times every call of a backend's kernels, but not those that kernels make among themselves."""

    def __init__(self, backend: Backend) -> None:
        self.works: dict[tuple[str, str], Work] = defaultdict(Work)
        self._busy = False
        for kernel in KERNELS:
            setattr(backend, kernel, self._timed(kernel, getattr(backend, kernel)))

    def _timed(self, kernel: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._busy:
                return function(*arguments, **options)
            self._busy = True
            began = time.perf_counter()
            result = function(*arguments, **options)
            seconds = time.perf_counter() - began
            self._busy = False
            work = self.works[kernel, shapes_of(arguments)]
            work.seconds += seconds
            work.flops += operations(kernel, arguments, options, result)
            work.moved += sum({id(a): a.nbytes for a in arrays_in((arguments, options, result))}.values())
            return result

        return timed


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """The arrays among a kernel's arguments, options or results."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(item)


def shapes_of(arguments: tuple[Any, ...]) -> str:
    """Shapes of the first two arrays, unless they are vectors: "64x32x32x64 4x4x64x128"."""
    first, *others = (array.shape for array in arrays_in(arguments))
    return " ".join("x".join(map(str, shape)) for shape in (first, *others[:1]) if len(shape) > 1 or shape is first)


def operations(kernel: str, arguments: tuple[Any, ...], options: dict[str, Any], result: Any) -> int:
    """Operations of a convolution or a matrix product; none are counted for other kernels."""
    if kernel == "matmul":
        return 2 * int(result.size) * int(arguments[0].shape[0 if options.get("transpose_a") else 1])
    if kernel == "dense_leaky_relu":
        return 2 * len(arguments[0]) * int(arguments[1].size)
    if kernel in ("dense_grad", "dense_leaky_relu_grad"):
        products = (options["add_to"] is not None) + (result is not None)
        return 2 * products * len(arguments[0]) * int(arguments[2].size)
    geometries = [a for a in arguments if isinstance(a, ConvGeometry)]
    return len(arguments[0]) * geometries[0].flops if geometries else 0


def workload(options: argparse.Namespace) -> Callable[[], Any]:
    """The workload to break down."""
    n, backend = options.batch_size, options.backend
    if options.model != "stack":
        step = sampling_step if options.work == "sample" else training_step
        return partial(step(options.model, backend), random_images(options.model, n))
    rng = np.random.default_rng(0)
    net = stack.network(128, 3).build((128, 128, 3), backend=backend, rng=rng)
    x, dy = (rng.standard_normal((n, 128, 128, 3), dtype=np.float32) for _ in range(2))
    return stack.our_step(net, x, dy)


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, peers=(), backends=command.HOST)
    parser.add_argument("--model", choices=(*MODELS, "stack"), default="dcgan64")
    parser.add_argument("--work", choices=("train", "sample"), default="train", help="(default train)")
    parser.add_argument("--batch-size", type=command.count, default=64)
    options = command.parse(parser, arguments)
    if options.model == "stack" and options.work == "sample":
        parser.error("the stack is trained only")
    limits = measured_limits(options.backend)
    setting = environment.describe(options.backend) | ({"limits": limits.describe()} if limits else {})
    environment.show(setting)

    step = workload(options)
    for _ in range(2):
        step()
    recorder = Recorder(options.backend)
    step()
    recorder.works.clear()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < options.seconds * options.rounds:
        step()
        steps += 1
    total = time.perf_counter() - began

    print(f"{options.work} {options.model}, batch {options.batch_size}, {1e3 * total / steps:.2f} ms, mean of {steps}:")
    bound = f" {'limit':>5} {'of it':>6}" if limits else ""
    print(f"  {'kernel':26} {'arrays':27} {'ms':>8} {'share':>6} {'GFLOP/s':>8} {'GB/s':>6}{bound}")
    for (kernel, shapes), work in sorted(recorder.works.items(), key=lambda item: -item[1].seconds):
        print(f"  {kernel:26} {shapes:27} {work.row(steps, total, limits)}")
    rest = total - sum(work.seconds for work in recorder.works.values())
    print(f"  {'between the kernels':54} {1e3 * rest / steps:8.2f} {rest / total:6.1%}")
    rows = [
        {"kernel": kernel, "arrays": shapes, "seconds": w.seconds / steps, "gflop": 1e-9 * w.flops / steps,
         "gigabytes": 1e-9 * w.moved / steps}
        for (kernel, shapes), w in recorder.works.items()
    ]  # fmt: skip
    command.write_json(options.json, {"setting": setting, "seconds": total / steps, "kernels": rows})


if __name__ == "__main__":
    main()
