"""Whole training steps, minigan and peers in turns in one process.

    python -m benchmarks.train_step --model dcgan64 --peer torch --json result.json

prints images/s of each engine (median over the rounds), and as its last line `ratio R`: minigan's images/s over those
of the peer's best configuration, with `--bf16` of all in float32 and bf16. `--precision bf16` is minigan's. PyTorch's
networks run as they are, and compiled by `torch.compile` where there is a C++ compiler.
"""

import resource
from functools import partial

import numpy as np

from benchmarks import command, environment
from minigan.cli.measurements import MODELS, Step, measure, medians, random_images, training_step


def peer_steps(model: str, images: np.ndarray, *, bf16: bool, eager: bool) -> dict[str, Step]:
    """PyTorch in each configuration a user might choose, compiled ones last.

    Args:
        images: a batch, whose shape is compiled for.
        eager: without `torch.compile`.
    """
    import torch

    from benchmarks import torch_peer

    make = partial(torch_peer.training_step, *MODELS[model])
    kinds = {"torch": make, "torch channels_last": partial(make, channels_last=True)}
    if model == "mlp":
        kinds = {"torch": make}
        if torch.get_num_threads() > 1:
            kinds["torch, 1 thread"] = partial(torch_peer.on_one_thread, make)
    if bf16:
        kinds["torch channels_last bf16"] = partial(make, channels_last=True, bf16=True)
    steps: dict[str, Step] = {name: build() for name, build in kinds.items()}
    if not eager:
        for name in list(kinds)[0 if model == "mlp" else 1 :]:  # compiling chooses layouts by those of the weights
            step = kinds[name](compiled=True)
            if torch_peer.compiles(name := f"{name}, compiled", partial(step, images)):
                steps[name] = step
    return steps


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument("--bf16", action="store_true", help="the peer also with bf16 autocast")
    parser.add_argument("--eager", action="store_true", help="the peer without torch.compile, which takes a minute")
    parser.add_argument("--batch-size", type=command.count, default=64)
    options = command.parse(parser, arguments)
    setting = environment.describe(options.backend, options.peer)
    environment.show(setting)

    steps: dict[str, Step] = {f"minigan {options.backend.name}": training_step(options.model, options.backend)}
    images = random_images(options.model, options.batch_size)
    if options.peer:
        steps |= peer_steps(options.model, images, bf16=options.bf16, eager=options.eager)
    times = measure(
        {name: partial(step, images) for name, step in steps.items()}, rounds=options.rounds, seconds=options.seconds
    )
    seconds = medians(times)
    print(f"{options.model}, batch {options.batch_size}, median of {options.rounds} rounds:")
    for name, t in seconds.items():
        print(f"  {name:34} {1e3 * t:9.2f} ms/step  {options.batch_size / t:10,.0f} images/s")
    print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    found = {"model": options.model, "batch_size": options.batch_size, "seconds": times, "setting": setting}
    command.write_json(options.json, found)
    if options.peer:
        print(f"ratio {command.ratio(seconds):.3f}")


if __name__ == "__main__":
    main()
