"""The Fréchet distance between two sets of feature vectors, each treated as a Gaussian.

Source: Heusel et al. 2017 ("GANs Trained by a Two Time-Scale Update Rule"), equation 6; for Gaussians Dowson & Landau
1982. With Inception's features it is the FID. With other features it has a scale of its own. Few samples make it larger
(Chong & Forsyth 2020): compare only distances of equal numbers of samples.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from minigan.errors import ShapeError
from minigan.evaluation.metrics.checks import FloatArray, numbers, vectors

__all__ = ["Moments", "frechet_distance"]


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of feature vectors.

    Attributes:
        mean: float64 (F,).
        covariance: float64 (F, F).
        count: number of vectors.
    """

    mean: FloatArray
    covariance: FloatArray
    count: int

    @classmethod
    def of(cls, features: np.ndarray) -> Self:
        """Computes the moments of features (N, F), N >= 2; the covariance is divided by N - 1.

        Raises:
            ShapeError, DTypeError, DataError: the features are not a set of finite vectors.
        """
        x = vectors("features", features, least=2)
        mean = x.mean(axis=0)
        x = x - mean
        return cls(mean, x.T @ x / (len(x) - 1), len(x))


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Fréchet distance |m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^½), at least 0.

    The trace of (C_a C_b)^½ is the sum of the singular values of C_a^½ C_b^½. Both are roots of symmetric matrices, so
    eigendecompositions give them, without complex numbers and for singular matrices, too.

    Raises:
        ShapeError: the vectors differ in length.
    """
    if a.mean.shape != b.mean.shape:
        raise ShapeError(
            f"expected moments of vectors of one length, got {a.mean.size} and {b.mean.size} features. "
            "Extract both with the same function."
        )
    shift = numbers("a.mean", a.mean) - numbers("b.mean", b.mean)
    A, B = numbers("a.covariance", a.covariance), numbers("b.covariance", b.covariance)
    cross = np.linalg.svd(_root(A) @ _root(B), compute_uv=False).sum()
    distance = shift @ shift + np.trace(A) + np.trace(B) - 2 * cross
    return max(float(distance), 0.0)


def _root(matrix: FloatArray) -> FloatArray:
    """Square root of a positive semidefinite matrix; eigenvalues that rounding made negative count as 0."""
    values, q = np.linalg.eigh(matrix)
    root: FloatArray = (q * np.sqrt(np.maximum(values, 0))) @ q.T
    return root
