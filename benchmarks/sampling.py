"""Drawing images with a DCGAN's generator in evaluation mode, minigan and peers in turns.

    python -m benchmarks.sampling --batch-size 64 1 --peer torch --peer onnxruntime --json result.json

The weights are the same everywhere, and BatchNorm's running statistics are those of the generator's own images. Every
peer also runs with each BatchNorm folded into the convolution before it. The images are compared before anything is
timed. (Batches of one take a while: `--count 128` will do for them.) The last line is `ratio R`: minigan's speed over
that of the best peer, at the batch size where that is least. `--precision bf16` is minigan's, `--bf16` PyTorch's; ONNX
Runtime has no bf16 convolutions on the CPU.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import command, environment
from minigan.cli.measurements import MODELS, measure, medians
from minigan.nn.network import Sequential
from minigan.training.sampling import generate

if TYPE_CHECKING:
    from torch import nn

Engine = Callable[[np.ndarray], np.ndarray]  # (n, latent) to (n, C, H, W)
DCGANS = [name for name in MODELS if name.startswith("dcgan")]
TOLERANCE = 1e-4  # of images in [-1, 1]
BF16_TOLERANCE = 0.1  # the same, where one of two engines rounds to 8 bits, layer by layer


def trained(G: Sequential, rng: np.random.Generator) -> Sequential:
    """The generator with running statistics from 20 batches, so that they are not the initial ones."""
    for _ in range(20):
        z = G.kernels.asarray(rng.standard_normal((16, *G.input_shape), dtype=np.float32))
        G.commit_statistics(G.forward(z, train=True)[1])
    return G


def in_batches(engine: Engine, z: np.ndarray, batch_size: int) -> np.ndarray:
    """Generates in batches, as `minigan.training.sampling.generate` does."""
    return np.concatenate([engine(z[start : start + batch_size]) for start in range(0, len(z), batch_size)])


def torch_module(model: str, G: Sequential, *, fused: bool) -> "nn.Module":
    """The generator with the same weights and statistics."""
    from benchmarks import torch_peer

    module, _ = torch_peer.dcgan_networks(*MODELS[model])
    torch_peer.load(module, G)
    return torch_peer.fused(module) if fused else module.eval()


def torch_engine(
    module: "nn.Module", *, channels_last: bool = True, bf16: bool = False, compiled: bool = False
) -> Engine:
    import torch

    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    if compiled:
        from benchmarks import torch_peer

        module = torch_peer.compiled_module(module)

    def run(z: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            images: np.ndarray = module(torch.from_numpy(z)).float().numpy()
            return images

    return run


def torch_engines(
    module: Callable[..., "nn.Module"], example: np.ndarray, options: argparse.Namespace
) -> dict[str, Engine]:
    """In float32 each configuration that a user might choose; compiled, and in bf16, the fastest of them."""
    from benchmarks import torch_peer

    engines = {
        f"torch{' channels_last' * channels_last}{' fused' * fused}": torch_engine(
            module(fused=fused), channels_last=channels_last
        )
        for fused in (False, True)
        for channels_last in (False, True)
    }
    best, precisions = "torch channels_last fused", (False, True) if options.bf16 else (False,)
    if options.bf16:
        engines[f"{best} bf16"] = torch_engine(module(fused=True), bf16=True)
    for bf16 in () if options.eager else precisions:
        name, engine = f"{best}{' bf16' * bf16}, compiled", torch_engine(module(fused=True), bf16=bf16, compiled=True)
        if torch_peer.compiles(name, partial(engine, example)):
            engines[name] = engine
    return engines


def peer_engines(options: argparse.Namespace, G: Sequential, example: np.ndarray) -> dict[str, Engine]:
    """Each in every configuration that a user might choose, for batches like the example."""
    engines: dict[str, Engine] = {}
    if "torch" in options.peer:
        engines = torch_engines(partial(torch_module, options.model, G), example, options)
    if "onnxruntime" in options.peer:
        from benchmarks import onnx_peer

        for fused in (False, True):
            name = f"onnxruntime{' fused' * fused}"
            engines[name] = onnx_peer.session(G, batch_size=len(example), fused=fused)
    return engines


def tolerance(name: str, precision: str) -> float:
    """The difference that an engine may have from minigan in its precision."""
    return TOLERANCE if "bf16" not in name and precision == "fp32" else BF16_TOLERANCE


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, peers=("torch", "onnxruntime"), rounds=5)
    parser.add_argument("--model", choices=DCGANS, default="dcgan64")
    parser.add_argument("--batch-size", type=command.count, nargs="+", default=[64, 1])
    parser.add_argument("--bf16", action="store_true", help="PyTorch also with bf16 autocast")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile, which takes a minute")
    parser.add_argument("--count", type=command.count, default=1024, help="images a call (default 1,024)")
    options = command.parse(parser, arguments)
    if any(options.count % n for n in options.batch_size):
        parser.error(f"--count {options.count} must be a multiple of each --batch-size")
    setting = environment.describe(options.backend, options.peer)
    environment.show(setting)

    recipe, shape = MODELS[options.model]
    rng = np.random.default_rng(0)
    G = trained(recipe.generator(shape).build((recipe.latent,), backend=options.backend, rng=rng), rng)
    z = recipe.noise(rng, options.count).astype(np.float32)
    print(f"{options.count:,} images of {options.model}, median of {options.rounds} rounds:")
    print(f"  {'batch':>5}  {'engine':39} {'ms':>9} {'images/s':>9}")
    results, ratios = {}, []
    for n in options.batch_size:
        peers = peer_engines(options, G, z[:n])
        draw = {f"minigan {options.backend.name}": partial(generate, G, z, batch_size=n)}
        draw |= {name: partial(in_batches, engine, z, n) for name, engine in peers.items()}
        expected, worst = np.moveaxis(next(iter(draw.values()))(), -1, 1), 0.0
        for name in peers:
            difference = float(np.abs(draw[name]() - expected).max())
            command.expect_agreement(difference, tolerance(name, options.backend.precision))
            worst = max(worst, difference)
        results[n] = measure(draw, rounds=options.rounds, seconds=options.seconds)
        seconds = medians(results[n])
        for name, t in seconds.items():
            print(f"  {n:5}  {name:39} {1e3 * t:9.1f} {options.count / t:9,.0f}", flush=True)
        if peers:
            ratios.append(command.ratio(seconds))
            print(f"  {n:5}  ratio {ratios[-1]:.3f}; pixels differ by at most {worst:.0e}, of [-1, 1]", flush=True)
    command.write_json(options.json, {"setting": setting, "count": options.count, "seconds": results})
    if ratios:
        print(f"ratio {min(ratios):.3f}")


if __name__ == "__main__":
    main()
