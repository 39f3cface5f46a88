"""The training images nearest to each sample, found without loading all of them into memory."""

from typing import NamedTuple

import numpy as np

from minigan.data import Dataset
from minigan.data.pictures import image_grid
from minigan.evaluation.features import FeatureFunction
from minigan.evaluation.metrics import nearest
from minigan.evaluation.metrics.checks import FloatArray, IntegerArray

__all__ = ["Neighbors", "nearest_items", "neighbor_picture"]

CHUNK = 8192  # items of the data that are compared at a time


class Neighbors(NamedTuple):
    """The k nearest items of a dataset, for each of N queries.

    Attributes:
        items: indices into the dataset (N, k), nearest first.
        distances: distances to them, float64 (N, k).
    """

    items: IntegerArray
    distances: FloatArray


def nearest_items(
    queries: np.ndarray, dataset: Dataset, *, rows: IntegerArray, features: FeatureFunction, k: int = 1
) -> Neighbors:
    """Finds the k items of a dataset that are nearest to each query.

    Args:
        queries: feature vectors (N, F).
        dataset: images.
        rows: indices of the items to search, at least k.
        features: the function that made the queries.
        k: number of neighbors.
    """
    items: IntegerArray = np.empty((len(queries), 0), dtype=np.int64)
    distances: FloatArray = np.empty((len(queries), 0))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        found, apart = nearest(queries, features(dataset.read(part)), k=min(k, len(part)))
        items, distances = np.hstack([items, part[found]]), np.hstack([distances, apart])
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        items, distances = np.take_along_axis(items, order, axis=1), np.take_along_axis(distances, order, axis=1)
    return Neighbors(items, distances)


def neighbor_picture(samples: np.ndarray, dataset: Dataset, items: IntegerArray) -> np.ndarray:
    """Draws samples in the first row, and below each its nearest training images, nearest first.

    Args:
        samples: images (N, H, W, C) in [-1, 1].
        dataset: the images among which the neighbors are.
        items: the neighbors' indices, (N, k).
    Returns:
        uint8 (H, W, C).
    """
    neighbors = dataset.read(items.T.ravel())  # row by row of the picture
    return image_grid(np.concatenate([samples, neighbors]), columns=len(samples))
