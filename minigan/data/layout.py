"""Folders of pictures: which of them are splits, which are classes, and labels that a file lists."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.data.dataset import IndexArray, LabelArray
from minigan.data.files import FileStore
from minigan.errors import DataError
from minigan.support.words import by_value

__all__ = ["Layout", "all_files", "find_layout", "sides_of"]

TRAIN = ("train", "training", "trn", "trainset", "trainval")
HELD_OUT = (
    *("val", "valid", "validation", "validate", "test", "testing", "tst", "testset", "eval", "evaluation", "dev"),
    *("holdout", "pred", "unlabeled", "unlabeled"),
)
DOMAIN = re.compile(r"(train|test|val)(A|B)")  # CycleGAN's folders
SHARD = re.compile(  # a folder's name where large sets are stored in parts
    r"0\d{3,}|(part|batch|fold|chunk|shard|split|subset|folder|dir|set|images?|imgs?|pics?|photos?|data)[-_. ]?\d+",
    re.IGNORECASE,
)
LABEL_FILE = "dataset.json"  # as StyleGAN's tools write it
MOST_CLASSES = 10_000
SHOWN = 5  # names in a note

Folders = list[tuple[str, ...]]


class Layout(NamedTuple):
    """The pictures of a store that make the data set.

    Attributes:
        rows: their indices in the store.
        labels: their classes, or None.
        classes: the classes' names, or None.
        notes: lines on what was understood and left out.
    """

    rows: IndexArray
    labels: LabelArray | None
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]


def all_files(store: FileStore) -> Layout:
    """Every picture, without classes."""
    return Layout(np.arange(len(store.names), dtype=np.intp), None, None, tuple(store.left_out()))


def find_layout(store: FileStore) -> Layout:
    """The training set below a store's root, and its classes.

    Labels are those of a `dataset.json`, if there is one. Otherwise folders of splits (train, val, test ...) above the
    classes, or below them, are told from classes by their names, and the training set is taken. The classes are the
    folders directly below the deepest one that holds all pictures; none may lie in that one itself.
    """
    listed = _listed_labels(store)
    if listed is not None:
        return listed
    folders = [_parts(name) for name in store.names]
    rows, folders, notes = _training_set(folders)
    labels, classes, more = _classes(folders)
    notes = [*store.left_out(), *notes, *more]
    if classes is not None:
        notes += _empty_folders(store, set(classes))
    return Layout(np.array(rows, dtype=np.intp), labels, classes, tuple(notes))


def sides_of(store: FileStore) -> list[tuple[str, str]]:
    """The side and the split of each picture of unpaired data, by its folders: ("A", "train") below `trainA`.

    The side is "" where a picture lies below neither A nor B, and the split where no folder names one.
    """
    found = []
    for name in store.names:
        parts = _parts(name)
        side = next((part for part in parts if part in ("A", "B")), "")
        split = next((part for part in parts if part in ("train", "test", "val")), "")
        found.append((side, split))
    return found


def _parts(name: str) -> tuple[str, ...]:
    """The folders of a file; `trainA` counts as `A` in `train`."""
    folders: list[str] = []
    for part in name.split("/")[:-1]:
        domain = DOMAIN.fullmatch(part)
        folders += domain.groups() if domain else [part]
    return tuple(folders)


# ---------------------------------------------------------------------------------------------- splits


def _training_set(folders: Folders) -> tuple[list[int], Folders, list[str]]:
    """Indices of the training set, its folders without the split's name, and notes."""
    shared = _shared(folders)
    for level in (shared, shared + 1):  # the second: splits inside of each class
        if level > shared and any(len(folder) <= level for folder in folders):
            break
        found = Counter(folder[level] if len(folder) > level else "" for folder in folders)
        taken = _training_names(found)
        if taken:
            return _only(folders, taken, found, level=level)
    return list(range(len(folders))), folders, _only_held_out(folders[0][:shared])


def _only(
    folders: Folders, taken: list[str], found: Counter[str], *, level: int
) -> tuple[list[int], Folders, list[str]]:
    """The pictures of some of the splits at a level; see `_training_set`."""
    training = any(_is_split(name, TRAIN) for name in taken)
    rows = [row for row, folder in enumerate(folders) if len(folder) > level and folder[level] in taken]
    kept = [folders[row] for row in rows]
    if len(taken) == 1 or not training:  # several training sets may be photographs and masks: then they are classes
        kept = [folder[:level] + folder[level + 1 :] for folder in kept]
    rest = [
        f"{name or 'pictures beside them'} ({count:,})" for name, count in sorted(found.items()) if name not in taken
    ]
    note = f"the pictures of {' and '.join(taken)} ({len(rows):,}) are taken"
    note += f"; left out: {_some(rest)}" if rest else ""
    return rows, kept, [note if training else f"{note}; there is no training set"]


def _training_names(found: Counter[str]) -> list[str]:
    """Names of the folders to take, if those of a level are splits; if none is for training, all."""
    train = sorted(name for name in found if _is_split(name, TRAIN))
    held = sorted(name for name in found if _is_split(name, HELD_OUT) and name not in train)
    if train:
        return train if held else []
    return held if len(held) == len(found) > 1 else []


def _is_split(name: str, words: Sequence[str]) -> bool:
    """Whether one of the words of a name, such as `training_set` or `train2017`, is one of `words`."""
    return any(word in words for word in re.findall("[a-z]+", name.lower()))


def _only_held_out(shared: tuple[str, ...]) -> list[str]:
    """A note if all pictures lie in a folder of a split that is not for training."""
    return [f"{name} is taken; there is no training set" for name in shared if name.lower() in HELD_OUT]


# ---------------------------------------------------------------------------------------------- classes


def _classes(folders: Folders) -> tuple[LabelArray | None, tuple[str, ...] | None, list[str]]:
    shared = _shared(folders)
    loose = sum(len(folder) == shared for folder in folders)
    if loose:
        inside = sorted({folder[shared] for folder in folders if len(folder) > shared})
        beside = f"{loose:,} picture{' lies' if loose == 1 else 's lie'} beside the folders {_some(inside)}"
        return None, None, [f"{beside}: the folders are no classes"] if inside else []
    names = sorted({folder[shared] for folder in folders}, key=_place)
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[folder[shared]] for folder in folders], dtype=np.int64)
    return labels, tuple(names), _doubts(names)


def _place(name: str) -> tuple[bool, tuple[int, str], str]:
    """Key to sort classes by: numbers by their value, before all other names."""
    is_number = name.isascii() and name.isdecimal()
    return not is_number, by_value(name) if is_number else (0, ""), name


def _doubts(names: Sequence[str]) -> list[str]:
    """Lines on classes that may be none: parts of a set, a split, or another class written differently."""
    notes = []
    if len(names) > 1 and all(SHARD.fullmatch(name) for name in names):
        notes += [f"the folders {_some(names)} are used as classes; if they are parts of one set, lay them together"]
    splits = [name for name in names if _is_split(name, HELD_OUT)]
    if splits:
        one = len(splits) == 1
        are = (
            "is used as a class, though its name is that"
            if one
            else "are used as classes, though their names are those"
        )
        notes += [f"{_some(splits)} {are} of a split"]
    alike = Counter(" ".join(name.lower().split()) for name in names)
    twins = [repr(name) for name in names if alike[" ".join(name.lower().split())] > 1]
    if twins:
        notes += [f"the classes {_some(twins)} differ only in case or spaces"]
    return notes


def _empty_folders(store: FileStore, classes: set[str]) -> list[str]:
    """A line on folders without pictures that lie beside those of the classes."""
    filled = {name[:at] for name in store.names for at in _slashes(name)}
    homes = {folder.rpartition("/")[0] for folder in filled if folder.rpartition("/")[2] in classes}
    empty = [folder for folder in store.folders if folder not in filled and folder.rpartition("/")[0] in homes]
    if not empty:
        return []
    one = len(empty) == 1
    what = "a folder without pictures is no class" if one else f"{len(empty):,} folders without pictures are no classes"
    return [f"{what}: {_some([folder.rpartition('/')[2] for folder in empty])}"]


def _slashes(name: str) -> list[int]:
    return [at for at, letter in enumerate(name) if letter == "/"]


def _shared(folders: Folders) -> int:
    """Number of folders at the beginning that all files share."""
    first, last = min(folders), max(folders)
    # a beginning shared by the first and the last in order is shared by all
    pairs = enumerate(zip(first, last, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(first), len(last)))


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - SHOWN:,} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


# ---------------------------------------------------------------------------------------------- dataset.json


def _listed_labels(store: FileStore) -> Layout | None:
    """The layout with the labels that `dataset.json` lists; None if there is no such file, or it lists other files."""
    folders = [tuple(name.split("/")[:-1]) for name in store.names]
    homes = ["".join(f"{part}/" for part in folders[0][:depth]) for depth in range(_shared(folders) + 1)]
    file = next((home + LABEL_FILE for home in homes if home + LABEL_FILE in store.others), None)
    if file is None:
        return None
    try:
        labels = json.loads(store.read_other(file))["labels"]
        table = {} if labels is None else {str(name).replace("\\", "/"): label for name, label in _items(labels)}
    except (DataError, ValueError, KeyError, TypeError, RecursionError):  # some other file of that name
        return None
    home = file.removesuffix(LABEL_FILE)
    found = [table.get(name.removeprefix(home)) for name in store.names]
    count = sum(label is not None for label in found)
    if table and not count:
        return None
    plain = all_files(store)
    others = [line for line in plain.notes if store.others != [file]]
    classes = None if count < len(found) else _class_numbers(found)
    if classes is not None:
        numbers = tuple(str(number) for number in range(int(classes.max()) + 1))
        note = f"the labels are those of {LABEL_FILE}: {len(numbers):,} classes"
        return Layout(plain.rows, classes, numbers, (*others, note))
    if labels is None:
        note = f"{LABEL_FILE} has no labels: its folders are no classes"
    elif count < len(found):
        note = f"{LABEL_FILE} has labels for {count:,} of {len(found):,} pictures: they are not used"
    else:
        note = f"the labels of {LABEL_FILE} are no class numbers: they are not used"
    return Layout(plain.rows, None, None, (*others, note))


def _items(labels: Any) -> list[tuple[Any, Any]]:
    return list(labels.items()) if isinstance(labels, dict) else [(name, label) for name, label in labels]


def _class_numbers(labels: list[Any]) -> LabelArray | None:
    """Labels as class numbers: integers from 0, or vectors with a single 1; None if they are something else."""
    if all(isinstance(label, list) for label in labels):
        if any(sorted(label, key=str) != sorted([0] * (len(label) - 1) + [1], key=str) for label in labels):
            return None
        labels = [label.index(1) for label in labels]
    if not all(type(label) is int and 0 <= label < MOST_CLASSES for label in labels):
        return None
    return np.array(labels, dtype=np.int64)
