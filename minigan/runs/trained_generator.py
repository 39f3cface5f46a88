"""Trained generators: loading, sampling and saving them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Backend
from minigan.checkpoints.format import MODEL_FORMAT, load_model, load_network, network_arrays, save_arrays, select
from minigan.data.pictures import ImageBatch, to_pixels
from minigan.errors import CheckpointError, ConfigError, DTypeError
from minigan.nn.network import Sequential
from minigan.nn.parameters import expect_shapes
from minigan.recipes import Recipe, get_recipe
from minigan.support.arguments import whole
from minigan.training.exhibit import picture_count
from minigan.training.sampling import generate

Seed = int | np.random.Generator | None

__all__ = ["TrainedGenerator", "load_generator", "model_description", "save_generator"]


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator from a run, with everything needed to sample from it.

    Sampling changes nothing in it; on a CPU threads may share one.

    Attributes:
        G: the network, built, with its weights.
        recipe: the recipe that trained it.
        step: the training step of its weights.
        extent: a picture of its points reaches from -extent to extent.
        classes: names of the data's classes; () if they have none.
        averaged: whether its weights are a moving average.
    """

    G: Sequential
    recipe: Recipe
    step: int
    extent: float
    classes: tuple[str, ...]
    averaged: bool

    def sample(self, count: int | None = None, *, seed: Seed = 0, label: int | str | None = None) -> np.ndarray:
        """Images (count, H, W, C) in [-1, 1], or points (count, 2). The same seed draws the same.

        Args:
            count: None draws as many as a picture shows well: 64 images, or 2,500 points.
            seed: of the noise; None draws other samples each time, and a generator of random numbers is continued.
            label: the class to draw, its number or its name; None draws classes at random.
        Raises:
            ConfigError: the generator draws from images, or has no classes and a label is given.
        """
        count = picture_count(self.G.output_shape) if count is None else whole(count, "count")
        rng = np.random.default_rng(seed)
        number = self.label(label) if isinstance(label, str) else label
        z, condition = self.recipe.sources(rng, count, label=number)
        samples = generate(self.G, z, condition, batch_statistics=self.batch_statistics, rng=rng)
        images = self.recipe.to_images(samples)
        return images.view(ImageBatch) if len(self.G.output_shape) == 3 else images

    def pixels(self, count: int | None = None, *, seed: Seed = 0, label: int | str | None = None) -> np.ndarray:
        """The same images for a screen or a file: uint8, (count, H, W, C), C = 1 for greyscale and 3 for RGB.

        Raises:
            ConfigError: the generator draws points; or as in `sample`.
        """
        if len(self.G.output_shape) != 3:
            raise ConfigError(f"{self.recipe.name} draws points here, which have no pixels. Use sample.")
        return to_pixels(self.sample(count, seed=seed, label=label))

    @property
    def batch_statistics(self) -> bool:
        """Whether BatchNorm uses each batch's statistics: for an average without statistics of its own."""
        return self.averaged and self.recipe.ema_statistics == "batch"

    def describe(self) -> dict[str, Any]:
        """Recipe, step and kind of weights, for a report; JSON can hold them."""
        weights = "moving average" if self.averaged else "last"
        return {"recipe": self.recipe.name, "step": self.step, "weights": weights}

    def label(self, text: str) -> int:
        """The number of a class, from its name or from its number as text.

        Raises:
            ConfigError: there is no such class.
        """
        if text in self.classes:
            return self.classes.index(text)
        if text.isdecimal():
            return int(text)
        known = f"one of {', '.join(self.classes)}, or a number" if self.classes else "a number"
        raise ConfigError(f"expected a class as {known}, got {text!r}.")


def load_generator(
    path: str | os.PathLike[str], *, backend: str | Backend = "auto", average: bool = True
) -> TrainedGenerator:
    """The generator of a run folder, of a `model.safetensors` file, or of a checkpoint.

    Args:
        path: of the folder or the file.
        backend: an object or a name, see `minigan.backends.get_backend`.
        average: take the moving average of the weights, if there is one.
    Raises:
        CheckpointError: there is no generator, or it is damaged, or its weights are not finite.
    """
    path = Path(path)
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.exists():
        raise CheckpointError(f"no trained generator at {file}. Name a run folder that training has written to.")
    arrays, description = load_model(file)
    averaged = average and bool(select(arrays, "average"))
    shape, rng = tuple(description["shape"]), np.random.default_rng(0)
    try:
        recipe = get_recipe(description["recipe"]).from_settings(description["settings"])
        if len(shape) == 1:
            recipe.check_points()
        prefix = "average" if averaged else "G"
        _expect_weights(recipe, shape, select(arrays, prefix), source=str(file))
        G = recipe.built_generator(shape, backend=backend, dtype=description["dtype"], rng=rng)
        load_network(G, arrays, prefix, source=str(file))
    except (DTypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}".replace(f"{file}: {file}: ", f"{file}: ")) from None
    for name, array in network_arrays(G, "G").items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{file}: expected finite weights, found NaN or infinity in {name}. Train again.")
    classes = tuple(description["classes"])
    return TrainedGenerator(G, recipe, description["step"], description["extent"], classes, averaged)


def _expect_weights(recipe: Recipe, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray], *, source: str) -> None:
    """Refuses arrays that are not the weights of the recipe's generator, before memory is allocated for them."""
    G = recipe.whole_generator(shape)
    G.setup(recipe.source_shape(shape), G.path)
    weights = {name: array for name, array in arrays.items() if not name.startswith("state.")}
    expect_shapes(dict(G.named_parameters()), weights, source=source)


def save_generator(
    path: str | os.PathLike[str],
    G: Sequential,
    recipe: Recipe,
    *,
    step: int = 0,
    extent: float = 1.0,
    classes: Sequence[str] = (),
) -> None:
    """Writes a generator that your own loop has trained, for `load_generator` and the command line.

    Args:
        path: of the file; with the name `model.safetensors`, its folder can be loaded like a run's.
        G: built by the recipe; use `minigan.save` for other networks.
        recipe: the recipe of G.
        step: the training step of its weights.
        extent: a picture of its points reaches from -extent to extent.
        classes: names of the classes, if it was trained with classes.
    Raises:
        ConfigError, CheckpointError, ShapeError: G is not a generator of this recipe.
        OutputError: the file cannot be written.
    """
    path, dtype = Path(path), str(G.dtype)
    twin = recipe.built_generator(G.output_shape, backend="reference", dtype=dtype, rng=np.random.default_rng(0))
    arrays = network_arrays(G, "G")
    load_network(twin, arrays, "G", source=f"{G.path}, to be written to {path} as a generator of {recipe.name},")
    described = model_description(recipe, G.output_shape, dtype=dtype, extent=extent, classes=classes)
    save_arrays(path, arrays, description={"format": MODEL_FORMAT, "step": step, **described})


def model_description(
    recipe: Recipe, shape: tuple[int, ...], *, dtype: str, extent: float, classes: Sequence[str]
) -> dict[str, Any]:
    """The description in a `model.safetensors`, from which G can be rebuilt; JSON can hold it.

    Args:
        shape: of one of G's samples: (H, W, C), or (2,) for points.
        extent: a picture of its points reaches from -extent to extent.
        classes: names of the classes.
    """
    return {
        "recipe": recipe.name,
        "settings": {name: value for name, value in recipe.settings().items() if name != "steps"},
        "shape": list(shape),
        "dtype": dtype,
        "extent": extent,
        "classes": list(classes),
    }
