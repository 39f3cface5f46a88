"""Losses, each with its gradient: those of the game between D and G, and those that know the right answer."""

from minigan.losses.adversarial import (
    FAKE,
    LOSSES,
    REAL,
    AdversarialLoss,
    CoupledLoss,
    CrossEntropyLoss,
    Hinge,
    LabelledLoss,
    LeastSquares,
    Loss,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    SoftmaxMixture,
    SquaredProbability,
    Wasserstein,
    get_loss,
)
from minigan.losses.sums import probability
from minigan.losses.supervised import bernoulli, gaussian, l1, mse, softmax_cross_entropy

__all__ = [
    "FAKE",
    "LOSSES",
    "REAL",
    "AdversarialLoss",
    "CoupledLoss",
    "CrossEntropyLoss",
    "Hinge",
    "LabelledLoss",
    "LeastSquares",
    "Loss",
    "Minimax",
    "NonSaturating",
    "RelativisticAverage",
    "SoftmaxMixture",
    "SquaredProbability",
    "Wasserstein",
    "bernoulli",
    "gaussian",
    "get_loss",
    "l1",
    "mse",
    "probability",
    "softmax_cross_entropy",
]
