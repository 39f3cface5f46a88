"""The command line: its arguments, its errors and its exit codes. The commands themselves are in `commands`."""

import argparse
import contextlib
import errno
import io
import math
import os
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import minigan
from minigan.cli.flags import as_flags
from minigan.cli.help_texts import EXIT_CODES, USAGE, Usage
from minigan.cli.ranks import end_together, in_words, is_needed, silence
from minigan.errors import FOLDER_GONE, MiniganError, is_current_folder_gone, printable
from minigan.support.launch import find_launch
from minigan.support.output import ReaderGoneError, cannot_print, print_line
from minigan.support.threads import limit_blas

__all__ = ["main"]

LARGEST = 10**9
MOST_SEEDS = 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 2 for a clear error, 3 for divergence, 130 for Ctrl-C.

    Args:
        arguments: the words of the command line after `minigan`; None takes those of this process.
    """
    texts = sys.argv[1:] if arguments is None else list(arguments)
    _occupy_standard_files()
    if not find_launch().is_first:
        silence()
    limit_blas()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # letters that the terminal lacks are escaped
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _run(texts)
    except SystemExit as stop:  # raised by argparse after --help or a usage error
        raise SystemExit(_flush(int(stop.code or 0))) from None
    return _flush(code)


def _occupy_standard_files() -> None:
    """Opens the null device in place of a standard stream that was closed.

    Otherwise the next file that is opened would get its number, and a library that prints would print into that file.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)


def _run(texts: list[str]) -> int:
    launch = find_launch()
    try:
        options = _parse(texts)
        if not is_needed(launch, options):
            return 0
        from minigan.cli.commands import COMMANDS  # late, so that --help is quick

        return COMMANDS[options.command](options)
    except Exception as error:
        code = _said(error)
        if code is None:  # a bug: Python prints the traceback, and the notes below it
            error.__notes__ = [as_flags(note) for note in getattr(error, "__notes__", ())]
            raise
        return end_together(launch, code, error)
    except KeyboardInterrupt as error:
        _complain(f"interrupted.{_notes(error)}")
        return end_together(launch, 130, error)  # the shell's code for a program ended by Ctrl-C


def _said(error: Exception) -> int | None:
    """Says in a line what has ended the command, and returns the exit code; None for a bug, which needs more lines."""
    code = MiniganError.exit_code
    if isinstance(error, MiniganError):
        code = error.exit_code
        _complain(str(error))
    elif isinstance(error, MemoryError):
        reason = str(error) or "the system gave no more"
        _complain(f"out of memory: {reason}. Use a smaller --batch-size, image size or width.{_notes(error)}")
    elif isinstance(error, ReaderGoneError):
        return 0
    elif isinstance(error, OSError):
        _complain(f"{_os_error_text(error)}{_notes(error)}")
    else:
        return None
    return code


def _notes(error: BaseException) -> str:
    """Lines that were added to an error on its way, such as the command that resumes a run."""
    return "".join(f" {note}" for note in getattr(error, "__notes__", ()))


def _flush(code: int) -> int:
    """Flushes standard output; if that fails, the exit code says so, unless only the reader has ended."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # so that Python's flush at exit succeeds
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code or isinstance(error, BrokenPipeError):  # an error has been reported already
            return code
        _complain(str(cannot_print(error)))
        return MiniganError.exit_code


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print_line(printable(f"minigan: {in_words(find_launch(), as_flags(text))}"), sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001 (the signature of warnings.showwarning)
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Prints a warning as one line, like an error, without its place in the source; a library's may have more lines."""
    _complain(str(message).partition("\n")[0])


def _os_error_text(error: OSError) -> str:
    reason = error.strerror or error
    if error.errno == errno.ENOENT and is_current_folder_gone():
        return FOLDER_GONE[0].lower() + FOLDER_GONE[1:]
    if error.filename is not None:
        return f"{error.filename}: {reason}. Choose another path."
    places = traceback.extract_tb(error.__traceback__)
    where = f", in {os.path.basename(places[-1].filename)}, line {places[-1].lineno}" if places else ""
    return f"the system refused a call: {reason}{where}. A sandbox or a limit may forbid it: try without."


def _parse(texts: list[str]) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_args(texts)
    if unknown:
        from minigan.runs.session import data_hint

        parser.error(f"unrecognized arguments: {' '.join(unknown)}.{as_flags(data_hint(unknown[0]))}")
    options.words = as_flags
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minigan",
        description="Generative adversarial networks with every gradient written by hand.",
        epilog=f"{EXIT_CODES}\n\nminigan COMMAND --help shows a command's options and examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minigan {minigan.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, add_arguments in ARGUMENTS.items():
        usage = USAGE[name]
        command = commands.add_parser(name, help=usage.summary)
        add_arguments(command)
        command.set_defaults(command=name)
        _explain(command, usage)
    commands.choices["completion"].set_defaults(parser=parser)
    return parser


def _explain(command: argparse.ArgumentParser, usage: Usage) -> None:
    """Adds a command's description and examples, and the options --json and --quiet if it has them."""
    command.description = usage.description
    command.epilog = "examples:\n" + textwrap.indent(usage.examples, "  ")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    if usage.json:
        command.add_argument("--json", action="store_true", help=f"print JSON: {usage.json}")
    if usage.quiet:
        command.add_argument("-q", "--quiet", action="store_true", help="print nothing but warnings and errors")


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="recipe, see 'minigan recipes' (default dcgan)")
    train.add_argument(
        "--data",
        metavar="SOURCE",
        help="digits, shapes, tinted, ring, grid or a path, also after stacked: (default: the recipe's)",
    )
    _add_targets(train, "folder or zip of the targets, if SOURCE holds only one picture of each pair")
    _add_data_b(train, "source of the images of B, for unpaired data; SOURCE has those of A")
    train.add_argument("--steps", type=_count, help="number of steps in all (default: the recipe's)")
    train.add_argument("--batch-size", type=_count, help="examples in a step (default: the recipe's)")
    train.add_argument("--out", type=_folder, metavar="DIR", help="run folder (default runs/RECIPE-DATA-1, -2, ...)")
    train.add_argument("--seed", type=_seed, help="seed of everything random (default 0)")
    train.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="run folder or checkpoint to resume; only --steps, --data, --targets, --data-b and --precision may change",
    )
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done (data, networks, memory, time, folder) after a few steps in memory; write nothing",
    )
    for name, what in (("log", "log record"), ("sample", "picture"), ("checkpoint", "checkpoint")):
        train.add_argument(f"--{name}-every", type=_count, metavar="N", help=f"steps from one {what} to the next")
    train.add_argument(
        "--evaluate-every",
        type=_count,
        metavar="N",
        help="steps from one evaluation to the next: FID and KID, modes, or of held-out images PSNR, agreement, cycle "
        "error (default: never)",
    )
    train.add_argument(
        "--log-gradients",
        type=_count,
        metavar="N",
        help="steps from one record with the norm of each layer's gradients to the next (default: never)",
    )
    train.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="number of last checkpoints to keep, in addition to the best (default 3)",
    )
    train.add_argument(
        "--best",
        metavar="FIGURE",
        help="figure of the best, of those evaluated: fid, modes, psnr, cycle_A ... (default: the first)",
    )
    train.add_argument(
        "--log",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="logs for other programs, in addition to log.jsonl: csv, tensorboard",
    )
    _add_set(train)
    _add_backend(train, default=None)


def _add_data(data: argparse.ArgumentParser) -> None:
    data.add_argument(
        "source", metavar="SOURCE", help="digits, shapes, tinted, ring, grid or a path, as for train --data"
    )
    data.add_argument("--check", action="store_true", help="read every item; list all that are damaged")
    data.add_argument("--out", type=Path, metavar="FILE", help="picture to write, of some items with their classes")
    data.add_argument(
        "--pairs",
        action=argparse.BooleanOptionalAction,
        help="take pictures as pairs, or not (default: by their names and shapes)",
    )
    data.add_argument("--targets", metavar="SOURCE", help="folder or zip of the other pictures of pairs")
    data.add_argument("--split", metavar="NAME", help="part of pairs: train, val ... (default train, if there is one)")
    _add_data_b(data, "source of the images of B, for unpaired data; SOURCE has those of A")
    data.add_argument("--recipe", metavar="RECIPE", help="recipe to plan a training of (default: one that suits)")
    _add_set(data)


def _add_sample(sample: argparse.ArgumentParser) -> None:
    _add_run(sample)
    sample.add_argument("--count", type=_count, help="number of samples (default 64 images, 2,500 points, or 8 pairs)")
    sample.add_argument("--data", metavar="SOURCE", help="pairs to show, or images to restore (default: the run's)")
    _add_targets(sample, "targets that belong to --data")
    _add_data_b(sample, "images of B, for unpaired data (default: the run's)")
    _add_network(sample)
    _add_split(sample)
    sample.add_argument("--class", dest="label", metavar="CLASS", help="class of all samples: its number or name")
    sample.add_argument("--seed", type=_seed, help="seed of the noise of all samples (default 0)")
    sample.add_argument(
        "--seeds",
        type=_seeds,
        metavar="LIST",
        help="one sample for each of these seeds, the first that --seed would draw: 1-16, or 1,5,9-12",
    )
    sample.add_argument(
        "--truncation",
        type=_number,
        metavar="SHARE",
        help="share of the noise to draw from, its middle: .7 for less variety, 1 for all of it (default 1)",
    )
    sample.add_argument(
        "--walk",
        type=_count,
        metavar="N",
        help="film from seed to seed and back, with N pictures between neighbors (default 6 seeds)",
    )
    sample.add_argument(
        "--grid-of-classes", action="store_true", help="a column for each class, a row for each seed (default 8 seeds)"
    )
    sample.add_argument(
        "--classes", nargs="+", metavar="CLASS", help="classes of the columns, or of a walk from class to class"
    )
    sample.add_argument("--no-loop", action="store_true", help="end a walk at the last seed: do not return")
    sample.add_argument(
        "--mix",
        nargs="?",
        const="4x6",
        metavar="ROWSxCOLUMNS",
        help="grid of mixed styles: coarse ones of each row's seed, fine ones of each column's (default 4x6)",
    )
    sample.add_argument(
        "--crossover", type=_count, metavar="LAYER", help="first layer of --mix with the column's style (default half)"
    )
    sample.add_argument(
        "--portable", action="store_true", help="noise that exported generators draw in every language, to rounding"
    )
    sample.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="picture to write: .png, .jpg, .webp, .bmp or .tif (default samples.png); of a walk .png or .gif "
        "(default walk.png)",
    )
    sample.add_argument(
        "--film",
        type=Path,
        metavar="FILE",
        help="film to write, .png or .gif, of the training's pictures in samples/; draws no samples",
    )
    _add_last_weights(sample)
    _add_backend(sample)


def _add_project(project: argparse.ArgumentParser) -> None:
    _add_run(project)
    project.add_argument("picture", metavar="PICTURE", type=Path, help="picture file; it is scaled to the generator's")
    project.add_argument(
        "--class", dest="label", metavar="CLASS", help="its class, number or name (default: the best of all)"
    )
    project.add_argument("--starts", type=_count, default=4, metavar="N", help="starts of each class (default 4)")
    project.add_argument("--steps", type=_count, default=300, help="steps of the search (default 300)")
    project.add_argument("--seed", type=_seed, default=0, help="seed of the starts (default 0)")
    project.add_argument(
        "--features",
        choices=("classifier", "pixels"),
        help="what to compare besides pixels (default: features of a classifier if the run's data have labels)",
    )
    project.add_argument("--data", metavar="SOURCE", help="data for the classifier (default: the run's training data)")
    project.add_argument(
        "--out",
        type=Path,
        default=Path("projection.png"),
        metavar="FILE",
        help="picture to write: PICTURE and what was found, side by side (default projection.png)",
    )
    project.add_argument(
        "--z", type=Path, metavar="FILE", help="z to write, .npy, or .npz with class and images (default: OUT's, .npz)"
    )
    _add_last_weights(project)
    _add_backend(project)


def _add_translate(translate: argparse.ArgumentParser) -> None:
    _add_run(translate)
    translate.add_argument("folder", metavar="FOLDER", type=Path, help="folder of pictures to translate")
    translate.add_argument(
        "--out",
        type=_picture_folder,
        default=Path("translated"),
        metavar="DIR",
        help="folder for the PNGs (default translated)",
    )
    _add_network(translate)
    translate.add_argument("--seed", type=_seed, default=0, help="seed of Dropout, if G draws with it (default 0)")
    _add_last_weights(translate)
    _add_backend(translate)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    _add_run(evaluate)
    evaluate.add_argument("--data", metavar="SOURCE", help="data to compare with (default: the run's training data)")
    _add_targets(evaluate, "targets that belong to --data")
    _add_data_b(evaluate, "images of B, for unpaired data (default: the run's)")
    evaluate.add_argument("--network", metavar="NAME", help="the generator to evaluate, of a recipe with several")
    evaluate.add_argument(
        "--count",
        type=_count,
        help="number of samples (default 10,000 images, 26,000 stacked images, 2,500 points, or all pairs)",
    )
    _add_split(evaluate)
    evaluate.add_argument("--seed", type=_seed, default=0, help="seed of the noise and all choices (default 0)")
    evaluate.add_argument(
        "--features", choices=("classifier", "pixels"), help="default: a classifier if the data has labels"
    )
    evaluate.add_argument(
        "--out",
        type=_picture_folder,
        metavar="DIR",
        help="folder for evaluation.json and evaluation.png (default: the run folder)",
    )
    _add_last_weights(evaluate)
    _add_backend(evaluate)


class _Formats:
    """The names in `minigan.export.FORMATS`, which is imported only when they are needed."""

    def __iter__(self) -> Iterator[str]:
        from minigan.export import FORMATS

        return iter(FORMATS)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("run", metavar="RUN", type=Path, help="run folder, or model.safetensors file")
    export.add_argument(
        "--to",
        choices=_Formats(),
        metavar="FORMAT",
        required=True,
        help="numpy: a Python file, onnx: a graph for ONNX Runtime, c: a header for C, html: a page for browsers, "
        "torch: a state dict for PyTorch",
    )
    export.add_argument("--out", type=_folder, required=True, metavar="PATH", help="file to write (numpy: folder)")
    _add_last_weights(export)
    _add_network(export, "network to write: a generator, or for torch D, encoder ... (default: the first generator)")
    export.add_argument("--prefix", help="prefix of the tensors' names (torch); main. for PyTorch's DCGAN example")
    export.add_argument(
        "--fold", action=argparse.BooleanOptionalAction, help="fold BatchNorm into the weights (onnx; default on)"
    )
    export.add_argument("--opset", type=int, help="ONNX operator set, 17 to 21 (onnx; default 17)")
    export.add_argument(
        "--weights",
        choices=("fp32", "fp16", "int8"),
        help="type of the weights (all but torch; default fp32, html: fp16 or int8, by size)",
    )
    export.add_argument("--layout", choices=("nchw", "nhwc"), help="layout of images (onnx; default nchw)")


def _add_import(import_: argparse.ArgumentParser) -> None:
    import_.add_argument(
        "weights", metavar="WEIGHTS", type=Path, help="the (first) generator's state dict, a safetensors file"
    )
    import_.add_argument("--recipe", default="dcgan", help="recipe with the same networks (default dcgan)")
    import_.add_argument("--discriminator", type=Path, metavar="FILE", help="D's state dict (default: a new D)")
    import_.add_argument(
        "--networks",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="state dicts of other networks, by minigan's names: G_BA=g_ba.safetensors D_A=d_a.safetensors ...",
    )
    import_.add_argument("--data", metavar="SOURCE", help="data for further training (default: the recipe's)")
    _add_data_b(import_, "source of the images of B, for unpaired data")
    import_.add_argument("--seed", type=_seed, default=0, help="seed of everything random (default 0)")
    import_.add_argument("--out", type=_folder, metavar="DIR", help="run folder (default runs/RECIPE-WEIGHTS-1 ...)")
    _add_set(import_)
    _add_backend(import_)


def _add_recipes(recipes: argparse.ArgumentParser) -> None:
    recipes.add_argument("recipe", nargs="?", metavar="RECIPE", help="recipe to explain (default: list all)")
    _add_set(recipes)
    _add_backend(recipes)


def _add_explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument(
        "what",
        nargs="?",
        metavar="WHAT",
        help="recipe, run folder, layer, loss, penalty, optimizer or kernel (default: list all)",
    )
    explain.add_argument("--html", type=Path, metavar="FILE", help="write a page with drawings, one HTML file")
    explain.add_argument("--step", action="store_true", help="measure one step of a recipe or a run by its operations")
    explain.add_argument("--trace", type=Path, metavar="FILE", help="with --step: write its times for Perfetto, JSON")
    explain.add_argument("--data", metavar="SOURCE", help="with --step: the data (default: the run's, or the recipe's)")
    _add_targets(explain, "with --step: the targets, for pairs in two folders")
    _add_data_b(explain, "with --step: the images of B, for unpaired data")
    _add_set(explain)
    _add_backend(explain, default=None)


def _add_inspect(inspect: argparse.ArgumentParser) -> None:
    inspect.add_argument("run", metavar="RUN", type=Path, help="run folder, or one of its checkpoints")
    inspect.add_argument(
        "--step", type=_count, metavar="N", help="step to do again (default: the one after the newest checkpoint)"
    )
    inspect.add_argument("--compare", type=Path, metavar="RUN2", help="another run, to be shown next to it")
    inspect.add_argument("--data", metavar="SOURCE", help="where the data of RUN are now, if they have moved")
    _add_targets(inspect, "where the targets of RUN are now, for pairs in two folders")
    _add_data_b(inspect, "where the images of B are now, for unpaired data")
    inspect.add_argument(
        "--held-out", metavar="SOURCE", help="examples that D has not seen (default: those held out, if there are any)"
    )
    inspect.add_argument(
        "--out", type=Path, metavar="FILE", help="picture to write: fakes, each with the change that G's loss asks for"
    )
    inspect.add_argument("--html", type=Path, metavar="FILE", help="write a page instead, one HTML file")
    _add_backend(inspect, default=None)


def _add_report(report: argparse.ArgumentParser) -> None:
    report.add_argument("run", metavar="RUN", type=Path, help="run folder")
    report.add_argument("other", metavar="RUN2", type=Path, nargs="?", help="another run, to be laid over it")
    report.add_argument("--out", type=Path, metavar="FILE", help="HTML file to write (default: RUN/report.html)")
    report.add_argument(
        "--quick", action="store_true", help="take only what the folder holds: no examples, inspection and ledger"
    )
    report.add_argument("--data", metavar="SOURCE", help="where the data of RUN are now, if they have moved")
    _add_targets(report, "where the targets of RUN are now, for pairs in two folders")
    _add_data_b(report, "where the images of B are now, for unpaired data")
    _add_backend(report, default=None)


def _add_live(live: argparse.ArgumentParser) -> None:
    live.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="recipe of a GAN that draws from noise (default: one that suits the data)",
    )
    live.add_argument("--data", metavar="SOURCE", help="ring, grid, digits ... or a path (default ring)")
    live.add_argument("--steps", type=_count, help="number of steps in all (default 1,000,000)")
    live.add_argument("--batch-size", type=_count, help="examples in a step (default: the recipe's)")
    live.add_argument("--seed", type=_seed, help="seed of everything random (default 0)")
    live.add_argument(
        "--compare",
        nargs="+",
        metavar="KEY=VALUE",
        help="settings of a second run from the same seed, next to the first: pack=2",
    )
    live.add_argument("--out", type=_folder, metavar="DIR", help="run folder (default runs/RECIPE-DATA-1, -2, ...)")
    live.add_argument("--port", type=_port, default=0, help="port of the page on this machine (default: a free one)")
    live.add_argument("--no-browser", action="store_true", help="only print the page's address")
    _add_set(live)
    _add_backend(live, default=None)


def _add_card(card: argparse.ArgumentParser) -> None:
    card.add_argument("run", metavar="RUN", type=Path, help="run folder")
    card.add_argument("--out", type=Path, metavar="FILE", help="Markdown file to write (default: RUN/card.md)")


def _add_bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("models", nargs="*", metavar="MODEL", help="mlp, dcgan28 to dcgan128, wgan-gp32 ...")
    bench.add_argument("--batch-size", type=_count, default=64, help="images in a step (default 64)")
    bench.add_argument(
        "--rounds", type=_count, default=5, help="number of rounds, of which the median counts (default 5)"
    )
    bench.add_argument("--seconds", type=_seconds, default=1.0, metavar="S", help="length of a round (default 1)")
    _add_backend(bench)


def _add_gradcheck(gradcheck: argparse.ArgumentParser) -> None:
    gradcheck.add_argument("recipe", nargs="?", default="dcgan", metavar="RECIPE", help="default dcgan")
    gradcheck.add_argument("--data", metavar="SOURCE", help="data for the batch (default digits; shapes for pairs)")
    gradcheck.add_argument("--seed", type=_seed, default=0, help="seed of everything random (default 0)")
    _add_set(gradcheck)
    _add_backend(gradcheck, default="reference")


def _add_completion(completion: argparse.ArgumentParser) -> None:
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh", "powershell"))


def _add_nothing(command: argparse.ArgumentParser) -> None:
    """Adds no arguments."""


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder, model.safetensors file or checkpoint")


def _add_last_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--last-weights", action="store_true", help="use G's last weights, not their moving average if the run has one"
    )


def _add_network(parser: argparse.ArgumentParser, text: str = "generator, of a recipe with several") -> None:
    parser.add_argument("--network", metavar="NAME", help=text)
    parser.add_argument("--direction", choices=("AtoB", "BtoA"), help="generator by its direction, for unpaired data")


def _add_data_b(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--data-b", metavar="SOURCE", help=text)


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="part of pairs or images to restore: train, val ... (default: the held-out part)",
    )


def _add_targets(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--targets", metavar="SOURCE", help=text)


def _add_backend(parser: argparse.ArgumentParser, *, default: str | None = "auto") -> None:
    from minigan.backends import BACKENDS
    from minigan.backends.precision import AUTO, PRECISIONS, VARIABLE

    repeats = default is None  # steps of a run: its own backend and precision
    text = "default: the fastest on this machine" if default in (None, "auto") else f"default: {default}"
    parser.add_argument("--backend", choices=("auto", *BACKENDS), default=default, help=text)
    parser.add_argument(
        "--precision",
        choices=(AUTO, *PRECISIONS),
        help=f"of products (default: {'the same as in training, else ' * repeats}that of {VARIABLE}, else fp32 on a "
        "CPU and tf32 on a GPU)",
    )


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings of the recipe to change"
    )


def _count(text: str) -> int:
    return _whole(text, least=1, rule="be positive")


def _seed(text: str) -> int:
    return _whole(text, least=0, rule="not be negative")


def _port(text: str) -> int:
    return _whole(text, least=0, rule="not be negative")


def _seeds(text: str) -> list[int]:
    """The seeds of a list such as 1-16 or 1,5,9-12."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part, re.ASCII)
        if found is None:
            raise argparse.ArgumentTypeError(f"must be seeds such as 1-16 or 1,5,9-12, got {text!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise argparse.ArgumentTypeError(f"must count upwards, got {part.strip()}")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"must name at most {MOST_SEEDS:,} seeds")
        seeds += range(first, last + 1)
    return seeds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


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


def _picture_folder(text: str) -> Path:
    """A folder for pictures, which is not to be named like a picture."""
    from minigan.data.picture_files import ENDINGS

    folder = _folder(text)
    if folder.suffix.lower() in ENDINGS and not folder.is_dir():
        raise argparse.ArgumentTypeError(f"must name a folder, got the name of a picture, {text!r}")
    return folder


ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "train": _add_train,
    "data": _add_data,
    "sample": _add_sample,
    "project": _add_project,
    "translate": _add_translate,
    "evaluate": _add_evaluate,
    "export": _add_export,
    "import": _add_import,
    "explain": _add_explain,
    "inspect": _add_inspect,
    "report": _add_report,
    "live": _add_live,
    "card": _add_card,
    "recipes": _add_recipes,
    "info": _add_nothing,
    "bench": _add_bench,
    "warmup": _add_backend,
    "gradcheck": _add_gradcheck,
    "completion": _add_completion,
}
