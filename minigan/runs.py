"""Runs: a recipe, its data and a folder, put together; and taken up again from the folder."""

import itertools
import json
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import minigan
from minigan.backends import Backend, get_backend
from minigan.checkpoint import load_arrays, load_network
from minigan.data import Dataset, Loader, open_dataset
from minigan.errors import CheckpointError, ConfigError, MixedSizesError
from minigan.files import atomic_write, make_folder
from minigan.network import Sequential
from minigan.recipes import Recipe, get_recipe
from minigan.sampling import generate
from minigan.training import MODEL_FORMAT, Rhythm, Trainer

__all__ = [
    "Run",
    "RunConfig",
    "TrainedGenerator",
    "load_generator",
    "new_folder",
    "open_data",
    "open_run",
    "read_config",
    "resume",
    "start",
]

IMAGE_COUNT = 64
POINT_COUNT = 2500
WEIGHTS, STEPS, PICTURES = range(3)  # the streams of random numbers that a run's seed has


@dataclass(frozen=True)
class RunConfig:
    """Everything needed to repeat a run: what `config.toml` holds.

    Attributes:
        recipe: its name.
        settings: all of the recipe's settings, the number of steps among them.
        data: the source.
        backend: the backend's name.
        engine: what ran, in words: the same bits come only from the same backend, vector width and thread count.
        rhythm: steps between logs, pictures and checkpoints.
    """

    recipe: str
    settings: dict[str, Any]
    data: str
    seed: int = 0
    backend: str = "auto"
    dtype: str = "float32"
    rhythm: Rhythm = field(default_factory=Rhythm)
    engine: str = ""
    minigan: str = minigan.__version__

    def to_toml(self) -> str:
        tables: dict[str, dict[str, Any]] = {"": {}}
        for key, value in asdict(self).items():
            if isinstance(value, dict):
                tables[key] = value
            else:
                tables[""][key] = value
        lines = []
        for title, table in tables.items():
            lines += [f"\n[{title}]"] if title else []
            # JSON's numbers, strings and booleans are TOML's.
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Run:
    """A run that is ready to train."""

    config: RunConfig
    recipe: Recipe
    dataset: Dataset
    backend: Backend
    trainer: Trainer


def new_folder(recipe: str, data: str, *, root: Path = Path("runs")) -> Path:
    """The first of runs/recipe-data-1, -2, ... that is not there yet."""
    stem = f"{recipe}-{Path(data).resolve().name.split('.')[0] or 'data'}"
    return next(p for n in itertools.count(1) if not (p := root / f"{stem}-{n}").exists())


def open_run(config: RunConfig, folder: Path) -> Run:
    """Opens the data, builds the networks and the trainer. Writes nothing.

    Raises:
        MiniganError: the configuration, the data or the backend does not do.
    """
    recipe = get_recipe(config.recipe).from_settings(config.settings)
    backend = get_backend(config.backend)
    config = replace(config, backend=backend.name, engine=backend.describe())
    dataset = open_data(recipe, config.data, seed=config.seed)
    loader = Loader(dataset, batch_size=recipe.batch_size, seed=config.seed)
    alternating = recipe.assemble(
        dataset.shape, backend=backend, dtype=config.dtype, rng=np.random.default_rng([config.seed, WEIGHTS])
    )
    trainer = Trainer(
        alternating,
        loader,
        rng=np.random.default_rng([config.seed, STEPS]),
        fixed_z=recipe.noise(np.random.default_rng([config.seed, PICTURES]), picture_count(dataset.shape)),
        folder=folder,
        steps=recipe.steps,
        rhythm=config.rhythm,
        prepare=recipe.prepare,
        to_images=recipe.to_images,
        model={
            "recipe": config.recipe,
            "settings": {name: value for name, value in recipe.settings().items() if name != "steps"},
            "shape": list(dataset.shape),
            "dtype": config.dtype,
            "extent": picture_extent(dataset),
        },
    )
    return Run(config, recipe, dataset, backend, trainer)


def start(run: Run) -> None:
    """Begins a run: creates its folder with config.toml. What a run without a checkpoint left there is replaced.

    Raises:
        ConfigError: the folder holds a run that can be continued.
        OutputError: the folder cannot be written.
    """
    folder = run.trainer.folder
    if run.trainer.checkpoints.paths():
        raise ConfigError(f"{folder} already holds a run. Continue it with --resume {folder}, or choose another --out.")
    make_folder(folder)
    atomic_write(folder / "log.jsonl", b"")
    _write_config(run)


def resume(run: Run) -> str | None:
    """Goes back to the run's newest checkpoint.

    Returns:
        A warning, if the engine is not the one that the run was made with.
    Raises:
        CheckpointError: there is none, or it is damaged or of another network.
    """
    made_with = read_config(run.trainer.folder).engine
    run.trainer.restore()
    _write_config(run)  # the number of steps may be new
    if made_with == run.config.engine:
        return None
    return f"this run was made with {made_with}; from here on the last bits may differ."


def _write_config(run: Run) -> None:
    atomic_write(run.trainer.folder / "config.toml", run.config.to_toml().encode())


def open_data(recipe: Recipe, source: str, *, seed: int) -> Dataset:
    """The source, its images scaled to a size that the recipe can draw."""
    channels = recipe.channels or None
    native: tuple[int, int] | None
    try:
        dataset = open_dataset(source, channels=channels, seed=seed)
        if len(dataset.shape) == 1:
            recipe.check_points()
            return dataset
        native = dataset.shape[0], dataset.shape[1]
    except MixedSizesError:
        native = None
    return open_dataset(source, size=recipe.fit_size(native), channels=channels, seed=seed)


def picture_count(shape: tuple[int, ...]) -> int:
    """How many samples of that shape a picture shows."""
    return POINT_COUNT if len(shape) == 1 else IMAGE_COUNT


def picture_extent(dataset: Dataset) -> float:
    """How far a picture of points must reach to show all of the data; 1 for images."""
    if len(dataset.shape) > 1:
        return 1.0
    points = dataset.read(np.arange(min(len(dataset), 10_000)))
    return float(1.25 * np.abs(points).max())


def read_config(folder: Path, *, steps: int | None = None) -> RunConfig:
    """The configuration of a run folder, perhaps with another number of steps.

    Raises:
        CheckpointError: there is no config.toml, or it is not one of a run.
    """
    path = folder / "config.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        rhythm = Rhythm(**table.pop("rhythm"))
        config = RunConfig(**table, rhythm=rhythm)
    except OSError as error:
        raise CheckpointError(f"{folder} is not a run folder: cannot read {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not the configuration of a run: {error}.") from None
    return config if steps is None else replace(config, settings={**config.settings, "steps": steps})


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator from a run, with what is needed to draw from it."""

    G: Sequential
    recipe: Recipe
    step: int
    extent: float

    def samples(self, rng: np.random.Generator, count: int | None = None) -> np.ndarray:
        """Images (count, H, W, C) in [-1, 1], or points (count, 2); as many as a picture shows well by default."""
        count = count or picture_count(self.G.output_shape)
        return self.recipe.to_images(generate(self.G, self.recipe.noise(rng, count)))


def load_generator(path: Path, *, backend: str | Backend = "auto") -> TrainedGenerator:
    """The generator of a run folder, or of a `model.safetensors` file.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.exists():
        raise CheckpointError(f"no trained generator at {file}. Name a run folder that training has written to.")
    arrays, description = load_arrays(file, format=MODEL_FORMAT)
    recipe = get_recipe(description["recipe"]).from_settings(description["settings"])
    G = recipe.generator(tuple(description["shape"]))
    G.build((recipe.latent,), backend=backend, dtype=description["dtype"], rng=np.random.default_rng(0))
    load_network(G, arrays, "G", source=str(file))
    return TrainedGenerator(G, recipe, description["step"], description["extent"])
