"""The best D against a known mixture, and D's logits as shares of "real"."""

from typing import NamedTuple

import numpy as np

from minigan.losses import Loss
from minigan.losses.adversarial import CrossEntropyLoss, Hinge, LeastSquares, RelativisticAverage

__all__ = ["Reading", "fake_density", "mixture_density", "optimal_reading", "reading_of"]

NOTHING = 1e-3  # of the largest density of real points


class Reading(NamedTuple):
    """D's opinion, from 0, fake, to 1, real.

    Attributes:
        values: of the logits' shape.
        words: the meaning of a value.
    """

    values: np.ndarray
    words: str


def reading_of(loss: Loss, logits: np.ndarray) -> Reading:
    """D's logits as its opinion under a loss; a score, which has no zero of its own, is read between its extremes."""
    if isinstance(loss, CrossEntropyLoss | RelativisticAverage):
        return Reading(1 / (1 + np.exp(-np.clip(logits, -60, 60))), "D's probability of real")
    if isinstance(loss, LeastSquares):
        return Reading(np.clip(logits / loss.real_label, 0, 1), "D's output in shares of its label for real")
    if isinstance(loss, Hinge):
        return Reading((np.clip(logits, -1, 1) + 1) / 2, "D's place between its margins")
    low, high = float(logits.min()), float(logits.max())
    return Reading((logits - low) / max(high - low, 1e-12), "D's score between its extremes here")


def optimal_reading(loss: Loss, p: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """Opinion of the D that minimizes its loss at densities p of real and q of fake; None where there is no formula.

    p / (p + q) for cross-entropy, least squares and the relativistic loss, the side of the greater density for hinge. A
    Wasserstein critic is the best of all functions of slope 1, which no formula in p and q gives. Where there is
    neither real nor fake, in a thousandth of p's largest density, D may say anything: it is shown undecided.

    Source: Goodfellow et al. 2014, proposition 1; Mao et al. 2017, equation 4; Lim & Ye 2017, lemma 4.1.
    """
    if not isinstance(loss, CrossEntropyLoss | LeastSquares | RelativisticAverage | Hinge):
        return None
    nothing = NOTHING * float(p.max())
    share = np.asarray((p + nothing) / (p + q + 2 * nothing))
    return np.where(p + q < nothing, 0.5, p > q) if isinstance(loss, Hinge) else share


def mixture_density(axis: np.ndarray, centers: np.ndarray, *, sigma: float, blur: float) -> np.ndarray:
    """Density on a grid of an even mixture of Gaussians, seen through a normal blur: exact.

    Args:
        axis: the grid's coordinates, (n,), in both directions.
        centers: (modes, 2).
        sigma: the standard deviation of each Gaussian.
        blur: that of the blur.
    Returns:
        (n, n): rows go with y, columns with x.
    """
    return fake_density(axis, centers, blur=float(np.hypot(sigma, blur)))


def fake_density(axis: np.ndarray, points: np.ndarray, *, blur: float) -> np.ndarray:
    """Density on a grid of points that are seen through a normal blur; arguments as in `mixture_density`."""
    x, y = (np.exp(-0.5 * ((points[:, [i]] - axis) / blur) ** 2) for i in (0, 1))
    return np.asarray(y.T @ x / (len(points) * 2 * np.pi * blur**2))
