"""From a trained generator to pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minigan.files import atomic_write
from minigan.layers import BatchNorm
from minigan.network import Sequential
from minigan.report.pictures import image_grid, point_density
from minigan.report.png import encode_png

__all__ = ["generate", "render", "save_picture", "standing_statistics"]


def generate(
    G: Sequential,
    z: np.ndarray,
    *,
    batch_size: int = 64,
    batch_statistics: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The generator's outputs for latent vectors.

    Args:
        z: (N, *G.input_shape), any float dtype.
        batch_size: at most so many at a time; bounds the memory.
        batch_statistics: as in training: BatchNorm takes the statistics of each batch, and Dropout drops (pix2pix
            draws so: Isola et al. 2017, section 3.3). Otherwise the result does not depend on the batch.
        rng: of Dropout, with batch statistics.
    Returns:
        (N, *G.output_shape) in host memory.
    """
    outputs: list[Any] = []
    for part in np.array_split(z, -(-len(z) // batch_size)):  # of about one size: a last few have poor statistics
        y, _ = G.forward(G.kernels.asarray(part, dtype=G.dtype), train=batch_statistics, rng=rng)
        outputs.append(G.kernels.to_numpy(y))
    return np.concatenate(outputs)


def standing_statistics(
    G: Sequential,
    noise: Callable[[np.random.Generator, int], np.ndarray],
    *,
    rng: np.random.Generator,
    batches: int = 100,
    batch_size: int = 64,
) -> None:
    """Replaces BatchNorm's running statistics by the mean of those of many batches, drawn with the weights as they are.

    The running ones lag behind weights that move, and fit averaged weights badly.
    Source: Brock et al. 2019 (BigGAN), appendix C.
    """
    norms = [layer for _, layer in G.walk() if isinstance(layer, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for k in range(batches):
            for norm in norms:
                norm.momentum = k / (k + 1)  # so that all batches count alike
            z = G.kernels.asarray(noise(rng, batch_size), dtype=G.dtype)
            _, tape = G.forward(z, train=True, rng=rng)
            G.commit_statistics(tape)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def render(samples: np.ndarray, *, extent: float) -> np.ndarray:
    """Samples as one picture: images (N, H, W, C) in [-1, 1] in a grid, points (N, 2) as their density.

    Args:
        extent: how far the picture of points reaches.
    """
    return point_density(samples, extent=extent) if samples.ndim == 2 else image_grid(samples)


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Writes (H, W, C) uint8 as a PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    atomic_write(path, encode_png(picture))
