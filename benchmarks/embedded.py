"""An exported C generator on one thread, and ONNX Runtime on one thread, in turns.

    python -m benchmarks.embedded --weights fp32 int8                        # the digits' generator, untrained
    python -m benchmarks.embedded --run runs/dcgan-digits-1 --weights fp32 fp16 int8 --json result.json

The C file is compiled by `cc -O3 -march=native`, and called as a program would call it: a z, a picture. The images are
compared before anything is timed. The last line is `ratio R`: the speed of C in the first type of weights over ONNX
Runtime's. `--compile-only` stops before the timing.
"""

import argparse
import ctypes
import subprocess
import tempfile
from math import prod
from pathlib import Path

import numpy as np

from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.checkpoints.quantized import WEIGHTS
from minigan.cli.measurements import measure, medians
from minigan.export import FORMATS, ExportOptions, Subject
from minigan.export.c_self_test import compiler
from minigan.nn.network import Sequential
from minigan.recipes import DCGAN
from minigan.runs import load_generator

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.5}  # of images in [-1, 1]
POINTER = ctypes.POINTER(ctypes.c_float)


class Compiled:
    """A header as a function from z (1, latent) to an image (H, W, C).

    Attributes:
        told: what the export said.
        scratch: numbers in its memory.
    """

    def __init__(self, subject: Subject, folder: Path, weights: str) -> None:
        header = folder / f"g_{weights}.h"
        self.told = FORMATS["c"].write(subject, header, ExportOptions(weights=weights))
        source, library = header.with_suffix(".c"), header.with_suffix(".so")
        macro = f"#define G_{weights.upper()}_IMPLEMENTATION"
        size = f"const int scratch_size = G_{weights.upper()}_SCRATCH;"
        source.write_text(f'{macro}\n#include "{header.name}"\n{size}\n', encoding="utf-8")
        flags = ["-std=c99", "-O3", "-march=native", "-shared", "-fPIC"]
        subprocess.run([compiler() or "cc", *flags, str(source), "-lm", "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
        self.scratch = np.zeros(ctypes.c_int.in_dll(loaded, "scratch_size").value, np.float32)
        self._shape = subject.network.output_shape
        self._draw = getattr(loaded, f"g_{weights}_generate")
        self._draw.restype = POINTER
        self._memory = self.scratch.ctypes.data_as(POINTER)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        image = self._draw(z.ctypes.data_as(POINTER), self._memory)
        return np.ctypeslib.as_array(image, (prod(self._shape),)).reshape(self._shape)


def onnx_session(G: Sequential):
    """ONNX Runtime with one thread, for one z."""
    import onnxruntime

    from minigan.export import onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("N", 1)
    with tempfile.TemporaryDirectory() as folder:
        onnx.write(Subject(G, "G", from_noise=True), Path(folder, "g.onnx"), ExportOptions(layout="nhwc"))
        model = onnxruntime.InferenceSession(
            Path(folder, "g.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    return lambda z: model.run(None, {"z": z})[0][0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder (default: the digits' generator, untrained)")
    parser.add_argument("--weights", choices=WEIGHTS, nargs="+", default=["fp32"])
    parser.add_argument("--rounds", type=command.count, default=7)
    parser.add_argument("--seconds", type=command.duration, default=0.3)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--compile-only", action="store_true")
    options = parser.parse_args(arguments)
    setting = environment.describe(get_backend("reference"), ["onnxruntime"])
    environment.show(setting)
    if options.run is None:
        G = DCGAN().generator((28, 28, 1)).build((100,), backend="reference", rng=np.random.default_rng(0))
    else:
        G = load_generator(options.run, backend="reference").G
    z = np.random.default_rng(0).standard_normal((1, *G.input_shape), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        drawn = {f"C {w}": Compiled(Subject(G, "G", from_noise=True), Path(folder), w) for w in options.weights}
        for name, engine in drawn.items():
            print(f"{name}: {engine.told}")
        engines = {**drawn, "onnxruntime": onnx_session(G)}
        for weights, engine in zip(options.weights, drawn.values(), strict=True):
            difference = float(np.abs(engine(z) - engines["onnxruntime"](z)).max())
            command.expect_agreement(difference, TOLERANCE[weights])
        if options.compile_only:
            return
        calls = {name: lambda engine=engine: engine(z) for name, engine in engines.items()}
        results = measure(calls, rounds=options.rounds, seconds=options.seconds)
    seconds = medians(results)
    for name, t in seconds.items():
        print(f"  {name:12} {1e3 * t:9.3f} ms median, {1e3 * min(results[name]):9.3f} ms least")
    command.write_json(options.json, {"setting": setting, "seconds": results})
    first, *_, peer = seconds.values()
    print(f"ratio {peer / first:.3f}")


if __name__ == "__main__":
    main()
