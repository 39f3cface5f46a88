"""The command `minigan evaluate`: all figures of a trained generator, compared with its data, and their files."""

import argparse
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minigan
from minigan.data import Dataset, StackedImages
from minigan.errors import ConfigError
from minigan.evaluation import (
    FeatureFunction,
    ImageBattery,
    Report,
    choose_features,
    evaluate_points,
    neighbor_picture,
    open_like,
)
from minigan.evaluation.battery import check_samples
from minigan.recipes import TranslationRecipe, UnpairedRecipe
from minigan.runs import TrainedGenerator, load_generator
from minigan.runs.folders import run_data, run_data_b, run_folder, run_targets
from minigan.runs.translation import evaluate_pairs
from minigan.runs.unpaired import evaluate_unpaired, load_translators
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.output import Output
from minigan.training.exhibit import render, save_picture

__all__ = ["Evaluation", "evaluate", "evaluate_run"]

POINT_COUNT, STACKED_COUNT, IMAGE_COUNT = 2500, 26_000, 10_000  # the first two are PacGAN's
SHOWN = 16  # samples in the picture


@dataclass(frozen=True)
class Evaluation:
    """Result of the evaluation of a trained generator.

    Attributes:
        report: the figures.
        description: the run and the data, as values that JSON has.
        picture: samples and below each its nearest training images, or the density of points: uint8 (H, W, C).
    """

    report: Report
    description: dict[str, Any]
    picture: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The content of `evaluation.json`."""
        return {**self.description, **self.report.to_json()}


def evaluate_run(
    path: Path,
    *,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
    network: str = "",
    count: int | None = None,
    seed: int = 0,
    features: str | None = None,
    split: str | None = None,
    backend: str = "auto",
    precision: str | None = None,
    average: bool = True,
    say: Callable[[str], None],
    note: Callable[[str], None],
) -> Evaluation:
    """Evaluates the generator of a run folder or model file.

    Args:
        path: run folder, model file or checkpoint.
        data: the source to compare with; None takes the run's own.
        targets: folder or zip of the targets, if that source has none; None takes the run's own, if data is None.
        data_b: source of the images of B, for unpaired data; None takes the run's own.
        network: name of the generator, of a recipe with several that draw from noise; "" is the first.
        count: number of samples; None takes 10,000 images, 26,000 stacked images, 2,500 points, all pairs, or 1,000
            unpaired images of either side.
        seed: of the noise, and of every choice of examples.
        features: "classifier" or "pixels"; None takes a classifier if the data has labels for one.
        split: part of pairs or of images to restore; None takes the part held out of training.
        backend: an object or a name.
        precision: of the generator's products, see `minigan.load_generator`; a classifier's are in fp32.
        average: True uses the moving average of the weights, if there is one.
        say: called with a line on what takes long or should be known.
        note: called with each note of the data.
    Raises:
        MiniganError: the generator or the data cannot be read, or data, samples and features do not fit each other.
    """
    trained = load_generator(path, backend=backend, precision=precision, average=average, name=network)
    source, data_seed = run_data(path, data)
    if isinstance(trained.recipe, UnpairedRecipe):
        _refuse(
            "unpaired images are evaluated in both directions",
            {"--split": split, "--targets": targets, "--network": network or None},
        )
        unpaired = evaluate_unpaired(
            load_translators(path, backend=backend, precision=precision, average=average),
            source,
            data_b=run_data_b(path, data_b),
            count=count,
            data_seed=data_seed,
            seed=seed,
            features=features,
            backend=backend,
            say=say,
            note=note,
        )
        return Evaluation(unpaired[0], _description(trained, source), unpaired[1])
    _refuse(f"{trained.recipe.name} learns from one source", {"--data-b": data_b})
    if isinstance(trained.recipe, TranslationRecipe):
        _refuse("outputs with targets need no features", {"--features": features})
        found = evaluate_pairs(
            trained,
            source,
            targets=run_targets(path, data, targets),
            split=split,
            count=count,
            data_seed=data_seed,
            seed=seed,
            say=say,
            note=note,
        )
        return Evaluation(found[0], _description(trained, source), found[1])
    _refuse(f"{trained.recipe.name} draws from noise", {"--split": split, "--targets": targets})
    shape = trained.sample(1, seed=seed).shape[1:]
    dataset = open_like(shape, source, seed=data_seed)
    with contextlib.closing(dataset):
        count = count or _usual_count(dataset)
        say(f"{trained.recipe.name} at step {trained.step}, {count:,} samples, compared with {dataset.describe()}")
        for line in dataset.notes:
            note(line)
        labels = trained.recipe.labels_like(dataset, count, seed=seed)
        if labels is not None:
            note("classes of the samples are drawn as often as the data have them, not evenly")
        samples = trained.sample(count, seed=seed, label=labels)
        check_samples(samples, dataset.shape)  # before the minutes that a classifier may take
        if len(shape) == 1:
            if features is not None:
                raise ConfigError(f"features are for images, got points and --features {features}. Leave it out.")
            report, shown = evaluate_points(samples, dataset, seed=seed), render(samples, extent=trained.extent)
        else:
            chosen = choose_features(dataset, features, backend=backend, say=say)
            report, shown = _evaluate_images(samples, dataset, chosen, seed=seed)
    return Evaluation(report, _description(trained, source), shown)


def _evaluate_images(
    samples: np.ndarray, dataset: Dataset, features: FeatureFunction, *, seed: int
) -> tuple[Report, np.ndarray]:
    """All figures of images, and a picture of some with their nearest training images."""
    battery = ImageBattery(dataset, features=features, count=len(samples), seed=seed)
    report, neighbors = battery.report(samples)
    return report, neighbor_picture(samples[:SHOWN], dataset, neighbors.items[:SHOWN])


def evaluate(options: argparse.Namespace) -> int:
    """Runs the command: prints the result of `evaluate_run`, and writes `evaluation.json` and `evaluation.png`."""
    out = Output.of(options)
    found = evaluate_run(
        options.run,
        data=options.data,
        targets=options.targets,
        data_b=options.data_b,
        network=options.network or "",
        count=options.count,
        seed=options.seed,
        features=options.features,
        split=options.split,
        backend=options.backend,
        precision=options.precision,
        average=not options.last_weights,
        say=out.say,
        note=out.note,
    )
    folder = options.out or run_folder(options.run)
    record = found.to_json()
    make_folder(folder)
    save_picture(folder / "evaluation.png", found.picture)  # the larger file first, in case the disk is full
    atomic_write(folder / "evaluation.json", (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    out.show(f"features: {found.report.features}\n" if found.report.features else "")
    out.show(found.report.table())
    for remark in found.report.remarks:
        out.show(f"note: {remark}")
    out.show(f"\nseed {found.report.seed}; written: {folder / 'evaluation.json'}, {folder / 'evaluation.png'}")
    out.record(record)
    return 0


def _usual_count(dataset: Dataset) -> int:
    if len(dataset.shape) == 1:
        return POINT_COUNT
    return STACKED_COUNT if isinstance(dataset, StackedImages) else IMAGE_COUNT


def _refuse(rule: str, options: Mapping[str, object]) -> None:
    """Refuses options that would be ignored.

    Args:
        rule: why, as the beginning of a line.
        options: their values by their flags; None was not given.
    Raises:
        ConfigError: one of them was given.
    """
    for flag, given in options.items():
        if given is not None:
            raise ConfigError(f"{rule}, got {flag} {given}. Leave it out.")


def _description(trained: TrainedGenerator, source: str) -> dict[str, Any]:
    return {
        "minigan": minigan.__version__,
        **trained.describe(),
        "engine": trained.G.kernels.describe(),
        "data": source,
    }
