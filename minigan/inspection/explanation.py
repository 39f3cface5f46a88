"""Explanations of anything that has a name, of a run, and of things of your own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigan.backends import Backend, get_backend
from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import load_model
from minigan.errors import BackendError, CheckpointError, ConfigError, MissingExtraError
from minigan.inspection.document import Document, Facts, Text
from minigan.inspection.health_document import health_document
from minigan.inspection.network_document import network_document
from minigan.inspection.thing_document import thing_document
from minigan.inspection.topics import Topic, names_by_kind, topic_named, topic_of
from minigan.recipes import Recipe, get_recipe
from minigan.runs.config import RunConfig, read_config, with_engine
from minigan.runs.folders import run_folder
from minigan.runs.pretrained import PREFIX, pretrained_file, pretrained_name
from minigan.support.arguments import kind_of
from minigan.support.representation import short_path

__all__ = ["contents", "explain", "is_path"]


def explain(
    what: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    backend: str | Backend | None = None,
    precision: str | None = None,
) -> Document:
    """Explains a thing in words, formulas and numbers.

        print(minigan.inspection.as_text(minigan.inspection.explain("dcgan")))

    Args:
        what: the name of a recipe, layer, loss, penalty, optimizer or kernel; the path of a run; a recipe; or a class,
            also one of your own.
        settings: of a recipe that is named, to change.
        backend: the one whose algorithms are named for a network; None takes the run's, else the fastest here.
        precision: of its products; None takes the run's on the run's backend, else the backend's default.
    Returns:
        A document, which `as_text` and `as_page` write; its `record` has the same for programs.
    Raises:
        ConfigError: the name is unknown, or settings are given for what has none.
        CheckpointError: the run is missing or damaged.
        GradientCheckError: a worked example disagrees with finite differences.
    """
    if isinstance(what, Recipe):
        return _recipe_document(what, get_backend(backend or "auto", precision=precision))
    if not isinstance(what, str | os.PathLike):
        topic = topic_of(what)
        if topic is None:
            raise ConfigError(f"cannot explain {kind_of(what)}. Give a name, a path of a run, a recipe or a class.")
        return _of_topic(topic, (), settings, backend, precision)
    if isinstance(what, os.PathLike) or is_path(what):
        _refuse_settings(settings, f"the run {what}")
        return _run_document(Path(what).expanduser(), backend, precision)
    topic, others = topic_named(what)
    return _of_topic(topic, others, settings, backend, precision)


def _of_topic(
    topic: Topic,
    others: tuple[Topic, ...],
    settings: Mapping[str, Any] | None,
    backend: str | Backend | None,
    precision: str | None,
) -> Document:
    if topic.kind == "recipe":
        recipe = topic.thing.from_settings(settings or {})
        return _recipe_document(recipe, get_backend(backend or "auto", precision=precision), others)
    what = f"the {topic.kind} {topic.name}"
    _refuse_settings(settings, what)
    if backend is not None:
        raise ConfigError(f"{what} is explained on the reference backend. Leave `backend` out.")
    if precision is not None:
        raise ConfigError(f"{what} is explained on the reference backend. Leave `precision` out.")
    return health_document() if topic.kind == "guide" else thing_document(topic, others)


def _refuse_settings(settings: Mapping[str, Any] | None, what: str) -> None:
    if settings:
        first = next(iter(settings.items()))
        raise ConfigError(f"{what} takes no settings, got {first[0]}={first[1]}. Give them with a recipe.")


def is_path(text: str) -> bool:
    """Whether a word is meant as a path: it has a separator, or no topic has that very name and something lies there.

    So is `pretrained:digits`.

    A run's folder also goes before a topic whose name is written otherwise: `wgangp` before the penalty wgan-gp.
    """
    if os.sep in text or "/" in text or text in (".", "..") or text.startswith(("~", PREFIX)):
        return True
    try:
        topic, _ = topic_named(text)
    except ConfigError:
        return os.path.exists(text)
    return text not in (topic.name, topic.alias) and os.path.exists(os.path.join(text, "config.toml"))


# ------------------------------------------------------------------------------------------ recipes and runs


def _recipe_document(recipe: Recipe, backend: Backend, others: tuple[Topic, ...] = ()) -> Document:
    shape = (*recipe.fit_size(None), recipe.channels or 3)
    H, W, C = shape
    kind = {1: "gray", 3: "RGB"}[C]
    small = recipe.fit_size((28, 28))[0]  # one that it can draw
    facts = {"images": f"{H}x{W} {kind}; for others: `size={small}, channels=1`"}
    document = network_document(
        recipe, shape, backend=backend, title=f"{recipe.name}: a recipe", about=_summary(recipe), facts=facts
    )
    also = [f"{other.alias or other.name} for the {other.kind}" for other in others if other.kind != "kernel"]
    if not also:
        return document
    note = Text(f"The name has another meaning, too: minigan explain {', '.join(also)}.")
    return Document(document.title, [note, *document.blocks], document.record)


def _run_document(path: Path, backend: str | Backend | None, precision: str | None) -> Document:
    step, model, config = _opened(path)
    recipe, data = get_recipe(model["recipe"]).from_stored(model["settings"]), {}
    if config is not None:
        recipe = get_recipe(config.recipe).from_settings(config.settings)
        data = {"data": config.data, "seed": str(config.seed)}
    steps = f" of {recipe.steps:,}" if config is not None else ""
    name = short_path(path.absolute()) if pretrained_name(path) is None else str(path)
    document = network_document(
        recipe,
        tuple(model["shape"]),
        backend=_backend_of_run(config, backend, precision),
        dtype=model["dtype"],
        title=f"{name}: a run of {recipe.name}",
        about=_summary(recipe),
        facts={**data, "step": f"{step:,}{steps}"},
    )
    return Document(document.title, document.blocks, {"run": name, "step": step, **data, **document.record})


def _opened(path: Path) -> tuple[int, dict[str, Any], RunConfig | None]:
    """The step and the model's description of a run, its model file or a checkpoint, and the run's settings if known.

    Raises:
        CheckpointError: there is no run, it has no checkpoint yet, or a file is damaged.
    """
    if pretrained := pretrained_name(path):
        _, model = load_model(pretrained_file(pretrained))
        return int(model["step"]), model, None
    if not path.exists():
        raise CheckpointError(f"{path}: no run is there. Name a folder that a training has written, or its model file.")
    if path.is_file():
        _, model = load_model(path)
        folder = run_folder(path)
        config = read_config(folder) if (folder / "config.toml").is_file() else None
        return int(model["step"]), model, config
    config = read_config(path)
    if (path / "model.safetensors").exists():
        _, model = load_model(path / "model.safetensors")
        return int(model["step"]), model, config
    _, _, description = CheckpointFolder(path / "checkpoints").load()
    return int(description["step"]), description["model"], config


def _summary(recipe: Recipe) -> str:
    """The first line of a recipe's docstring; "" under Python -OO, where a dataclass has another one."""
    return "" if sys.flags.optimize > 1 else (type(recipe).__doc__ or "").partition("\n")[0]


def _backend_of_run(config: RunConfig | None, chosen: str | Backend | None, precision: str | None) -> Backend:
    """The backend that is asked for; else the run's, or the fastest one if that cannot be used here."""
    if config is None or isinstance(chosen, Backend):
        return get_backend(chosen or "auto", precision=precision)
    config = with_engine(config, backend=chosen, precision=precision)
    try:
        return get_backend(config.backend, precision=config.precision)
    except (BackendError, MissingExtraError):
        if chosen is not None:
            raise
        return get_backend("auto", precision=precision)


# ------------------------------------------------------------------------------------------ a list


def contents() -> Document:
    """The list of everything that can be explained."""
    names = names_by_kind()
    plural = {"loss": "losses", "penalty": "penalties"}
    rows = [(plural.get(kind, f"{kind}s"), ", ".join(found)) for kind, found in names.items()]
    title = "minigan explains recipes and runs, layers, losses, penalties, optimizers, kernels, and health."
    return Document(title, [Facts(rows)], {"topics": names})
