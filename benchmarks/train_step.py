"""Whole training steps, minigan and peers in turns in one process.

    python -m benchmarks.train_step --model dcgan64 --peer torch --json result.json

prints images/s of each engine (median over the rounds), and as its last line `ratio R`: minigan's images/s over those
of the peer's best configuration, with `--bf16` of all in float32 and bf16. `--precision bf16` is minigan's. PyTorch's
networks run as they are, and compiled by `torch.compile` where there is a C++ compiler and no second order; modulated
convolutions by scales around a shared one, and in groups.

Where only some steps have a penalty, both kinds of step are measured, and a step takes the mean by their shares.
"""

import resource
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks import command, environment
from minigan.cli.measurements import MODELS, Model, Step, kinds_of_step, measure, medians, random_images, training_step
from minigan.recipes import MLP, R3GAN, StyleGAN2


class Call(NamedTuple):
    """A kind of step of an engine."""

    engine: str
    kind: Model


def peer_kinds(model: Model, *, bf16: bool) -> dict[str, Callable[..., Step]]:
    """PyTorch in each configuration a user might choose, not compiled; the argument `compiled` does that."""
    import torch

    from benchmarks import torch_peer

    make = partial(torch_peer.training_step, *model)
    kinds = {"torch": make, "torch channels_last": partial(make, channels_last=True)}
    if isinstance(model.recipe, MLP):
        kinds = {"torch": make}
        if torch.get_num_threads() > 1:
            kinds["torch, 1 thread"] = partial(torch_peer.on_one_thread, make)
    if isinstance(model.recipe, R3GAN):
        from benchmarks.torch_r3gan import R3GANPeer

        kinds = {name: partial(kind, kind=R3GANPeer) for name, kind in kinds.items()}
    if isinstance(model.recipe, StyleGAN2):
        from benchmarks.torch_stylegan2 import StyleGAN2Peer

        grouped = partial(StyleGAN2Peer, grouped=True)
        kinds = {name: partial(kind, kind=StyleGAN2Peer) for name, kind in kinds.items()}
        kinds |= {f"{name}, groups": partial(kind, kind=grouped) for name, kind in kinds.items()}
    if bf16:
        kinds["torch channels_last bf16"] = partial(make, channels_last=True, bf16=True)
    return kinds


def peer_steps(
    model: Model, images: np.ndarray, *, bf16: bool, eager: bool, compiled: Collection[str] | None = None
) -> dict[str, Step]:
    """PyTorch in each configuration, compiled ones last.

    Args:
        images: a batch, whose shape is compiled for.
        eager: without `torch.compile`.
        compiled: those that could be compiled for another kind of step, whose code this one may share; None tries.
    """
    from benchmarks import torch_peer

    kinds = peer_kinds(model, bf16=bf16)
    steps: dict[str, Step] = {name: build() for name, build in kinds.items()}
    if not eager:
        # Compiling chooses layouts by those of the weights.
        for kind in (name for name in kinds if isinstance(model.recipe, MLP) or "channels_last" in name):
            name, step = f"{kind}, compiled", kinds[kind](compiled=True)
            if torch_peer.compiles(name, partial(step, images)) if compiled is None else name in compiled:
                steps[name] = step
    return steps


def calls(model: str, images: np.ndarray, options: Any) -> dict[Call, Callable[[], Any]]:
    """All kinds of step of all engines, minigan's first."""
    found: dict[Call, Callable[[], Any]] = {}
    peers: dict[str, Step] | None = None
    for kind in kinds_of_step(model):
        steps: dict[str, Step] = {f"minigan {options.backend.name}": training_step(kind, options.backend)}
        if options.peer:
            peers = peer_steps(kind, images, bf16=options.bf16, eager=options.eager, compiled=peers)
            steps |= peers
        found |= {Call(engine, kind): partial(step, images) for engine, step in steps.items()}
    return found


def averaged(times: dict[Call, list[float]], shares: dict[Model, float]) -> dict[str, list[float]]:
    """The mean of the kinds of step by their shares, in each round; of engines that have done all kinds."""
    engines = list(dict.fromkeys(call.engine for call in times))
    whole = [engine for engine in engines if all(Call(engine, kind) in times for kind in shares)]
    return {
        engine: [
            sum(share * t for share, t in zip(shares.values(), turn, strict=True))
            for turn in zip(*(times[Call(engine, kind)] for kind in shares), strict=True)
        ]
        for engine in whole
    }


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument("--bf16", action="store_true", help="the peer also with bf16 autocast")
    parser.add_argument("--eager", action="store_true", help="the peer without torch.compile, which takes a minute")
    parser.add_argument("--batch-size", type=command.count, default=64)
    options = command.parse(parser, arguments)
    setting = environment.describe(options.backend, options.peer)
    environment.show(setting)

    images = random_images(options.model, options.batch_size)
    measured = measure(calls(options.model, images, options), rounds=options.rounds, seconds=options.seconds)
    times = averaged(measured, kinds_of_step(options.model))
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
