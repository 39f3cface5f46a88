"""Subsets of a dataset, for training and for validation."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Dataset, FloatArray, IndexArray, Look
from minigan.errors import ConfigError

__all__ = ["Subset", "split_dataset"]

HELD_OUT_SEED = 0  # decides which images are held out


class Subset(Dataset):
    """Dataset of the items `rows` of another dataset, in that order.

    Attributes:
        source: the other dataset.
        taken: the rows.
    """

    def __init__(self, source: Dataset, rows: IndexArray) -> None:
        super().__init__(
            name=source.name,
            count=len(rows),
            shape=source.shape,
            labels=None if source.labels is None else source.labels[rows],
            classes=source.classes,
        )
        self.note(*source.notes)
        self.kind, self.varied = source.kind, source.varied
        self.source = source
        self.taken = rows

    def close(self) -> None:
        self.source.close()

    def look(self, index: int) -> Look:
        return self.source.look(int(self.taken[index]))

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        return self.source.read(self.taken[self.checked(indices)])


def split_dataset(dataset: Dataset, *, held_out: int, part: Literal["train", "val"]) -> Subset:
    """The training or the validation part of a dataset, split at random but the same way each time.

    An even spread would not do: in a dataset whose labels run through the classes in turn it has one class only.

    Args:
        held_out: number of images in the validation part, limited to a tenth of all.
        part: "train" or "val".
    Raises:
        ConfigError: the dataset has fewer than 2 images.
    """
    count = min(held_out, max(1, len(dataset) // 10))
    if len(dataset) < 2:
        raise ConfigError(
            f"{dataset.name}: expected at least 2 images, one of them to be held out, found one. Use more data."
        )
    drawn = np.random.default_rng(HELD_OUT_SEED).permutation(len(dataset)).astype(np.intp)
    subset = Subset(dataset, np.sort(drawn[:count] if part == "val" else drawn[count:]))
    if part == "train":
        subset.note(f"{count:,} of {len(dataset):,} images are held out of training, for pictures and figures")
    return subset
