"""Training a new run at a Python prompt."""

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minigan.backends import BACKENDS
from minigan.errors import ConfigError
from minigan.recipes import RECIPES, Recipe
from minigan.runs.config import new_config
from minigan.runs.run import Run, say_how_it_ended, source_name
from minigan.runs.session import recipe_named, start_run, train_run
from minigan.support.arguments import did_you_mean, flag, kind_of, path, whole
from minigan.support.output import Output
from minigan.training.listeners import AnyListener
from minigan.training.listeners.logs import log_names
from minigan.training.listeners.users import listener_list

__all__ = ["recipe_with_settings", "train"]


def train(
    recipe: str | type[Recipe] | Recipe = "dcgan",
    *,
    data: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    backend: str = "auto",
    precision: str = "auto",
    out: str | os.PathLike[str] | None = None,
    listeners: Sequence[AnyListener] = (),
    quiet: bool = False,
    log_every: int = 20,
    sample_every: int = 250,
    checkpoint_every: int = 500,
    evaluate_every: int = 0,
    log_gradients: int = 0,
    keep: int = 3,
    best: str = "",
    log: str | Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Trains a GAN as `minigan train` does, and returns its run.

        run = minigan.train("dcgan", data="digits", steps=500, width=16)

    Shows progress and leaves a run folder. Ctrl-C stops after the present step, saves a checkpoint and returns the run;
    `run.resume()` trains on. SIGTERM does the same, and is then delivered again: it ends the program, unless that has
    a handler of its own.

    Under `mpiexec -n 4 python script.py` four processes share each batch, and all of them return the run; the first
    writes its files, and calls the functions in `listeners`. See docs/ranks.md.

    Args:
        recipe: a name, such as "dcgan" or "pix2pix", or a recipe of `minigan.recipes`.
        data: digits, shapes, tinted, ring, grid, or a path; None takes the recipe's default.
        steps: in all; None takes the recipe's number.
        batch_size: examples in a step; None takes the recipe's number.
        seed: of everything random.
        backend: reference, cpu, gpu, or auto, the fastest here.
        precision: of products: fp32, tf32 (on a GPU) or bf16; auto is the environment's MINIGAN_PRECISION, else the
            backend's default. The run keeps it.
        out: the run's folder; None takes the next free one of runs/RECIPE-DATA-1, -2, ...
        listeners: functions to call with each record of the log, or objects of `minigan.training.Listener`.
        quiet: show nothing.
        log_every, sample_every, checkpoint_every: steps from one record, picture or checkpoint to the next.
        evaluate_every: steps from one evaluation to the next: FID and KID, modes of points, or of held-out images PSNR
            and SSIM, agreement of class maps, or for unpaired images the cycle error; 0 is never.
        log_gradients: steps between records that include the norm of each layer's gradients; 0 is never.
        keep: how many of the newest checkpoints to keep.
        best: the figure by which the best checkpoint is chosen, and kept as well: fid, modes,
            psnr, cycle_A ...; "" is the first.
        log: logs to write for other programs as well: csv (`log.csv`), tensorboard (`tensorboard/`), or both in a list.
            With `log_gradients` TensorBoard shows histograms of the gradients, too.
        settings: of the recipe, by name, such as width=16 or loss="hinge"; `minigan recipes dcgan` lists them.
    Returns:
        The run, trained.
    Raises:
        ConfigError: an argument or a setting is unknown or out of range.
        MiniganError: the data or the backend cannot be used, or training stopped with an error.
    """
    if backend not in ("auto", *BACKENDS):
        hint = did_you_mean(backend, ("auto", *BACKENDS)) or " Choose one of them."
        raise ConfigError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {kind_of(backend)}.{hint}")
    listeners, quiet = listener_list(listeners), flag(quiet, "quiet")
    if not isinstance(best, str):
        raise ConfigError(f"best must be the name of a figure, got {kind_of(best)}. Write best='fid'.")
    given = {name: value for name, value in (("steps", steps), ("batch_size", batch_size)) if value is not None}
    config = new_config(
        recipe_with_settings(recipe, {**given, **settings}),
        data=None if data is None else source_name(data),
        seed=whole(seed, "seed", least=0),
        backend=backend,
        precision=precision,
        log_every=whole(log_every, "log_every"),
        sample_every=whole(sample_every, "sample_every"),
        checkpoint_every=whole(checkpoint_every, "checkpoint_every"),
        evaluate_every=whole(evaluate_every, "evaluate_every", least=0),
        log_gradients=whole(log_gradients, "log_gradients", least=0),
        keep=whole(keep, "keep"),
        best=best,
        log=log_names(log),
    )
    # Absolute: a listener, or the prompt, may change the present folder.
    folder = None if out is None else path(out, "out").absolute()
    prepared = start_run(config, folder, root=Path("runs").absolute(), listeners=listeners)
    output = Output(quiet=quiet)
    say_how_it_ended(train_run(prepared, output=output, chosen=backend != "auto", pass_on_sigterm=True), prepared)
    return Run(prepared.trainer.state.folder, listeners=listeners, quiet=quiet)


def _expect_registered(kind: type[Recipe]) -> None:
    """Refuses a recipe that a resumed run could not find by its name.

    Raises:
        ConfigError: it has no name of its own, or is not registered under it.
    """
    own = vars(kind).get("name")
    if own is not None and RECIPES.get(own) is kind:
        return
    name = own if own is not None and own not in RECIPES else kind.__name__.lower()
    if inspect.isabstract(kind):
        raise ConfigError(f"{kind.__name__} is a base of recipes. Use one of {', '.join(RECIPES)}.")
    raise ConfigError(
        f"{kind.__name__} is not a recipe that a resumed run would find by its name. Write name = {name!r} in the "
        f"class, and minigan.recipes.RECIPES[{name!r}] = {kind.__name__}."
    )


def recipe_with_settings(given: str | type[Recipe] | Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with these settings, given as Python values.

    Raises:
        ConfigError: a run could not find the recipe by its name, or a setting is unknown or of another type.
    """
    if isinstance(given, str):
        kind = recipe_named(given)
    elif isinstance(given, Recipe):
        kind, settings = type(given), {**given.settings(), **type(given).with_preset(settings)}
    elif isinstance(given, type) and issubclass(given, Recipe):
        kind = given
    else:
        raise ConfigError(f"recipe must be a name or a recipe, got {kind_of(given)}. Write 'dcgan'.")
    _expect_registered(kind)
    settings = kind.with_preset(settings)
    kind.expect_names(settings, also=inspect.signature(train).parameters)
    return kind(**settings)
