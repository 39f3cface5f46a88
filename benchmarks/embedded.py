"""Exported generators in all formats: size, memory, and time of a picture, on one thread.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.embedded            # digits of width 16 and 64, 64x64 RGB
    python -m benchmarks.embedded pretrained:digits runs/dcgan-digits-1 --formats c onnx --json result.json

`wide` and `rgb` are DCGANs of width 64 for 28x28 gray and 64x64 RGB images, untrained; others are generators of a run.
Each format is called as a program would call it: a z, a picture. The pictures are compared before anything is timed,
and formats take turns. C is compiled by `cc -O3 -march=native`; JavaScript runs in headless Chromium, if it is found.

Memory is the peak of a process that draws one picture, with interpreter and libraries; for a page, that of its numbers
alone. The last line is `ratio R`: the speed of C in fp32 over ONNX Runtime's, the least of all generators.
`--compile-only` stops before the timing.
"""

import argparse
import base64
import ctypes
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.cli.measurements import measure, medians
from minigan.export import FORMATS, ExportOptions, Subject
from minigan.export import graph as g
from minigan.export.c_self_test import compiler
from minigan.export.fewer_bits import in_bits
from minigan.export.html_operations import Program
from minigan.recipes import DCGAN
from minigan.runs import load_generator

GENERATORS = ("pretrained:digits", "wide", "rgb")
WEIGHTS = {"numpy": ("fp32", "int8"), "onnx": ("fp32", "int8"), "torch": ("fp32",), "c": ("fp32", "fp16", "int8")}
WEIGHTS["html"] = ("fp16", "int8")
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.5}  # of images in [-1, 1]
POINTER = ctypes.POINTER(ctypes.c_float)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PEAK = "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"


class Exported(NamedTuple):
    """A generator in a format.

    Attributes:
        told: what the export said.
        size: bytes of its files; of C, those that it is compiled to.
        memory: bytes; 0 where the system does not tell.
        draw: (z, condition), of one example -> an image (H, W, C).
        seconds: of a picture, where these were measured on the way.
    """

    told: str
    size: int
    memory: int
    draw: Callable[[np.ndarray, np.ndarray | None], np.ndarray]
    seconds: float = 0.0


def subject_of(name: str) -> Subject:
    """A generator by name, as what is exported."""
    if name in ("wide", "rgb"):
        shape = (28, 28, 1) if name == "wide" else (64, 64, 3)
        recipe = DCGAN(width=64)
        G = recipe.built_generator(
            shape, backend=get_backend("reference"), dtype="float32", rng=np.random.default_rng(0)
        )
        return Subject(G, name, from_noise=True, classes=recipe.classes if recipe.conditional else 0)
    trained = load_generator(name, backend="reference")
    classes = trained.recipe.classes if getattr(trained.recipe, "conditional", False) else 0
    return Subject(trained.G, name, from_noise=True, classes=classes)


def peak(code: str, folder: Path) -> int:
    """Bytes that a Python process has had at most after that code; 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{PEAK}"], cwd=folder, capture_output=True, text=True, check=True
    )
    return 1024 * int(done.stdout.split()[-1])


# ---------------------------------------------------------------------------------------------- the formats


def in_numpy(subject: Subject, folder: Path, weights: str) -> Exported:
    told = FORMATS["numpy"].write(subject, folder, ExportOptions(weights=weights))
    spec = importlib.util.spec_from_file_location("generator", folder / "generator.py")
    if spec is None or spec.loader is None:
        raise ImportError(folder)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def draw(z: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        given = () if c is None else (c.argmax(axis=1),)
        return module.generate(z, *given)[0]

    size = sum((folder / f"generator.{end}").stat().st_size for end in ("py", "npz"))
    return Exported(told, size, peak("import generator; generator.sample(1)", folder), draw)


def in_onnx(subject: Subject, folder: Path, weights: str) -> Exported:
    """ONNX Runtime with one thread."""
    import onnxruntime

    told = FORMATS["onnx"].write(subject, folder / "g.onnx", ExportOptions(layout="nhwc", weights=weights))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("N", 1)
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession((folder / "g.onnx").read_bytes(), options, providers=providers)

    def draw(z: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        return session.run(None, {"z": z} if c is None else {"z": z, "condition": c})[0][0]

    code = (
        f"import numpy as np, onnxruntime as o; s = o.InferenceSession('g.onnx', providers={providers}); "
        "s.run(None, {i.name: np.zeros((1, *i.shape[1:]), np.float32) for i in s.get_inputs()})"
    )
    return Exported(told, (folder / "g.onnx").stat().st_size, peak(code, folder), draw)


def in_torch(subject: Subject, folder: Path, weights: str) -> Exported:  # noqa: ARG001 (it has one type)
    """PyTorch with one thread; the module is the one that the file names."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    file = folder / "g.safetensors"
    told = FORMATS["torch"].write(subject, file, ExportOptions())
    with safe_open(file, framework="numpy") as opened:
        source = opened.metadata()["module"]
    definitions, last = source.rsplit("\n\n", 1)
    names: dict[str, object] = {}
    exec(definitions, names)
    module = eval(last, names).eval()
    module.load_state_dict(load_file(file))

    # A generator that begins with a convolution takes its noise as one pixel.
    pixel = (1, 1) if next(module.parameters()).ndim == 4 else ()

    def draw(z: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        noise = z if c is None else np.concatenate([z, c], axis=1)
        with torch.inference_mode():
            drawn = module(torch.from_numpy(noise.reshape(*noise.shape, *pixel)))
        return np.moveaxis(drawn.numpy()[0], 0, -1)

    shape = (1, subject.network.input_shape[0] + subject.classes, *pixel)
    code = f"import torch\n{definitions}\nm = {last}\nfrom safetensors.torch import load_file\n"
    code += f"m.load_state_dict(load_file('g.safetensors'))\nm.eval()(torch.zeros{shape})"
    return Exported(told, file.stat().st_size, peak(code, folder), draw)


def in_c(subject: Subject, folder: Path, weights: str) -> Exported:
    """The header as a library for the timing, and as a program for its size and memory."""
    header, label = folder / "g.h", ", int label" if subject.classes else ""
    told = FORMATS["c"].write(subject, header, ExportOptions(weights=weights))
    given = ", label" if subject.classes else ""
    (folder / "g.c").write_text(
        '#define G_IMPLEMENTATION\n#include "g.h"\n#include <stdio.h>\n#include <string.h>\n'
        "static float scratch[G_SCRATCH];\n"
        f"float *draw(const float *z{label}) {{ return g_generate(z{given}, scratch); }}\n"
        f"int main(void) {{ static float z[G_LATENT]; char line[256];\n  float *x = draw(z{', 0' if given else ''});\n"
        '  FILE *file = fopen("/proc/self/status", "r");\n'
        '  while (file && fgets(line, 256, file)) if (!strncmp(line, "VmHWM", 5)) printf("%s", line + 6);\n'
        "  return x[0] > 2; }\n",
        encoding="utf-8",
    )
    build = [compiler() or "cc", "-std=c99", "-O3", "-march=native", str(folder / "g.c")]
    subprocess.run([*build, "-shared", "-fPIC", "-lm", "-o", str(folder / "g.so")], check=True)
    subprocess.run([*build, "-lm", "-o", str(folder / "g")], check=True)
    said = subprocess.run([folder / "g"], capture_output=True, text=True, check=True).stdout.split()
    function = ctypes.CDLL(str(folder / "g.so")).draw
    function.restype = POINTER
    shape = subject.network.output_shape

    def draw(z: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        given = () if c is None else (int(c.argmax()),)
        image = function(z.ctypes.data_as(POINTER), *given)
        return np.ctypeslib.as_array(image, (prod(shape),)).reshape(shape)

    return Exported(told, (folder / "g").stat().st_size, 1024 * int(said[0]) if said else 0, draw)


def in_html(subject: Subject, folder: Path, weights: str, *, turns: int = 15) -> Exported:
    """The page, and its engine's picture and median time in a page of its own, whose loading waits for it."""
    told = FORMATS["html"].write(subject, folder / "g.html", ExportOptions(weights=weights))
    program = Program(in_bits(g.fold_batch_norms(subject.graph(to="html")), weights))
    z, c = example(subject)
    numbers = [x if x is None else x.ravel().tolist() for x in (z, c)]
    script = f"""{program.script}
const generator = new Generator({json.dumps(program.data)}, bytesOf("{base64.b64encode(program.content).decode()}"));
const [z, c] = {json.dumps(numbers)}.map(x => x && Float32Array.from(x)), times = [];
const turn = runs => {{ const began = performance.now();
  for (let n = 0; n < runs; n++) generator.run(z, c);
  return (performance.now() - began) / runs; }};
turn(10);
const runs = Math.ceil(5 / Math.max(0.01, turn(5))); // a turn is longer than the clock's steps
for (let n = 0; n < {turns}; n++) times.push(turn(runs));
const y = generator.run(z, c);
document.body.textContent = JSON.stringify([times.sort((a, b) => a - b)[{turns // 2}], Array.from(y)]);"""
    (folder / "time.html").write_text(f"<!DOCTYPE html><body><script>{script}</script>", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    address = (folder / "time.html").as_uri()
    done = subprocess.run([BROWSER or "chromium", *flags, address], capture_output=True, text=True, check=True)
    milliseconds, y = json.loads(done.stdout.partition("<body>")[2].partition("</body>")[0])
    image = np.array(y, np.float32).reshape(subject.network.output_shape)
    kept = sum(tensor["size"] for tensor in program.tensors) + sum(prod(op["shape"]) for op in program.ops)
    return Exported(told, (folder / "g.html").stat().st_size, 4 * kept, lambda z, c: image, milliseconds / 1e3)  # noqa: ARG005


MAKERS = {"numpy": in_numpy, "onnx": in_onnx, "torch": in_torch, "c": in_c, "html": in_html}
NEEDS = {"onnx": ("onnx", "onnxruntime"), "torch": ("torch",)}


def example(subject: Subject) -> tuple[np.ndarray, np.ndarray | None]:
    """A z, and a class."""
    z = np.random.default_rng(0).standard_normal((1, *subject.network.input_shape), dtype=np.float32)
    return z, np.eye(subject.classes, dtype=np.float32)[[3]] if subject.classes else None


def missing(format: str) -> str:
    """A word on what a format needs and this machine lacks; "" for nothing."""
    if format == "html":
        return "" if BROWSER else "Chromium"
    if format == "c":
        return "" if compiler() else "a C compiler"
    return " and ".join(package for package in NEEDS.get(format, ()) if importlib.util.find_spec(package) is None)


# ---------------------------------------------------------------------------------------------- the comparison


def compared(name: str, options: argparse.Namespace, folder: Path) -> dict[str, SimpleNamespace]:
    """The figures of a generator in each format and type of weights; prints a table."""
    subject = subject_of(name)
    z, c = example(subject)
    image = subject.network.given(c).forward(z, train=False)[0][0]
    made: dict[str, Exported] = {}
    for format in options.formats:
        for weights in (kind for kind in WEIGHTS[format] if kind in options.weights):
            place = folder / f"{name.replace(':', '-').replace('/', '-')}-{format}-{weights}"
            place.mkdir()
            found = MAKERS[format](subject, place, weights)
            command.expect_agreement(float(np.abs(found.draw(z, c) - image).max()), TOLERANCE[weights])
            made[f"{format} {weights}"] = found
    if options.compile_only:
        return {}
    calls = {key: (lambda draw=found.draw: draw(z, c)) for key, found in made.items() if not found.seconds}
    seconds = medians(measure(calls, rounds=options.rounds, seconds=options.seconds)) if calls else {}
    seconds |= {key: found.seconds for key, found in made.items() if found.seconds}
    print(f"\n{name}: {'x'.join(map(str, image.shape))}\n\n| format | weights | bytes | memory | ms a picture |")
    print("|---|---|---|---|---|")
    for key, found in made.items():
        format, weights = key.split()
        memory = f"{found.memory / 1e6:,.1f} MB" if found.memory else ""
        print(f"| {format} | {weights} | {found.size:,} | {memory} | {1e3 * seconds[key]:.3f} |", flush=True)
    return {
        key: SimpleNamespace(told=found.told, bytes=found.size, memory=found.memory, seconds=seconds[key])
        for key, found in made.items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="*", metavar="GENERATOR", help=f"default: {' '.join(GENERATORS)}")
    parser.add_argument("--formats", choices=MAKERS, nargs="+", default=[*MAKERS], help="default: all")
    parser.add_argument("--weights", choices=TOLERANCE, nargs="+", default=[*TOLERANCE], help="default: all")
    parser.add_argument("--rounds", type=command.count, default=7)
    parser.add_argument("--seconds", type=command.duration, default=0.3)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--compile-only", action="store_true")
    options = parser.parse_args(arguments)
    for format in tuple(options.formats):
        if lacked := missing(format):
            print(f"without {format}, which needs {lacked}")
            options.formats.remove(format)
    setting = environment.describe(get_backend("reference"), [*{"onnxruntime"} & set(NEEDS.get("onnx", ()))])
    environment.show(setting)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: compared(name, options, Path(folder)) for name in options.generators or GENERATORS}
    command.write_json(options.json, {"setting": setting, "generators": {
        name: {key: vars(figures) for key, figures in each.items()} for name, each in found.items()
    }})  # fmt: skip
    ratios = [
        each["onnx fp32"].seconds / each["c fp32"].seconds
        for each in found.values()
        if {"onnx fp32", "c fp32"} <= set(each)
    ]
    if ratios:
        print(f"\nratio {min(ratios):.3f}")


if __name__ == "__main__":
    main()
