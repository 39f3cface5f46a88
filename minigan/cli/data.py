"""The command `minigan data`: what a source of data holds, what is wrong with it, and what training would do."""

import argparse
import contextlib
import time
from dataclasses import replace

import numpy as np

from minigan.cli.given import refuse_given
from minigan.cli.pictures import write_picture
from minigan.cli.recipes import parse_settings
from minigan.data.dataset import Collection
from minigan.data.picture_files import expect_picture_name
from minigan.data.preview import preview
from minigan.data.survey_result import Survey, rows_of
from minigan.data.surveying import items_of, open_for_survey, open_sides_for_survey, survey_of
from minigan.errors import ConfigError, DataError
from minigan.recipes import CycleGAN, Recipe, UnpairedRecipe, get_recipe
from minigan.runs.plan import suited_recipe, training_plan, unpaired_plan
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
    if options.data_b is not None or (named is not None and issubclass(named, UnpairedRecipe)):
        return _data_of_two_sides(named or CycleGAN, options, out)
    with contextlib.closing(_opened(options)) as dataset:
        recipe = (named or suited_recipe(items_of(dataset))).from_settings(parse_settings(options.set))
        found = _checked(dataset, out) if options.check else survey_of(dataset)
        plan = [out.words(line) for line in training_plan(found, recipe)]
        _show(found, plan, out, listed=options.check)
        if options.out is not None and len(found.damaged) < found.count:
            write_picture(options.out, preview(dataset), out)
            out.show(f"preview: {options.out}")
    out.record({**found.to_json(), "plan": plan, "out": None if options.out is None else str(options.out)})
    _refuse_damaged(found, checked=options.check)
    return 0


def _data_of_two_sides(kind: type[Recipe], options: argparse.Namespace, out: Output) -> int:
    """The same for unpaired images: a survey of each side, one plan, and a preview with B below A."""
    if not issubclass(kind, UnpairedRecipe):
        raise ConfigError(f"{kind.name} learns from one source, got --data-b {options.data_b}. Leave it out.")
    refuse_given(options, ("pairs", "targets", "split"), rule="unpaired images have two sides and no pairs")
    recipe = kind.from_settings(parse_settings(options.set))
    if options.data_b is not None:
        recipe = recipe.with_data_b(options.data_b)
    sides = recipe.sides(options.source)
    with contextlib.closing(open_sides_for_survey(sides, held_back=recipe.held_back)) as dataset:
        both = {"A": dataset.a, "B": dataset.b}
        found = {
            letter: replace(_checked(side, out) if options.check else survey_of(side), name=f"{letter}: {side.name}")
            for letter, side in both.items()
        }
        plan = [out.words(line) for line in unpaired_plan(found["A"], found["B"], recipe)]
        _show(found["A"], [], out, listed=options.check)
        _show(found["B"], plan, out, listed=options.check)
        if options.out is not None and all(len(side.damaged) < side.count for side in found.values()):
            write_picture(options.out, _below([preview(side) for side in both.values()]), out)
            out.show(f"preview: {options.out}")
    shown = {letter: side.to_json() for letter, side in found.items()}
    out.record({**shown, "plan": plan, "out": None if options.out is None else str(options.out)})
    for side in found.values():
        _refuse_damaged(side, checked=options.check)
    return 0


def _below(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures one below the other, the narrower ones with their last column's color beside them."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate(
        [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), mode="edge") for picture in pictures]
    )


def _refuse_damaged(found: Survey, *, checked: bool) -> None:
    """The error that ends a survey in which something is damaged.

    Raises:
        DataError: it is.
    """
    if found.damaged:
        raise DataError(
            f"{found.name}: {len(found.damaged):,} of {found.count if checked else found.looked_at:,} {found.items} "
            "cannot be read. Remove or replace them."
        )


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
    if plan:
        out.show("\n".join(rows_of({"training": plan})))
    for line in () if listed else found.damaged:
        out.show(f"damaged: {line}")
