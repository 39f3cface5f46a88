"""The command `minigan inspect`: the health of a run, from a step that is done again."""

import argparse

from minigan.errors import ConfigError
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output

__all__ = ["inspect_health"]


def inspect_health(options: argparse.Namespace) -> int:
    """Inspects a run, or two side by side."""
    # Late: the other commands do not pay for its tables.
    from minigan.data.pictures import image_grid
    from minigan.inspection import (
        as_page,
        as_text,
        comparison_document,
        inspect_run,
        inspection_document,
        terminal_width,
    )
    from minigan.training.exhibit import save_picture

    out = Output.of(options)
    if options.compare is not None and options.out is not None:
        raise ConfigError("--out draws the gradients of one run. Leave --compare out.")
    shared = {name: getattr(options, name) for name in ("step", "held_out", "backend", "precision")}
    where = {name: getattr(options, name) for name in ("data", "targets", "data_b")}
    inspection = inspect_run(options.run, **where, **shared)
    if options.compare is None:
        document = inspection_document(inspection)
    else:
        document = comparison_document(inspection, inspect_run(options.compare, **shared))
    if options.out is not None:
        save_picture(options.out, image_grid(inspection.gradient_picture(), columns=8))
    if options.html is None:
        out.show(as_text(document, width=terminal_width()))
    else:
        atomic_write(options.html, as_page(document).encode())
        out.show(f"{document.title}: {options.html}")
    if options.out is not None:
        out.show(f"fakes, each with the change that G's loss asks of it: {options.out}")
    out.record(document.record)
    return 0
