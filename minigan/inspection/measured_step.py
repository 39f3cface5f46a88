"""The ledger of a step of a run or of a recipe, by its name."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from minigan.errors import ConfigError
from minigan.inspection.document import Document
from minigan.inspection.explanation import is_path
from minigan.inspection.ledger import Ledger
from minigan.inspection.ledger_document import ledger_document
from minigan.inspection.real_step import RealStep, step_of_recipe, step_of_run
from minigan.inspection.step_ledger import measured_ledger
from minigan.inspection.topics import topic_named
from minigan.recipes import Recipe
from minigan.support.arguments import kind_of

__all__ = ["measure_step"]


def measure_step(
    what: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    backend: str | None = None,
    precision: str | None = None,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
) -> tuple[Document, Ledger]:
    """Does one real step of a training several times, measures each operation, and leaves everything as it was.

        document, ledger = minigan.inspection.measure_step("runs/dcgan-digits-1")
        print(minigan.inspection.as_text(document))

    Args:
        what: the path of a run, for the step after its newest checkpoint, or of a checkpoint; or a recipe or its name,
            for the first step of a training with seed 0.
        settings: of a recipe that is named, to change.
        backend: None takes the run's, for a recipe the fastest here.
        precision: of products; None takes the run's on the run's backend, else the backend's default.
        data: where the run's data are now; for a recipe another source than its embedded one.
        targets: the same of the targets, for pairs in two folders.
        data_b: the same of the images of B, for unpaired data.
    Returns:
        The document, which `as_text` and `as_page` write, and the ledger, which `as_trace` writes.
    Raises:
        ConfigError: it is neither a run nor a recipe, or a setting is unknown.
        CheckpointError: the run has no checkpoint yet, or a file is damaged.
        DataError: the data cannot be read; perhaps they have moved.
        BackendError, MissingExtraError: the backend cannot be used here.
        DivergenceError: in this step a number is not finite.
        OutOfMemoryError: a copy of what the step changes does not fit.
    """
    sources = {"data": data, "targets": targets, "data_b": data_b}
    with _opened(what, settings or {}, sources, backend=backend, precision=precision) as step:
        ledger = measured_ledger(step)
        return ledger_document(step, ledger), ledger


def _opened(
    what: Any,
    settings: Mapping[str, Any],
    sources: Mapping[str, str | None],
    *,
    backend: str | None,
    precision: str | None,
) -> AbstractContextManager[RealStep]:
    data = sources["data"]
    others = {name: source for name, source in sources.items() if name != "data" and source is not None}
    if isinstance(what, Recipe):
        recipe = what.from_settings({**what.settings(), **others}) if others else what
        return step_of_recipe(recipe, backend=backend, precision=precision, data=data)
    if not isinstance(what, str | os.PathLike):
        raise ConfigError(f"expected a recipe or the path of a run, got {kind_of(what)}. Write 'dcgan'.")
    if isinstance(what, os.PathLike) or is_path(what):
        if settings:
            key, value = next(iter(settings.items()))
            raise ConfigError(f"the run {what} takes no settings, got {key}={value}. Give them with a recipe.")
        return step_of_run(Path(what).expanduser(), backend=backend, precision=precision, **sources)
    topic, _ = topic_named(what)
    if topic.kind != "recipe":
        here = f", such as {os.path.join('.', what)}" if os.path.exists(what) else ""
        raise ConfigError(
            f"the {topic.kind} {topic.name} has no step of its own. Name a recipe, or the folder of a run{here}."
        )
    recipe = topic.thing.from_settings({**settings, **others})
    return step_of_recipe(recipe, backend=backend, precision=precision, data=data)
