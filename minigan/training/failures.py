"""Errors that end a training: each says at which step, what was saved, and how to resume."""

from minigan.checkpoints.folder import CheckpointFolder, resume_from
from minigan.errors import DataError, DivergenceError, ListenerError, OutputError
from minigan.support.representation import python_text
from minigan.training.state import TrainingState

__all__ = ["diverged", "saved_before", "without_folder"]


def diverged(error: DivergenceError, *, step: int, checkpoints: CheckpointFolder) -> DivergenceError:
    """The error with its step and the last good checkpoint."""
    paths = checkpoints.paths()
    kept = f"The last good checkpoint is {paths[-1]}." if paths else "No checkpoint was written yet."
    return DivergenceError(f"training diverged at step {step}: {error} {kept} Try a lower learning rate (`lr=...`).")


def saved_before(error: DataError | ListenerError, state: TrainingState) -> DataError | ListenerError:
    """The error of an item or a listener, after the steps until then have been saved."""
    is_data = isinstance(error, DataError)
    remedy = "replace or remove what is named there" if is_data else "correct the listener"
    text = (
        f"{error} Step {state.step} is saved: {remedy}, then resume with: "
        f"`minigan.open_run({python_text(state.folder)}).resume()`"
    )
    return DataError(text) if is_data else ListenerError(text)


def without_folder(error: OutputError, state: TrainingState, *, checkpoints: CheckpointFolder) -> OutputError:
    """The error of a run folder that cannot be written, with the checkpoint to resume from, if there is one."""
    left = checkpoints.last_step()
    return OutputError(str(error) if left is None else f"{error} {resume_from(state.folder, left)}")
