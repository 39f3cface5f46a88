"""Drawing images with a DCGAN's generator in evaluation mode, minigan and peers in turns.

    python -m benchmarks.sampling --batch-size 64 1 --peer torch --peer onnxruntime --json result.json

The weights are the same everywhere, and BatchNorm's running statistics are those of the generator's own images. Every
peer also runs with each BatchNorm folded into the convolution before it. The images are compared before anything is
timed. (Batches of one take a while: `--count 128` will do for them.) The last line is `ratio R`: minigan's speed over
that of the best peer, at the batch size where that is least.
"""

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


def torch_engine(module: "nn.Module", *, channels_last: bool) -> Engine:
    import torch

    if channels_last:
        module = module.to(memory_format=torch.channels_last)

    def run(z: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images: np.ndarray = module(torch.from_numpy(z)).numpy()
            return images

    return run


def peer_engines(peers: list[str], model: str, G: Sequential, example: np.ndarray) -> dict[str, Engine]:
    """Each in every configuration that a user might choose, for batches like the example."""
    module = partial(torch_module, model, G)
    engines: dict[str, Engine] = {}
    if "torch" in peers:
        engines = {
            f"torch{' channels_last' * channels_last}{' fused' * fused}": torch_engine(
                module(fused=fused), channels_last=channels_last
            )
            for fused in (False, True)
            for channels_last in (False, True)
        }
    if "onnxruntime" in peers:
        from benchmarks import onnx_peer

        engines["onnxruntime"] = onnx_peer.session(module(fused=False), example)
        engines["onnxruntime fused"] = onnx_peer.session(module(fused=True), example)
    return engines


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, peers=("torch", "onnxruntime"), rounds=5)
    parser.add_argument("--model", choices=DCGANS, default="dcgan64")
    parser.add_argument("--batch-size", type=command.count, nargs="+", default=[64, 1])
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
    print(f"  {'batch':>5}  {'engine':26} {'ms':>9} {'images/s':>9}")
    results, ratios = {}, []
    for n in options.batch_size:
        peers = peer_engines(options.peer, options.model, G, z[:n])
        draw = {f"minigan {options.backend.name}": partial(generate, G, z, batch_size=n)}
        draw |= {name: partial(in_batches, engine, z, n) for name, engine in peers.items()}
        expected, *others = (call() for call in draw.values())
        worst = max((float(np.abs(images - np.moveaxis(expected, -1, 1)).max()) for images in others), default=0.0)
        command.expect_agreement(worst, TOLERANCE)
        results[n] = measure(draw, rounds=options.rounds, seconds=options.seconds)
        seconds = medians(results[n])
        for name, t in seconds.items():
            print(f"  {n:5}  {name:26} {1e3 * t:9.1f} {options.count / t:9,.0f}", flush=True)
        if peers:
            ratios.append(command.ratio(seconds))
            print(f"  {n:5}  ratio {ratios[-1]:.3f}; pixels differ by at most {worst:.0e}, of [-1, 1]", flush=True)
    command.write_json(options.json, {"setting": setting, "count": options.count, "seconds": results})
    if ratios:
        print(f"ratio {min(ratios):.3f}")


if __name__ == "__main__":
    main()
