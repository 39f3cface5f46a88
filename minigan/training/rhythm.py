"""Settings of the training loop: when to log, draw and save, and which checkpoints to keep."""

from dataclasses import dataclass

__all__ = ["Keep", "Rhythm"]


@dataclass(frozen=True)
class Rhythm:
    """Steps from one record, picture, checkpoint or evaluation to the next.

    Attributes:
        log_every, sample_every, checkpoint_every: at least 1.
        evaluate_every: 0 evaluates never; an evaluation takes time.
        log_gradients: steps between records that include the norm of each layer's gradients; 0 is never.
    """

    log_every: int = 20
    sample_every: int = 250
    checkpoint_every: int = 500
    evaluate_every: int = 0
    log_gradients: int = 0


@dataclass(frozen=True)
class Keep:
    """Checkpoints to keep.

    Attributes:
        last: how many of the newest.
        best: the figure of the evaluation by which the best one is chosen; "" is the evaluation's first.
    """

    last: int = 3
    best: str = ""
