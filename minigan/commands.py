"""What each command of the command line does, given its parsed arguments. Each returns the exit code."""

import argparse
import contextlib
import inspect
import itertools
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import numpy as np

import minigan
from minigan import runs
from minigan.backends import BACKENDS, Backend, get_backend
from minigan.bench import MODELS, bench, warm_up
from minigan.data import EMBEDDED
from minigan.errors import BackendError, ConfigError, MiniganError, MissingExtraError
from minigan.evaluate import evaluate
from minigan.gradcheck import check_network
from minigan.memory import size
from minigan.recipes import RECIPES, Recipe, TranslationRecipe, get_recipe
from minigan.report.progress import open_progress
from minigan.sampling import render, save_picture
from minigan.training import Interruption, Rhythm
from minigan.translate import picture, translate_folder, translation_recipe

__all__ = ["COMMANDS", "INTERRUPTED", "data_hint"]

INTERRUPTED = 130  # the shell's code for a program ended by Ctrl-C


def train(options: argparse.Namespace) -> int:
    run = _resumed(options) if options.resume is not None else _started(options)
    trainer = run.trainer
    run.backend.compile_ahead()
    progress = open_progress(start=trainer.step, total=trainer.steps)
    progress.message(f"{run.recipe.name} on {run.dataset.describe()}")
    progress.message(f"{run.backend.describe()}; run folder {trainer.folder}")
    if options.resume is None and options.backend in (None, "auto") and (choice := _why_this(run.backend)):
        progress.message(choice)
    if find_spec("numba") is None and run.backend.name == "numpy":
        progress.message("pip install 'minigan[numba]' trains several times faster.")
    if trainer.step >= trainer.steps:
        progress.message(f"all {trainer.step} steps are done; --steps N with a larger N goes further.")
        return 0
    with contextlib.closing(run.dataset), trainer.loader, progress, Interruption(progress.message) as interruption:
        trainer.run(progress, interruption)
    if trainer.step < trainer.steps:
        progress.message(f"stopped at step {trainer.step}. Go on with: minigan train --resume {trainer.folder}")
        return INTERRUPTED
    progress.message(f"done: {trainer.folder / 'samples' / f'step-{trainer.step:06}.png'}")
    progress.message(f"more: minigan sample {trainer.folder}")
    return 0


def _why_this(backend: Backend) -> str | None:
    """A line on what `--backend auto` chose, where there is or ought to be a GPU."""
    if backend.name == "cupy":
        return "--backend auto chose the GPU; --backend numba trains on the CPU."
    try:
        get_backend("cupy")
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
        )
        if getattr(options, name) is not None
    ]
    given += ["RECIPE"] * (options.recipe is not None) + ["--set"] * bool(options.set)
    if given:
        raise ConfigError(
            f"--resume goes on with the run's own configuration, got {', '.join(given)} beside it. "
            "Leave them out, or start a new run."
        )
    run = runs.reopen_run(options.resume, steps=options.steps, data=options.data)
    for warning in runs.resume(run):
        with contextlib.suppress(OSError):  # nobody reads it: no reason not to train
            print(f"minigan: {warning}", file=sys.stderr)
    return run


def _new_config(options: argparse.Namespace) -> runs.RunConfig:
    recipe = _recipe(options.recipe or "dcgan").from_settings(_settings(options))
    every = {f"{n}_every": getattr(options, f"{n}_every") for n in ("log", "sample", "checkpoint", "evaluate")}
    return runs.RunConfig(
        recipe=recipe.name,
        settings=recipe.settings(),
        data=recipe.default_data if options.data is None else options.data,
        seed=options.seed or 0,
        backend=options.backend or "auto",
        rhythm=Rhythm(**{name: n for name, n in every.items() if n is not None}),
    )


def _recipe(name: str) -> type[Recipe]:
    try:
        return get_recipe(name)
    except ConfigError as error:
        raise ConfigError(f"{error}{data_hint(name)}") from None


def data_hint(text: str) -> str:
    """What to say of a word that stands where no source of data is expected, if it is one."""
    return f" Did you mean --data {text}?" if text in EMBEDDED or os.path.exists(text) else ""


def _settings(options: argparse.Namespace) -> dict[str, str | int]:
    """The recipe's settings from --set and from the flags that are settings, too."""
    settings: dict[str, str | int] = dict(_pairs(options.set))
    for name in ("steps", "batch_size"):
        value = getattr(options, name, None)
        if value is None:
            continue
        if settings.get(name, str(value)) != str(value):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {value} and --set {name}={settings[name]} disagree. Give only one of them.")
        settings[name] = value
    return settings


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            remedy = " Put the recipe before --set." if text in RECIPES else ""
            raise ConfigError(f"--set expects KEY=VALUE, got {text!r}.{remedy}")
        pairs[key] = value
    return pairs


def sample(options: argparse.Namespace) -> int:
    trained = runs.load_generator(options.run, backend=options.backend, average=not options.last_weights)
    if isinstance(trained.recipe, TranslationRecipe):
        return _sample_pairs(trained, options)
    if options.data is not None or options.split is not None:
        translation_recipe(trained)
    label = None if options.label is None else trained.label(options.label)
    samples = trained.samples(np.random.default_rng(options.seed), options.count, label=label)
    save_picture(options.out, render(samples, extent=trained.extent))
    weights = ", moving average" if trained.averaged else ""
    print(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    return 0


def _sample_pairs(trained: runs.TrainedGenerator, options: argparse.Namespace) -> int:
    if options.label is not None:
        raise ConfigError(f"{trained.recipe.name} draws from images, not by class. Leave --class out.")
    source, data_seed = runs.run_data(options.run, options.data)
    shown, what = picture(
        trained, source, split=options.split, count=options.count, data_seed=data_seed, seed=options.seed
    )
    save_picture(options.out, shown)
    print(f"{trained.recipe.name} at step {trained.step}: {what}: {options.out}")
    return 0


def translate(options: argparse.Namespace) -> int:
    trained = runs.load_generator(options.run, backend=options.backend, average=not options.last_weights)
    count = translate_folder(trained, options.folder, options.out, seed=options.seed)
    print(f"{count:,} pictures translated by {trained.recipe.name} at step {trained.step}: {options.out}")
    return 0


def recipes(options: argparse.Namespace) -> int:
    if options.recipe is None:
        width = max(map(len, RECIPES))
        for name, recipe in RECIPES.items():
            print(f"{name:{width}} {(recipe.__doc__ or '').splitlines()[0]}")
        print("\nminigan recipes RECIPE explains one; minigan train RECIPE --set KEY=VALUE changes its settings.")
        return 0
    recipe = get_recipe(options.recipe)
    networks = _networks(recipe.from_settings(dict(_pairs(options.set))), options.backend)
    print((sys.modules[recipe.__module__].__doc__ or "").strip(), "\n")
    print("Settings, their defaults and what they mean:")
    meanings = _meanings(recipe)
    defaults = {name: f"{name} = {value}" for name, value in recipe().settings().items()}
    width = max(map(len, defaults.values()))
    for name, default in defaults.items():
        print(f"  {default:{width}}  {meanings.get(name, '')}".rstrip())
    print(f"\n{networks}")
    return 0


def _networks(recipe: Recipe, backend: str) -> str:
    """The tables of G and D, for images of the recipe's size and number of channels: RGB, unless it says otherwise."""
    image_shape = (*recipe.fit_size(None), recipe.channels or 3)
    learner = recipe.assemble(image_shape, backend=get_backend(backend), rng=np.random.default_rng(0))
    return "\n\n".join(network.summary(batch_size=recipe.batch_size) for network in learner.networks.values())


def _meanings(recipe: type[Recipe]) -> Mapping[str, str]:
    """What the sections "Settings:" in the docstrings of a recipe and its bases say of each setting."""
    meanings: dict[str, str] = {}
    for base in reversed(recipe.__mro__):
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("Settings:\n")
        section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
        section = re.sub(r"\n {5,}", " ", section)  # a line that goes on
        for names, meaning in re.findall(r"^ +([\w, ]+): (.+)$", section, flags=re.MULTILINE):
            meanings |= {name.strip(): meaning for name in names.split(",")}
    return meanings


def info(options: argparse.Namespace) -> int:  # noqa: ARG001 (a command's signature)
    print(f"minigan {minigan.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    for name in BACKENDS:
        try:
            backend = get_backend(name)
        except MiniganError as error:
            print(f"{name}: {error}")
            continue
        print(f"{name}: {backend.describe()}")
        if (memory := backend.memory()) is not None:
            used, held, peak, free, total = map(size, memory)
            print(f"  memory: {free} of {total} free; {held} held here ({peak} at most), of which arrays use {used}")
        coverage = backend.coverage()
        for origin in ("native", "inherited"):
            kernels = [row.kernel for row in coverage if row.origin == origin]
            if kernels:
                print(f"  {origin} kernels: {', '.join(kernels)}")
    return 0


def measure(options: argparse.Namespace) -> int:
    models = options.models or ["mlp", "dcgan28", "dcgan32", "dcgan64"]
    for model in models:
        if model not in MODELS:
            raise ConfigError(f"unknown model {model!r}: expected some of {', '.join(MODELS)}.")
    backend = get_backend(options.backend)
    if not options.json:
        print(backend.describe())
        print(f"{'model':10} {'work':7} {'batch':>5} {'ms':>9} {'images/s':>10}")
    rows = []
    for model in models:
        for row in bench(model, backend, batch_size=options.batch_size, rounds=options.rounds, seconds=options.seconds):
            rows.append(row._asdict())
            if not options.json:
                print(
                    f"{row.model:10} {row.work:7} {row.batch_size:5} {row.milliseconds:9.2f} "
                    f"{row.images_per_second:10,.0f}",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"backend": backend.describe(), "measurements": rows}, indent=1))
    return 0


def warmup(options: argparse.Namespace) -> int:
    backend = get_backend(options.backend)
    print(f"{backend.describe()}: all kernels ready after {warm_up(backend):.1f} s")
    return 0


def gradcheck(options: argparse.Namespace) -> int:
    recipe = _recipe(options.recipe).from_settings({"batch_size": 4, **_settings(options)})
    dataset = recipe.open_data(options.data or recipe.default_data, seed=options.seed)
    recipe, rng = recipe.fit(dataset), np.random.default_rng(options.seed)
    learner = recipe.assemble(
        recipe.image_shape(dataset), backend=get_backend(options.backend), dtype="float64", rng=rng
    )
    with contextlib.closing(dataset):
        batch = recipe.batch(next(recipe.loader(dataset, seed=options.seed, prefetch=0, shuffle=False)), rng)
    failed = 0
    for network, x in learner.inputs(batch, rng):
        print(network.summary(), "\n")
        for path, checks in itertools.groupby(check_network(network, x, rng=rng), key=lambda check: check.path):
            group = list(checks)
            wrong = [check for check in group if not check.passed]
            failed += len(wrong)
            for check in wrong:
                print(check)
            if not wrong:
                error = max(check.error for check in group)
                print(f"ok   {path:24} {len(group):3} gradients, largest relative error {error:.1e}")
        print()
    if failed:
        print(f"{failed} gradients are wrong; the first layer named FAIL above has the first of them.")
        return 2
    print("all gradients and double gradients agree with finite differences.")
    return 0


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "sample": sample,
    "translate": translate,
    "evaluate": evaluate,
    "recipes": recipes,
    "info": info,
    "bench": measure,
    "warmup": warmup,
    "gradcheck": gradcheck,
}
