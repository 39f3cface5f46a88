"""Training data: embedded datasets, readers for files of many kinds, surveys, and the loader that makes batches."""

from minigan.data.dataset import Dataset, LabeledDataset, PairDataset
from minigan.data.digits import Digits
from minigan.data.film_files import encode_film
from minigan.data.loader import Loader
from minigan.data.pictures import image_grid
from minigan.data.png import encode_png
from minigan.data.points import GaussianMixture, grid, ring
from minigan.data.preview import preview
from minigan.data.shapes import MASK_COLORS, ShapePairs, Shapes
from minigan.data.source import EMBEDDED, open_dataset, open_pairs
from minigan.data.stacked import STACKED, StackedImages
from minigan.data.survey_result import Survey
from minigan.data.surveying import survey
from minigan.data.tinted import Tinted
from minigan.data.unpaired import UnpairedDataset, UnpairedLoader
from minigan.data.unpaired_sources import open_unpaired

__all__ = [
    "EMBEDDED",
    "MASK_COLORS",
    "STACKED",
    "Dataset",
    "Digits",
    "GaussianMixture",
    "LabeledDataset",
    "Loader",
    "PairDataset",
    "ShapePairs",
    "Shapes",
    "StackedImages",
    "Survey",
    "Tinted",
    "UnpairedDataset",
    "UnpairedLoader",
    "encode_film",
    "encode_png",
    "grid",
    "image_grid",
    "open_dataset",
    "open_pairs",
    "open_unpaired",
    "preview",
    "ring",
    "survey",
]


def __dir__() -> list[str]:
    return sorted(__all__)
