"""D's backward passes in its own step: those of the loss and, on the same tapes, those of a penalty on D's slope."""

from minigan.backends import Array
from minigan.losses.gradient_penalties import GradientPenalty, one_sweep_serves
from minigan.nn.network import Sequential, Tape
from minigan.nn.parameters import Gradients

__all__ = ["BackThroughD"]


class BackThroughD:
    """Adds the gradients of D's loss, and those of a penalty whose points are the loss's inputs.

    Args:
        grads: of D.
        penalty: shares the loss's forward passes; None for no penalty, or one with passes of its own.
        weight: of the penalty in this step, (1,); None takes its own.
    Attributes:
        penalties: the penalty's value at each pass.
    """

    def __init__(self, grads: Gradients, penalty: GradientPenalty | None, weight: Array | None) -> None:
        self.grads, self.penalty, self.weight = grads, penalty, weight
        self.penalties: list[Array] = []

    def walk(self, D: Sequential, x: Array, logits: Array, dlogits: Array, tape: Tape, *, batches: int = 1) -> None:
        """Goes back through D once, or twice; the tape is released.

        Args:
            x, logits, tape: of the forward pass.
            dlogits: the gradient of the loss.
            batches: that went through as one.
        """
        if self.penalty is not None and one_sweep_serves(D):
            value = self.penalty.add_with_loss(
                D, x, dlogits, tape, grads=self.grads, weight=self.weight, batches=batches
            )
            self.penalties.append(value)
            tape.release()
            return
        if self.penalty is not None:
            value = self.penalty.add_of_pass(D, logits, tape, grads=self.grads, weight=self.weight, batches=batches)
            self.penalties.append(value)
        D.backward(dlogits, tape, grads=self.grads, need_dx=False, release=True)
