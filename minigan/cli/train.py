"""The command `minigan train`."""

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

from minigan.cli.flags import FLAGS, as_flags
from minigan.cli.settings import chosen_settings
from minigan.errors import ConfigError
from minigan.runs import RunConfig
from minigan.runs.config import new_config
from minigan.runs.prepare import PreparedRun
from minigan.runs.session import recipe_named, resume_run, start_run, train_run
from minigan.support.launch import Launch, find_launch
from minigan.support.output import Output
from minigan.support.progress import Progress
from minigan.support.representation import short_path
from minigan.support.words import shell_word
from minigan.training.log_verdict import HEALTHY
from minigan.training.rhythm import Rhythm
from minigan.training.state import TrainingState

__all__ = ["INTERRUPTED", "train"]

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended, as shells have it
RHYTHM = tuple(field.name for field in dataclasses.fields(Rhythm))


def train(options: argparse.Namespace) -> int:
    """Trains to the last step, or until interrupted."""
    launch, out = find_launch(), Output.of(options)
    if options.dry_run:
        return _dry_run(options, out)
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
        _say_what_next(state, progress, launch=launch, logs=prepared.config.log, verdict=prepared.trainer.word)
    steps = {"step": state.step, "steps": state.steps}
    engine = prepared.config.engine
    out.record({"recipe": prepared.recipe.name, "run": short_path(state.folder), **steps, "engine": engine})
    return 0 if state.step >= state.steps else INTERRUPTED


def _dry_run(options: argparse.Namespace, out: Output) -> int:
    """Says what the training would do."""
    # Late: a training does not pay for its tables.
    from minigan.inspection.dry_training import dry_resume, dry_run_of

    if options.resume is None:
        found = dry_run_of(_new_config(options), options.out)
    else:
        found = dry_resume(options.resume, **_changes(options))
    for note in found.notes:
        out.note(note)
    for line in found.lines():
        out.show(line)
    out.record(found.record())
    return 0


def _say_what_next(
    state: TrainingState, progress: Progress, *, launch: Launch, logs: Sequence[str], verdict: str
) -> None:
    folder, run = short_path(state.folder), shell_word(short_path(state.folder))
    if state.step < state.steps:
        progress.message(f"stopped at step {state.step}. Resume with: {launch.resume(run)}")
    else:
        progress.message(f"done: {os.path.join(folder, 'samples', f'step-{state.step:06}.png')}")
        progress.message(f"more: minigan sample {run}")
        progress.message(f"how it learned: minigan report {run}")
    if verdict not in ("", HEALTHY):
        progress.message(
            f"{verdict}: minigan explain health says what that is, minigan inspect {run} looks for a cause"
        )
    if "tensorboard" in logs:
        progress.message(f"curves: tensorboard --logdir {shell_word(short_path(state.folder / 'tensorboard'))}")


def _resumed(options: argparse.Namespace) -> tuple[PreparedRun, tuple[str, ...]]:
    return resume_run(options.resume, **_changes(options))


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """The options that may change when a run is resumed.

    Raises:
        ConfigError: others are given.
    """
    fixed = ("batch_size", "out", "seed", "backend", *RHYTHM, "keep", "best", "log")
    given = [FLAGS[name] for name in fixed if getattr(options, name) is not None]
    given += ["RECIPE"] * (options.recipe is not None) + ["--set"] * bool(options.set)
    if given:
        raise ConfigError(
            f"--resume takes the run's own configuration, got {', '.join(given)} in addition. "
            "Leave them out, or start a new run."
        )
    may_change = ("steps", "data", "targets", "data_b", "precision")
    return {name: getattr(options, name) for name in may_change}


def _new_config(options: argparse.Namespace) -> RunConfig:
    named = {
        name: getattr(options, name)
        for name in ("data", "seed", "backend", "precision", *RHYTHM, "keep", "best", "log")
    }
    return new_config(recipe_named(options.recipe or "dcgan").from_settings(chosen_settings(options)), **named)
