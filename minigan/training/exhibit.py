"""Pictures of samples: the inputs of a training's pictures, and how samples are shown and saved."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigan.data.picture_files import encode_picture, expect_picture_name
from minigan.data.pictures import ImageBatch, image_grid, point_density, to_pixels
from minigan.errors import ConfigError, ShapeError
from minigan.nn.network import Sequential
from minigan.support.arguments import kind_of
from minigan.support.durable_files import atomic_write
from minigan.support.representation import fields
from minigan.training.learner import Learner
from minigan.training.moving_average import MovingAverage
from minigan.training.sampling import generate

__all__ = ["Exhibit", "RoundTrips", "Shown", "picture_count", "render", "save_picture"]

ToImages = Callable[[np.ndarray], np.ndarray]

IMAGE_COUNT = 64
POINT_COUNT = 2500
LINE = 4  # pixels between the pictures of two generators


@dataclass(frozen=True)
class Exhibit:
    """The inputs of a training's sample pictures; always the same, so that the pictures show what changes.

    Attributes:
        z: G's inputs: latent vectors, or photographs to be translated.
        condition: a row for each z, or None.
        before, after: images (N, H, W, C) in [-1, 1] to the left and to the right of G's images.
        extent: a picture of points reaches from -extent to extent.
        columns: the columns of a grid without `before` and `after`.
        as_in_training: draw with Dropout and each batch's own statistics; see `generate`.
        batch_size: the most samples drawn at a time.
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

    def picture_by(self, learner: Learner, averages: Mapping[str, MovingAverage], to_images: ToImages) -> np.ndarray:
        """The picture that the learner's generators, or their averages, draw from the same inputs.

        Pictures of several generators stand side by side. One that draws other things, or from other inputs than the
        first, is left out.

        Args:
            averages: of the generators, by name.
            to_images: maps G's outputs to images in [-1, 1].
        """
        drawing = {name: learner.networks[name] for name in learner.generators}
        alike = [name for name, G in drawing.items() if _shapes(G) == _shapes(learner.G)]
        pictures = [self.picture(to_images(self._samples(drawing[name], averages.get(name)))) for name in alike]
        return _joined(pictures)

    def _samples(self, G: Sequential, average: MovingAverage | None) -> np.ndarray:
        if average is None:
            return self.draw(G)
        if self.as_in_training:
            average.settle()
            return self.draw(average.network)
        return average.draw(self.z, self.condition)

    def picture(self, samples: np.ndarray) -> np.ndarray:
        """The picture of G's outputs: a grid, with a row for each if there are neighbors; points as a density."""
        if not (self.before or self.after):
            return render(samples, extent=self.extent, columns=self.columns)
        columns = [*self.before, samples, *self.after]
        images = np.stack(columns, axis=1).reshape(-1, *samples.shape[1:])
        side_by_side = 1 if len(samples) < 6 else 2
        return image_grid(images, columns=side_by_side * len(columns))


@dataclass(frozen=True)
class RoundTrips:
    """The inputs of pictures of generators that undo each other: images, their translations, and these translated back.

    Attributes:
        images: for each generator that begins, by name, images (N, H, W, C) in [-1, 1].
        back: the name of the generator that undoes each one.
        extent: as in `Exhibit`; of no use to images.
        batch_size: the most images translated at a time.
    """

    images: Mapping[str, np.ndarray]
    back: Mapping[str, str]
    extent: float = 1.0
    batch_size: int = 16

    def __repr__(self) -> str:
        return fields(self)

    def picture_by(self, learner: Learner, averages: Mapping[str, MovingAverage], to_images: ToImages) -> np.ndarray:
        """The picture that the learner's generators draw, or their averages if there are any; see `Exhibit`."""
        for average in averages.values():
            average.settle()
        drawing = {name: averages[name].network if name in averages else learner.networks[name] for name in self.back}
        return self.picture(drawing, to_images)

    def picture(self, generators: Mapping[str, Sequential], to_images: ToImages) -> np.ndarray:
        """Rows of an image, its translation and the way back; those of one generator below those of the one before."""
        rows = []
        for name, images in self.images.items():
            there = generate(generators[name], images, batch_size=self.batch_size)
            back = generate(generators[self.back[name]], there, batch_size=self.batch_size)
            rows += [images, to_images(there), to_images(back)]
        channels = max(images.shape[-1] for images in rows)
        rows = [np.repeat(images, channels // images.shape[-1], axis=-1) for images in rows]
        triples = [np.stack(rows[k : k + 3], axis=1) for k in range(0, len(rows), 3)]
        return image_grid(_beside(triples), columns=3 * len(triples))


def _shapes(network: Sequential) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of an input and of an output."""
    return network.input_shape, network.output_shape


def _joined(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, C) of one height side by side, with a white line between them."""
    line = np.full_like(pictures[0][:, :LINE], 255)
    parts = [part for picture in pictures for part in (line, picture)]
    return np.concatenate(parts[1:], axis=1)


def _beside(triples: list[np.ndarray]) -> np.ndarray:
    """Images of grids (N, 3, H, W, C) that stand next to each other, row by row; shorter ones are filled with black."""
    longest = max(map(len, triples))
    filled = [np.concatenate([t, np.full((longest - len(t), *t.shape[1:]), -1, t.dtype)]) for t in triples]
    wide = np.concatenate(filled, axis=1)
    return wide.reshape(-1, *wide.shape[2:])


Shown = Exhibit | RoundTrips


def picture_count(shape: tuple[int, ...], *, images: int = IMAGE_COUNT) -> int:
    """The number of samples that a picture shows well: 2,500 points, or `images` images."""
    return POINT_COUNT if len(shape) == 1 else images


def render(samples: np.ndarray, *, extent: float, columns: int | None = None) -> np.ndarray:
    """Samples as one picture: images (N, H, W, C) in [-1, 1] in a grid, points (N, 2) as their density.

    Args:
        extent: a picture of points reaches from -extent to extent.
        columns: of the grid; None makes about as many as rows.
    Returns:
        (H, W, C) uint8; a notebook shows it.
    """
    picture = point_density(samples, extent=extent) if samples.ndim == 2 else image_grid(samples, columns=columns)
    return picture.view(ImageBatch)


def save_picture(path: str | os.PathLike[str], picture: np.ndarray | None = None) -> None:
    """Writes a picture, or a batch of images as a grid.

    Args:
        path: the file. Its ending decides the format: .png, and with Pillow .webp, .bmp or .tif, which keep each pixel,
            or .jpg, of quality 95.
        picture: (H, W, C), or images (N, H, W, C); uint8, or floats in [-1, 1]. C is 1 for grayscale, 3 for color.
    Raises:
        ConfigError, DTypeError, ShapeError: the path or the picture is missing or of another kind.
        MissingExtraError: the file is no PNG, and Pillow is not installed.
        OutputError: the file cannot be written.
    """
    if not isinstance(path, str | os.PathLike) or picture is None:
        raise ConfigError(
            f"save_picture: expected a path and a picture, got {kind_of(path)} and "
            f'{"no picture" if picture is None else kind_of(picture)}. Write save_picture("samples.png", images).'
        )
    expect_picture_name(path)
    pixels = np.asarray(picture)
    if not pixels.size or pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3):
        raise ShapeError(
            f"save_picture: expected (H, W, C) or images (N, H, W, C) with C 1 or 3, got {kind_of(pixels)}. "
            "Write picture[..., None] for a grayscale one without channels."
        )
    pixels = pixels if pixels.dtype == np.uint8 else to_pixels(pixels)
    atomic_write(Path(path), encode_picture(image_grid(pixels) if pixels.ndim == 4 else pixels, path))
