"""Peak memory of a training process, minigan's and the peer's, each in a process of its own.

    python -m benchmarks.memory --model dcgan64 --batch-size 64 --peer torch

prints MiB of each at its peak (everything: interpreter, libraries, weights, activations), and as its last line
`ratio R`: minigan's over the least of the peer's configurations.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks import command
from minigan.backends import BACKENDS, get_backend
from minigan.cli.measurements import MODELS, random_images, training_step

ENGINES = ("minigan", "torch", "torch channels_last", "torch channels_last bf16")


def peak_of(engine: str, options: argparse.Namespace) -> float:
    """MiB at the peak of a fresh process that trains for some steps."""
    call = [sys.executable, "-m", "benchmarks.memory", "--child", engine, "--model", options.model]
    call += ["--batch-size", str(options.batch_size), "--steps", str(options.steps)]
    call += ["--backend", options.backend, "--precision", options.precision]
    root = Path(__file__).parent.parent
    return float(subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, cwd=root).stdout)


def train(options: argparse.Namespace) -> None:
    """Trains in the fresh process and prints its peak."""
    if options.child == "minigan":
        step = training_step(options.model, get_backend(options.backend, precision=options.precision))
    else:
        from benchmarks import torch_peer

        layout, bf16 = "channels_last" in options.child, "bf16" in options.child
        step = torch_peer.training_step(*MODELS[options.model], channels_last=layout, bf16=bf16)
    images = random_images(options.model, options.batch_size)
    for _ in range(options.steps):
        step(images)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument(
        "--backend", choices=("auto", *BACKENDS), default="auto", help="minigan's (default the fastest)"
    )
    command.add_precision(parser)
    parser.add_argument("--batch-size", type=command.count, default=64)
    parser.add_argument("--steps", type=command.count, default=5)
    parser.add_argument("--peer", choices=("torch",))
    parser.add_argument("--bf16", action="store_true", help="the peer also with bf16 autocast")
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        train(options)
        return
    engines = [e for e in ENGINES if e == "minigan" or (options.peer and (options.bf16 or "bf16" not in e))]
    peaks = {engine: peak_of(engine, options) for engine in engines}
    for engine, peak in peaks.items():
        print(f"{engine:25} {peak:7,.0f} MiB")
    if options.peer:
        print(f"ratio {peaks['minigan'] / min(peak for engine, peak in peaks.items() if engine != 'minigan'):.3f}")


if __name__ == "__main__":
    main()
