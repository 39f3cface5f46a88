"""Class maps: the classes of color images, and the agreement of two maps."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.errors import ConfigError, DataError, ShapeError
from minigan.evaluation.metrics.checks import IntegerArray, check_count, integers, numbers

__all__ = ["MapAgreement", "confusion_matrix", "map_agreement", "palette_labels"]


class MapAgreement(NamedTuple):
    """Agreement of class maps with the truth; all values are in [0, 1], and larger is better."""

    pixel_accuracy: float
    class_accuracy: float
    mean_iou: float


def palette_labels(images: np.ndarray, *, palette: npt.ArrayLike) -> IntegerArray:
    """Class of each pixel: the index of the nearest color, the first of equally near ones.

    Args:
        images: (N, H, W, 3), integers from 0 to 255, or floats in [-1, 1].
        palette: the classes' colors (K, 3), from 0 to 255, such as `minigan.data.MASK_COLORS`.
    Returns:
        int64 (N, H, W), from 0 to K - 1.
    Raises:
        ShapeError: the images or the palette do not have 3 channels.
        DTypeError, DataError: the images hold no finite numbers, or integers beyond 0 to 255.
    """
    colors = np.asarray(palette, dtype=np.float32)
    if images.ndim != 4 or images.shape[3] != 3 or colors.ndim != 2 or colors.shape[1] != 3 or not len(colors):
        raise ShapeError(
            f"expected images (N, H, W, 3) and a palette (K, 3), got {images.shape} and {colors.shape}. "
            "Class maps are color images."
        )
    pixels = _pixels(images)
    nearest = np.full(images.shape[:3], np.inf, dtype=np.float32)
    labels = np.zeros(images.shape[:3], dtype=np.int64)
    for label, color in enumerate(colors):
        distance = np.square(pixels - color).sum(axis=3)
        closer = distance < nearest
        labels[closer] = label
        nearest[closer] = distance[closer]
    return labels


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images on the scale of a palette, 0 to 255, in a type in which differences do not wrap around."""
    if images.dtype.kind in "iu":
        if images.dtype != np.uint8 and images.size and (images.min() < 0 or images.max() > 255):
            raise DataError(
                f"images: expected integers from 0 to 255, got {images.min()} to {images.max()}. Scale the images."
            )
        return images.astype(np.float32)
    single = images if images.dtype == np.float32 else numbers("images", images)
    return (single + 1) * 127.5


def confusion_matrix(labels: np.ndarray, truth: np.ndarray, *, classes: int) -> IntegerArray:
    """Confusion matrix n: n[i, j] is the number of pixels of class i that are labeled j.

    Args:
        labels, truth: integers of one shape. Pixels whose truth is not in [0, classes) do not count.
        classes: number of classes.
    Returns:
        int64 (classes, classes).
    Raises:
        ShapeError: the shapes differ.
        DTypeError: the labels are no integers.
        ConfigError: a label is not in [0, classes).
    """
    check_count("classes", classes)
    if labels.shape != truth.shape:
        raise ShapeError(f"expected labels of the truth's shape {truth.shape}, got {labels.shape}. Pair them.")
    labels, truth = integers("labels", labels), integers("truth", truth)
    counted = (truth >= 0) & (truth < classes)
    said = labels[counted]
    if said.size and (said.min() < 0 or said.max() >= classes):
        raise ConfigError(f"labels: expected 0 to {classes - 1}, got {said.min()} to {said.max()}. Check the classes.")
    return np.bincount(truth[counted] * classes + said, minlength=classes**2).reshape(classes, classes)


def map_agreement(confusion: np.ndarray) -> MapAgreement:
    """Pixel accuracy, class accuracy and mean intersection over union.

    With n_ij of `confusion_matrix` and t_i = sum_j n_ij:

    - pixel accuracy: sum_i n_ii / sum_i t_i;
    - class accuracy: the mean of n_ii / t_i;
    - mean IoU: the mean of n_ii / (t_i + sum_j n_ji - n_ii).

    Both means run over the classes that occur in the truth. Source: Long et al. 2015 ("Fully Convolutional Networks"),
    section 5.

    Args:
        confusion: the counts n (classes, classes) of `confusion_matrix`.
    Raises:
        ShapeError: the matrix is not square, or empty.
    """
    confusion = numbers("confusion", confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not confusion.sum() > 0:
        raise ShapeError(
            f"expected a square matrix with counts in it, got {confusion.shape} with sum {confusion.sum()}. "
            "Use confusion_matrix."
        )
    right, there = np.diag(confusion), confusion.sum(axis=1)
    union = there + confusion.sum(axis=0) - right
    present = there > 0
    return MapAgreement(
        pixel_accuracy=float(right.sum() / there.sum()),
        class_accuracy=float((right[present] / there[present]).mean()),
        mean_iou=float((right[present] / union[present]).mean()),
    )
