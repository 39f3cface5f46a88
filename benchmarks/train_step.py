"""Whole training steps, minigan and peers interleaved in one process.

    python -m benchmarks.train_step --model dcgan64 --peer torch --json result.json

prints images/s of each engine (median over the rounds), and as its last line `ratio R`: minigan's images/s over those
of the peer's best configuration.
"""

import argparse
import json
import resource
import statistics
import sys

from benchmarks import environment
from minigan.backends import get_backend
from minigan.bench import MODELS, Step, measure, random_images, training_step


def peer_steps(model: str, *, bf16: bool) -> dict[str, Step]:
    """PyTorch in each configuration a user might choose."""
    from benchmarks import torch_peer

    recipe, shape = MODELS[model]
    steps = {"torch": torch_peer.training_step(recipe, shape)}
    if model != "mlp":
        steps["torch channels_last"] = torch_peer.training_step(recipe, shape, channels_last=True)
    if bf16:
        steps["torch channels_last bf16"] = torch_peer.training_step(recipe, shape, channels_last=True, bf16=True)
    return steps


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--peer", choices=("torch",))
    parser.add_argument("--bf16", action="store_true", help="the peer also with bf16 autocast")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)

    ours = f"minigan {options.backend}"
    backend = get_backend(options.backend)
    steps = {ours: training_step(options.model, backend)}
    if options.peer:
        steps |= peer_steps(options.model, bf16=options.bf16)
    times = measure(
        steps, random_images(options.model, options.batch_size), rounds=options.rounds, seconds=options.seconds
    )

    setting = environment.describe() | {"backend": backend.describe()}
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        setting["torch"] = f"{torch.__version__}, {torch.get_num_threads()} threads"
    for name, value in setting.items():
        print(f"{name}: {value}")
    speeds = {name: options.batch_size / statistics.median(values) for name, values in times.items()}
    print(f"\n{options.model}, batch {options.batch_size}, median of {options.rounds} rounds:")
    for name, speed in speeds.items():
        print(f"  {name:26} {1e3 * options.batch_size / speed:9.2f} ms/step  {speed:10,.0f} images/s")
    print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    result = {"model": options.model, "batch_size": options.batch_size, "seconds": times, "setting": setting}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    if options.peer:
        print(f"ratio {speeds[ours] / max(speed for name, speed in speeds.items() if name != ours):.3f}")


if __name__ == "__main__":
    main()
