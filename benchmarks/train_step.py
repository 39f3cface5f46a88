"""Whole training steps, minigan and peers in turns in one process.

    python -m benchmarks.train_step --model dcgan64 --peer torch --json result.json

prints images/s of each engine (median over the rounds), and as its last line `ratio R`: minigan's images/s over those
of the peer's best configuration.
"""

import resource
from functools import partial

from benchmarks import command, environment
from minigan.cli.measurements import MODELS, Step, measure, medians, random_images, training_step


def peer_steps(model: str, *, bf16: bool) -> dict[str, Step]:
    """PyTorch in each configuration a user might choose."""
    from benchmarks import torch_peer

    recipe, shape = MODELS[model]
    steps = {"torch": torch_peer.training_step(recipe, shape)}
    if model == "mlp":
        steps["torch, 1 thread"] = torch_peer.on_one_thread(torch_peer.training_step(recipe, shape))
    else:
        steps["torch channels_last"] = torch_peer.training_step(recipe, shape, channels_last=True)
    if bf16:
        steps["torch channels_last bf16"] = torch_peer.training_step(recipe, shape, channels_last=True, bf16=True)
    return steps


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument("--bf16", action="store_true", help="the peer also with bf16 autocast")
    parser.add_argument("--batch-size", type=command.count, default=64)
    options = command.parse(parser, arguments)
    setting = environment.describe(options.backend, options.peer)
    environment.show(setting)

    steps: dict[str, Step] = {f"minigan {options.backend.name}": training_step(options.model, options.backend)}
    if options.peer:
        steps |= peer_steps(options.model, bf16=options.bf16)
    images = random_images(options.model, options.batch_size)
    times = measure(
        {name: partial(step, images) for name, step in steps.items()}, rounds=options.rounds, seconds=options.seconds
    )
    seconds = medians(times)
    print(f"{options.model}, batch {options.batch_size}, median of {options.rounds} rounds:")
    for name, t in seconds.items():
        print(f"  {name:26} {1e3 * t:9.2f} ms/step  {options.batch_size / t:10,.0f} images/s")
    print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    found = {"model": options.model, "batch_size": options.batch_size, "seconds": times, "setting": setting}
    command.write_json(options.json, found)
    if options.peer:
        print(f"ratio {command.ratio(seconds):.3f}")


if __name__ == "__main__":
    main()
