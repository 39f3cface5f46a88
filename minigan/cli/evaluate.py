"""The command `minigan evaluate`: a trained generator, its data, all figures, and what is written of them."""

import argparse
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minigan
from minigan.data import Dataset, StackedImages
from minigan.errors import ConfigError
from minigan.evaluation import ImageBattery, Report, choose_features, evaluate_points, neighbour_picture, open_like
from minigan.evaluation.battery import check_samples
from minigan.recipes import TranslationRecipe
from minigan.runs import TrainedGenerator, load_generator, run_data, run_folder
from minigan.runs.translation import evaluate_pairs
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.output import Output
from minigan.training.sampling import render, save_picture

__all__ = ["Evaluation", "evaluate", "evaluate_run"]

POINT_COUNT, STACKED_COUNT, IMAGE_COUNT = 2500, 26_000, 10_000  # the first two are PacGAN's
SHOWN = 16  # samples in the picture


@dataclass(frozen=True)
class Evaluation:
    """What was found of a trained generator.

    Attributes:
        description: of the run and the data, what JSON can hold.
        picture: samples and below each its nearest training images, or the density of points; (H, W, C) uint8.
    """

    report: Report
    description: dict[str, Any]
    picture: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """What `evaluation.json` holds."""
        return {**self.description, **self.report.to_json()}


def evaluate_run(
    path: Path,
    *,
    data: str | None = None,
    count: int | None = None,
    seed: int = 0,
    features: str | None = None,
    split: str | None = None,
    backend: str = "auto",
    average: bool = True,
    say: Callable[[str], None],
) -> Evaluation:
    """All figures of the generator of a run folder or model file.

    Args:
        data: the source to compare with; None takes the run's own.
        count: of samples; None takes 10,000 images, 26,000 stacked ones, 2,500 points, and all pairs.
        seed: of the noise, and of every choice of examples.
        features: classifier or pixels; None takes a classifier where there are labels for one.
        split: of pairs and of images that were held out of training; None takes those.
        average: take the moving average of the weights, where there is one.
        say: told, in a line each, what takes long or should be known.
    Raises:
        MiniganError: there is no generator, or data, samples and features do not go together.
    """
    trained = load_generator(path, backend=backend, average=average)
    source, data_seed = run_data(path, data)
    if isinstance(trained.recipe, TranslationRecipe):
        if features is not None:
            raise ConfigError(f"outputs with targets need no features, got --features {features}. Leave it out.")
        found = evaluate_pairs(trained, source, split=split, count=count, data_seed=data_seed, seed=seed, say=say)
        return Evaluation(found[0], _description(trained, source), found[1])
    if split is not None:
        raise ConfigError(f"{trained.recipe.name} draws from noise, got --split {split}. Leave it out.")
    shape = trained.sample(1, seed=seed).shape[1:]
    dataset = open_like(shape, source, seed=data_seed)
    with contextlib.closing(dataset):
        count = count or _usual_count(dataset)
        say(f"{trained.recipe.name} at step {trained.step}, {count:,} samples, beside {dataset.describe()}")
        samples = trained.sample(count, seed=seed)
        check_samples(samples, dataset.shape)  # before a classifier takes minutes
        if len(shape) == 1:
            if features is not None:
                raise ConfigError(f"features are of images, got points and --features {features}. Leave it out.")
            report = evaluate_points(samples, dataset, seed=seed)
            picture = render(samples, extent=trained.extent)
        else:
            chosen = choose_features(dataset, features, backend=backend, say=say)
            battery = ImageBattery(dataset, features=chosen, count=count, seed=seed)
            report, neighbours = battery.report(samples)
            picture = neighbour_picture(samples[:SHOWN], dataset, neighbours.items[:SHOWN])
    return Evaluation(report, _description(trained, source), picture)


def evaluate(options: argparse.Namespace) -> int:
    """The command: tells what `evaluate_run` found, and writes it to `evaluation.json` and `evaluation.png`."""
    out = Output.of(options)
    found = evaluate_run(
        options.run,
        data=options.data,
        count=options.count,
        seed=options.seed,
        features=options.features,
        split=options.split,
        backend=options.backend,
        average=not options.last_weights,
        say=out.say,
    )
    folder = options.out or run_folder(options.run)
    record = found.to_json()
    make_folder(folder)
    save_picture(folder / "evaluation.png", found.picture)  # the larger file first: a full disk leaves no figures alone
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


def _description(trained: TrainedGenerator, source: str) -> dict[str, Any]:
    return {
        "minigan": minigan.__version__,
        **trained.describe(),
        "engine": trained.G.kernels.describe(),
        "data": source,
    }
