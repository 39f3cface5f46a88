"""Trained generators: loading, sampling and saving them."""

import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.checkpoints.format import MODEL_FORMAT, load_model, load_network, network_arrays, save_arrays, select
from minigan.checkpoints.narrow import STORED, narrowed
from minigan.data.pictures import html_image, to_pixels
from minigan.data.png import encode_png
from minigan.errors import CheckpointError, ConfigError, DTypeError
from minigan.latent import LatentTools, random_sources, seed_sources
from minigan.latent.portable import portable_seed_sources, portable_sources
from minigan.latent.sources import expect_seeds, expect_truncation
from minigan.latent.tools import Label, label_list
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network
from minigan.nn.network.summary import engine_of, precision_of
from minigan.nn.parameters import expect_shapes
from minigan.recipes import RECIPES, Recipe, get_recipe
from minigan.runs.pretrained import pretrained_file, pretrained_name
from minigan.support.arguments import flag, instance, is_whole, kind_of, number, whole
from minigan.support.arguments import path as expect_path
from minigan.training.exhibit import picture_count, render
from minigan.training.moving_average import average_name
from minigan.training.sampling import LastingConstants, generate

PLACES = ("steps", "targets", "data_b")  # settings that a generator does not depend on

Seed = int | np.random.Generator | None

__all__ = ["TrainedGenerator", "load_generator", "model_description", "save_generator"]


@dataclass(frozen=True)
class TrainedGenerator(LatentTools):
    """A generator from a run, with everything needed to sample from it.

    Sampling changes nothing in it; on a CPU threads may share one. Weights that are packed to draw few images stay with
    it for the next call: say `G.arena.updated()` after changing any.

    Attributes:
        G: the network, built, with its weights.
        recipe: the recipe that trained it.
        step: the training step of its weights.
        extent: a picture of its points reaches from -extent to extent.
        classes: names of the data's classes; () if they have none.
        averaged: whether its weights are a moving average.
        name: of the generator, where the recipe has several.
        unseen: numbers of the classes of which its training data had no images: samples of them mean nothing.
    """

    G: Sequential
    recipe: Recipe
    step: int
    extent: float
    classes: tuple[str, ...]
    averaged: bool
    name: str = "G"
    unseen: tuple[int, ...] = ()
    _constants: LastingConstants = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_constants", LastingConstants(self.G))

    def sample(
        self,
        count: int | None = None,
        *,
        seed: Seed = 0,
        seeds: Sequence[int] | None = None,
        label: Label = None,
        truncation: float = 1.0,
        portable: bool = False,
    ) -> np.ndarray:
        """Images (count, H, W, C) in [-1, 1], or points (count, 2). The same seed draws the same.

        Args:
            count: None draws as many as there are labels, or as a picture shows well: 64 images, or 2,500 points.
            seed: of the noise; None draws other samples each time, and a generator of random numbers is continued.
            seeds: in place of `count` and `seed`, one sample for each of these: the first that `seed` would draw. It is
                the same, bit for bit, whatever else the list has.
            label: the class to draw, its number or its name, or a list with the class of each sample; None draws
                classes at random, of those with images in training.
            truncation: share, in [0, 1], of the noise's distribution that z is drawn from, its middle: .7 gives samples
                that vary less and mostly look better, 1 draws from all of it, 0 draws the image of z = 0. A generator
                with styles takes these so much nearer to their mean instead.
            portable: take the noise of `minigan.training.portable_noise`, with which an exported generator draws the
                same from the same seed in other languages.
        Raises:
            ConfigError: the generator draws from images, or has no classes and a label is given; or portable noise is
                asked for without a seed of 64 bits.
            OutOfMemoryError: there is no room for so many samples.
        """
        label, truncation, portable = label_list(label), expect_truncation(truncation), flag(portable, "portable")
        if seeds is not None:
            if count is not None or seed != 0:
                raise ConfigError("seeds draw one sample each, got `count` or `seed` in addition. Leave it out.")
            numbers = expect_seeds(seeds)
            labels = self.classes_of(label, len(numbers))
            self.expect_room_for(len(numbers))
            if portable:
                sources = portable_seed_sources(self.recipe, numbers, label=labels, truncation=truncation)
            else:
                sources = seed_sources(self.recipe, numbers, label=labels, unseen=self.unseen, truncation=truncation)
            return self.draw_alone(sources, truncation=truncation)
        if count is None:
            count = len(label) if isinstance(label, list | tuple) and label else picture_count(self.G.output_shape)
        count, rng = whole(count, "count"), _random(seed)
        self.expect_room_for(count)
        labels = self.classes_of(label, count)
        if portable:
            z, condition = portable_sources(self.recipe, seed, count, label=labels, truncation=truncation)
        else:
            z, condition = random_sources(
                self.recipe, rng, count, label=labels, unseen=self.unseen, truncation=truncation
            )
        G = self.recipe.truncated_generator(self.G, truncation)
        with self._constants.held():
            samples = generate(G, z, condition, batch_statistics=self.batch_statistics, rng=rng)
        return self.images(samples)

    def pixels(
        self,
        count: int | None = None,
        *,
        seed: Seed = 0,
        seeds: Sequence[int] | None = None,
        label: Label = None,
        truncation: float = 1.0,
        portable: bool = False,
    ) -> np.ndarray:
        """The same images for a screen or a file: uint8, (count, H, W, C), C = 1 for grayscale and 3 for RGB.

        Raises:
            ConfigError: the generator draws points; or as in `sample`.
        """
        if len(self.G.output_shape) != 3:
            raise ConfigError(f"{self.recipe.name} draws points here, which have no pixels. Use sample.")
        images = self.sample(count, seed=seed, seeds=seeds, label=label, truncation=truncation, portable=portable)
        return to_pixels(images)

    @property
    def batch_statistics(self) -> bool:
        """Whether BatchNorm uses each batch's statistics: for an average without statistics of its own."""
        return self.averaged and self.recipe.ema_statistics == "batch"

    def describe(self) -> dict[str, Any]:
        """Recipe, step, kind of weights and precision, for a report; JSON can hold them."""
        weights = "moving average" if self.averaged else "last"
        precision = precision_of(self.G)
        found = {"recipe": self.recipe.name, "step": self.step, "weights": weights, "precision": precision}
        return found if len(self.recipe.generator_names) == 1 else {"generator": self.name, **found}

    def __repr__(self) -> str:
        weights = ", moving average" if self.averaged else ""
        shapes = f"{self.G.input_shape} -> {self.G.output_shape}"
        name = "" if len(self.recipe.generator_names) == 1 else f"{self.name} of "
        return (
            f"<TrainedGenerator: {name}{self.recipe!r} at step {self.step:,}{weights}, {shapes}, {engine_of(self.G)}>"
        )

    def _repr_html_(self) -> str:
        """Some samples with the same text, for a notebook; the text alone if the generator draws from images."""
        text = html.escape(repr(self))
        try:
            samples = self.sample(16 if len(self.G.output_shape) == 3 else None)
        except ConfigError:
            return f"<pre>{text}</pre>"
        picture = html_image(encode_png(render(samples, extent=self.extent)), text=repr(self))
        return f"<div>{picture}<pre>{text}</pre></div>"

    def classes_of(self, label: Label, count: int) -> int | list[int] | None:
        """The number of the class of all samples, or of each; None for random classes.

        Raises:
            ConfigError: there is no such class, or a list is not as long as there are samples.
        """
        if not isinstance(label, list | tuple):
            return None if label is None else self.label(label)  # type: ignore[arg-type]  # or refused there
        if len(label) != count:
            raise ConfigError(
                f"label must have a class for each of {count} samples, got {len(label)}. Leave count out."
            )
        return [self.label(each) for each in label]

    def class_names(self, labels: Sequence[int]) -> str:
        """The names of classes in a line; numbers where they have none."""
        return ", ".join(self.classes[label] if label < len(self.classes) else str(label) for label in labels)

    def label(self, text: int | str) -> int:
        """The number of a class, from its name or from its number, also as text.

        Raises:
            ConfigError: there is no such class.
        """
        if is_whole(text):
            return int(text)
        if not isinstance(text, str):
            raise ConfigError(
                f"label must be the number or the name of a class, or a list, got {kind_of(text)}. Write label=0."
            )
        if text in self.classes:
            return self.classes.index(text)
        if re.fullmatch("[0-9]{1,9}", text):
            return int(text)
        known = f"one of {', '.join(self.classes)}, or a number" if self.classes else "a number"
        raise ConfigError(f"expected a class as {known}, got {text!r}.")


def load_generator(
    path: str | os.PathLike[str],
    *,
    backend: str | Backend = "auto",
    precision: str | None = None,
    average: bool = True,
    name: str = "",
) -> TrainedGenerator:
    """A generator of a run folder, of a `model.safetensors` file, of a checkpoint, or one that comes with minigan.

    Args:
        path: of the folder or the file; or "pretrained:digits", see `minigan.runs.pretrained`.
        backend: an object or a name, see `minigan.backends.get_backend`.
        precision: of products, see there; None is not the training's, but the backend's default.
        average: take the moving average of the weights, if there is one.
        name: of the generator, where the recipe has several: "G_AB" or "G_BA" of cyclegan; "" is the first.
    Returns:
        The generator, ready to sample from.
    Raises:
        ConfigError, MissingExtraError, BackendError: an argument is of the wrong kind, or the backend cannot be used.
        CheckpointError: there is no generator, or it is damaged, or its weights are not finite.
    """
    path = expect_path(path, "path", remedy="Write load_generator('runs/dcgan-digits-1').")
    average = flag(average, "average")
    pretrained = pretrained_name(path)
    file = pretrained_file(pretrained) if pretrained else path / "model.safetensors" if path.is_dir() else path
    if not file.exists():
        raise CheckpointError(f"no trained generator at {file}. Name a run folder that training has written to.")
    arrays, description = load_model(file)
    backend = get_backend(backend, precision=precision)  # here, so that its errors do not blame the file
    recipe, shape = _described(description, source=str(file))
    name = recipe.expect_generator(name)
    own, rng = average_name(name, recipe.generator_names), np.random.default_rng(0)
    averaged = average and bool(select(arrays, own))
    prefix = own if averaged else name
    try:
        _expect_weights(recipe, name, shape, select(arrays, prefix), source=str(file))
        G = recipe.built_generator(shape, name=name, backend=backend, dtype=description["dtype"], rng=rng)
        load_network(G, arrays, prefix, source=str(file))
    except (DTypeError, ValueError) as error:
        raise _damaged(error, str(file)) from None
    for key, array in network_arrays(G, name).items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{file}: expected finite weights, found NaN or infinity in {key}. Train again.")
    classes = tuple(description["classes"])
    return TrainedGenerator(
        G,
        recipe,
        description["step"],
        description["extent"],
        classes,
        averaged,
        name,
        unseen=tuple(description["unseen"]),
    )


def _described(description: Mapping[str, Any], *, source: str) -> tuple[Recipe, tuple[int, ...]]:
    """The recipe of a file's generators, and the shape of what the first of them draws."""
    shape = tuple(description["shape"])
    try:
        recipe = get_recipe(description["recipe"]).from_stored(description["settings"])
        if len(shape) == 1:
            recipe.check_points()
    except ValueError as error:
        raise _damaged(error, source) from None
    return recipe, shape


def _damaged(error: Exception, source: str) -> CheckpointError:
    """The error of a file, in which another error has its place once."""
    return CheckpointError(f"{source}: {error}".replace(f"{source}: {source}: ", f"{source}: "))


def _expect_generator(G: Any) -> Sequential:
    """The network, if it is one that is built.

    Raises:
        ConfigError, NotBuiltError: it is not.
    """
    if isinstance(G, TrainedGenerator):
        raise ConfigError("G must be a network, got a TrainedGenerator. Write trained.G, its network.")
    return expect_network(G, "G")


def _random(seed: Seed) -> np.random.Generator:
    """The random numbers of samples.

    Raises:
        ConfigError: the seed is of another kind, or negative.
    """
    if seed is None or isinstance(seed, np.random.Generator):
        return np.random.default_rng(seed)
    return np.random.default_rng(whole(seed, "seed", least=0))


def _expect_weights(
    recipe: Recipe, name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray], *, source: str
) -> None:
    """Refuses arrays that are not the weights of the recipe's generator, before memory is allocated for them."""
    G, source_shape = recipe.drawing(name, shape)
    G.setup(source_shape, G.path)
    weights = {name: array for name, array in arrays.items() if not name.startswith("state.")}
    expect_shapes(dict(G.named_parameters()), weights, source=source)


def save_generator(
    path: str | os.PathLike[str],
    G: Sequential | Mapping[str, Sequential],
    recipe: Recipe,
    *,
    step: int = 0,
    extent: float = 1.0,
    classes: Sequence[str] = (),
    stored: Literal["", "float16", "int8"] = "",
) -> None:
    """Writes a generator that your own loop has trained, for `load_generator` and the command line.

    Args:
        path: of the file; with the name `model.safetensors`, its folder can be loaded like a run's.
        G: built by the recipe; of a recipe with several, all of them by name: {"G_AB": G_AB, "G_BA": G_BA}. Use
            `minigan.save` for other networks.
        recipe: the recipe of G.
        step: the training step of its weights.
        extent: a picture of its points reaches from -extent to extent.
        classes: names of the classes, if it was trained with classes.
        stored: float16 or int8 keeps the weights in fewer bits, see `minigan.checkpoints.narrow`; "" keeps all.
    Raises:
        ConfigError, CheckpointError, ShapeError: G is not a generator of this recipe.
        OutputError: the file cannot be written.
    """
    path = expect_path(path, "path", remedy="Write save_generator('model.safetensors', G, recipe).")
    if not isinstance(G, Mapping):
        G = _expect_generator(G)
    recipe = instance(recipe, Recipe, "recipe", a="a recipe", example="minigan.get_recipe('dcgan')()", named=RECIPES)
    step, extent = whole(step, "step", least=0), number(extent, "extent", above=0)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise ConfigError(f"classes must be a list of names, got {kind_of(classes)}. Write classes=['cat', 'dog'].")
    if stored not in ("", *STORED):
        raise ConfigError(f"stored must be one of {', '.join(STORED)}, or '' for all bits, got {stored!r}.")
    networks = _named(G, recipe)
    first = networks[recipe.generator_names[0]]
    shape, dtype = first.output_shape, str(first.dtype)
    arrays: dict[str, np.ndarray] = {}
    for name, network in networks.items():
        rng = np.random.default_rng(0)
        twin = recipe.built_generator(shape, name=name, backend="reference", dtype=dtype, rng=rng)
        arrays |= network_arrays(network, name)
        source = f"{network.path}, to be written to {path} as a generator of {recipe.name},"
        load_network(twin, arrays, name, source=source)
    described = model_description(recipe, shape, dtype=dtype, extent=extent, classes=classes)
    if stored:
        arrays, described = narrowed(arrays, stored), {**described, "stored": stored}
    save_arrays(path, arrays, description={"format": MODEL_FORMAT, "step": step, **described})


def _named(G: Any, recipe: Recipe) -> dict[str, Sequential]:
    """All generators of a recipe by name, in its order.

    Raises:
        ConfigError, NotBuiltError: one is missing, or is no network that is built.
    """
    names = recipe.generator_names
    given = G if isinstance(G, Mapping) else {names[0]: G}
    if set(given) != set(names):
        expected = ", ".join(f'"{name}": {name}' for name in names)
        raise ConfigError(
            f"{recipe.name} has the generators {', '.join(names)}, got {', '.join(map(str, given))}. "
            f"Write {{{expected}}}."
        )
    return {name: _expect_generator(given[name]) for name in names}


def model_description(
    recipe: Recipe,
    shape: tuple[int, ...],
    *,
    dtype: str,
    extent: float,
    classes: Sequence[str],
    unseen: Sequence[int] = (),
) -> dict[str, Any]:
    """The description in a `model.safetensors`, from which G can be rebuilt; JSON can hold it.

    Args:
        shape: of one of G's samples: (H, W, C), or (2,) for points.
        extent: a picture of its points reaches from -extent to extent.
        classes: names of the classes.
        unseen: numbers of the classes without images.
    """
    return {
        "recipe": recipe.name,
        "settings": {name: value for name, value in recipe.settings().items() if name not in PLACES},
        "shape": list(shape),
        "dtype": dtype,
        "extent": extent,
        "classes": list(classes),
        **({"unseen": list(unseen)} if unseen else {}),
    }
