"""From a trained generator to pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from minigan.files import atomic_write
from minigan.network import Sequential
from minigan.report.pictures import image_grid, point_density
from minigan.report.png import encode_png

__all__ = ["generate", "render", "save_picture"]


def generate(G: Sequential, z: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """The generator's outputs for latent vectors, in evaluation mode.

    Args:
        z: (N, *G.input_shape), any float dtype.
        batch_size: how many at a time; bounds the memory, not the result.
    Returns:
        (N, *G.output_shape) in host memory.
    """
    outputs: list[Any] = []
    for start in range(0, len(z), batch_size):
        batch = G.kernels.asarray(z[start : start + batch_size], dtype=G.dtype)
        y, _ = G.forward(batch, train=False)
        outputs.append(G.kernels.to_numpy(y))
    return np.concatenate(outputs)


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
