"""Using a trained generator from image to image: outputs, pictures, figures, and folders of files."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.data.dataset import Collection, PairDataset, PixelDataset
from minigan.data.files import FolderStore
from minigan.data.image_files import ImageFiles
from minigan.data.layout import all_files
from minigan.data.map_files import open_pictures
from minigan.data.options import parse_options
from minigan.data.pictures import to_pixels
from minigan.errors import ConfigError, DataError
from minigan.evaluation import Likeness, MapScore, Palette, Report, find_palette, palette_of
from minigan.recipes.bases.recipe import Recipe
from minigan.recipes.bases.translation import PairRecipe, TranslationRecipe, spread
from minigan.runs.trained_generator import TrainedGenerator
from minigan.support.durable_files import make_folder
from minigan.training.exhibit import save_picture
from minigan.training.sampling import generate

__all__ = [
    "Translated",
    "evaluate_pairs",
    "image_recipe",
    "outputs",
    "picture",
    "score_of",
    "translate_folder",
    "translation_recipe",
]

AT_ONCE = 16  # pairs read and translated together
SHOWN = 8  # pairs in the picture of an evaluation
LOOKED_AT = 64  # maps in which a palette is looked for


class Translated(NamedTuple):
    """Sources, G's outputs for them, and the targets: (N, H, W, C) each, in [-1, 1]."""

    source: np.ndarray
    output: np.ndarray
    target: np.ndarray


def translation_recipe(trained: TrainedGenerator, *, remedy: str = "Draw samples of it instead.") -> TranslationRecipe:
    """The recipe of a generator from image to image.

    Args:
        remedy: what to do with another generator, a sentence.
    Raises:
        ConfigError: the generator draws from noise.
    """
    if not isinstance(trained.recipe, TranslationRecipe):
        image_recipe(trained, remedy=remedy)  # raises, if it draws from noise
        raise ConfigError(f"{trained.recipe.name} learns without pairs. {remedy}")
    return trained.recipe


def image_recipe(trained: TrainedGenerator, *, remedy: str = "Draw samples of it instead.") -> Recipe:
    """The recipe of a generator from images, with pairs or without.

    Args:
        remedy: what to do with another generator, a sentence.
    Raises:
        ConfigError: the generator draws from noise.
    """
    if not trained.recipe.from_images:
        raise ConfigError(f"{trained.recipe.name} draws from noise, not from images. {remedy}")
    return trained.recipe


def outputs(trained: TrainedGenerator, source: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The generator's outputs for sources (N, *G.input_shape): images (N, H, W, C) in [-1, 1].

    If the recipe samples as in training: in batches of its size, with Dropout from the seed and each batch's
    statistics. An average of the weights without statistics of its own uses each batch's, too.
    """
    recipe = image_recipe(trained)
    drawn = generate(
        trained.G,
        source,
        batch_size=recipe.batch_size if recipe.as_in_training else AT_ONCE,
        batch_statistics=recipe.as_in_training or trained.batch_statistics,
        rng=np.random.default_rng(seed),
    )
    images: np.ndarray = np.clip(recipe.to_images(drawn), -1, 1)
    return images


def picture(
    trained: TrainedGenerator,
    source: str,
    *,
    targets: str = "",
    split: str | None,
    count: int | None,
    data_seed: int,
    seed: int,
    note: Callable[[str], None],
) -> tuple[np.ndarray, str]:
    """A picture of some pairs, evenly spread, and a line that names its columns.

    Args:
        targets: folder or zip of the targets, if the source has none.
        note: called with each note of the data.
    Returns:
        (H, W, C) uint8, and the line.
    """
    recipe = translation_recipe(trained).with_targets(targets)
    dataset = recipe.open_split(source, trained.G.output_shape, split=split, seed=data_seed)
    with contextlib.closing(dataset):
        _tell(dataset, note)
        shown = _picture(trained, recipe, dataset, spread(len(dataset), count or SHOWN), seed=seed)
        what = f"{' | '.join(recipe.columns)}, {min(count or SHOWN, len(dataset))} of {dataset.describe()}"
    return shown, what


def _picture(
    trained: TrainedGenerator, recipe: TranslationRecipe, dataset: Collection, rows: np.ndarray, *, seed: int
) -> np.ndarray:
    exhibit = recipe.exhibit_rows(dataset, rows, seed=seed)
    return exhibit.picture(outputs(trained, exhibit.z, seed=seed))


def evaluate_pairs(
    trained: TrainedGenerator,
    source: str,
    *,
    targets: str = "",
    split: str | None = None,
    count: int | None = None,
    data_seed: int = 0,
    seed: int = 0,
    say: Callable[[str], None],
    note: Callable[[str], None],
) -> tuple[Report, np.ndarray]:
    """Figures of outputs compared with their targets, and a picture of some.

    Maps of classes get pixel accuracy, class accuracy and mean intersection over union, all other targets PSNR and
    SSIM. Each figure has a baseline: the commonest class, the noisy image, bicubic interpolation, or the mean color.

    Args:
        source: of the data.
        targets: folder or zip of the targets, if the source has none.
        split: None takes the pairs held out of training.
        count: of pairs, evenly spread; None takes all of them.
        data_seed: of an embedded source.
        seed: of everything random: noise on images, holes, Dropout.
        say: shows a line to the user.
        note: called with each note of the data.
    Raises:
        ConfigError: the generator draws from noise, or there is no such split.
    """
    recipe = translation_recipe(trained).with_targets(targets)
    dataset = recipe.open_split(source, trained.G.output_shape, split=split, seed=data_seed)
    with contextlib.closing(dataset):
        rows = spread(len(dataset), count or len(dataset))
        say(f"{recipe.name} at step {trained.step}, {len(rows):,} pairs of {dataset.describe()}")
        _tell(dataset, note)
        score = score_of(recipe, dataset, seed=seed)()
        for pairs in _translated(trained, recipe, dataset, rows, seed=seed):
            score.add(pairs.output, pairs.target, recipe.baseline(pairs.source))
        shown = _picture(trained, recipe, dataset, rows[spread(len(rows), SHOWN)], seed=seed)
    remarks = (f"columns of the picture: {' | '.join(recipe.columns)}", *score.remarks())
    return Report(score.figures(), seed, remarks=remarks, baseline=score.baseline_name), shown


def score_of(recipe: TranslationRecipe, dataset: Collection, *, seed: int) -> Callable[[], Likeness | MapScore]:
    """Makes an empty score of outputs for such pairs: of agreement where the targets are maps of classes.

    Args:
        seed: of noise, holes and the like.
    """
    palette = _palette(recipe, dataset, seed=seed)
    return partial(Likeness, recipe.baseline_name) if palette is None else partial(MapScore, palette)


def _palette(recipe: TranslationRecipe, dataset: Collection, *, seed: int) -> Palette | None:
    """The palette of the targets, if these are maps of classes: as their files tell it, or found in some of them."""
    if not isinstance(dataset, PairDataset):
        return None
    if dataset.maps is not None:
        return palette_of(dataset.maps)
    _, maps = recipe.examples(dataset, spread(len(dataset), LOOKED_AT), seed=seed)
    return find_palette(maps)


def _translated(
    trained: TrainedGenerator, recipe: TranslationRecipe, dataset: Collection, rows: np.ndarray, *, seed: int
) -> Iterator[Translated]:
    for part in _parts(rows):
        source, target = recipe.examples(dataset, part, seed=seed)
        yield Translated(source, outputs(trained, source, seed=seed), target)


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    """Rows in parts of `AT_ONCE`: where a row stands in its part, and so its Dropout, depends on no later row."""
    return np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))


def translate_folder(
    trained: TrainedGenerator, source: Path, folder: Path, *, seed: int = 0, note: Callable[[str], None]
) -> int:
    """Translates every picture of a folder, scaled to G's input, into a PNG of the same name.

    Args:
        source: the folder of pictures.
        folder: the folder of the PNGs; created if it is missing.
        seed: of Dropout.
        note: called with each note of the pictures: files left out, and the like.
    Returns:
        The number of pictures.
    Raises:
        ConfigError: the generator's input is not a picture, or a PNG would overwrite one of the sources or another PNG.
        DataError: there are no pictures, or one cannot be read.
        OutputError: a file cannot be written.
    """
    recipe = image_recipe(trained)
    H, W, channels = trained.G.input_shape
    if channels not in (1, 3):
        raise ConfigError(f"{recipe.name} starts from {channels} channels, which no picture has. Sample it instead.")
    if not source.is_dir():
        raise DataError(f"{source}: expected a folder of pictures, found none. Give an existing folder.")
    store = FolderStore(source)
    images: PixelDataset
    if isinstance(recipe, PairRecipe):
        images = open_pictures(store, name=source.name, size=(H, W), channels=channels)
    else:
        options = parse_options(size=(H, W), channels=channels, count=None, cache_bytes=0)
        images = ImageFiles(store, name=source.name, options=options, layout=all_files(store))
    _tell(images, note)
    targets = _targets(store, folder)
    make_folder(folder)
    for part in _parts(np.arange(len(images))):
        for row, image in zip(part, outputs(trained, images.read(part), seed=seed), strict=True):
            make_folder(targets[row].parent)
            save_picture(targets[row], to_pixels(image))
    return len(images)


def _tell(dataset: Collection, note: Callable[[str], None]) -> None:
    for line in dataset.notes:
        note(line)


def _targets(store: FolderStore, folder: Path) -> list[Path]:
    """The path of each picture's PNG.

    Raises:
        ConfigError: two pictures have the same one, or it is a picture of the store.
    """
    sources = {(store.root / name).resolve() for name in store.names}
    made_of: dict[Path, str] = {}
    for name in store.names:
        target = folder / Path(name).with_suffix(".png")
        if target.resolve() in sources:
            raise ConfigError(f"{target} is one of the pictures to translate. Choose another folder (`out`).")
        if target in made_of:
            raise ConfigError(f"{store.root}: {made_of[target]} and {name} would both become {target}. Rename one.")
        made_of[target] = name
    return list(made_of)
