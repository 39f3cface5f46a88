"""Losses in which the examples of a batch meet, on several ranks: each judges the logits of all of them.

Logits are few numbers. So the ranks exchange these, and each computes the whole loss by itself; the loss, a user's own,
too, knows nothing of ranks.
"""

from typing import overload

from minigan.backends import Array, Backend
from minigan.distributed.ranks import Ranks
from minigan.losses import AdversarialLoss, CoupledLoss, Loss

__all__ = ["on_all_ranks"]


@overload
def on_all_ranks(loss: AdversarialLoss, kernels: Backend) -> AdversarialLoss: ...
@overload
def on_all_ranks(loss: CoupledLoss, kernels: Backend) -> CoupledLoss: ...
def on_all_ranks(loss: Loss, kernels: Backend) -> Loss:
    """The loss on this rank's logits, its values those of the whole batch's.

    The loss itself where there is one rank, or where its value is the mean of the parts' values.
    """
    if kernels.ranks.size == 1:
        return loss
    if isinstance(loss, CoupledLoss):
        return SharedCoupledLoss(loss, kernels.ranks)
    return loss if loss.separable else SharedLoss(loss, kernels.ranks)


class SharedLoss(AdversarialLoss):
    """A loss that judges each batch by itself, but as a whole."""

    def __init__(self, loss: AdversarialLoss, ranks: Ranks) -> None:
        self.loss, self.ranks = loss, ranks

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        value, dlogits = self.loss.discriminator(self.ranks.whole(logits), target)
        return value, own_gradient(dlogits, self.ranks)

    def generator(self, logits: Array) -> tuple[Array, Array]:
        value, dlogits = self.loss.generator(self.ranks.whole(logits))
        return value, own_gradient(dlogits, self.ranks)

    def verdict(self, logits: Array) -> Array:
        return self.loss.verdict(logits)


class SharedCoupledLoss(CoupledLoss):
    """A loss that compares real with fake logits."""

    def __init__(self, loss: CoupledLoss, ranks: Ranks) -> None:
        self.loss, self.ranks = loss, ranks

    def discriminator(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        value, dreal, dfake = self.loss.discriminator(self.ranks.whole(real), self.ranks.whole(fake))
        return value, own_gradient(dreal, self.ranks), own_gradient(dfake, self.ranks)

    def generator(self, real: Array, fake: Array) -> tuple[Array, Array]:
        value, dfake = self.loss.generator(self.ranks.whole(real), self.ranks.whole(fake))
        return value, own_gradient(dfake, self.ranks)

    def verdict(self, logits: Array) -> Array:
        return self.loss.verdict(logits)


def own_gradient(dlogits: Array, ranks: Ranks) -> Array:
    """This rank's rows of a gradient of the whole batch's mean, as that of the mean of its own rows: N times as large.

    The mean over ranks, which every gradient goes through, takes the factor back.
    """
    return ranks.own(dlogits) * dlogits.dtype.type(ranks.size)
