"""The command `minigan project`: the noise or style from which a generator draws a picture, and how near it comes."""

import argparse
import contextlib
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from minigan.cli.given import refuse_given
from minigan.cli.pictures import write_picture
from minigan.data.one_picture import one_picture
from minigan.data.picture_files import expect_picture_name
from minigan.errors import ConfigError, DataError
from minigan.evaluation import Classifier, PixelFeatures, StackedClassifier, choose_features, open_like
from minigan.latent import Projection
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.folders import run_data
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.support.progress import open_progress

__all__ = ["project"]


def project(options: argparse.Namespace) -> int:
    """Projects a picture, and writes it next to what was found, and z."""
    out = Output.of(options)
    place = options.z or options.out.with_suffix(".npz")
    expect_picture_name(options.out)
    if place.suffix.lower() not in (".npy", ".npz"):
        raise ConfigError(f"{place}: expected a name that ends with .npy or .npz. Name it {place.stem or 'z'}.npz.")
    if options.features == "pixels":
        refuse_given(options, ("data",), rule="--features pixels needs no classifier")
    trained = load_generator(
        options.run, backend=options.backend, precision=options.precision, average=not options.last_weights
    )
    shape = trained.expect_projectable(label=options.label)
    image, notes = one_picture(options.picture, shape)
    for line in notes:
        out.note(line)
    found = _search(trained, image, _classifier(trained, shape, options, out), options, out)
    write_picture(options.out, found.picture(), out)
    atomic_write(place, _arrays(found, place))
    out.show(f"{_nearness(found)}{_class(trained, found)}, {trained.recipe.name} at step {trained.step}: {options.out}")
    out.show(f"{found.space}: {place}")
    out.record({**trained.describe(), **found.figures(), "out": str(options.out), "z": str(place)})
    return 0


def _classifier(
    trained: TrainedGenerator, shape: tuple[int, int, int], options: argparse.Namespace, out: Output
) -> Classifier | StackedClassifier | None:
    """The classifier of the run's data; None, with a note, if they have no labels or are not there.

    Raises:
        ConfigError, DataError: a classifier was asked for, and cannot be had.
    """
    if options.features == "pixels":
        return None
    try:
        source, seed = run_data(options.run, options.data)
        dataset = open_like(shape, source, seed=seed)
    except (ConfigError, DataError) as error:
        if options.features or options.data:
            raise
        out.note(f"pixels alone are compared: {str(error).partition('. ')[0]}.")
        return None
    with contextlib.closing(dataset):
        features = choose_features(dataset, options.features, backend=trained.G.kernels, say=out.note)
    if isinstance(features, Classifier | StackedClassifier):
        return features
    if not isinstance(features, PixelFeatures):
        raise ConfigError(f"expected a classifier's features, got {features}. Use `features='pixels'`.")
    return None


def _search(
    trained: TrainedGenerator,
    image: np.ndarray,
    classifier: Classifier | StackedClassifier | None,
    options: argparse.Namespace,
    out: Output,
) -> Projection:
    drawn, began = 0, time.monotonic()
    # Progress as JSON would be lines that are no result.
    quiet = Output(quiet=out.quiet or out.json, words=out.words)
    with open_progress(start=0, total=options.steps, output=quiet) as progress:

        def advance(step: int, images: int, loss: float) -> None:
            nonlocal drawn
            drawn += images
            progress.advance(step, images_per_second=drawn / max(time.monotonic() - began, 1e-9))
            progress.values({"loss": loss})

        return trained.project(
            image,
            label=options.label,
            classifier=classifier,
            starts=options.starts,
            steps=options.steps,
            seed=options.seed,
            advance=advance,
        )


def _arrays(found: Projection, place: Path) -> bytes:
    """The content of the file of z: z alone, or all arrays by name."""
    content = BytesIO()
    if place.suffix.lower() == ".npy":
        np.save(content, found.z)
    else:
        arrays: dict[str, Any] = {found.space: found.z, "target": found.target, "image": found.image}
        np.savez(content, **arrays if found.label is None else {**arrays, "label": found.label})
    return content.getvalue()


def _nearness(found: Projection) -> str:
    """How near it came, in words."""
    text = f"L1 {found.l1:.3g} (best random sample {found.start_l1:.3g}), {found.psnr:.1f} dB"
    if found.features is None or found.start_features is None:
        return text
    return f"{text}, features {found.features:.3g} ({found.start_features:.3g})"


def _class(trained: TrainedGenerator, found: Projection) -> str:
    """The class in words; nothing for a generator without classes."""
    if found.label is None:
        return ""
    name = trained.classes[found.label] if found.label < len(trained.classes) else str(found.label)
    return f", class {name}"
