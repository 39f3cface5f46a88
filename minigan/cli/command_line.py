"""The command line: its arguments, and how it ends. What the commands do is in `commands`."""

import argparse
import contextlib
import io
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import minigan
from minigan.cli.help_texts import EXIT_CODES, USAGE, Usage
from minigan.errors import ConfigError, MiniganError

__all__ = ["main"]

LARGEST = 10**9


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, 2 for a clear error, 3 for divergence, 130 for Ctrl-C."""
    texts = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the terminal lacks is no reason to stop
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _run(texts)
    except SystemExit as stop:  # argparse's, after --help or a usage error
        raise SystemExit(_flush(int(stop.code or 0))) from None
    return _flush(code)


def _run(texts: list[str]) -> int:
    try:
        options = _parse(texts)
        from minigan.cli.commands import COMMANDS  # here, so that --help comes at once

        return COMMANDS[options.command](options)
    except MiniganError as error:
        _complain(str(error))
        return error.exit_code
    except MemoryError as error:
        _complain(f"out of memory: {error}. Use a smaller --batch-size, image size or width.")
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 130  # the shell's code for a program ended by Ctrl-C
    except BrokenPipeError:  # the reader of our output went away: `minigan info | head -1`
        return 0
    except OSError as error:
        _complain(_os_error_text(error))
    return MiniganError.exit_code


def _flush(code: int) -> int:
    """Empties standard output; where that fails, the exit code says so, unless only the reader went away."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # so that the flush at exit has a place to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code or isinstance(error, BrokenPipeError):  # after an error there is nothing to add
            return code
        _complain(_os_error_text(error))
        return MiniganError.exit_code


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"minigan: {text}", file=sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001 (the signature of warnings.showwarning)
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """A warning as one line, like an error, without the place in the source that it came from."""
    _complain(str(message))


def _os_error_text(error: OSError) -> str:
    reason = error.strerror or error
    if error.filename is None:
        return f"cannot write to standard output: {reason}. Send it somewhere else."
    return f"{error.filename}: {reason}. Choose another path."


def _parse(texts: list[str]) -> argparse.Namespace:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"expected arguments in UTF-8, got {os.fsencode(text)!r}. Rename the file.") from None
    parser = _parser()
    options, unknown = parser.parse_known_args(texts)
    if unknown:
        from minigan.cli.commands import data_hint

        parser.error(f"unrecognized arguments: {' '.join(unknown)}.{data_hint(unknown[0])}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minigan",
        description="Generative adversarial networks with every gradient written by hand.",
        epilog=f"{EXIT_CODES}\n\nminigan COMMAND --help has the options of a command, and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minigan {minigan.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train a GAN, by default a DCGAN on the embedded digits"))

    sample = commands.add_parser("sample", help="draw pictures with a trained generator")
    sample.add_argument("run", metavar="RUN", type=Path, help="a run folder, model.safetensors or a checkpoint")
    sample.add_argument("--count", type=_count, help="how many (default 64 images, 2,500 points, or 8 pairs)")
    sample.add_argument("--data", metavar="SOURCE", help="pairs to show, or images to restore (default: the run's)")
    _add_split(sample)
    sample.add_argument("--class", dest="label", metavar="CLASS", help="of all of them: its number or name")
    sample.add_argument("--seed", type=_seed, default=0, help="of the noise (default 0)")
    sample.add_argument("--out", type=Path, default=Path("samples.png"), help="PNG to write (default samples.png)")
    sample.add_argument("--last-weights", action="store_true", help="of G, where a run kept their moving average, too")
    _add_backend(sample)
    sample.set_defaults(command="sample")

    translate = commands.add_parser("translate", help="translate a folder of pictures with a trained generator")
    translate.add_argument("run", metavar="RUN", type=Path, help="a run folder, model.safetensors or a checkpoint")
    translate.add_argument("folder", metavar="FOLDER", type=Path, help="of pictures to start from")
    translate.add_argument("--out", type=_folder, default=Path("translated"), metavar="DIR", help="for the PNGs")
    translate.add_argument("--seed", type=_seed, default=0, help="of Dropout, where G draws with it (default 0)")
    translate.add_argument("--last-weights", action="store_true", help="where a run kept their moving average, too")
    _add_backend(translate)
    translate.set_defaults(command="translate")

    _add_evaluate(commands.add_parser("evaluate", help="measure how near a trained generator is to its data"))

    _add_export(commands.add_parser("export", help="write a trained network for another program"))
    _add_import(commands.add_parser("import", help="make a run of a PyTorch network's weights"))

    recipes = commands.add_parser("recipes", help="list the recipes, or explain one")
    recipes.add_argument("recipe", nargs="?", metavar="RECIPE")
    _add_set(recipes)
    _add_backend(recipes)
    recipes.set_defaults(command="recipes")

    info = commands.add_parser("info", help="tell what runs here: versions, backends, kernels")
    info.set_defaults(command="info")

    bench = commands.add_parser("bench", help="measure training and sampling here")
    bench.add_argument("models", nargs="*", metavar="MODEL", help="mlp, dcgan28 to dcgan128, wgan-gp32 ...")
    bench.add_argument("--batch-size", type=_count, default=64)
    bench.add_argument("--rounds", type=_count, default=5, help="the median of these counts (default 5)")
    bench.add_argument("--seconds", type=_seconds, default=1.0, metavar="S", help="length of a round (default 1)")
    _add_backend(bench)
    bench.set_defaults(command="bench")

    warmup = commands.add_parser("warmup", help="compile all kernels now, so that the first training starts at once")
    _add_backend(warmup)
    warmup.set_defaults(command="warmup")

    gradcheck = commands.add_parser("gradcheck", help="check every gradient of a recipe against finite differences")
    gradcheck.add_argument("recipe", nargs="?", default="dcgan", metavar="RECIPE")
    gradcheck.add_argument("--data", help="batches come from here (default digits, of pairs shapes)")
    gradcheck.add_argument("--seed", type=_seed, default=0)
    _add_set(gradcheck)
    _add_backend(gradcheck, default="reference")
    gradcheck.set_defaults(command="gradcheck")

    completion = commands.add_parser("completion", help="print a script for a shell's completion by Tab")
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh", "powershell"))
    completion.set_defaults(command="completion", parser=parser)

    for name, usage in USAGE.items():
        _explain(commands.choices[name], usage)
    return parser


def _explain(command: argparse.ArgumentParser, usage: Usage) -> None:
    """Gives a command its description and examples, and the options that its output has."""
    command.description = usage.description
    command.epilog = "examples:\n" + textwrap.indent(usage.examples, "  ")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    if usage.json:
        command.add_argument("--json", action="store_true", help=f"print JSON: {usage.json}")
    if usage.quiet:
        command.add_argument("-q", "--quiet", action="store_true", help="print nothing but warnings and errors")


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="see 'minigan recipes' (default dcgan)")
    train.add_argument(
        "--data",
        metavar="SOURCE",
        help="digits, shapes, ring, grid, a path, or stacked: and one (default: the recipe's)",
    )
    train.add_argument("--steps", type=_count, help="steps in all (default: the recipe's)")
    train.add_argument("--batch-size", type=_count, help="default: the recipe's")
    train.add_argument("--out", type=_folder, metavar="DIR", help="run folder (default runs/RECIPE-DATA-1, -2, ...)")
    train.add_argument("--seed", type=_seed, help="of everything random (default 0)")
    train.add_argument("--resume", type=Path, metavar="RUN", help="folder or checkpoint; --steps and --data may differ")
    for name in ("log", "sample", "checkpoint"):
        train.add_argument(f"--{name}-every", type=_count, metavar="N", help=f"steps from {name} to {name}")
    train.add_argument("--evaluate-every", type=_count, metavar="N", help="log FID and KID, or modes (default: never)")
    train.add_argument("--keep", type=_count, metavar="N", help="of the last checkpoints (default 3), and the best")
    train.add_argument("--best", metavar="FIGURE", help="fid, kid, modes or high_quality (default: fid or modes)")
    _add_set(train)
    _add_backend(train, default=None)
    train.set_defaults(command="train")


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("run", metavar="RUN", type=Path, help="a run folder, model.safetensors or a checkpoint")
    evaluate.add_argument("--data", metavar="SOURCE", help="to compare with (default: what the run was trained on)")
    evaluate.add_argument(
        "--count", type=_count, help="samples (default 10,000 images, 26,000 stacked, 2,500 points, all pairs)"
    )
    _add_split(evaluate)
    evaluate.add_argument("--seed", type=_seed, default=0, help="of the noise and every choice (default 0)")
    evaluate.add_argument(
        "--features", choices=("classifier", "pixels"), help="default: a classifier where the data has labels"
    )
    evaluate.add_argument(
        "--out", type=_folder, metavar="DIR", help="for evaluation.json and evaluation.png (default: the run folder)"
    )
    evaluate.add_argument(
        "--last-weights", action="store_true", help="of G, where a run kept their moving average, too"
    )
    _add_backend(evaluate)
    evaluate.set_defaults(command="evaluate")


class _Formats:
    """The names in `minigan.export.FORMATS`, which is imported when somebody asks for them."""

    def __iter__(self) -> Iterator[str]:
        from minigan.export import FORMATS

        return iter(FORMATS)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a model.safetensors file")
    export.add_argument(
        "--to",
        choices=_Formats(),
        metavar="FORMAT",
        required=True,
        help="numpy: a Python file, onnx: a graph for ONNX Runtime, torch: a state dict for PyTorch",
    )
    export.add_argument("--out", type=_folder, required=True, metavar="PATH", help="file to write (numpy: folder)")
    export.add_argument("--last-weights", action="store_true", help="where a run kept their moving average, too")
    export.add_argument("--network", default="G", metavar="NAME", help="G, D or encoder (torch; default G)")
    export.add_argument("--prefix", help="of the tensors' names (torch): main. for PyTorch's DCGAN example")
    export.add_argument(
        "--fold", action=argparse.BooleanOptionalAction, help="BatchNorm into weights (onnx; default on)"
    )
    export.add_argument("--opset", type=int, help="of ONNX, 17 to 21 (onnx; default 17)")
    export.add_argument("--layout", choices=("nchw", "nhwc"), help="of images (onnx; default nchw)")
    export.set_defaults(command="export")


def _add_import(import_: argparse.ArgumentParser) -> None:
    import_.add_argument("weights", metavar="WEIGHTS", type=Path, help="G's state dict, a safetensors file")
    import_.add_argument("--recipe", default="dcgan", help="whose networks they are of (default dcgan)")
    import_.add_argument("--discriminator", type=Path, metavar="FILE", help="D's state dict (default: a new D)")
    import_.add_argument("--data", metavar="SOURCE", help="to train on further (default: the recipe's)")
    import_.add_argument("--seed", type=_seed, default=0, help="of everything random (default 0)")
    import_.add_argument("--out", type=_folder, metavar="DIR", help="run folder (default runs/RECIPE-WEIGHTS-1 ...)")
    _add_set(import_)
    _add_backend(import_)
    import_.set_defaults(command="import")


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", metavar="NAME", help="of pairs and restored images: train, val ... (default: what was held out)"
    )


def _add_backend(parser: argparse.ArgumentParser, *, default: str | None = "auto") -> None:
    from minigan.backends import BACKENDS

    parser.add_argument("--backend", choices=("auto", *BACKENDS), default=default, help="default: the fastest here")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change settings of the recipe"
    )


def _count(text: str) -> int:
    return _whole(text, least=1, rule="be positive")


def _seed(text: str) -> int:
    return _whole(text, least=0, rule="not be negative")


def _whole(text: str, *, least: int, rule: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must {rule}, got {value}")
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"must be at most {LARGEST:,}, got {value}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text!r}")
    return value


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got ''")
    return Path(text)
