"""Time from the start of a process to the end of its first training step, minigan's and the peer's.

    python -m benchmarks.first_step --model dcgan64 --peer torch

Each measurement is a process of its own: Python starts, imports the engine, builds the networks and trains on one
batch. minigan's first one has an empty cache of kernels, and compiles; the others find what it left there. PyTorch is
eager and has nothing to compile. Prints seconds, medians over the rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import command
from minigan.backends import get_backend
from minigan.cli.measurements import MODELS, random_images, training_step

ENGINES = ("minigan", "torch")


def seconds_of(engine: str, options: argparse.Namespace, environment: Mapping[str, str]) -> float:
    """Wall-clock seconds until a fresh process has done its first step."""
    call = [sys.executable, "-m", "benchmarks.first_step", "--child", engine, "--model", options.model]
    call += ["--batch-size", str(options.batch_size), "--backend", options.backend, "--precision", options.precision]
    began = time.perf_counter()
    with subprocess.Popen(
        call, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        done = process.stdout.readline()  # its end is not waited for
        seconds = time.perf_counter() - began
    if done != "done\n":
        sys.exit(f"the process of {engine} failed")
    return seconds


def train(options: argparse.Namespace) -> None:
    """One step in the fresh process."""
    images = random_images(options.model, options.batch_size)
    if options.child == "minigan":
        backend = get_backend(options.backend, precision=options.precision)
        backend.compile_ahead()
        training_step(options.model, backend)(images)
    else:
        from benchmarks import torch_peer

        torch_peer.training_step(*MODELS[options.model], channels_last=options.model != "mlp")(images)
    print("done", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument("--backend", choices=command.HOST, default="cpu", help="minigan's (default cpu)")
    command.add_precision(parser)
    parser.add_argument("--batch-size", type=command.count, default=64)
    parser.add_argument("--rounds", type=command.count, default=3, help="medians of so many processes (default 3)")
    parser.add_argument("--peer", choices=("torch",))
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        train(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = {"NUMBA_CACHE_DIR": folder}
        rows = {"minigan, empty cache": [seconds_of("minigan", options, environment)]}
        warm = rows["minigan, warm cache"] = []
        theirs: list[float] = []
        for _ in range(options.rounds):
            warm.append(seconds_of("minigan", options, environment))
            if options.peer:
                theirs.append(seconds_of("torch", options, environment))
    if options.peer:
        rows["torch"] = theirs
    print(f"{options.model}, batch {options.batch_size}, from the start of the process to the end of its first step:")
    for name, seconds in rows.items():
        print(f"  {name:21} {statistics.median(seconds):6.2f} s")


if __name__ == "__main__":
    main()
