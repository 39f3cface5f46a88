"""Errors that end a training: what is saved of it, and the line that says how to go on."""

import traceback

import numpy as np

from minigan.checkpoints.folder import resume_from
from minigan.errors import DataError, DivergenceError, ListenerError, MiniganError, OutputError
from minigan.support.representation import python_text
from minigan.training.listeners.checkpoints import Checkpoints
from minigan.training.state import TrainingState

__all__ = ["add_line", "at_step", "how_to_go_on", "release_memory"]


def at_step(error: DivergenceError, step: int) -> DivergenceError:
    """The error with its step."""
    return DivergenceError(f"training diverged at step {step}: {error}", steps_ago=error.steps_ago)


def release_memory(error: BaseException) -> None:
    """Lets go of the arrays that a MemoryError's traceback holds: saving needs memory, too."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError):
            traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


def add_line(error: BaseException, line: str) -> None:
    """Adds a line to an error: to the message of minigan's own, and to others as a note below their traceback."""
    if not line:
        return
    if isinstance(error, MiniganError):
        error.args = (f"{error} {line}", *error.args[1:])
    else:
        error.add_note(line)


def how_to_go_on(error: BaseException, checkpoints: Checkpoints, *, is_whole: bool) -> str:
    """Saves the last whole step, if it is not saved yet, and says how to go on after the error.

    Args:
        error: has ended the training.
        checkpoints: of the run.
        is_whole: whether the state is that after a whole step.
    Returns:
        A line; "" if nothing was done yet that could be lost.
    """
    state = checkpoints.state
    reason = _save(error, checkpoints) if is_whole else f"step {state.step + 1} was half done"
    if isinstance(error, DivergenceError):
        return _before_divergence(checkpoints)
    if not reason:
        return _resume(error, state) if checkpoints.saved == state.step else ""
    if state.owner is not None and state.owner.is_lost:  # what is there now is not this training's
        return f"Step {state.step} is not saved."
    left = checkpoints.files.last_step()
    is_told = isinstance(error, OutputError) or left == state.step
    lost = "" if is_told else f"Step {state.step} is not saved: {reason}. "
    if left is None:
        return f"{lost}No checkpoint was written yet." if state.step else ""
    return lost + resume_from(state.folder, left)


def _save(error: BaseException, checkpoints: Checkpoints) -> str:
    """Saves the present step, if it is not saved yet. Returns why it could not be; "" if it could."""
    state = checkpoints.state
    # Nothing was done yet: the folder stays free for another attempt, unless the very same run is to go on.
    if checkpoints.differs:
        return "the ranks have different weights"
    if checkpoints.saved == state.step or (state.step == 0 and not isinstance(error, DataError | ListenerError)):
        return ""
    if isinstance(error, DivergenceError) and not _is_finite(state):
        return "a weight is not finite"
    try:
        checkpoints.save()
    except BaseException as second:  # the first error is the one to know of
        return " ".join(str(second).split()).rstrip(".") or type(second).__name__
    return ""


def _is_finite(state: TrainingState) -> bool:
    return all(
        np.isfinite(network.kernels.to_numpy(flat)).all()
        for network in state.learner.networks.values()
        for flat in (network.arena.flat, network.state.flat)
    )


def _before_divergence(checkpoints: Checkpoints) -> str:
    """The last good checkpoint, and a remedy. Resumed from there, training would diverge again."""
    paths = checkpoints.files.paths()
    kept = f"The last good checkpoint is {paths[-1]}." if paths else "No checkpoint was written yet."
    return f"{kept} Try a lower learning rate (`lr=...`)."


def _resume(error: BaseException, state: TrainingState) -> str:
    """The line after a step that was saved."""
    if isinstance(error, DataError):
        remedy = "replace or remove what is named there, then resume with"
    elif isinstance(error, ListenerError):
        remedy = "correct the listener, then resume with"
    else:
        remedy = "resume with"
    return f"Step {state.step} is saved: {remedy}: `minigan.open_run({python_text(state.folder)}).resume()`"
