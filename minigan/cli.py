"""The command line."""

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import minigan
from minigan.errors import ConfigError, MiniganError

if TYPE_CHECKING:
    from minigan.runs import RunConfig

INTERRUPTED = 130  # the shell's code for a program ended by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, 2 for a clear error, 3 for divergence, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except MiniganError as error:
        print(f"minigan: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError as error:
        print(f"minigan: out of memory: {error}. Use a smaller --batch-size, image size or width.", file=sys.stderr)
        return MiniganError.exit_code
    except KeyboardInterrupt:
        print("minigan: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away: `minigan info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit has a place to go
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minigan", description="Generative adversarial networks with every gradient written by hand."
    )
    parser.add_argument("--version", action="version", version=f"minigan {minigan.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train a GAN, by default a DCGAN on the embedded digits"))

    sample = commands.add_parser("sample", help="draw pictures with a trained generator")
    sample.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a model.safetensors file")
    sample.add_argument("--count", type=_positive, help="how many (default 64 images, or 2,500 points)")
    sample.add_argument("--seed", type=_seed, default=0, help="of the noise (default 0)")
    sample.add_argument("--out", type=Path, default=Path("samples.png"), help="PNG to write (default samples.png)")
    _add_backend(sample)
    sample.set_defaults(command=_sample)

    recipes = commands.add_parser("recipes", help="list the recipes, or explain one")
    recipes.add_argument("recipe", nargs="?", metavar="RECIPE")
    recipes.set_defaults(command=_recipes)

    info = commands.add_parser("info", help="tell what runs here: versions, backends, kernels")
    info.set_defaults(command=_info)

    bench = commands.add_parser("bench", help="measure training and sampling here")
    bench.add_argument("models", nargs="*", metavar="MODEL", help="mlp, dcgan28, dcgan32, dcgan64 or dcgan128")
    bench.add_argument("--batch-size", type=_positive, default=64)
    bench.add_argument("--rounds", type=_positive, default=5, help="the median of these counts (default 5)")
    bench.add_argument("--seconds", type=float, default=1.0, help="length of a round (default 1)")
    bench.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_backend(bench)
    bench.set_defaults(command=_bench)

    warmup = commands.add_parser("warmup", help="compile all kernels now, so that the first training starts at once")
    _add_backend(warmup)
    warmup.set_defaults(command=_warmup)

    gradcheck = commands.add_parser("gradcheck", help="check every gradient of a recipe against finite differences")
    gradcheck.add_argument("recipe", nargs="?", default="dcgan", metavar="RECIPE")
    gradcheck.add_argument("--data", default="digits", help="batches come from here (default digits)")
    gradcheck.add_argument("--seed", type=_seed, default=0)
    _add_set(gradcheck)
    _add_backend(gradcheck, default="numpy")
    gradcheck.set_defaults(command=_gradcheck)
    return parser


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="see 'minigan recipes' (default dcgan)")
    train.add_argument("--data", metavar="SOURCE", help="digits, shapes, ring, grid, or a path (default digits)")
    train.add_argument("--steps", type=_positive, help="steps in all (default: the recipe's)")
    train.add_argument("--batch-size", type=_positive, help="default: the recipe's")
    train.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/RECIPE-DATA-1, -2, ...)")
    train.add_argument("--seed", type=_seed, help="of everything random (default 0)")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with a run; only --steps may be given, too")
    for name in ("log", "sample", "checkpoint"):
        train.add_argument(f"--{name}-every", type=_positive, metavar="N", help=f"steps from {name} to {name}")
    _add_set(train)
    _add_backend(train, default=None)
    train.set_defaults(command=_train)


def _add_backend(parser: argparse.ArgumentParser, *, default: str | None = "auto") -> None:
    from minigan.backends import BACKENDS

    parser.add_argument("--backend", choices=("auto", *BACKENDS), default=default, help="default: the fastest here")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change settings of the recipe"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be positive, got {value}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value}")
    return value


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    settings = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set expects KEY=VALUE, got {text!r}.")
        settings[key] = value
    return settings


def _train(options: argparse.Namespace) -> int:
    from minigan import runs
    from minigan.report.progress import open_progress
    from minigan.training import Interruption

    if options.resume is not None:
        run = runs.open_run(_resumed_config(options), options.resume)
        warning = runs.resume(run)
        if warning is not None:
            print(f"minigan: {warning}", file=sys.stderr)
    else:
        config = _new_config(options)
        folder = options.out or runs.new_folder(config.recipe, config.data)
        run = runs.open_run(config, folder)
        runs.start(run)
    trainer = run.trainer
    print(f"{run.recipe.name} on {run.dataset.describe()}")
    print(f"{run.backend.describe()}; run folder {trainer.folder}")
    if trainer.step >= trainer.steps:
        print(f"all {trainer.step} steps are done; --steps N with a larger N goes further.")
        return 0
    progress = open_progress(start=trainer.step, total=trainer.steps)
    with Interruption() as interruption, trainer.loader, progress:
        trainer.run(progress, interruption)
    if interruption.requested:
        print(f"stopped at step {trainer.step}. Go on with: minigan train --resume {trainer.folder}")
        return INTERRUPTED
    print(f"done: {trainer.folder / 'samples' / f'step-{trainer.step:06}.png'}")
    print(f"more: minigan sample {trainer.folder}")
    return 0


def _new_config(options: argparse.Namespace) -> "RunConfig":
    from minigan import runs
    from minigan.recipes import get_recipe
    from minigan.training import Rhythm

    settings = _settings(options.set)
    for flag in ("steps", "batch_size"):
        if getattr(options, flag) is not None:
            settings[flag] = getattr(options, flag)
    recipe = get_recipe(options.recipe or "dcgan").from_settings(settings)
    every = {f"{n}_every": getattr(options, f"{n}_every") for n in ("log", "sample", "checkpoint")}
    return runs.RunConfig(
        recipe=recipe.name,
        settings=recipe.settings(),
        data=options.data or "digits",
        seed=options.seed or 0,
        backend=options.backend or "auto",
        rhythm=Rhythm(**{name: n for name, n in every.items() if n is not None}),
    )


def _resumed_config(options: argparse.Namespace) -> "RunConfig":
    from minigan import runs

    given = [
        f"--{name.replace('_', '-')}"
        for name in ("data", "batch_size", "out", "seed", "backend", "log_every", "sample_every", "checkpoint_every")
        if getattr(options, name) is not None
    ]
    given += ["RECIPE"] * (options.recipe is not None) + ["--set"] * bool(options.set)
    if given:
        raise ConfigError(
            f"--resume goes on with the run's own configuration, got {', '.join(given)} beside it. "
            "Leave them out, or start a new run."
        )
    return runs.read_config(options.resume, steps=options.steps)


def _sample(options: argparse.Namespace) -> int:
    import numpy as np

    from minigan.runs import load_generator
    from minigan.sampling import render, save_picture

    trained = load_generator(options.run, backend=options.backend)
    samples = trained.samples(np.random.default_rng(options.seed), options.count)
    save_picture(options.out, render(samples, extent=trained.extent))
    print(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}: {options.out}")
    return 0


def _recipes(options: argparse.Namespace) -> int:
    from minigan.recipes import RECIPES, get_recipe

    if options.recipe is None:
        for name, recipe in RECIPES.items():
            print(f"{name:8} {(recipe.__doc__ or '').splitlines()[0]}")
        print("\nminigan recipes RECIPE explains one; minigan train RECIPE --set KEY=VALUE changes its settings.")
        return 0
    recipe = get_recipe(options.recipe)
    print((sys.modules[recipe.__module__].__doc__ or "").strip(), "\n")
    print("Settings and their defaults:")
    for name, value in recipe().settings().items():
        print(f"  {name} = {value}")
    return 0


def _info(options: argparse.Namespace) -> int:  # noqa: ARG001 (a command's signature)
    import platform

    import numpy as np

    from minigan.backends import BACKENDS, get_backend

    print(f"minigan {minigan.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    for name in BACKENDS:
        try:
            backend = get_backend(name)
        except MiniganError as error:
            print(f"{name}: {error}")
            continue
        print(f"{name}: {backend.describe()}")
        coverage = backend.coverage()
        for origin in ("native", "inherited"):
            kernels = [row.kernel for row in coverage if row.origin == origin]
            if kernels:
                print(f"  {origin} kernels: {', '.join(kernels)}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    import json

    from minigan.backends import get_backend
    from minigan.bench import MODELS, bench

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


def _warmup(options: argparse.Namespace) -> int:
    from minigan.backends import get_backend
    from minigan.bench import warm_up

    backend = get_backend(options.backend)
    print(f"{backend.describe()}: all kernels ready after {warm_up(backend):.1f} s")
    return 0


def _gradcheck(options: argparse.Namespace) -> int:
    import numpy as np

    from minigan.backends import get_backend
    from minigan.gradcheck import check_network
    from minigan.recipes import get_recipe
    from minigan.runs import open_data

    recipe = get_recipe(options.recipe).from_settings({"batch_size": 4, **_settings(options.set)})
    dataset = open_data(recipe, options.data, seed=options.seed)
    rng = np.random.default_rng(options.seed)
    step = recipe.assemble(dataset.shape, backend=get_backend(options.backend), dtype="float64", rng=rng)
    images = recipe.prepare(dataset.read(np.arange(recipe.batch_size)).astype(np.float64))
    failed = 0
    for network, x in ((step.G, recipe.noise(rng, recipe.batch_size)), (step.D, images)):
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
