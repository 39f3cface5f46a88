"""The readers of minigan, each on a folder, and the check of a right result."""

import gzip
import json
import math
import random
import struct
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.fuzzing.samples import IDX_CODES
from minigan import runs
from minigan.data import Dataset, open_dataset, open_pairs
from minigan.data.dataset import Collection
from minigan.errors import MissingExtraError, OutputError
from minigan.evaluation import classifier_cache
from minigan.export import load_state_dict, read_state_dict, weight_shapes
from minigan.inspection import card_of_run, report_data, report_run
from minigan.inspection.history import read_history
from minigan.nn.layers import BatchNorm, Dense, ReLU
from minigan.nn.network import Sequential
from minigan.runs.config import RunConfig, read_config, write_config
from minigan.runs.film import film_of
from minigan.runs.folders import run_data
from minigan.runs.prepare import load_checkpoint, prepare_from_folder
from minigan.support.folder_owner import LOCK_FILE, FolderOwner, refuse_if_owned

CIFAR_RECORD = 3073


class Wrong(AssertionError):
    """A reader accepted a file, and its result is not right."""


def expect(right: bool, what: str) -> None:
    if not right:
        raise Wrong(what)


def only_file(folder: Path, pattern: str) -> Path:
    return next(path for path in sorted(folder.glob(pattern)) if path.is_file())


# ---------------------------------------------------------------------------------------------- data


def _options(rng: random.Random) -> dict[str, Any]:
    return {
        "size": rng.choice((None, None, 8, (5, 9))),
        "channels": rng.choice((None, None, 1, 3)),
        "count": rng.choice((None, None, 1)),
        "cache_bytes": rng.choice((0, 2**20)),
    }


def check_items(items: Collection, x: Any, shape: tuple[int, ...], count: int) -> None:
    expect(
        x.shape == (count, *shape) and x.dtype == np.float32, f"read {x.dtype} {x.shape}, expected {count} of {shape}"
    )
    expect(bool(np.isfinite(x).all()), "read numbers that are not finite")
    expect(len(shape) == 1 or float(np.abs(x).max()) <= 1, "read pixels out of range")
    labels, classes = items.labels, items.classes
    if labels is not None:
        expect(labels.dtype == np.int64 and labels.shape == (len(items),), f"labels are {labels.dtype} {labels.shape}")
    if labels is not None and classes is not None:
        expect(
            labels.min() >= 0 and labels.max() < len(classes), f"labels up to {labels.max()} of {len(classes)} classes"
        )
    expect(len(items.describe()) > 0, "no description")


def read_dataset(source: str | Path, rng: random.Random, **options: Any) -> None:
    dataset = open_dataset(source, **(options or _options(rng)))
    try:
        rows = sorted({0, len(dataset) // 2, len(dataset) - 1})
        x = dataset.read(rows)
        check_items(dataset, x, dataset.shape, len(rows))
        expect(np.array_equal(x, dataset.read(rows)), "read something else the second time")
    finally:
        dataset.close()


def read_folder(folder: Path, rng: random.Random) -> None:
    read_dataset(folder, rng)


def read_file(folder: Path, rng: random.Random) -> None:
    read_dataset(only_file(folder, "*"), rng)


def read_idx_folder(folder: Path, rng: random.Random) -> None:
    """The file or its folder, plain or stacked; then the pixels compared with those that another reader finds."""
    path = only_file(folder, "*images*")
    kind = rng.choice(("compared", "compared", "scaled", "stacked"))
    if kind == "stacked":
        read_dataset(f"stacked:{path}", rng, count=5)
    elif kind == "scaled":
        read_dataset(rng.choice((path, folder)), rng)
    else:
        dataset = open_dataset(rng.choice((path, folder)))
        x = dataset.read([len(dataset) - 1])
        check_items(dataset, x, dataset.shape, 1)
        expect_idx(dataset, x, path.read_bytes())


def expect_idx(dataset: Dataset, x: np.ndarray, content: bytes) -> None:
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    if dataset.classes and "airplane" in dataset.classes:
        return  # the damage made it CIFAR-10
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    (dtype,) = (name for name, code in IDX_CODES.items() if code == content[2])
    values = np.frombuffer(content, dtype, offset=4 + 4 * len(shape)).reshape(shape).astype(np.float64)
    tolerance = 1e-5
    if dtype in ("|u1", ">i2", ">i4"):
        white = _white(dtype, int(values.max()))
        values, tolerance = values / (white / 2) - 1, 1e-5 if dtype == "|u1" else 1.01 / 255
    elif len(dataset.shape) == 3:
        values = np.clip(values if values.min() < -0.5 / 255 else 2 * values - 1, -1, 1)
    if dataset.shape[-1] == 3 and shape[-1] == 4:
        return  # transparency
    expect(len(dataset) == shape[0], f"{len(dataset)} items, the file has {shape[0]}")
    expect(np.allclose(x.ravel(), values[-1].ravel(), atol=tolerance), "other numbers than the file has")


def _white(dtype: str, highest: int) -> int:
    """The value of white among integers of which that is the highest."""
    if dtype == "|u1":
        return 1 if highest == 1 else 255
    white = next(white for white in (1, 255, 1023, 4095, 65535) if highest <= white)
    return min(white, 32767) if dtype == ">i2" else white


def read_cifar_folder(folder: Path, rng: random.Random) -> None:
    """One file, or all that are in the folder; then the pixels of the last record."""
    paths = sorted(folder.glob("*.bin"))
    source = rng.choice((folder, paths[-1]))
    dataset = open_dataset(source)
    x = dataset.read([len(dataset) - 1])
    check_items(dataset, x, dataset.shape, 1)
    if dataset.shape[0] == 32 and dataset.classes and "airplane" in dataset.classes:
        record = np.frombuffer(paths[-1].read_bytes(), np.uint8)[-CIFAR_RECORD:]
        expect(
            np.allclose(x[0], record[1:].reshape(3, 32, 32).transpose(1, 2, 0) / 127.5 - 1, atol=1e-6), "other pixels"
        )
        expect(dataset.labels is not None and dataset.labels[-1] == record[0], "another label")


def read_pair_folder(folder: Path, rng: random.Random) -> None:
    source = folder / "pairs" if (folder / "pairs").is_dir() else folder / "pairs.zip"
    pairs = open_pairs(
        source, direction=rng.choice(("AtoB", "BtoA")), split=rng.choice((None, None, "val")), **_options(rng)
    )
    try:
        rows = sorted({0, len(pairs) - 1})
        for x, shape in zip(pairs.read(rows), (pairs.a_shape, pairs.b_shape), strict=True):
            check_items(pairs, x, shape, len(rows))
    finally:
        pairs.close()


# ---------------------------------------------------------------------------------------------- models and runs


def read_model(folder: Path, rng: random.Random) -> None:
    """Samples drawn, or the folder's picture translated."""
    trained = runs.load_generator(folder, backend="reference", average=rng.choice((True, False)))
    weights = trained.G.arena.flat
    expect(bool(np.isfinite(weights).all()) and trained.step >= 0, "weights or step are not sound")
    expect(0 < trained.extent < math.inf, f"an extent of {trained.extent}")
    if trained.recipe.from_images:
        return
    with np.errstate(all="ignore"):
        x = trained.sample(2, seed=0)
    expect(x.shape == (2, *trained.G.output_shape), f"drew {x.shape}")


def read_run(folder: Path, rng: random.Random) -> None:  # noqa: ARG001 (a reader's signature)
    """Shows the run and resumes it; then its log must be sound, and its next checkpoint must load."""
    shown = runs.open_run(folder)
    expect(all(isinstance(record, dict) for record in shown.log), "a record of the log is no dictionary")
    expect(repr(shown).startswith("<Run ") and shown._repr_html_().endswith("</div>"), "a run does not show itself")
    run = prepare_from_folder(folder, data=str(folder / "points.npy"))
    load_checkpoint(run)
    trainer = run.trainer
    expect(0 <= trainer.state.step <= trainer.state.steps, f"step {trainer.state.step} of {trainer.state.steps}")
    log = folder / "log.jsonl"
    for line in log.read_bytes().splitlines() if log.exists() else ():
        step = json.loads(line)["step"]
        expect(
            type(step) is int and step <= trainer.state.step,
            f"a line of step {step} in a log until {trainer.state.step}",
        )
    again = read_config(folder)
    expect(again == run.config, "config.toml says something else after it was written anew")


def read_lock(folder: Path, rng: random.Random) -> None:  # noqa: ARG001
    """Takes the folder: a lock file that no process holds keeps nobody out, whatever it says."""
    with FolderOwner(folder, remedy=""):
        try:
            refuse_if_owned(folder, remedy="")
        except OutputError as error:
            expect("this process already trains in it" in str(error), str(error))
        else:
            expect(False, "a second owner is not refused")
    expect(not (folder / LOCK_FILE).exists(), "the lock file is left")


def read_run_pictures(folder: Path, rng: random.Random) -> None:  # noqa: ARG001 (a reader's signature)
    """The report of a run, also where its pictures must be made smaller or fewer, and its film."""
    expect("data:image/png;base64," in report_run(folder, quick=True).page, "a report without pictures")
    history = read_history(folder)
    with mock.patch.object(report_data, "PICTURES_MOST", 1):
        expect(len(report_data.pictures(history).data) == 1, "more pictures than fit, or none")
        missing = MissingExtraError("Pillow is not installed.")
        with mock.patch.object(report_data, "load_pillow", side_effect=missing):
            expect(len(report_data.pictures(history).data) == 1, "without Pillow, no picture")
    film = film_of(folder)
    expect(len({frame.shape for frame in film.frames}) == 1, "frames of several sizes")


def read_card(folder: Path, rng: random.Random) -> None:  # noqa: ARG001 (a reader's signature)
    """The model card of a run: whatever the figures say, it has its own headings, picture and no HTML."""
    text = card_of_run(folder).text
    headings = [line for line in text.splitlines() if line.startswith("#")]
    expect(len(headings) == 9 and headings[0].startswith("# Model card"), f"headings {headings}")
    expect(text.count("![") == 1 and "<" not in text, "a picture or HTML from elsewhere")


def read_configuration(folder: Path, rng: random.Random) -> None:
    """The configuration; written again it must say the same."""
    config = read_config(folder, steps=rng.choice((None, 7)))
    run_data(folder, rng.choice((None, "ring")))
    write_config(config, folder)
    again = read_config(folder)
    expect(repr(again) == repr(config), "says something else when written again")
    expect(isinstance(config, RunConfig) and config.seed >= 0, "no sound configuration")


def read_torch(folder: Path, rng: random.Random) -> None:  # noqa: ARG001 (a reader's signature)
    """PyTorch's tensors, and a network that takes them."""
    for tensors in read_state_dict(folder / "G.safetensors").values():
        weight_shapes(tensors, source="tensors")
        net = Sequential([Dense(3), BatchNorm(), ReLU(), Dense(2)])
        net.build((4,), backend="reference", rng=np.random.default_rng(0))
        load_state_dict(net, tensors, source="tensors")
        expect(net.arena.flat.dtype == np.float32, f"weights are {net.arena.flat.dtype}")


def read_classifier(folder: Path, rng: random.Random) -> None:  # noqa: ARG001 (a reader's signature)
    images = open_dataset(folder / "images.npy")
    found = classifier_cache._load(folder / "classifier.safetensors", images, classes=3, backend="reference")
    with np.errstate(all="ignore"):
        labels = found.classify(found(images.read([0, 1])))
    expect(labels.shape == (2,) and labels.min() >= 0 and labels.max() < 3, f"labels {labels}")
