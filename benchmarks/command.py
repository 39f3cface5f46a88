"""The common part of the benchmarks' command lines: options, and the end of a comparison."""

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from minigan.backends import BACKENDS, get_backend
from minigan.backends.precision import AUTO, PRECISIONS
from minigan.errors import MiniganError

# What each peer needs, as pip calls it.
PEERS = {"torch": ("torch",), "onnxruntime": ("onnxruntime", "onnx")}
# Where a kernel's work is done when its call returns, so that single kernels can be timed.
HOST = ("reference", "cpu")


def parser(
    description: str | None,
    *,
    peers: Sequence[str] = ("torch",),
    backends: Sequence[str] = ("auto", *BACKENDS),
    rounds: int = 7,
    seconds: float = 1.0,
) -> argparse.ArgumentParser:
    """With the options that all comparisons have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--backend", choices=backends, default="cpu", help="minigan's (default cpu)")
    add_precision(result)
    result.set_defaults(peer=[])
    if peers:
        result.add_argument("--peer", choices=peers, action="append", help="whom to compare with; repeat for several")
    result.add_argument("--rounds", type=count, default=rounds, help=f"medians of so many turns (default {rounds})")
    result.add_argument("--seconds", type=duration, default=seconds, help=f"about, of each turn (default {seconds:g})")
    result.add_argument("--json", metavar="FILE", help="the figures and what they were measured with")
    return result


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option --precision."""
    precisions = (AUTO, *PRECISIONS)
    parser.add_argument("--precision", choices=precisions, default=AUTO, help="minigan's (default auto: the backend's)")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with `backend` as an object, and those peers that are installed; says which are not."""
    options = parser.parse_args(arguments)
    try:
        options.backend = get_backend(options.backend, precision=options.precision)
    except MiniganError as error:
        parser.error(str(error))
    for peer in tuple(options.peer):
        missing = [package for package in PEERS[peer] if importlib.util.find_spec(package) is None]
        if missing:
            print(f"without {peer}: pip install {' '.join(missing)}")
            options.peer.remove(peer)
    return options


def count(text: str) -> int:
    """A positive number of things."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got {text!r}")
    return int(text)


def duration(text: str) -> float:
    """A positive number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text!r}")
    return seconds


def ratio(seconds: Mapping[str, float]) -> float:
    """The speed of the first over that of the fastest other."""
    ours, *theirs = seconds.values()
    return min(theirs) / ours


def expect_agreement(difference: float, tolerance: float) -> None:
    """Ends the program if two engines compute different things."""
    if not difference < tolerance:
        sys.exit(f"the engines' results differ by {difference:.1e}, so no time would mean anything")


def write_json(file: str | None, result: Mapping[str, Any]) -> None:
    """Writes a result to the path of --json."""
    if file:
        with open(file, "w", encoding="utf-8") as target:
            json.dump(result, target, indent=1)
