"""Classifiers kept on disk, so that one is trained only once for each dataset."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minigan.backends import Backend
from minigan.checkpoints.format import load_arrays, load_network, network_arrays, save_arrays
from minigan.data import Dataset
from minigan.distributed import ALONE, Ranks
from minigan.errors import CheckpointError, DTypeError, OutputError, ShapeError
from minigan.evaluation.classifier import Classifier, class_count, measuring_backend, network, train_classifier
from minigan.support.durable_files import make_folder

__all__ = ["cache_folder", "dataset_identity", "kept_classifier"]

FORMAT = "minigan-classifier/1"  # a new number for a new network or a new way to train it
LOOKED_AT = 256  # images in the hash of a dataset


def cache_folder() -> Path | None:
    """Folder of the kept classifiers: $MINIGAN_CACHE, or the system's usual folder for caches; None without a home."""
    given = os.environ.get("MINIGAN_CACHE")
    if given:
        return Path(given)
    local, caches = os.environ.get("LOCALAPPDATA"), os.environ.get("XDG_CACHE_HOME")
    if sys.platform == "win32" and local:
        return Path(local) / "minigan" / "cache"
    # The specification of XDG says to ignore relative ones: https://specifications.freedesktop.org/basedir-spec/
    if sys.platform not in ("win32", "darwin") and caches and os.path.isabs(caches):
        return Path(caches) / "minigan"
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):  # a user without a password entry, or HOME=/nonexistent
        return None
    below = {"win32": "AppData/Local/minigan/cache", "darwin": "Library/Caches/minigan"}
    return Path(home) / below.get(sys.platform, ".cache/minigan")


def dataset_identity(dataset: Dataset) -> str:
    """Hash of a dataset's length, shape and labels and of 256 of its images, evenly spread: 64 hex digits."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, LOOKED_AT).astype(np.intp))
    digest = hashlib.sha256(json.dumps([len(dataset), dataset.shape]).encode())
    for array in (dataset.labels, dataset.read(rows)):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def kept_classifier(
    dataset: Dataset,
    *,
    seed: int = 0,
    backend: str | Backend = "auto",
    say: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> Classifier:
    """Loads the classifier of a dataset from the cache folder, or trains one and keeps it there.

    Args:
        dataset: labeled images.
        seed: of the training.
        backend: an object or a name, for training and for running it; in fp32 if it is named.
        say: called with a line on what takes long or went wrong.
        ranks: that all call this: the first has the classifier, and hands it round.
    Raises:
        DataError: the dataset has no labeled images, or too few.
    """
    classes = class_count(dataset)
    if ranks.size == 1:
        return _kept(dataset, classes, seed=seed, backend=backend, say=say)
    first = _kept(dataset, classes, seed=seed, backend=backend, say=say) if ranks.is_first else None
    own = None if first is None else (network_arrays(first.net, "net"), first.accuracy, first.count)
    arrays, accuracy, count = ranks.from_first(own)
    return first or _made(arrays, accuracy, count, dataset, classes, backend=backend, source="the first rank")


def _kept(
    dataset: Dataset, classes: int, *, seed: int, backend: str | Backend, say: Callable[[str], None]
) -> Classifier:
    """The same in one process."""
    key = json.dumps([FORMAT, dataset_identity(dataset), classes, seed])
    folder = cache_folder()
    name = f"classifier-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    path = None if folder is None else folder / name
    if path is not None and os.path.exists(path):  # False, too, where nothing may be looked at
        try:
            return _load(path, dataset, classes=classes, backend=backend)
        except (CheckpointError, ShapeError, DTypeError) as error:
            say(f"the kept classifier cannot be used and is trained again: {error}")
    kept = "each time: no home folder keeps it. Name a folder in MINIGAN_CACHE"
    if path is not None:
        kept = f"once; it will be kept in {path.parent}"
    say(f"training a classifier of {dataset.describe()}, {kept}")
    classifier = train_classifier(dataset, seed=seed, backend=backend)
    if path is None:
        return classifier
    description = {"format": FORMAT, "accuracy": classifier.accuracy, "count": classifier.count}
    try:
        make_folder(path.parent)
        save_arrays(path, network_arrays(classifier.net, "net"), description=description)
    except OutputError as error:
        say(f"the classifier is not kept: {error} Or name another folder in MINIGAN_CACHE.")
    return classifier


def _load(path: Path, dataset: Dataset, *, classes: int, backend: str | Backend) -> Classifier:
    """Loads a kept classifier.

    Raises:
        CheckpointError, ShapeError, DTypeError: the file is damaged.
    """
    arrays, description = load_arrays(path, format=FORMAT)
    accuracy, count = description.get("accuracy"), description.get("count")
    if type(accuracy) is not float or type(count) is not int or not all(np.isfinite(a).all() for a in arrays.values()):
        raise CheckpointError(
            f"{path}: expected finite weights, an accuracy and a count, found something else. Remove it."
        )
    return _made(arrays, accuracy, count, dataset, classes, backend=backend, source=str(path))


def _made(
    arrays: dict[str, np.ndarray],
    accuracy: float,
    count: int,
    dataset: Dataset,
    classes: int,
    *,
    backend: str | Backend,
    source: str,
) -> Classifier:
    """A classifier with these weights."""
    H, W, C = dataset.shape
    net = network((H, W, C), classes)
    net.build(dataset.shape, backend=measuring_backend(backend), rng=np.random.default_rng(0))
    load_network(net, arrays, "net", source=source)
    return Classifier(net, accuracy=accuracy, count=count, name=dataset.name)
