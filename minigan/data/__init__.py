"""Training data: embedded sets, readers for files of many kinds, and the loader that makes batches of them."""

from minigan.data.dataset import Dataset, PairDataset
from minigan.data.digits import Digits
from minigan.data.loader import Loader
from minigan.data.points import GaussianMixture, grid, ring
from minigan.data.shapes import MASK_COLOURS, ShapePairs, Shapes
from minigan.data.source import EMBEDDED, open_dataset, open_pairs

__all__ = [
    "EMBEDDED",
    "MASK_COLOURS",
    "Dataset",
    "Digits",
    "GaussianMixture",
    "Loader",
    "PairDataset",
    "ShapePairs",
    "Shapes",
    "grid",
    "open_dataset",
    "open_pairs",
    "ring",
]
