"""Some of a dataset's images, as a dataset of their own."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Dataset, FloatArray, IndexArray
from minigan.errors import ConfigError

__all__ = ["Subset", "split_dataset"]

LOT = 0  # the seed by which images are held out


class Subset(Dataset):
    """The images `rows` of a dataset, in that order."""

    def __init__(self, source: Dataset, rows: IndexArray) -> None:
        super().__init__(
            name=source.name,
            count=len(rows),
            shape=source.shape,
            labels=None if source.labels is None else source.labels[rows],
            classes=source.classes,
        )
        self._source = source
        self._rows = rows

    def close(self) -> None:
        self._source.close()

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        return self._source.read(self._rows[self.checked(indices)])


def split_dataset(dataset: Dataset, *, held_out: int, part: Literal["train", "val"]) -> Subset:
    """What training may see of a dataset, or what is kept from it: images drawn by lot, the same each time.

    Not evenly spread ones, which in a set whose classes go round would all be of one class.

    Args:
        held_out: how many are kept; no more than a tenth of all.
    Raises:
        ConfigError: there are not even two images.
    """
    count = min(held_out, max(1, len(dataset) // 10))
    if len(dataset) < 2:
        raise ConfigError(f"{dataset.name}: expected at least 2 images, one of them to be held out, found one.")
    drawn = np.random.default_rng(LOT).permutation(len(dataset)).astype(np.intp)
    return Subset(dataset, np.sort(drawn[:count] if part == "val" else drawn[count:]))
