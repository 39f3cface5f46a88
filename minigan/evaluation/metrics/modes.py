"""Mode coverage: the modes of a known distribution that samples reach, and how evenly they do.

Sources: Lin et al. 2018 ("PacGAN"), section 4.1 (ring and grid) and 4.2 (stacked MNIST), after Srivastava et al. 2017
("VEEGAN") and Metz et al. 2017 ("Unrolled GANs").
"""

from typing import NamedTuple

import numpy as np

from minigan.errors import ConfigError, ShapeError
from minigan.evaluation.metrics.checks import FloatArray, IntegerArray, check_count, integers, numbers, vectors
from minigan.evaluation.metrics.distances import nearest

__all__ = ["LabelCoverage", "ModeCoverage", "kl_divergence", "label_coverage", "mode_coverage"]

NEAR = 3  # standard deviations within which a sample is of high quality


class ModeCoverage(NamedTuple):
    """Coverage of the modes of a mixture of Gaussians.

    Attributes:
        modes: number of modes with at least one sample of high quality.
        of: number of modes in the mixture.
        high_quality: share of samples within 3 standard deviations of a center.
        reverse_kl: KL(samples || mixture) of the histograms over the nearest centers, in nats.
        histogram: number of samples of high quality in each mode, (of,).
    """

    modes: int
    of: int
    high_quality: float
    reverse_kl: float
    histogram: IntegerArray


class LabelCoverage(NamedTuple):
    """Coverage of the classes of a dataset.

    Attributes:
        modes: number of classes with at least one sample.
        of: number of classes.
        reverse_kl: KL(samples || data) of the histograms over classes, in nats.
        histogram: number of samples in each class, (of,).
    """

    modes: int
    of: int
    reverse_kl: float
    histogram: IntegerArray


def mode_coverage(points: np.ndarray, *, centers: np.ndarray, sigma: float) -> ModeCoverage:
    """Counts the modes of an even mixture of Gaussians that points reach, by PacGAN's protocol (with 2,500 points).

    For `reverse_kl` all points are counted, each at its nearest center; the mixture's histogram is uniform.

    Args:
        points: (N, 2).
        centers: (modes, 2).
        sigma: the standard deviation of each Gaussian, in each direction.
    Raises:
        ConfigError: sigma is not positive.
        ShapeError, DTypeError, DataError: points and centers are not two sets of finite vectors of one length.
    Source: Lin et al. 2018, section 4.1.
    """
    points, centers = vectors("points", points), vectors("centers", centers)
    if not sigma > 0:
        raise ConfigError(f"sigma: expected a positive number, got {sigma}. Use the mixture's.")
    indices, distances = nearest(points, centers)
    mode, of = indices[:, 0], len(centers)
    near = distances[:, 0] <= NEAR * sigma
    histogram = np.bincount(mode[near], minlength=of)
    return ModeCoverage(
        modes=int((histogram > 0).sum()),
        of=of,
        high_quality=float(near.mean()),
        reverse_kl=kl_divergence(np.bincount(mode, minlength=of), np.ones(of)),
        histogram=histogram,
    )


def label_coverage(labels: np.ndarray, *, classes: int, data_labels: np.ndarray | None = None) -> LabelCoverage:
    """Counts the classes that samples reach, by their predicted labels.

    Stacked digits have 1,000 classes, of which PacGAN's protocol draws 26,000 samples.

    Args:
        labels: predicted classes of the samples, integers (N,) from 0 to classes - 1.
        classes: number of classes.
        data_labels: classes of the data, integers (M,), any M; None assumes equally frequent classes.
    Raises:
        ShapeError, ConfigError: the labels are not integers in that range.
    Source: Lin et al. 2018, section 4.2.
    """
    check_count("classes", classes)
    histogram = _histogram("labels", labels, classes)
    data = np.ones(classes) if data_labels is None else _histogram("data_labels", data_labels, classes)
    return LabelCoverage(int((histogram > 0).sum()), classes, kl_divergence(histogram, data), histogram)


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence KL(p || q) = sum of p log(p / q), in nats; infinite if p has counts where q has none.

    Args:
        p, q: histograms (K,), which need not sum to 1.
    Raises:
        ShapeError: they are not two histograms of one length with counts in them.
        DTypeError, DataError: they hold other things than finite numbers.
    """
    p, q = numbers("p", p), numbers("q", q)
    if p.ndim != 1 or p.shape != q.shape or (p < 0).any() or (q < 0).any() or not (p.sum() > 0 and q.sum() > 0):
        raise ShapeError(
            f"expected two histograms of one length, neither empty nor negative, got {p.shape} with sum {p.sum()} "
            f"and {q.shape} with sum {q.sum()}. Count over the same classes."
        )
    seen = p > 0
    if (q[seen] == 0).any():
        return float("inf")
    a, b = _share(p)[seen], _share(q)[seen]
    return max(float((a * np.log(a / b)).sum()), 0.0)


def _share(counts: FloatArray) -> FloatArray:
    share: FloatArray = counts / counts.sum()
    return share


def _histogram(name: str, labels: np.ndarray, classes: int) -> IntegerArray:
    if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "iub":
        raise ShapeError(f"{name}: expected integers (N,), got {labels.dtype} {labels.shape}. Give one label a sample.")
    labels = integers(name, labels)
    if labels.min() < 0 or labels.max() >= classes:
        raise ConfigError(
            f"{name}: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}. "
            "Check the number of classes."
        )
    return np.bincount(labels, minlength=classes)
