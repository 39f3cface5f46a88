"""Precision, recall, density and coverage: are all samples like the data, and is all of the data covered?

Sources: Kynkäänniemi et al. 2019 ("Improved Precision and Recall Metric"), equations 1 and 2; Naeem et al. 2020
("Reliable Fidelity and Diversity Metrics"), section 3.
"""

from typing import NamedTuple

import numpy as np

from minigan.evaluation.metrics.checks import vectors_pair
from minigan.evaluation.metrics.distances import distance_blocks, inside, kth_nearest

__all__ = ["PRDC", "prdc"]


class PRDC(NamedTuple):
    """Precision, recall, density and coverage, from 0 up; larger is better, and only density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: np.ndarray, fake: np.ndarray, *, k: int = 5) -> PRDC:
    """Computes the four figures from balls around each vector that reach to its k-th nearest neighbor in its own set.

    - precision: the share of fakes inside a real example's ball;
    - recall: the share of real examples inside a fake's ball;
    - density: the mean number of real examples' balls that a fake is in, divided by k;
    - coverage: the share of real examples' balls with a fake inside.

    A ball includes its border: for two equal sets the density is (k + 1) / k and the others are 1. Distances are
    computed in blocks, so memory grows with N + M only.

    Args:
        real, fake: features (N, F) and (M, F).
        k: number of the neighbor; 3 in Kynkäänniemi et al., 5 in Naeem et al.
    Raises:
        ConfigError: k is not from 1 to N - 1 and M - 1.
        ShapeError, DTypeError, DataError: the arrays are not two sets of finite vectors of one length.
    """
    real, fake = vectors_pair(("real", "fake"), real, fake, least=2)
    real_radius, fake_radius = kth_nearest(real, k=k), kth_nearest(fake, k=k)
    balls = np.zeros(len(fake), dtype=np.int64)  # real examples' balls that each fake is in
    recalled, covered = np.zeros(len(real), dtype=np.bool_), np.zeros(len(real), dtype=np.bool_)
    for part, distances in distance_blocks(real, fake):
        in_real = inside(distances, real_radius[part, None], real[part], fake)
        balls += in_real.sum(axis=0)
        covered[part] = in_real.any(axis=1)
        recalled[part] = inside(distances, fake_radius, real[part], fake).any(axis=1)
    return PRDC(
        precision=float((balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(balls.mean() / k),
        coverage=float(covered.mean()),
    )
