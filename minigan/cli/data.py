"""The command `minigan data`: what a source of data holds, what is wrong with it, and what training would do."""

import argparse
import contextlib
import time

from minigan.cli.pictures import write_picture
from minigan.cli.recipes import parse_settings
from minigan.data.dataset import Collection
from minigan.data.picture_files import expect_picture_name
from minigan.data.preview import preview
from minigan.data.survey_result import Survey, rows_of
from minigan.data.surveying import items_of, open_for_survey, survey_of
from minigan.errors import DataError
from minigan.recipes import get_recipe
from minigan.runs.plan import suited_recipe, training_plan
from minigan.support.output import Output
from minigan.support.progress import open_progress

__all__ = ["data"]

OFTEN = 0.1  # seconds between two moves of the bar


def data(options: argparse.Namespace) -> int:
    """Shows a survey of the data and the plan of a training, and writes a preview.

    Raises:
        DataError: the source cannot be opened, or some of its items are damaged; all else is done before.
    """
    out = Output.of(options)
    if options.out is not None:
        expect_picture_name(options.out)
    named = None if options.recipe is None else get_recipe(options.recipe)
    with contextlib.closing(_opened(options)) as dataset:
        recipe = (named or suited_recipe(items_of(dataset))).from_settings(parse_settings(options.set))
        found = _checked(dataset, out) if options.check else survey_of(dataset)
        plan = [out.words(line) for line in training_plan(found, recipe)]
        _show(found, plan, out, listed=options.check)
        if options.out is not None and len(found.damaged) < found.count:
            write_picture(options.out, preview(dataset), out)
            out.show(f"preview: {options.out}")
    out.record({**found.to_json(), "plan": plan, "out": None if options.out is None else str(options.out)})
    if found.damaged:
        raise DataError(
            f"{found.name}: {len(found.damaged):,} of {found.count if options.check else found.looked_at:,} "
            f"{found.items} cannot be read. Remove or replace them."
        )
    return 0


def _opened(options: argparse.Namespace) -> Collection:
    return open_for_survey(options.source, targets=options.targets, pairs=options.pairs, split=options.split)


def _checked(dataset: Collection, out: Output) -> Survey:
    """The survey with every item read, and progress on the way; each damaged item is told as it is found."""
    count, began = len(dataset), time.monotonic()
    shown, done, damaged = began, 0, 0

    def watch(read: int, wrong: str | None) -> None:
        nonlocal shown, done, damaged
        now, done = time.monotonic(), read
        if wrong is not None:
            damaged += 1
            progress.message(f"damaged: {wrong}")
        if now - shown > OFTEN or read == count:
            shown = now
            progress.advance(read, images_per_second=read / max(now - began, 1e-9))
            progress.values({})

    with open_progress(start=0, total=count, output=out, unit="read") as progress:
        try:
            return survey_of(dataset, check=True, watch=watch)
        except KeyboardInterrupt:
            progress.message(f"stopped after {done:,} of {count:,}: {damaged:,} damaged so far")
            raise


def _show(found: Survey, plan: list[str], out: Output, *, listed: bool) -> None:
    """Prints the survey and the plan; damaged items unless they were listed already."""
    out.show(str(found))
    out.show("\n".join(rows_of({"training": plan})))
    for line in () if listed else found.damaged:
        out.show(f"damaged: {line}")
