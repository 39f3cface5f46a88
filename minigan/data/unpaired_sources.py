"""Opening unpaired data: two sources, one folder with both sides in it, or an embedded pair whose true map is known."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from minigan.data.cache import CACHE_BYTES
from minigan.data.channels import Recolored
from minigan.data.dataset import Dataset, PixelDataset
from minigan.data.digits import Digits
from minigan.data.files import FileStore
from minigan.data.image_files import ImageFiles
from minigan.data.layout import Layout, sides_of
from minigan.data.options import Size, SourceOptions, parse_options
from minigan.data.source import EMBEDDED, as_name, open_with, picture_store
from minigan.data.subset import HELD_OUT_SEED, Subset
from minigan.data.tinted import Tinted, tinted
from minigan.data.unpaired import UnpairedDataset
from minigan.errors import ConfigError, DataError, MiniganError

__all__ = ["COUNTERPARTS", "PARTS", "UnpairedSource", "open_unpaired", "open_unpaired_with"]

# Embedded datasets whose items have a true counterpart in another one.
COUNTERPARTS = {"digits": "tinted", "tinted": "digits"}
FRESH = 1_000_000_007  # added to the seed of embedded images that training never sees
Part = Literal["train", "held-out"]
PARTS: tuple[Part, ...] = ("train", "held-out")
LETTERS = ("A", "B")
SplitNames = Sequence[str]
HELD_OUT_FOLDERS = ("test", "val")


@dataclass(frozen=True)
class UnpairedSource:
    """Where the images of A and of B are.

    Attributes:
        a: a source of images, see `minigan.open_dataset`; or a folder or zip with both sides, if `b` is "".
        b: a source of images; "" takes the other side of `a`: its folder, or an embedded set's counterpart.
        a_class, b_class: name or number of the only class to take of a labeled source; "" takes all.
    """

    a: str
    b: str = ""
    a_class: str = ""
    b_class: str = ""

    def both(self) -> tuple[str, str]:
        """The sources of A and of B, alike if one folder has both sides."""
        if self.b:
            return self.a, self.b
        return self.a, COUNTERPARTS.get(self.a, self.a)

    def is_known(self) -> bool:
        """Whether the true map between A and B is known."""
        a, b = self.both()
        return COUNTERPARTS.get(a) == b

    def is_one(self) -> bool:
        """Whether both sides are to be found in one folder or zip, by the names of its folders."""
        return not self.b and self.a not in COUNTERPARTS and not (self.a_class or self.b_class)

    def expect_two(self) -> None:
        """Refuses what would show both sides the same images, or leave a class out of account.

        Raises:
            ConfigError: it would.
        """
        a, b = self.both()
        if not _is_same(a, b) or self.is_one():
            return
        given = {"a_class": self.a_class, "b_class": self.b_class}
        if not any(given.values()):
            raise ConfigError(
                f"A and B are the same source, {a}. Give another `data_b`, leave it out if the folders of A and B are "
                "in there, or take two classes of it: `a_class=NAME, b_class=NAME`."
            )
        for name, other in (("a_class", "b_class"), ("b_class", "a_class")):
            if not given[name]:
                raise ConfigError(
                    f"{a} is the source of A and of B, got {other}={given[other]!r} alone: the other side would have "
                    f"its images, too. Add `{name}=NAME`, or `data_b=SOURCE`."
                )


def _expect_different(sides: Sequence[Dataset], source: UnpairedSource) -> None:
    """Refuses one class of one source on both sides, whether it is named or numbered."""
    a, b = (side.taken if isinstance(side, Subset) else None for side in sides)
    if _is_same(*source.both()) and a is not None and np.array_equal(a, b):  # type: ignore[arg-type]
        raise ConfigError(
            f"A and B are the same images, the class {source.a_class} of {source.a}. Choose two classes of it."
        )


def open_unpaired(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] = "",
    *,
    size: Size | None = None,
    a_channels: int | None = None,
    b_channels: int | None = None,
    a_class: str = "",
    b_class: str = "",
    part: Part = "train",
    held_back: int = 0,
    seed: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> UnpairedDataset:
    """Opens images of A and images of B, none of which belong together.

    Args:
        a: a source of images as for `open_dataset`. Without `b` it is `digits` or `tinted`, whose counterpart is the
            other; or a folder or zip with both sides, as `trainA` and `trainB`, `train/A` and `train/B` or `A` and `B`,
            where `testA` and `testB` are held out of training.
        b: a source of images; "" takes the other side of `a`.
        size: scale and center-crop all images to this. None keeps each side's own.
        a_channels, b_channels: 1 for grayscale, 3 for color. None keeps each side's own.
        a_class, b_class: name or number of the only class to take of a labeled source; "" takes all.
        part: "train", or "held-out" for the images that are kept out of training.
        held_back: number of images of each side that are held out where no folder says which, at most a tenth. Of
            embedded sources none are: new ones are drawn.
        seed: of embedded sources.
        cache_bytes: of each side, see `open_dataset`.
    Returns:
        Both sides; `notes` tells how each was understood.
    Raises:
        DataError: a source cannot be found or read, or a side is empty.
        ConfigError: an argument does not fit the sources.
    """
    source = UnpairedSource(_text(a), _text(b), a_class, b_class)
    options = [
        parse_options(size=size, channels=channels, count=None, cache_bytes=cache_bytes)
        for channels in (a_channels, b_channels)
    ]
    return open_unpaired_with(source, options, part=part, held_back=held_back, seed=seed)


def open_unpaired_with(
    source: UnpairedSource,
    options: Sequence[SourceOptions],
    *,
    part: Part = "train",
    held_back: int = 0,
    seed: int = 0,
) -> UnpairedDataset:
    """The same with the options of each side; see `open_unpaired`."""
    if part not in PARTS:
        raise ConfigError(f"part must be one of {', '.join(PARTS)}, got {part!r}.")
    source.expect_two()
    classes = source.a_class, source.b_class
    if source.is_known() and not any(classes):
        return _known(source.both(), options, seed=seed + FRESH * (part != "train"))
    with contextlib.ExitStack() as on_error:
        sides = []
        for letter, name, chosen, label in zip(LETTERS, source.both(), options, classes, strict=True):
            if source.is_one():
                side = _inner_side(name, letter, chosen, part=part, held_back=held_back)
            else:
                side = _side(name, letter, chosen, label, part=part, held_back=held_back, seed=seed)
            on_error.callback(side.close)
            sides.append(side)
        _expect_different(sides, source)
        on_error.pop_all()
    return UnpairedDataset(*sides)


def _is_same(a: str, b: str) -> bool:
    """Whether two sources are one: of one name, or paths that lead to the same place."""
    return a == b or (a not in EMBEDDED and b not in EMBEDDED and os.path.realpath(a) == os.path.realpath(b))


def _text(source: str | os.PathLike[str]) -> str:
    return as_name(source) if isinstance(source, str) else os.fsdecode(as_name(source))


# ---------------------------------------------------------------------------------------------- an embedded pair


def _known(names: tuple[str, str], options: Sequence[SourceOptions], *, seed: int) -> UnpairedDataset:
    """Digits and tinted digits, none of which are the same, with the true translation of each."""
    size, count = options[0].size or (28, 28), 20_000
    settings = {"size": size, "count": count, "cache_bytes": options[0].cache_bytes}
    plain = Digits(seed=seed, **settings)  # type: ignore[arg-type]
    colored = tinted(seed=seed, **settings)  # type: ignore[arg-type]
    truths = {"digits": (plain, Tinted(plain)), "tinted": (colored, colored.source)}
    (a, a_truth), (b, b_truth) = (truths[name] for name in names)
    a_channels, b_channels = (chosen.channels or own.shape[2] for chosen, own in zip(options, (a, b), strict=True))
    return UnpairedDataset(
        _recolored(a, a_channels),
        _recolored(b, b_channels),
        a_truth=_recolored(a_truth, b_channels),
        b_truth=_recolored(b_truth, a_channels),
    )


def _recolored(images: PixelDataset, channels: int) -> PixelDataset:
    return images if images.shape[2] == channels else Recolored(images, channels=channels)


# ---------------------------------------------------------------------------------------------- two sources


def _side(
    source: str, letter: str, options: SourceOptions, label: str, *, part: Part, held_back: int, seed: int
) -> Dataset:
    """One of two sources: its images of a class, without those held out, or these alone."""
    images = open_with(source, options, seed=seed)
    try:
        if len(images.shape) != 3:
            raise ConfigError(f"{letter}, {source}: expected images, got points of the plane. Choose another source.")
        rows = _of_class(images, label, letter=letter)
        count = min(held_back, len(rows) // 10)
        drawn = np.random.default_rng(HELD_OUT_SEED).permutation(len(rows))
        chosen = Subset(images, rows[np.sort(drawn[count:] if part == "train" or not count else drawn[:count])])
    except MiniganError:
        images.close()
        raise
    if label:  # labels of one class alone tell nothing apart
        chosen.labels = chosen.classes = None
    if part == "train":
        if label:
            chosen.note(f"the {len(rows):,} images of class {label} are taken")
        chosen.note(_held_out(count, len(rows)) if held_back else "")
        chosen.notes = tuple(line for line in chosen.notes if line)
    return chosen


def _held_out(count: int, total: int) -> str:
    if not count:
        images = "the only image is" if total == 1 else f"all {total:,} images are"
        return f"{images} trained on; none is held out, so pictures and figures show those of the training"
    return f"{count:,} of {total:,} images are held out of training, for pictures and figures"


def _of_class(images: Dataset, label: str, *, letter: str) -> np.ndarray:
    """Indices of the images of a class; all if the label is "".

    Raises:
        ConfigError: there are no classes, or no such class.
    """
    if not label:
        return np.arange(len(images), dtype=np.intp)
    setting = f"{letter.lower()}_class"
    if images.labels is None:
        raise ConfigError(f"{images.name} has no classes, got {setting}={label!r}. Leave `{setting}` out.")
    names = list(images.classes or ())
    number = names.index(label) if label in names else int(label) if label.isdecimal() and len(label) < 10 else -1
    rows = np.flatnonzero(images.labels == number)
    if not rows.size:
        known = ", ".join(names) or f"0 to {images.labels.max()}"
        raise ConfigError(f"{images.name}: expected a class of {known}, got {setting}={label!r}. Choose one of them.")
    return rows.astype(np.intp)


# ---------------------------------------------------------------------------------------------- one folder


def _inner_side(source: str, letter: str, options: SourceOptions, *, part: Part, held_back: int) -> Dataset:
    """A side of a folder or zip that has both.

    Raises:
        ConfigError: the source is an embedded one, which has one side.
    """
    if source in EMBEDDED:
        raise ConfigError(f"{source} has no counterpart among the embedded data. Add `data_b=SOURCE`.")
    store = picture_store(source, "pictures of A and of B")
    try:
        layout = _layout(store, letter, part=part, held_back=held_back)
    except MiniganError:
        store.close()
        raise
    images = ImageFiles(store, name=f"{Path(source).resolve().name}/{letter}", options=options, layout=layout)
    images.kind = "folder of pictures"
    return images


def _layout(store: FileStore, letter: str, *, part: Part, held_back: int) -> Layout:
    """The pictures of a side.

    Raises:
        DataError: the store has not both sides.
    """
    found = sides_of(store)
    if missing := [side for side in LETTERS if not any(name == side for name, _ in found)]:
        have = ", ".join(sorted({name.rpartition("/")[0] or "pictures in no folder" for name in store.names})[:4])
        remedy = "Name such folders so, or give B a source of its own: `data_b=SOURCE`."
        raise DataError(
            f"{store.root}: expected pictures in folders trainA and trainB, found {have}: none of {missing[0]}. "
            + remedy
        )
    rows = {
        split: np.array([row for row, place in enumerate(found) if place == (letter, split)], np.intp)
        for split in ("train", *HELD_OUT_FOLDERS, "")
    }
    training = rows["train"] if rows["train"].size else rows[""]
    held = next((rows[name] for name in HELD_OUT_FOLDERS if rows[name].size), None)
    notes = list(store.left_out())
    if not training.size:
        raise DataError(
            f"{store.root}: expected pictures of {letter} to train on, in a folder named train{letter}, found only "
            "held-out ones. Move some there."
        )
    if held is not None:
        notes.append(f"{len(training):,} pictures are trained on, {len(held):,} are held out by their folder")
        return Layout(held if part == "held-out" else training, None, None, tuple(notes))
    count = min(held_back, len(training) // 10)
    drawn = np.random.default_rng(HELD_OUT_SEED).permutation(len(training))
    chosen = training[np.sort(drawn[count:] if part == "train" or not count else drawn[:count])]
    if held_back:
        notes.append(_held_out(count, len(training)))
    return Layout(chosen, None, None, tuple(notes))
