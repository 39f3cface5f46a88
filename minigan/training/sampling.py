"""From a trained generator to pictures."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data.pictures import ImageBatch, image_grid, point_density, to_pixels
from minigan.data.png import encode_png
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.nn.layers import BatchNorm, Layer
from minigan.nn.network import Sequential
from minigan.support.arguments import flag, kind_of, whole
from minigan.support.durable_files import atomic_write
from minigan.support.representation import fields

Noise = Callable[[np.random.Generator, int], np.ndarray]  # (rng, n) -> z, (n, *latent shape)

IMAGE_COUNT = 64
POINT_COUNT = 2500

__all__ = [
    "Exhibit",
    "Noise",
    "generate",
    "image_grid",
    "picture_count",
    "render",
    "save_picture",
    "standing_statistics",
    "to_pixels",
]


def generate(
    G: Sequential,
    z: np.ndarray,
    condition: np.ndarray | None = None,
    *,
    batch_size: int = 64,
    batch_statistics: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The generator's outputs for latent vectors.

    Args:
        G: a built network.
        z: (N, *G.input_shape), any float dtype.
        condition: a row for each, if G takes one: one-hot classes.
        batch_size: the most that are drawn at a time; bounds the memory.
        batch_statistics: draw as in training: BatchNorm takes the statistics of each batch, and Dropout drops (pix2pix
            draws so: Isola et al. 2017, section 3.3). Otherwise the result does not depend on the batch.
        rng: of Dropout, with batch statistics.
    Returns:
        (N, *G.output_shape) in host memory. Images are an `ImageBatch`, which a notebook shows.
    Raises:
        NotBuiltError, ConfigError, ShapeError: G is no built network, or z or the condition does not fit it.
    """
    _expect_noise(G, z, condition)
    whole(batch_size, "batch_size", of="generate")
    flag(batch_statistics, "batch_statistics", of="generate")
    outputs: list[Any] = []
    # Of about one size: a last few have poor statistics.
    for rows in np.array_split(np.arange(len(z)), -(-len(z) // batch_size)):
        c = None if condition is None else G.kernels.asarray(condition[rows], dtype=G.dtype)
        y, _ = G.given(c).forward(G.kernels.asarray(z[rows], dtype=G.dtype), train=batch_statistics, rng=rng)
        outputs.append(G.kernels.to_numpy(y))
    drawn: np.ndarray = np.concatenate(outputs)
    return drawn.view(ImageBatch) if len(G.output_shape) == 3 else drawn


def _expect_noise(G: Sequential, z: np.ndarray, condition: np.ndarray | None) -> None:
    """Refuses what `generate` cannot draw from.

    Raises:
        NotBuiltError, ConfigError, ShapeError: see `generate`.
    """
    if not isinstance(G, Layer):
        raise ConfigError(f"generate: expected a network first, got {kind_of(G)}. Write generate(G, z).")
    expected = f"z of shape ({', '.join(map(str, ('N', *G.input_shape)))})"
    example = f"z = np.random.default_rng(0).standard_normal({(4, *G.input_shape)})"
    if not hasattr(z, "shape"):
        raise ConfigError(f"generate: {G.path} expects {expected}, got {kind_of(z)}. Write {example}.")
    if z.shape[1:] != G.input_shape or not z.shape or not len(z):
        raise ShapeError(f"generate: {G.path} expects {expected}, got {z.shape}. Write {example}.")
    if not hasattr(z, "dtype") or z.dtype.kind not in "fiu":
        raise DTypeError(f"generate: {G.path} expects real numbers, got {kind_of(z)}. Write {example}.")
    if condition is None:
        return
    if not hasattr(condition, "shape"):
        raise ConfigError(f"generate: expected a condition as an array, got {kind_of(condition)}. Give one-hot rows.")
    if len(condition) != len(z):
        raise ShapeError(
            f"generate: expected a condition for each of {len(z)} examples, got {len(condition)}. Give one row each."
        )
    if G.given(condition) is G:
        raise ConfigError(f"generate: {G.path} takes no condition, got {kind_of(condition)}. Leave it out.")


def standing_statistics(
    G: Sequential,
    noise: Noise,
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


@dataclass(frozen=True)
class Exhibit:
    """The inputs of a training's pictures, always the same, so that one sees what changes.

    Attributes:
        z: G's inputs: latent vectors, or photographs to be translated.
        condition: a row for each, or None.
        before, after: images (N, H, W, C) in [-1, 1] that stand to the left and to the right of what G draws.
        extent: a picture of points reaches from -extent to extent.
        columns: the columns of a grid without neighbours.
        as_in_training: draw with Dropout and each batch's own statistics, see `generate`.
        batch_size: the most that are drawn at a time.
    """

    z: np.ndarray
    condition: np.ndarray | None = None
    before: tuple[np.ndarray, ...] = ()
    after: tuple[np.ndarray, ...] = ()
    extent: float = 1.0
    columns: int | None = None
    as_in_training: bool = False
    batch_size: int = 64

    def __repr__(self) -> str:
        return fields(self)

    def draw(self, G: Sequential) -> np.ndarray:
        """G's outputs, in host memory."""
        rng = np.random.default_rng(0)
        return generate(
            G, self.z, self.condition, batch_size=self.batch_size, batch_statistics=self.as_in_training, rng=rng
        )

    def picture(self, samples: np.ndarray) -> np.ndarray:
        """The picture of what was drawn: a grid, with neighbours a row for each; points as their density."""
        if not (self.before or self.after):
            return render(samples, extent=self.extent, columns=self.columns)
        columns = [*self.before, samples, *self.after]
        beside = np.stack(columns, axis=1).reshape(-1, *samples.shape[1:])
        side_by_side = 1 if len(samples) < 6 else 2
        return image_grid(beside, columns=side_by_side * len(columns))


def picture_count(shape: tuple[int, ...], *, images: int = IMAGE_COUNT) -> int:
    """The number of samples of that shape that a picture shows well: very many points, or so many images."""
    return POINT_COUNT if len(shape) == 1 else images


def render(samples: np.ndarray, *, extent: float, columns: int | None = None) -> np.ndarray:
    """Samples as one picture: images (N, H, W, C) in [-1, 1] in a grid, points (N, 2) as their density.

    Args:
        extent: a picture of points reaches from -extent to extent.
        columns: the grid's; about as many as rows by default.
    """
    return point_density(samples, extent=extent) if samples.ndim == 2 else image_grid(samples, columns=columns)


def save_picture(path: str | os.PathLike[str], picture: np.ndarray | None = None) -> None:
    """Writes a picture, or a batch of images as a grid, as a PNG.

    Args:
        path: the file; ends with .png.
        picture: (H, W, C), or images (N, H, W, C); uint8, or floats in [-1, 1]. C is 1 for greyscale, 3 for colour.
    Raises:
        ConfigError, DTypeError, ShapeError: the path or the picture is missing or of another kind.
        OutputError: the file cannot be written.
    """
    if not isinstance(path, str | os.PathLike) or picture is None:
        raise ConfigError(
            f"save_picture: expected a path and a picture, got {kind_of(path)} and "
            f'{"no picture" if picture is None else kind_of(picture)}. Write save_picture("samples.png", images).'
        )
    if Path(path).suffix.lower() != ".png":
        raise ConfigError(
            f"{os.fspath(path)!r}: expected a name that ends with .png, since a PNG is written. "
            f"Name it {Path(path).name.partition('.')[0] or 'samples'}.png."
        )
    pixels = np.asarray(picture)
    if not pixels.size or pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3):
        raise ShapeError(
            f"save_picture: expected (H, W, C) or images (N, H, W, C) with C 1 or 3, got {kind_of(pixels)}. "
            "Write picture[..., None] for a greyscale one without channels."
        )
    pixels = pixels if pixels.dtype == np.uint8 else to_pixels(pixels)
    atomic_write(Path(path), encode_png(image_grid(pixels) if pixels.ndim == 4 else pixels))
