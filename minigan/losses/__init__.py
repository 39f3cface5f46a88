"""Losses, each with its gradient: adversarial losses, regression losses, gradient penalties, feature matching."""

from minigan.losses.adversarial import (
    FAKE,
    LOSSES,
    REAL,
    AdversarialLoss,
    CoupledLoss,
    CrossEntropyLoss,
    Hinge,
    LabeledLoss,
    LeastSquares,
    Loss,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    RelativisticPairing,
    SoftmaxMixture,
    SquaredProbability,
    Wasserstein,
    get_loss,
)
from minigan.losses.feature_matching import FeatureMatching
from minigan.losses.gradient_penalties import DRAGAN, PENALTIES, R1, R1R2, R2, WGANGP, GradientPenalty, get_penalty
from minigan.losses.logits import probability
from minigan.losses.regression import bernoulli, gaussian, l1, mse, softmax_cross_entropy

__all__ = [
    "DRAGAN",
    "FAKE",
    "LOSSES",
    "PENALTIES",
    "R1",
    "R1R2",
    "R2",
    "REAL",
    "WGANGP",
    "AdversarialLoss",
    "CoupledLoss",
    "CrossEntropyLoss",
    "FeatureMatching",
    "GradientPenalty",
    "Hinge",
    "LabeledLoss",
    "LeastSquares",
    "Loss",
    "Minimax",
    "NonSaturating",
    "RelativisticAverage",
    "RelativisticPairing",
    "SoftmaxMixture",
    "SquaredProbability",
    "Wasserstein",
    "bernoulli",
    "gaussian",
    "get_loss",
    "get_penalty",
    "l1",
    "mse",
    "probability",
    "softmax_cross_entropy",
]


def __dir__() -> list[str]:
    return sorted(__all__)
