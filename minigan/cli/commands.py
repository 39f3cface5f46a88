"""The commands of the command line: functions from parsed arguments to an exit code."""

import argparse
import contextlib
import itertools
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

import minigan
from minigan import runs
from minigan.backends import BACKENDS, Backend, get_backend
from minigan.cli.bench import MODELS, bench, warm_up
from minigan.cli.evaluate import evaluate
from minigan.cli.export_import import export_run, import_weights
from minigan.cli.recipes import parse_settings, recipes
from minigan.cli.shell_completion import completion
from minigan.data import EMBEDDED
from minigan.errors import BackendError, ConfigError, MiniganError, MissingExtraError
from minigan.nn.gradcheck import GradientCheck, check_network
from minigan.recipes import Recipe, TranslationRecipe, get_recipe
from minigan.runs.translation import picture, translate_folder, translation_recipe
from minigan.support.interruption import Interruption
from minigan.support.output import Output
from minigan.support.progress import Progress, open_progress
from minigan.training.out_of_memory import size
from minigan.training.sampling import render, save_picture
from minigan.training.trainer import Keep, Rhythm, Trainer

__all__ = ["COMMANDS", "INTERRUPTED", "data_hint"]

INTERRUPTED = 130  # the shell's code for a program ended by Ctrl-C


def train(options: argparse.Namespace) -> int:
    """Trains to the last step, or until interrupted."""
    out = Output.of(options)
    run = _resumed(options) if options.resume is not None else _started(options)
    trainer = run.trainer
    run.backend.compile_ahead()
    progress = open_progress(start=trainer.step, total=trainer.steps, output=out)
    progress.message(f"{run.recipe.name} on {run.dataset.describe()}")
    progress.message(f"{run.backend.describe()}; run folder {trainer.folder}")
    if options.resume is None and options.backend in (None, "auto") and (choice := _why_this(run.backend)):
        progress.message(choice)
    if find_spec("numba") is None and run.backend.name == "reference":
        progress.message("pip install 'minigan[numba]' trains several times faster.")
    if trainer.step >= trainer.steps:
        progress.message(f"all {trainer.step} steps are done; --steps N with a larger N goes further.")
    else:
        with contextlib.closing(run.dataset), trainer.loader, progress, Interruption(progress.message) as interruption:
            trainer.run(progress, interruption)
        _tell_how_to_go_on(trainer, progress)
    steps = {"step": trainer.step, "steps": trainer.steps}
    out.record({"recipe": run.recipe.name, "run": str(trainer.folder), **steps, "engine": run.config.engine})
    return 0 if trainer.step >= trainer.steps else INTERRUPTED


def _tell_how_to_go_on(trainer: Trainer, progress: Progress) -> None:
    if trainer.step < trainer.steps:
        progress.message(f"stopped at step {trainer.step}. Go on with: minigan train --resume {trainer.folder}")
    else:
        progress.message(f"done: {trainer.folder / 'samples' / f'step-{trainer.step:06}.png'}")
        progress.message(f"more: minigan sample {trainer.folder}")


def _why_this(backend: Backend) -> str | None:
    """A line on what `--backend auto` chose, where there is or ought to be a GPU."""
    if backend.name == "gpu":
        return "--backend auto chose the GPU; --backend cpu trains on the CPU."
    try:
        get_backend("gpu")
    except MissingExtraError:  # most have none
        return None
    except BackendError as error:
        return f"--backend auto chose {backend.name}: {error}"
    return None


def _started(options: argparse.Namespace) -> runs.Run:
    config = _new_config(options)
    run = runs.open_run(config, options.out or runs.new_folder(config.recipe, config.data))
    runs.start(run, numbered=options.out is None)
    return run


def _resumed(options: argparse.Namespace) -> runs.Run:
    given = [
        f"--{name.replace('_', '-')}"
        for name in (
            "batch_size",
            "out",
            "seed",
            "backend",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "evaluate_every",
            "keep",
            "best",
        )
        if getattr(options, name) is not None
    ]
    given += ["RECIPE"] * (options.recipe is not None) + ["--set"] * bool(options.set)
    if given:
        raise ConfigError(
            f"--resume goes on with the run's own configuration, got {', '.join(given)} beside it. "
            "Leave them out, or start a new run."
        )
    checkpoint = options.resume if options.resume.is_file() else None
    folder = options.resume if checkpoint is None else runs.run_folder(checkpoint)
    run = runs.reopen_run(folder, steps=options.steps, data=options.data)
    for warning in runs.resume(run, checkpoint):
        with contextlib.suppress(OSError):  # nobody reads it: no reason not to train
            print(f"minigan: {warning}", file=sys.stderr)
    return run


def _new_config(options: argparse.Namespace) -> runs.RunConfig:
    recipe = _recipe(options.recipe or "dcgan").from_settings(_settings(options))
    if options.best is not None and options.evaluate_every is None:
        raise ConfigError(f"--best {options.best} needs figures to go by. Add --evaluate-every N.")
    keep = {"last": options.keep, "best": options.best}
    every = {f"{n}_every": getattr(options, f"{n}_every") for n in ("log", "sample", "checkpoint", "evaluate")}
    return runs.RunConfig(
        recipe=recipe.name,
        settings=recipe.settings(),
        data=recipe.default_data if options.data is None else options.data,
        seed=options.seed or 0,
        backend=options.backend or "auto",
        rhythm=Rhythm(**{name: n for name, n in every.items() if n is not None}),
        keep=Keep(**{name: value for name, value in keep.items() if value is not None}),
    )


def _recipe(name: str) -> type[Recipe]:
    try:
        return get_recipe(name)
    except ConfigError as error:
        raise ConfigError(f"{error}{data_hint(name)}") from None


def data_hint(text: str) -> str:
    """A hint for an unexpected word that names a source of data; "" for other words."""
    return f" Did you mean --data {text}?" if text in EMBEDDED or os.path.exists(text) else ""


def _settings(options: argparse.Namespace) -> dict[str, str | int]:
    """The recipe's settings from --set and from the flags that are settings, too."""
    settings: dict[str, str | int] = dict(parse_settings(options.set))
    for name in ("steps", "batch_size"):
        value = getattr(options, name, None)
        if value is None:
            continue
        if settings.get(name, str(value)) != str(value):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {value} and --set {name}={settings[name]} disagree. Give only one of them.")
        settings[name] = value
    return settings


def sample(options: argparse.Namespace) -> int:
    """Draws a picture of samples."""
    trained = runs.load_generator(options.run, backend=options.backend, average=not options.last_weights)
    if isinstance(trained.recipe, TranslationRecipe):
        return _sample_pairs(trained, options)
    if options.data is not None or options.split is not None:
        translation_recipe(trained)
    label = None if options.label is None else trained.label(options.label)
    samples = trained.samples(np.random.default_rng(options.seed), options.count, label=label)
    save_picture(options.out, render(samples, extent=trained.extent))
    weights = ", moving average" if trained.averaged else ""
    out = Output.of(options)
    out.show(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    out.record({**trained.describe(), "samples": len(samples), "out": str(options.out)})
    return 0


def _sample_pairs(trained: runs.TrainedGenerator, options: argparse.Namespace) -> int:
    if options.label is not None:
        raise ConfigError(f"{trained.recipe.name} draws from images, got --class {options.label}. Leave --class out.")
    source, data_seed = runs.run_data(options.run, options.data)
    shown, what = picture(
        trained, source, split=options.split, count=options.count, data_seed=data_seed, seed=options.seed
    )
    save_picture(options.out, shown)
    out = Output.of(options)
    out.show(f"{trained.recipe.name} at step {trained.step}: {what}: {options.out}")
    out.record({**trained.describe(), "shown": what, "out": str(options.out)})
    return 0


def translate(options: argparse.Namespace) -> int:
    """Translates a folder of pictures."""
    trained = runs.load_generator(options.run, backend=options.backend, average=not options.last_weights)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed)
    out = Output.of(options)
    out.show(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    out.record({**trained.describe(), "pictures": count, "out": str(options.out)})
    return 0


def info(options: argparse.Namespace) -> int:
    """Shows what runs on this machine."""
    out = Output.of(options)
    versions = {"minigan": minigan.__version__, "python": platform.python_version(), "numpy": np.__version__}
    out.show("minigan {minigan}, Python {python}, NumPy {numpy}".format_map(versions))
    backends = {name: _backend_info(name) for name in BACKENDS}
    for name, found in backends.items():
        out.show(f"{name}: {found.get('engine') or found['error']}")
        if found.get("memory"):
            used, held, peak, free, total = map(size, found["memory"].values())
            out.show(f"  memory: {free} of {total} free; {held} held here (at most {peak}), of which arrays use {used}")
        for origin in ("native", "inherited"):
            if found.get(origin):
                out.show(f"  {origin} kernels: {', '.join(found[origin])}")
    out.record({**versions, "backends": backends})
    return 0


def _backend_info(name: str) -> dict[str, Any]:
    """A backend's engine and its kernels by origin, or the error that keeps it from running."""
    try:
        backend = get_backend(name)
    except MiniganError as error:
        return {"error": str(error)}
    memory, coverage = backend.memory(), backend.coverage()
    kernels = {origin: [row.kernel for row in coverage if row.origin == origin] for origin in ("native", "inherited")}
    return {"engine": backend.describe(), "memory": memory and memory._asdict(), **kernels}


def measure(options: argparse.Namespace) -> int:
    """Measures the speed of training steps and of sampling."""
    out = Output.of(options)
    models = options.models or ["mlp", "dcgan28", "dcgan32", "dcgan64"]
    for model in models:
        if model not in MODELS:
            raise ConfigError(f"unknown model {model!r}: expected some of {', '.join(MODELS)}. Choose among them.")
    backend = get_backend(options.backend)
    out.show(backend.describe())
    out.show(f"{'model':10} {'work':7} {'batch':>5} {'ms':>9} {'images/s':>10}")
    rows = []
    for model in models:
        for row in bench(model, backend, batch_size=options.batch_size, rounds=options.rounds, seconds=options.seconds):
            rows.append(row._asdict())
            speed = f"{row.milliseconds:9.2f} {row.images_per_second:10,.0f}"
            out.show(f"{row.model:10} {row.work:7} {row.batch_size:5} {speed}")
    out.record({"backend": backend.describe(), "measurements": rows})
    return 0


def warmup(options: argparse.Namespace) -> int:
    """Compiles all kernels."""
    backend = get_backend(options.backend)
    seconds = warm_up(backend)
    out = Output.of(options)
    out.show(f"{backend.describe()}: all kernels ready after {seconds:.1f} s")
    out.record({"backend": backend.describe(), "seconds": seconds})
    return 0


def gradcheck(options: argparse.Namespace) -> int:
    """Compares all gradients of a recipe's networks with finite differences."""
    out = Output.of(options)
    recipe = _recipe(options.recipe).from_settings({"batch_size": 4, **_settings(options)})
    dataset = recipe.open_data(options.data or recipe.default_data, seed=options.seed)
    recipe, rng = recipe.fit(dataset), np.random.default_rng(options.seed)
    learner = recipe.assemble(recipe.image_shape(dataset), backend=options.backend, dtype="float64", rng=rng)
    with contextlib.closing(dataset):
        batch = recipe.batch(next(recipe.loader(dataset, seed=options.seed, prefetch=0, shuffle=False)), rng)
    checks: list[GradientCheck] = []
    for network, x in learner.inputs(batch, rng):
        out.show(f"{network.summary()}\n")
        for path, found in itertools.groupby(check_network(network, x, rng=rng), key=lambda check: check.path):
            group = list(found)
            checks += group
            _show_layer(path, group, out)
        out.show()
    failed = sum(not check.passed for check in checks)
    out.record({"recipe": recipe.name, "failed": failed, "gradients": [check._asdict() for check in checks]})
    if failed:
        out.show(f"{failed} gradients are wrong; the first is that of the first layer marked FAIL above.")
        return 2
    out.show("all gradients and double gradients agree with finite differences.")
    return 0


def _show_layer(path: str, checks: Sequence[GradientCheck], out: Output) -> None:
    wrong = [check for check in checks if not check.passed]
    for check in wrong:
        out.show(str(check))
    if not wrong:
        error = max(check.error for check in checks)
        out.show(f"ok   {path:24} {len(checks):3} gradients, largest relative error {error:.1e}")


def import_run(options: argparse.Namespace) -> int:
    """Makes a run from the weights of PyTorch networks."""
    return import_weights(options, _settings(options))


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "sample": sample,
    "translate": translate,
    "evaluate": evaluate,
    "export": export_run,
    "import": import_run,
    "recipes": recipes,
    "info": info,
    "bench": measure,
    "warmup": warmup,
    "gradcheck": gradcheck,
    "completion": completion,
}
