"""Reports: one HTML file on a run, or on two laid over each other, that works from disk and without a network."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.backends.precision import expect_precision
from minigan.data import Dataset
from minigan.data.picture_files import encode_picture
from minigan.data.pictures import image_grid
from minigan.errors import ConfigError, DataError, MiniganError
from minigan.evaluation.features import PixelFeatures
from minigan.evaluation.nearest_images import nearest_items
from minigan.inspection.document import Document
from minigan.inspection.history import History, read_history
from minigan.inspection.inspecting import Inspection, inspect_run
from minigan.inspection.inspection_document import comparison_document
from minigan.inspection.measured_step import measure_step
from minigan.inspection.report_page import Findings, report_page
from minigan.live.changes import is_game
from minigan.live.replay import replay_of
from minigan.runs.run import source_name
from minigan.runs.trained_generator import load_generator
from minigan.support.arguments import flag

__all__ = ["Report", "report_run"]

SHOWN = 10  # samples with their nearest examples
SEARCHED = 10_000  # training examples among which they are found, if so many fit in BYTES
BYTES = 400_000_000
PULLED = 32  # fakes with the change that G's loss asks for


class Sources(NamedTuple):
    """Where a run's data are now; None as in its config.toml."""

    data: str | None
    targets: str | None
    data_b: str | None


class Report:
    """A report.

    Attributes:
        page: the HTML.
        notes: lines on what it lacks, and why.
        verdict: of the inspection, or "" without one; of two runs, that of the first.
    """

    def __init__(self, page: str, notes: tuple[str, ...], verdict: str) -> None:
        self.page, self.notes, self.verdict = page, notes, verdict

    def __repr__(self) -> str:
        return f"<Report: {len(self.page):,} characters{f', {self.verdict}' if self.verdict else ''}>"


def report_run(
    run: str | os.PathLike[str],
    other: str | os.PathLike[str] | None = None,
    *,
    quick: bool = False,
    data: str | os.PathLike[str] | None = None,
    targets: str | os.PathLike[str] | None = None,
    data_b: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    precision: str | None = None,
) -> Report:
    """Reports on a run: curves, pictures, nearest training examples, gradients, inspection, ledger and settings.

        report = minigan.inspection.report_run("runs/dcgan-digits-1")
        Path("report.html").write_text(report.page, encoding="utf-8")

    Nothing in the run's folder is changed. What cannot be computed, for example without a checkpoint, is left out with
    a note.

    Args:
        run: the path of its folder.
        other: another run, to be laid over it.
        quick: take only what the folder holds: no examples, inspection and ledger.
        data, targets, data_b: where the run's data are now, if they have moved; of the first run.
        backend: for what is computed; None takes the run's own.
        precision: of its products; None takes the run's own on the run's backend for steps that are done again, else
            the backend's default.
    Raises:
        CheckpointError: there is no run, its log is damaged, or it has neither log nor pictures yet.
        ConfigError: data, a backend or a precision are given, but nothing is to be computed; or they are unknown.
    """
    given = {"data": data, "targets": targets, "data_b": data_b, "backend": backend, "precision": precision}
    name = next((name for name, value in given.items() if value is not None), None)
    if flag(quick, "quick") and name is not None:
        raise ConfigError(f"a quick report computes nothing. Leave `{name}` or `quick` out.")
    expect_precision(precision)  # here, so that it is not a note for each part
    histories = [read_history(path) for path in (run, other) if path is not None]
    moved = Sources(*(None if path is None else source_name(path) for path in (data, targets, data_b)))
    findings = [
        Findings() if quick else _found(history, sources, backend=backend, precision=precision)
        for history, sources in zip(histories, (moved, Sources(None, None, None)), strict=False)
    ]
    inspections = [found.inspection for found in findings]
    comparison = _comparison(findings)
    notes = tuple(note for found in findings for note in found.notes)
    verdict = "" if inspections[0] is None else inspections[0].word
    return Report(report_page(histories, findings, comparison), notes, verdict)


def _found(history: History, sources: Sources, *, backend: str | None, precision: str | None) -> Findings:
    """The parts that can be computed for a run; each that cannot is noted."""
    found, where = Findings(), sources._asdict()
    folder = history.folder
    if is_game(type(history.recipe)):
        try:
            found.replay = replay_of(folder, data=sources.data, backend=backend, precision=precision)
        except MiniganError as error:
            found.notes.append(f"No replay: {error}")
    try:
        found.likeness, found.searched = _likeness(history, sources.data, backend, precision)
    except MiniganError as error:
        found.notes.append(f"No real examples next to fakes: {error}")
    try:
        found.inspection = inspect_run(folder, **where, backend=backend, precision=precision)
        found.pull = _pull(found.inspection)
    except MiniganError as error:
        found.notes.append(f"No inspection: {error}")
    try:
        found.ledger = measure_step(Path(folder), **where, backend=backend, precision=precision)[0]
    except MiniganError as error:
        found.notes.append(f"No ledger: {error}")
    return found


def _comparison(findings: Sequence[Findings]) -> Document | None:
    """Both inspections side by side. None for one run, without them, or where they have nothing in common: noted."""
    inspections = [found.inspection for found in findings]
    if len(inspections) < 2 or inspections[0] is None or inspections[1] is None:
        return None
    try:
        return comparison_document(inspections[0], inspections[1])
    except MiniganError as error:
        findings[1].notes.append(f"No comparison: {error}")
        return None


def _pull(inspection: Inspection) -> bytes | None:
    """A PNG of fakes, each with the change that G's loss asks for; None without a D that judges images."""
    if inspection.pull is None or inspection.fakes.ndim != 4:
        return None
    images = inspection.gradient_picture()[: 2 * PULLED]
    return encode_picture(image_grid(images, columns=min(8, len(images))), "pull.png")


def _likeness(history: History, data: str | None, backend: str | None, precision: str | None) -> tuple[bytes, int]:
    """A PNG of training examples, samples, and the training examples nearest to those; and the number searched.

    Raises:
        ConfigError: G translates pictures, or draws points.
        CheckpointError: there is no trained generator yet.
        DataError: the data cannot be read, or are of another shape.
    """
    recipe, config = history.recipe, history.config
    if recipe.from_images:
        raise ConfigError(f"{recipe.name} translates pictures: its samples stand next to their sources already.")
    file = history.folder / "model.safetensors"
    trained = load_generator(file, backend=backend or config.backend, precision=precision)
    if len(trained.G.output_shape) != 3:
        raise ConfigError(f"{recipe.name} draws points here.")
    dataset = recipe.open_data(config.data if data is None else data, seed=config.seed)
    try:
        if not isinstance(dataset, Dataset):
            raise ConfigError(f"{recipe.name} learns from items that are more than one picture.")
        return _compared(np.asarray(trained.sample(SHOWN, seed=0)), dataset)
    finally:
        dataset.close()


def _compared(samples: np.ndarray, dataset: Dataset) -> tuple[bytes, int]:
    if dataset.shape != samples.shape[1:]:
        raise DataError(f"{dataset.name} has items of shape {dataset.shape}, the generator draws {samples.shape[1:]}.")
    most = max(SHOWN, min(SEARCHED, BYTES // (4 * samples[0].size)))
    rows = np.random.default_rng(0).permutation(len(dataset))[:most].astype(np.int64)
    features = PixelFeatures()
    near = nearest_items(features(samples), dataset, rows=rows, features=features).items[:, 0]
    real = dataset.read(rows[: len(samples)])
    if len(real) < len(samples):
        samples, near = samples[: len(real)], near[: len(real)]
    picture = image_grid(np.concatenate([real, samples, dataset.read(near)]), columns=len(samples))
    return encode_picture(picture, "likeness.png"), len(rows)
