"""The commands of the command line: functions from parsed arguments to an exit code."""

import argparse
import contextlib
import itertools
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import minigan
from minigan.backends import BACKENDS, get_backend
from minigan.cli.bench import MODELS, bench, warm_up
from minigan.cli.evaluate import evaluate
from minigan.cli.export_import import export_run, import_weights
from minigan.cli.flags import FLAGS, as_flags
from minigan.cli.recipes import parse_settings, recipes
from minigan.cli.shell_completion import completion
from minigan.data import EMBEDDED
from minigan.errors import ConfigError, MiniganError
from minigan.nn.gradcheck import GradientCheck, check_network
from minigan.recipes import TranslationRecipe
from minigan.runs import RunConfig, TrainedGenerator, load_generator
from minigan.runs.config import new_config
from minigan.runs.folders import run_data
from minigan.runs.prepare import PreparedRun
from minigan.runs.session import recipe_named, resume_run, start_run, train_run
from minigan.runs.translation import picture, translate_folder, translation_recipe
from minigan.support.output import Output
from minigan.support.progress import Progress
from minigan.support.representation import short_path
from minigan.training.exhibit import render, save_picture
from minigan.training.out_of_memory import size
from minigan.training.state import TrainingState

__all__ = ["COMMANDS", "INTERRUPTED", "data_hint"]

INTERRUPTED = 130  # the shell's exit code for a program that Ctrl-C ended
RHYTHM = ("log_every", "sample_every", "checkpoint_every", "evaluate_every", "log_gradients")


def train(options: argparse.Namespace) -> int:
    """Trains to the last step, or until interrupted."""
    out = Output.of(options)
    if options.resume is None:
        prepared = start_run(_new_config(options), options.out)
    else:
        prepared, run_warnings = _resumed(options)
        for warning in run_warnings:
            with contextlib.suppress(OSError):  # a closed stderr must not stop the training
                print(f"minigan: {as_flags(warning)}", file=sys.stderr)
    chosen = options.resume is not None or options.backend not in (None, "auto")
    progress = train_run(prepared, output=out, chosen=chosen)
    state = prepared.trainer.state
    if progress is not None:
        _say_what_next(state, progress)
    steps = {"step": state.step, "steps": state.steps}
    engine = prepared.config.engine
    out.record({"recipe": prepared.recipe.name, "run": short_path(state.folder), **steps, "engine": engine})
    return 0 if state.step >= state.steps else INTERRUPTED


def _say_what_next(state: TrainingState, progress: Progress) -> None:
    folder = short_path(state.folder)
    if state.step < state.steps:
        progress.message(f"stopped at step {state.step}. Resume with: minigan train --resume {folder}")
    else:
        progress.message(f"done: {os.path.join(folder, 'samples', f'step-{state.step:06}.png')}")
        progress.message(f"more: minigan sample {folder}")


def _resumed(options: argparse.Namespace) -> tuple[PreparedRun, tuple[str, ...]]:
    fixed = ("batch_size", "out", "seed", "backend", *RHYTHM, "keep", "best")
    given = [FLAGS[name] for name in fixed if getattr(options, name) is not None]
    given += ["RECIPE"] * (options.recipe is not None) + ["--set"] * bool(options.set)
    if given:
        raise ConfigError(
            f"--resume takes the run's own configuration, got {', '.join(given)} in addition. "
            "Leave them out, or start a new run."
        )
    return resume_run(options.resume, steps=options.steps, data=options.data)


def _new_config(options: argparse.Namespace) -> RunConfig:
    named = {name: getattr(options, name) for name in ("data", "seed", "backend", *RHYTHM, "keep", "best")}
    return new_config(recipe_named(options.recipe or "dcgan").from_settings(_settings(options)), **named)


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
    trained = load_generator(options.run, backend=options.backend, average=not options.last_weights)
    if isinstance(trained.recipe, TranslationRecipe):
        return _sample_pairs(trained, options)
    if options.data is not None or options.split is not None:
        translation_recipe(trained, remedy="Sample it without `data` and `split`.")
    label = None if options.label is None else trained.label(options.label)
    samples = trained.sample(options.count, seed=options.seed, label=label)
    save_picture(options.out, render(samples, extent=trained.extent))
    weights = ", moving average" if trained.averaged else ""
    out = Output.of(options)
    out.show(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    out.record({**trained.describe(), "samples": len(samples), "out": str(options.out)})
    return 0


def _sample_pairs(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    if options.label is not None:
        raise ConfigError(f"{trained.recipe.name} draws from images, got --class {options.label}. Leave --class out.")
    source, data_seed = run_data(options.run, options.data)
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
    trained = load_generator(options.run, backend=options.backend, average=not options.last_weights)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed)
    out = Output.of(options)
    out.show(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    out.record({**trained.describe(), "pictures": count, "out": str(options.out)})
    return 0


def info(options: argparse.Namespace) -> int:
    """Shows versions, and the backends that can be used on this machine."""
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
    recipe = recipe_named(options.recipe).from_settings({"batch_size": 4, **_settings(options)})
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
