"""The training images nearest to each sample, found without holding all of them in memory."""

from typing import NamedTuple

import numpy as np

from minigan.data import Dataset
from minigan.data.pictures import image_grid
from minigan.evaluation.features import FeatureFunction
from minigan.evaluation.metrics import nearest
from minigan.evaluation.metrics.checks import FloatArray, IntegerArray

__all__ = ["Neighbours", "nearest_items", "neighbour_picture"]

CHUNK = 8192  # items of the data that are looked at together


class Neighbours(NamedTuple):
    """Of N vectors.

    Attributes:
        items: indices into the dataset (N, k), nearest first.
        distances: theirs, (N, k).
    """

    items: IntegerArray
    distances: FloatArray


def nearest_items(
    queries: np.ndarray, dataset: Dataset, *, rows: IntegerArray, features: FeatureFunction, k: int = 1
) -> Neighbours:
    """The k of the dataset's items that are nearest to each query.

    Args:
        queries: feature vectors (N, F).
        rows: indices of the items to look at, at least k.
        features: what made the queries.
    """
    items: IntegerArray = np.empty((len(queries), 0), dtype=np.int64)
    distances: FloatArray = np.empty((len(queries), 0))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        found, apart = nearest(queries, features(dataset.read(part)), k=min(k, len(part)))
        items, distances = np.hstack([items, part[found]]), np.hstack([distances, apart])
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        items, distances = np.take_along_axis(items, order, axis=1), np.take_along_axis(distances, order, axis=1)
    return Neighbours(items, distances)


def neighbour_picture(samples: np.ndarray, dataset: Dataset, items: IntegerArray) -> np.ndarray:
    """Samples in the first row, and below each its nearest training images, nearest first: (H, W, C) uint8.

    Args:
        samples: images (N, H, W, C) in [-1, 1].
        items: the neighbours' indices, (N, k).
    """
    neighbours = dataset.read(items.T.ravel())  # a row of the picture after the other
    return image_grid(np.concatenate([samples, neighbours]), columns=len(samples))
