"""Peak memory of a training process, minigan's and the peer's, each in a process of its own.

    python -m benchmarks.memory --model dcgan64 --batch-size 64 --peer torch

prints MiB of each at its peak (everything: interpreter, libraries, weights, activations), and as its last line
`ratio R`: minigan's over the least of the peer's configurations.
"""

import argparse
import resource
import subprocess
import sys

ENGINES = ("minigan", "torch", "torch channels_last")


def peak_of(engine: str, model: str, batch_size: int, steps: int) -> float:
    """MiB at the peak of a fresh process that trains for some steps."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", engine, "--model", model]
    command += ["--batch-size", str(batch_size), "--steps", str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def train(engine: str, model: str, batch_size: int, steps: int) -> None:
    """What the fresh process does; prints its own peak."""
    from minigan.bench import MODELS, random_images, training_step

    if engine == "minigan":
        from minigan.backends import get_backend

        step = training_step(model, get_backend())
    else:
        from benchmarks import torch_peer

        recipe, shape = MODELS[model]
        step = torch_peer.training_step(recipe, shape, channels_last=engine.endswith("channels_last"))
    images = random_images(model, batch_size)
    for _ in range(steps):
        step(images)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dcgan64")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--peer", choices=("torch",))
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train(options.child, options.model, options.batch_size, options.steps)
        return
    engines = ENGINES if options.peer else ENGINES[:1]
    peaks = {engine: peak_of(engine, options.model, options.batch_size, options.steps) for engine in engines}
    for engine, peak in peaks.items():
        print(f"{engine:20} {peak:7,.0f} MiB")
    if options.peer:
        print(f"ratio {peaks['minigan'] / min(peak for engine, peak in peaks.items() if engine != 'minigan'):.3f}")


if __name__ == "__main__":
    main()
