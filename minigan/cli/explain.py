"""The command `minigan explain`: networks, layers, losses, optimizers and kernels in words, formulas and numbers."""

import argparse
import json

from minigan.cli.given import given_flags
from minigan.cli.recipes import parse_settings
from minigan.errors import ConfigError
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output

__all__ = ["explain_topic"]

USAGE = "minigan explain WHAT explains one of them, or the run of a path; --html FILE writes a page."


def explain_topic(options: argparse.Namespace) -> int:
    """Explains a thing, or lists what can be explained."""
    # Late: the other commands do not pay for its tables.
    from minigan.inspection import as_page, as_text, contents, explain, terminal_width

    if options.step:
        return _explain_step(options)
    if given := given_flags(options, ("trace", "data", "targets", "data_b")):
        raise ConfigError(f"{given[0]} belongs to a step. Add --step.")
    out = Output.of(options)
    settings = parse_settings(options.set)
    engine = {"backend": options.backend, "precision": options.precision}
    if options.what is None and (settings or any(engine.values())):
        raise ConfigError(
            "--set, --backend and --precision need a recipe to explain. Write minigan explain RECIPE --set KEY=VALUE."
        )
    document = contents() if options.what is None else explain(options.what, settings=settings, **engine)
    if options.html is None:
        out.show(as_text(document, width=terminal_width()))
        if options.what is None:
            out.show(f"\n{USAGE}")
    else:
        atomic_write(options.html, as_page(document).encode())
        out.show(f"{document.title}: {options.html}")
    out.record(document.record)
    return 0


def _explain_step(options: argparse.Namespace) -> int:
    """Measures one step of a run or a recipe, operation by operation."""
    from minigan.inspection import as_page, as_text, as_trace, measure_step, terminal_width

    out = Output.of(options)
    if options.what is None:
        raise ConfigError("--step needs a recipe or a run. Write minigan explain dcgan --step.")
    settings = parse_settings(options.set)
    document, ledger = measure_step(
        options.what,
        settings=settings,
        **{name: getattr(options, name) for name in ("backend", "precision", "data", "targets", "data_b")},
    )
    if options.html is not None:
        atomic_write(options.html, as_page(document).encode())
        out.show(f"{document.title}: {options.html}")
    if options.trace is not None:
        atomic_write(options.trace, json.dumps(as_trace(ledger, title=document.title)).encode())
        out.show(f"{document.title}: {options.trace}, for ui.perfetto.dev")
    if options.html is None and options.trace is None:
        out.show(as_text(document, width=terminal_width()))
    out.record(document.record)
    return 0
