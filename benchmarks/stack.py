"""Forward and backward of a stack of 3x3 convolutions on large images, minigan and peers in turns.

    python -m benchmarks.stack --batch-size 1 4 --peer torch --json result.json

The generator of an image-to-image recipe: convolution, LeakyReLU(.2) and BatchNorm from 3 to 128 channels, then
`--hidden` times from 128 to 128, then a convolution to 3 and tanh. A call computes the output, all weight gradients,
and the input gradient of every layer but the first. Outputs and gradients are compared with the peer's before anything
is timed. The last line is `ratio R`: minigan's speed over that of the peer's best configuration, at the batch size
where that is least.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import command, environment
from minigan.backends import Backend
from minigan.cli.measurements import measure, medians
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, Layer, LeakyReLU, Tanh
from minigan.nn.network import Sequential

Result = tuple[Any, list[Any]]  # y, and the gradients of all parameters
WEIGHTS = Normal(std=0.02)
# Relative, of outputs and of gradients. Near LeakyReLU's kink two roundings may fall on either side, and a pixel's
# gradient with them.
TOLERANCES = 1e-4, 1e-2


def network(channels: int, hidden: int) -> Sequential:
    layers: list[Layer] = []
    for _ in range(1 + hidden):
        layers += [Conv2D(channels, 3, init=WEIGHTS), LeakyReLU(0.2), BatchNorm()]
    return Sequential([*layers, Conv2D(3, 3, init=WEIGHTS), Tanh()], name="stack")


def our_step(net: Sequential, x: np.ndarray, dy: np.ndarray) -> Callable[[], Result]:
    """Forward and backward."""
    grads, backend = net.gradients(), net.kernels
    x, dy = backend.asarray(x), backend.asarray(dy)

    def step() -> Result:
        grads.zero()
        y, tape = net.forward(x, train=True)
        net.commit_statistics(tape)
        net.backward(dy, tape, grads=grads, need_dx=False)
        return y, [grads[p] for _, p in net.named_parameters()]

    return step


def torch_step(net: Sequential, x: np.ndarray, dy: np.ndarray, *, channels_last: bool = False) -> Callable[[], Result]:
    """The same in PyTorch, with the same weights."""
    import torch

    from benchmarks import torch_peer

    norms = [layer for layer in net.layers if isinstance(layer, BatchNorm)]
    module = torch_peer.stack(norms[0].input_shape[-1], len(norms) - 1)
    torch_peer.load(module, net)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    x_, dy_ = (torch_peer.nchw(array, channels_last=channels_last) for array in (x, dy))

    def step() -> Result:
        module.zero_grad()
        y = module(x_)
        y.backward(dy_)
        return y.detach(), [p.grad for p in module.parameters()]

    return step


def differences(backend: Backend, ours: Result, theirs: Result) -> tuple[float, float]:
    """Differences of the outputs and of the gradients: the norm of the difference over the norm."""
    import torch

    from benchmarks import torch_peer

    y, gradients = torch_peer.nchw(backend.to_numpy(ours[0])), [torch_peer.tensor(backend.to_numpy(g)) for g in ours[1]]
    dw, expected = (torch.cat([g.flatten() for g in both]) for both in (gradients, theirs[1]))
    return float((y - theirs[0]).norm() / y.norm()), float((dw - expected).norm() / expected.norm())


def agreement(backend: Backend, steps: Mapping[str, Callable[[], Result]]) -> str:
    """The peers' distance from minigan, in words; ends the program if they compute something else."""
    ours, *theirs = (step() for step in steps.values())
    found = [differences(backend, ours, result) for result in theirs]
    outputs, gradients = (max(column) for column in zip(*found, strict=True))
    command.expect_agreement(outputs, TOLERANCES[0])
    command.expect_agreement(gradients, TOLERANCES[1])
    return f"outputs differ by {outputs:.0e}, gradients by {gradients:.0e}"


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, rounds=5, backends=command.HOST)
    parser.add_argument("--batch-size", type=command.count, nargs="+", default=[1, 4], metavar="N")
    parser.add_argument("--size", type=command.count, default=128, help="of the images (default 128)")
    parser.add_argument("--channels", type=command.count, default=128)
    parser.add_argument("--hidden", type=command.count, default=3, help="layers between the first and last (default 3)")
    options = command.parse(parser, arguments)
    backend, size = options.backend, options.size
    setting = environment.describe(backend, options.peer)
    environment.show(setting)

    rng = np.random.default_rng(0)
    net = network(options.channels, options.hidden).build((size, size, 3), backend=backend, rng=rng)
    convolutions = [layer.flops for layer in net.layers if isinstance(layer, Conv2D)]
    gflop = 1e-9 * (3 * sum(convolutions) - convolutions[0])
    print(f"3x3 stack, {len(convolutions)} layers at {size}x{size}, {gflop:.1f} GFLOP an image, ", end="")
    print(f"median of {options.rounds} rounds:\n  {'batch':>5}  {'engine':20} {'ms':>9} {'images/s':>9} {'GFLOP/s':>8}")
    results, ratios = {}, []
    for n in options.batch_size:
        x, dy = (rng.standard_normal((n, size, size, 3), dtype=np.float32) for _ in range(2))
        steps = {f"minigan {backend.name}": our_step(net, x, dy)}
        if options.peer:
            steps["torch"] = torch_step(net, x, dy)
            steps["torch channels_last"] = torch_step(net, x, dy, channels_last=True)
            agreed = agreement(backend, steps)
        results[n] = measure(steps, rounds=options.rounds, seconds=options.seconds)
        seconds = medians(results[n])
        for name, t in seconds.items():
            print(f"  {n:5}  {name:20} {1e3 * t:9.1f} {n / t:9.2f} {gflop * n / t:8.0f}")
        if options.peer:
            ratios.append(command.ratio(seconds))
            print(f"  {n:5}  ratio {ratios[-1]:.3f}; {agreed}", flush=True)
    command.write_json(options.json, {"setting": setting, "gflop": gflop, "seconds": results})
    if ratios:
        print(f"ratio {min(ratios):.3f}")


if __name__ == "__main__":
    main()
