"""Values measured in a step of D, in a step of G, and in both together."""

from typing import NamedTuple

from minigan.backends import Array
from minigan.support.representation import fields

__all__ = ["DiscriminatorValues", "GeneratorValues", "StepValues"]


class DiscriminatorValues(NamedTuple):
    """Values measured in one step of D; scalar arrays of the backend.

    Attributes:
        loss: on the real batch plus on the fake one, without the penalty.
        real, fake: D's mean verdict on them: its probability of "real" or its logit, whichever the loss reports.
        penalty: 0 in a step without one.
    """

    loss: Array
    real: Array
    fake: Array
    penalty: Array

    def __repr__(self) -> str:
        return fields(self)

    def losses(self) -> list[tuple[str, Array]]:
        """The game's value and the penalty."""
        return [("the loss of D's logits", self.loss), ("the penalty on the slope of D", self.penalty)]


class GeneratorValues(NamedTuple):
    """Values measured in one step of G; scalar arrays of the backend.

    Attributes:
        loss: with the auxiliary terms.
        game: its part that comes from D.
    """

    loss: Array
    game: Array

    def __repr__(self) -> str:
        return fields(self)

    def losses(self) -> list[tuple[str, Array]]:
        """The game's value, and the whole loss."""
        return [("the loss of D's logits", self.game), ("an auxiliary term of G's loss", self.loss)]


class StepValues(NamedTuple):
    """Values measured in one step of the alternating optimizer; scalar arrays of the backend.

    Attributes:
        d_loss, d_real, d_fake, d_penalty: `DiscriminatorValues` of the last step of D.
        g_loss: G's loss with its auxiliary terms.
    """

    d_loss: Array
    g_loss: Array
    d_real: Array
    d_fake: Array
    d_penalty: Array

    def __repr__(self) -> str:
        return fields(self)

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for, by the names that papers use."""
        return {"D": self.d_loss, "G": self.g_loss, "D(x)": self.d_real, "D(G(z))": self.d_fake}
