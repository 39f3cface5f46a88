"""A run's configuration, and the file that keeps it."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import minigan
from minigan.backends import BACKENDS, get_backend
from minigan.backends.precision import AUTO, PRECISIONS, expect_precision
from minigan.checkpoints.format import DTYPES
from minigan.checkpoints.rules import COUNT, FROM_ZERO, TEXT, Rule, check, one_of
from minigan.data import EMBEDDED, STACKED
from minigan.errors import CheckpointError, ConfigError
from minigan.recipes import Recipe, get_recipe
from minigan.runs.config_migrations import CONFIG_FORMAT, migrated
from minigan.runs.pretrained import expect_run
from minigan.support.arguments import path as expect_path
from minigan.support.durable_files import atomic_write
from minigan.support.representation import short_path
from minigan.support.words import decoded, from_text, to_text
from minigan.training.listeners.logs import LOGS, log_names
from minigan.training.rhythm import Keep, Rhythm

__all__ = [
    "RunConfig",
    "is_same_engine",
    "is_same_precision",
    "lasting_source",
    "new_config",
    "read_config",
    "with_engine",
    "write_config",
]

FILE = "config.toml"


@dataclass(frozen=True)
class RunConfig:
    """Everything needed to repeat a run: what `config.toml` holds.

    Attributes:
        recipe: its name.
        settings: all of the recipe's settings, the number of steps among them.
        data: the source: an embedded set's name, or a path; in the file, a path that is not UTF-8 is a URL.
        backend: the backend's name.
        precision: of the products of float32 networks: fp32, tf32 or bf16; auto until a backend is chosen.
        dtype: of the networks, float32 or float64.
        engine: the backend in words; only the same backend, vector width and thread count give the same bits.
        rhythm: steps between logs, pictures and checkpoints.
        keep: which checkpoints to keep.
        log: logs that are written for other programs: csv, tensorboard.
        minigan: the version that made the run.
    """

    recipe: str
    settings: dict[str, Any]
    data: str
    seed: int = 0
    backend: str = "auto"
    precision: str = AUTO
    dtype: str = "float32"
    rhythm: Rhythm = field(default_factory=Rhythm)
    keep: Keep = field(default_factory=Keep)
    log: tuple[str, ...] = ()
    engine: str = ""
    minigan: str = minigan.__version__

    def __repr__(self) -> str:
        """The settings that differ from the recipe's defaults, not all of them."""
        try:
            recipe = repr(get_recipe(self.recipe).from_settings(self.settings))
        except ConfigError:  # a text never fails
            recipe = self.recipe
        return f"<RunConfig: {recipe} on {self.data}, seed {self.seed}, {self._engine_in_short()}>"

    def _engine_in_short(self) -> str:
        return ", ".join((self.backend, self.dtype, *([] if self.precision == AUTO else [self.precision])))

    def to_toml(self) -> str:
        """The text of `config.toml`."""
        tables: dict[str, dict[str, Any]] = {"": {"format": CONFIG_FORMAT}}
        for key, value in {**asdict(self), **self._paths_as_text()}.items():
            if isinstance(value, dict):
                tables[key] = value
            else:
                tables[""][key] = value
        lines = []
        for title, table in tables.items():
            lines += [f"\n[{title}]"] if title else []
            lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
        return "\n".join(lines) + "\n"

    def _paths_as_text(self) -> dict[str, Any]:
        """The fields that hold paths, which need not be text."""
        return {"data": _source_text(self.data), "settings": _with_paths(self.settings, to_text)}


def new_config(
    recipe: Recipe,
    *,
    data: str | None = None,
    seed: int | None = None,
    backend: str | None = None,
    precision: str | None = None,
    log_every: int | None = None,
    sample_every: int | None = None,
    checkpoint_every: int | None = None,
    evaluate_every: int | None = None,
    log_gradients: int | None = None,
    keep: int | None = None,
    best: str | None = None,
    log: str | Sequence[str] | None = None,
) -> RunConfig:
    """The configuration of a new run. Arguments that are None have their defaults.

    Raises:
        ConfigError: a figure is named as the best, but none is measured; or there is no log or precision of that name.
    """
    expect_precision(precision)
    if best and not evaluate_every:
        raise ConfigError(f"`best={best!r}` needs figures to go by. Add `evaluate_every=N`.")
    rhythm = {
        "log_every": log_every,
        "sample_every": sample_every,
        "checkpoint_every": checkpoint_every,
        "evaluate_every": evaluate_every,
        "log_gradients": log_gradients,
    }
    kept = {"last": keep, "best": best}
    return RunConfig(
        recipe=recipe.name,
        settings=recipe.settings(),
        data=recipe.default_data if data is None else data,
        seed=seed or 0,
        backend=backend or "auto",
        precision=AUTO if precision is None else precision,
        rhythm=Rhythm(**{name: n for name, n in rhythm.items() if n is not None}),
        keep=Keep(**{name: value for name, value in kept.items() if value is not None}),  # type: ignore[arg-type]
        log=log_names(log or ()),
    )


def with_engine(config: RunConfig, *, backend: str | None, precision: str | None) -> RunConfig:
    """The configuration with another backend or precision.

    Args:
        backend: a name; None as in the configuration.
        precision: None as in the configuration; but a backend other than the run's brings its own default.
    Raises:
        ConfigError: there is no such precision.
    """
    expect_precision(precision)
    if backend is None:
        backend = config.backend
    elif backend == "auto":
        backend = get_backend(backend, precision="fp32").name
    if precision is None:
        precision = config.precision if backend == config.backend else AUTO
    return replace(config, backend=backend, precision=precision)


def is_same_engine(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs were made by the same backend, on as many threads and so on; in whatever precision."""
    machines = [[part for part in run.engine.split(", ") if part not in PRECISIONS] for run in (one, other)]
    return machines[0] == machines[1]


def is_same_precision(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs compute in the same precision, as far as it is known."""
    return AUTO in (one.precision, other.precision) or one.precision == other.precision


def lasting_source(data: str) -> str:
    """A source as `config.toml` names it: paths are absolute, so that a run can be resumed from any folder."""
    name = data.removeprefix(STACKED)
    if name in EMBEDDED or name.startswith(STACKED):  # stacked twice: refused when it is opened
        return data
    return data.removesuffix(name) + os.path.abspath(name)


def write_config(config: RunConfig, folder: Path) -> None:
    """Writes a run folder's config.toml.

    Raises:
        OutputError: it cannot be written.
    """
    atomic_write(folder / FILE, config.to_toml().encode())


def read_config(
    folder: str | os.PathLike[str],
    *,
    steps: int | None = None,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
) -> RunConfig:
    """The configuration of a run folder, perhaps with another number of steps or another source.

    A file of an earlier format is migrated to the latest one, see `config_migrations`. A recipe's setting that is newer
    than the file has its default, with which the run does what it did before.

    Args:
        folder: the run's.
        steps: in all; None as in the file.
        data: the source; None as in the file.
        targets: of pairs in two folders; None as in the file, or none if another source is given.
        data_b: the source of the images of B, for unpaired data; None as in the file.
    Raises:
        CheckpointError: there is no config.toml, or it is not one of a run; names the wrong key.
        ConfigError: targets or a second source are given to a recipe that has none.
    """
    folder = expect_path(folder, "folder", remedy="Write read_config('runs/dcgan-digits-1').")
    expect_run(folder)
    path = folder / FILE
    try:
        table = tomllib.loads(decoded(path.read_bytes()))
    except PermissionError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}. Check its permissions.") from None
    except OSError as error:
        raise CheckpointError(
            f"{folder} is not a run folder: cannot read {path}: {error.strerror}. {_which_folder(folder)}"
        ) from None
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, or a number of thousands of digits
        raise CheckpointError(
            f"{path} is not the configuration of a run: {error}. Correct it, or put the file back as it was."
        ) from None
    config = _parse(table, path)
    if steps is not None:
        config = replace(config, settings={**config.settings, "steps": steps})
    if targets is not None and "targets" not in config.settings:
        raise ConfigError(f"{config.recipe} learns from no pairs, got the targets {targets}. Leave `targets` out.")
    if targets is not None or (data is not None and config.settings.get("targets")):
        config = replace(config, settings={**config.settings, "targets": targets or ""})
    if data_b is not None:
        if "data_b" not in config.settings:
            raise ConfigError(f"{config.recipe} learns from one source, got {data_b} as a second. Leave `data_b` out.")
        config = replace(config, settings={**config.settings, "data_b": data_b})
    return config if data is None else replace(config, data=data)


def _which_folder(folder: Path) -> str:
    """The remedy for a folder that is not a run's."""
    inside = next((parent for parent in folder.absolute().parents[:2] if (parent / FILE).is_file()), None)
    if inside is not None:
        return f"It is a part of the run {short_path(inside)}: name that folder."
    return "Name the folder that a training has written, such as runs/dcgan-digits-1."


def _parse(table: Mapping[str, Any], path: Path) -> RunConfig:
    table = migrated(table, source=str(path))
    _check(table, {f.name: _RULES[f.name] for f in fields(RunConfig)}, path)
    # 0 is allowed where it is the default: it means never.
    every = {f.name: FROM_ZERO if f.default == 0 else COUNT for f in fields(Rhythm)}
    _check(table["rhythm"], every, path, prefix="rhythm.")
    _check(table["keep"], {"last": COUNT, "best": TEXT}, path, prefix="keep.")
    try:
        settings = get_recipe(table["recipe"]).from_stored(table["settings"]).settings()
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    rhythm, keep = Rhythm(**table["rhythm"]), Keep(**table["keep"])
    source, settings = _source_of_text(table["data"]), _with_paths(settings, from_text)
    found = {"data": source, "settings": settings, "rhythm": rhythm, "keep": keep, "log": log_names(table["log"])}
    return RunConfig(**{**table, **found})


def _toml(value: Any) -> str:
    """A value as TOML, whose numbers, strings and booleans are JSON's, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _source_text(data: str) -> str:
    """A source as config.toml has it: a path that is not UTF-8 is a URL."""
    name = data.removeprefix(STACKED)
    return data.removesuffix(name) + to_text(name)


def _source_of_text(text: str) -> str:
    name = text.removeprefix(STACKED)
    return text.removesuffix(name) + from_text(name)


def _with_paths(settings: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Settings in which the path of the targets, or of a second source, is changed, if there is one."""
    paths = {name: settings.get(name) for name in ("targets", "data_b")}
    changed = {name: change(path) for name, path in paths.items() if isinstance(path, str) and path}
    return {**settings, **changed}


def _check(table: Mapping[str, Any], rules: Mapping[str, Rule], path: Path, *, prefix: str = "") -> None:
    remedy = "Put the file back as it was, or start a new run."
    check(table, rules, source=str(path), remedy=remedy, prefix=prefix, closed=True)


_LOGS = Rule(
    f"a list of {' or '.join(LOGS)}",
    lambda value: isinstance(value, list) and all(name in list(LOGS) for name in value),
)
_TABLE = Rule("a table", lambda value: isinstance(value, dict))
_RULES: Mapping[str, Rule] = {
    "recipe": TEXT,
    "settings": _TABLE,
    "data": Rule("a string that is not empty", lambda value: isinstance(value, str) and value != ""),
    "seed": FROM_ZERO,
    "backend": one_of("auto", *BACKENDS),
    "precision": one_of(AUTO, *PRECISIONS),
    "dtype": one_of(*DTYPES),
    "rhythm": _TABLE,
    "keep": _TABLE,
    "log": _LOGS,
    "engine": TEXT,
    "minigan": TEXT,
}
