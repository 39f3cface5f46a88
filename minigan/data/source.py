"""Opening any source of training data; the kind of a file is found from its content, not from its name."""

import contextlib
import os
import re
from pathlib import Path
from typing import TypeVar

import numpy as np

from minigan.data.archive import open_archive
from minigan.data.arrays import open_array
from minigan.data.cache import CACHE_BYTES
from minigan.data.channels import Recolored
from minigan.data.cifar import cifar_kind, find_cifar, read_cifar
from minigan.data.dataset import Collection, Dataset, PairDataset, PixelDataset
from minigan.data.digits import Digits
from minigan.data.files import FileStore, FolderStore, ZipStore, picture_file
from minigan.data.foreign import foreign_kind
from minigan.data.headers import HEAD, is_picture
from minigan.data.idx import find_idx_images, idx_header, idx_labels, read_idx
from minigan.data.image_files import ImageFiles
from minigan.data.npy import NPY_MAGIC, read_npy, read_npz
from minigan.data.options import Size, SourceOptions, parse_options
from minigan.data.pair_layouts import find_pairs, match_folders
from minigan.data.pairs import DIRECTIONS, PairFiles
from minigan.data.points import grid, ring
from minigan.data.shapes import ShapePairs, Shapes
from minigan.data.stacked import STACKED, StackedImages
from minigan.data.stl import find_stl, is_stl, read_stl
from minigan.data.tinted import tinted
from minigan.errors import ConfigError, DataError, MiniganError
from minigan.support.arguments import kind_of, nearest_name

__all__ = ["EMBEDDED", "as_name", "open_dataset", "open_pairs", "open_pairs_with", "open_with", "picture_store"]

EMBEDDED = ("digits", "shapes", "tinted", "ring", "grid")
KINDS = "an IDX, CIFAR-10 binary, .npy, .npz or zip file, or a folder of images"
CIFAR_NAME = re.compile(r"(data|test)_batch.*\.bin$")  # CIFAR-10's files
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
MOST_INSIDE = 3  # folders inside each other that are entered to find data
PICKLE_MAGIC = b"\x80"


def open_dataset(
    source: str | os.PathLike[str] | np.ndarray,
    *,
    size: Size | None = None,
    channels: int | None = None,
    count: int | None = None,
    seed: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Opens a dataset of images or points: an embedded one, one in a file or folder, or an array.

    Args:
        source: a name, a path or an array. Names are `digits`, `shapes`, `tinted` (digits in two colors), `ring` and
            `grid`; for a folder of such a name
            write `./digits`. A path, in which `~` is your home, leads to an IDX file or a folder of them, a binary of
            CIFAR-10, CIFAR-100 or STL-10, .npy or .npz, a folder of images (folders in it are classes), or a zip of
            one. Of folders or files that are splits the training set is taken; a `dataset.json` may list labels. With
            the prefix `stacked:` three grayscale images at a time become the red, green and blue of one; the source
            must then have ten classes. An array is like that of an .npy file: images (N, H, W, C) of uint8 or other
            integers, float images in [0, 1] or [-1, 1], or points (N, 2).
        size: scale and center-crop images to this: a side, or (height, width). None keeps the source's own.
        channels: 1 for grayscale, 3 for color. None keeps the source's own.
        count: number of items, evenly spread over a file's. None takes all of a file, or the default of an embedded
            dataset: 20,000 digits, 10,000 shapes, 100,000 points.
        seed: of the embedded and the stacked datasets, which are random.
        cache_bytes: decoded images are kept in memory if the whole dataset takes no more than this.
    Returns:
        Images (H, W, C) in [-1, 1], or points (2,), float32. Its `notes` tell how the source was understood.
    Raises:
        DataError: the source cannot be found or read.
        ConfigError: an argument does not fit the source.
    """
    options = parse_options(size=size, channels=channels, count=count, cache_bytes=cache_bytes)
    return open_with(source, options, seed=seed)


def open_with(source: str | os.PathLike[str] | np.ndarray, options: SourceOptions, *, seed: int) -> Dataset:
    """Opens a dataset as `open_dataset` does, by options that are checked already."""
    source = as_name(source)
    if isinstance(source, np.ndarray):
        return _of("array", open_array(source, name="array", where="the array", options=options))
    if isinstance(source, str) and source.startswith(STACKED):
        stacked = _open_stacked(source.removeprefix(STACKED), options, seed=_checked_seed(seed))
        return _of(f"{stacked.source.kind}, stacked", stacked)
    if isinstance(source, str) and source in EMBEDDED:
        return _of("embedded", _open_embedded(source, options, seed=_checked_seed(seed)))
    try:
        path = _existing(source)
        return _open_folder(path, options) if path.is_dir() else _open_file(path, options)
    except OSError as error:
        raise _cannot_open(source, error) from error


def open_pairs(
    source: str | os.PathLike[str],
    *,
    targets: str | os.PathLike[str] | None = None,
    size: Size | None = None,
    channels: int | None = None,
    direction: str = "AtoB",
    split: str | None = None,
    count: int | None = None,
    seed: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> PairDataset:
    """Opens a dataset of image pairs: the embedded `shapes` with their class maps, or picture files.

    Files are pairs in one of three ways:

    - two folders or zips, `source` and `targets`, whose files have the same names, whatever their endings;
    - one folder or zip with two sides in it, `A/train` and `B/train`, `trainA` and `trainB`, `photos` and `maps` ...,
      whose files have the same names;
    - pictures side by side: the left half is A, the right half is B.

    A side that holds maps of classes, as numbers, with a palette or in exact colors, is scaled without interpolation,
    and numbers are painted in colors; see `minigan.data.class_maps`. `notes` tells what was found and left out.

    Args:
        source: `shapes`, or a path to a folder or zip of pictures.
        targets: folder or zip of the pictures B; None finds them in the source.
        size: scale and center-crop each picture to this. None keeps the source's own, that of A.
        direction: "AtoB" makes A the input and B the output, "BtoA" the other way round.
        split: name of the sub-folder to take. None takes `train` if there is one, and everything otherwise.
        channels, count, seed, cache_bytes: see `open_dataset`.
    Returns:
        Pairs of images (H, W, C) in [-1, 1], float32.
    Raises:
        DataError: the source cannot be found or read, or holds no pairs.
        ConfigError: an argument does not fit the source.
    """
    options = parse_options(size=size, channels=channels, count=count, cache_bytes=cache_bytes)
    return open_pairs_with(source, options, targets=targets, direction=direction, split=split, seed=seed)


def open_pairs_with(
    source: str | os.PathLike[str],
    options: SourceOptions,
    *,
    targets: str | os.PathLike[str] | None,
    direction: str,
    split: str | None,
    seed: int,
) -> PairDataset:
    """Opens a dataset of image pairs as `open_pairs` does, by options that are checked already."""
    if direction not in DIRECTIONS:
        raise ConfigError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}.")
    swap, source = direction == "BtoA", as_name(source)
    if isinstance(source, str) and source in EMBEDDED:
        if targets is not None:
            raise ConfigError(f"{source}: an embedded dataset has no other targets. Leave `targets` out.")
        if source != "shapes":
            raise ConfigError(f"{source}: expected pairs, found none. Use shapes, the only embedded dataset of pairs.")
        return _of("embedded", _open_shape_pairs(options, seed=_checked_seed(seed), swap=swap, split=split))
    stores: list[FileStore] = []
    try:
        stores += [picture_store(source, "side-by-side images")]
        if targets is not None:
            stores += [picture_store(targets, "pictures")]
        layout = find_pairs(stores[0]) if targets is None else match_folders(*stores)
        pairs = PairFiles(layout, name=_name(stores[0].root), options=options, swap=swap, split=split)
        return _of("picture files", pairs)
    except MiniganError:
        for store in stores:
            store.close()
        raise


def _open_embedded(name: str, options: SourceOptions, *, seed: int) -> Dataset:
    if name in ("ring", "grid"):
        if options.size is not None or options.channels is not None:
            raise ConfigError(f"{name}: points have no size or channels. Leave both out.")
        mixture = ring if name == "ring" else grid
        return mixture(seed=seed) if options.count is None else mixture(count=options.count, seed=seed)
    images = {"digits": _digits, "shapes": _shapes, "tinted": _tinted}[name](options, seed=seed)
    channels = options.channels or images.shape[2]
    return images if channels == images.shape[2] else Recolored(images, channels=channels)


def _digits(options: SourceOptions, *, seed: int) -> PixelDataset:
    size, count = options.size or (28, 28), options.count or 20_000
    return Digits(size=size, count=count, seed=seed, cache_bytes=options.cache_bytes)


def _tinted(options: SourceOptions, *, seed: int) -> PixelDataset:
    size, count = options.size or (28, 28), options.count or 20_000
    return tinted(size=size, count=count, seed=seed, cache_bytes=options.cache_bytes)


def _shapes(options: SourceOptions, *, seed: int) -> PixelDataset:
    size, count = options.size or (64, 64), options.count or 10_000
    return Shapes(size=size, count=count, seed=seed, cache_bytes=options.cache_bytes)


def _open_stacked(source: str, options: SourceOptions, *, seed: int) -> StackedImages:
    if source.startswith(STACKED):
        raise ConfigError(
            f"{STACKED}{STACKED}: stacked images have colors and cannot be stacked again. Write {STACKED} once."
        )
    if options.channels == 1:
        raise ConfigError(f"{STACKED}{source}: stacked images have 3 channels, got channels=1. Leave channels out.")
    single = open_dataset(source, size=options.size, seed=seed, cache_bytes=options.cache_bytes)
    try:
        if options.count is None:
            return StackedImages(single, seed=seed)
        return StackedImages(single, count=options.count, seed=seed)
    except DataError:
        single.close()
        raise


def _open_shape_pairs(options: SourceOptions, *, seed: int, swap: bool, split: str | None) -> ShapePairs:
    if options.channels == 1 or split is not None:
        raise ConfigError("shapes: these pairs have 3 channels and no splits. Leave channels and split out.")
    size, count = options.size or (64, 64), options.count or 10_000
    return ShapePairs(size=size, count=count, seed=seed, swap=swap, cache_bytes=options.cache_bytes)


def _open_folder(path: Path, options: SourceOptions) -> Dataset:
    binary = _open_binary(path, options)
    if binary is not None:
        pictures = sum(picture_file(file) for file in path.iterdir() if file.is_file())
        binary.note(*([f"pictures in the same folder are left out: {pictures:,}"] if pictures else []))
        return binary
    if not any(path.iterdir()):
        raise DataError(f"{path}: expected {KINDS}; found an empty folder.")
    try:
        store = FolderStore(path)
    except DataError:
        inner = _inner_data(path)
        if inner is None:
            raise
        dataset = _open_folder(inner, options)
        dataset.note(f"{inner.relative_to(path)}/ in {_name(path)}/ is taken")
        return dataset
    return _of("folder of pictures", ImageFiles(store, name=_name(path), options=options))


def _open_binary(path: Path, options: SourceOptions) -> Dataset | None:
    """The IDX, CIFAR or STL files in a folder; None if it holds no such files."""
    images = find_idx_images(path)
    if images is not None:
        return _open_idx(images[0], options, name=f"{_name(path)}/{images[0].name}", notes=images[1])
    batches, notes = find_cifar(path)
    if batches:
        files = batches[0].name if len(batches) == 1 else f"{batches[0].name} to {batches[-1].name}"
        return _open_cifar(batches, options, name=f"{_name(path)}/{files}", notes=notes)
    planes = find_stl(path)
    if planes is not None:
        return _open_stl(planes[0], options, name=f"{_name(path)}/{planes[0].name}", notes=planes[1])
    return None


def _inner_data(path: Path) -> Path | None:
    """The folder of IDX, CIFAR or STL files in a folder without pictures, such as `raw` in torchvision's `MNIST`."""
    for _ in range(MOST_INSIDE):
        folders = [inner for inner in path.iterdir() if inner.is_dir() and not inner.name.startswith((".", "__"))]
        if len(folders) != 1:
            return None
        (path,) = folders
        if find_idx_images(path) or find_cifar(path)[0] or find_stl(path):
            return path
    return None


def _open_file(path: Path, options: SourceOptions) -> Dataset:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise _unknown_kind(path, head)
    if head.startswith(NPY_MAGIC):
        return _of(".npy file", open_array(read_npy(path), name=_name(path), where=str(path), options=options))
    store = None if _is_npz(path, head) else _file_store(path)
    if store is not None:
        return _of("zip of pictures", ImageFiles(store, name=_name(path), options=options))
    if head.startswith(ZIP_MAGICS):
        images, labels, note = read_npz(path)
        dataset = open_array(images, name=_name(path), where=str(path), options=options, labels=labels)
        dataset.note(*([note] if note else []))
        return _of(".npz file", dataset)
    # a name that promises a kind is trusted last, so that its reader can say what is wrong;
    # the four bytes of IDX's magic may also begin a black CIFAR image: then only a file size that fits means IDX
    header = idx_header(path)
    kind = cifar_kind(path)
    if header is not None and not (header.offset + header.nbytes != path.stat().st_size and kind is not None):
        return _open_idx(path, options, name=_name(path))
    if is_stl(path):
        return _open_stl(path, options, name=_name(path))
    if kind is not None or CIFAR_NAME.search(path.name):
        return _open_cifar([path], options, name=_name(path))
    if "idx" in path.name and not picture_file(path):
        return _open_idx(path, options, name=_name(path))
    raise _unknown_kind(path, head)


def _open_idx(path: Path, options: SourceOptions, *, name: str, notes: tuple[str, ...] = ()) -> Dataset:
    images = read_idx(path)
    labels, note = idx_labels(path)
    dataset = open_array(images, name=name, where=str(path), options=options, labels=labels)
    dataset.note(*notes, *([note] if note else []))
    return _of("IDX file", dataset)


def _open_cifar(paths: list[Path], options: SourceOptions, *, name: str, notes: tuple[str, ...] = ()) -> Dataset:
    found = read_cifar(paths)
    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    dataset = open_array(
        found.images, name=name, where=where, options=options, labels=found.labels, classes=found.classes
    )
    dataset.note(*notes, *found.notes)
    return _of(f"{found.kind} binary", dataset)


def _open_stl(path: Path, options: SourceOptions, *, name: str, notes: tuple[str, ...] = ()) -> Dataset:
    images, labels, classes = read_stl(path)
    dataset = open_array(images, name=name, where=str(path), options=options, labels=labels, classes=classes)
    dataset.note(*notes)
    return _of("STL-10 binary", dataset)


Opened = TypeVar("Opened", bound=Collection)


def _of(kind: str, dataset: Opened) -> Opened:
    """The dataset, told of which kind its source is."""
    dataset.kind = kind
    return dataset


def _file_store(path: Path) -> FileStore | None:
    """The picture files of a folder or zip; None for another kind of file."""
    if path.is_dir():
        return FolderStore(path)
    with path.open("rb") as file:
        return ZipStore(path) if file.read(4) in ZIP_MAGICS else None


def picture_store(source: str | os.PathLike[str], what: str) -> FileStore:
    """The picture files of a folder or zip of pairs.

    Raises:
        DataError: it cannot be found or read, or is another kind of file.
    """
    try:
        path = _existing(source)
        store = _file_store(path)
    except OSError as error:
        raise _cannot_open(source, error) from error
    if store is None:
        raise DataError(f"{path}: expected a folder or zip of {what}, found another kind of file. Choose another path.")
    return store


def _is_npz(path: Path, head: bytes) -> bool:
    if not head.startswith(ZIP_MAGICS):
        return False
    with open_archive(path) as archive:
        names = archive.namelist()
    return all(name.endswith(".npy") for name in names) if names else path.suffix == ".npz"


Source = TypeVar("Source")


def as_name(source: Source) -> Source | str:
    """`Path("digits")` as the name `digits`, unless there is such a file or folder."""
    if isinstance(source, os.PathLike) and not os.path.exists(source):
        text = os.fsdecode(source)
        if text in EMBEDDED or text.startswith(STACKED):
            return text
    return source


def _at_home(path: Path) -> Path:
    """`~/images` in the user's home, unless there is a folder of the name `~` here."""
    if path.parts[:1] and path.parts[0].startswith("~") and not path.exists():
        with contextlib.suppress(RuntimeError):  # nobody's home
            return path.expanduser()
    return path


def _existing(source: str | os.PathLike[str]) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(f'expected a name or a path, got {kind_of(source)}. Write "digits", or a path.')
    path, text = _at_home(Path(os.fsdecode(source))), os.fsdecode(source)
    if not text:
        raise DataError(f"expected a path, or one of {', '.join(EMBEDDED)}; got an empty name.")
    if path.is_dir() or path.is_file():
        return path
    if path.exists():
        raise DataError(f"{text}: expected a file or folder, found a device or pipe. Save its content to a file.")
    near = nearest_name(text, EMBEDDED)
    remedy = f"Did you mean {near!r}?" if near else f"Give an existing path, or one of {', '.join(EMBEDDED)}."
    raise DataError(f"{text}: no such file, folder or embedded dataset. {remedy}")


def _cannot_open(source: str | os.PathLike[str], error: OSError) -> DataError:
    return DataError(
        f"{error.filename or os.fspath(source)}: cannot be read ({error.strerror or error}). Choose another."
    )


def _unknown_kind(path: Path, head: bytes) -> DataError:
    if not head:
        found = "an empty file"
    elif head.startswith(PICKLE_MAGIC):
        found = "a pickle, which is never loaded. Use the dataset's binary version, or save the array as .npy"
    elif is_picture(head, ending=path.suffix.lower()):
        found = "a single image. Give its folder"
    elif (foreign := foreign_kind(head, name=path.name)) is not None:
        return DataError(f"{path}: expected {KINDS}; found {foreign.what}. {foreign.remedy}")
    elif path.suffix == ".bin":
        found = (
            f"{path.stat().st_size:,} bytes, which are no whole records of CIFAR-10 (3,073 bytes), CIFAR-100 (3,074) "
            "or, in train_X.bin, STL-10 (27,648)"
        )
    else:
        found = f"{path.stat().st_size:,} bytes that begin with {head[:8].hex(' ')}"
    return DataError(f"{path}: expected {KINDS}; found {found}.")


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be an integer from 0 up, got {seed!r}.")
    return seed


def _name(path: Path) -> str:
    return path.resolve().name or str(path)
