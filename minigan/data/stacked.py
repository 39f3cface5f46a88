"""Stacked grayscale images: three drawn at random become the red, green and blue of one.

Ten classes become a thousand of equal size, so missing modes can be counted. With MNIST this is "Stacked MNIST" (Metz
et al. 2017; Srivastava et al. 2017, "VEEGAN"), with 128,000 images as in PacGAN (Lin et al. 2018, section 4.2).
"""

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Dataset, FloatArray, IndexArray
from minigan.errors import DataError

__all__ = ["STACKED", "StackedImages"]

STACKED = "stacked:"  # before the name of a source
CLASSES = 10
STREAM = 0x57ACC  # keeps these random numbers apart from others of the same seed


class StackedImages(Dataset):
    """Dataset of color images (H, W, 3), each stacked from three grayscale ones; the label is 100 a + 10 b + c.

    Args:
        source: labeled grayscale images of ten classes; `close` closes it, too.
        count: number of images; a larger dataset of the same seed begins with the same images.
        seed: of the choice of images.
    Raises:
        DataError: the source is of another kind.

    Attributes:
        source: the source, as given.
        members: indices (count, 3) into the source.
    """

    def __init__(self, source: Dataset, *, count: int = 128_000, seed: int = 0) -> None:
        labels = source.labels
        if len(source.shape) != 3 or source.shape[2] != 1:
            raise DataError(f"expected grayscale images to stack, found {source.describe()}. Choose another source.")
        if labels is None or labels.min() < 0 or labels.max() >= CLASSES:
            found = "no labels" if labels is None else f"labels from {labels.min()} to {labels.max()}"
            raise DataError(
                f"{source.name}: expected labels from 0 to {CLASSES - 1} to stack, found {found}. "
                "Choose a source of ten classes, such as digits."
            )
        self.source = source
        self.members: IndexArray = np.random.default_rng([seed, STREAM]).integers(len(source), size=(count, 3))
        super().__init__(
            name=f"stacked {source.name}",
            count=count,
            shape=(*source.shape[:2], 3),
            labels=labels[self.members] @ np.array([CLASSES**2, CLASSES, 1]),
            classes=tuple(f"{label:03}" for label in range(CLASSES**3)),
        )
        self.note(*source.notes)

    def close(self) -> None:
        self.source.close()

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        members = self.members[self.checked(indices)]
        images = self.source.read(members.ravel())  # (3 n, H, W, 1)
        planes = images.reshape(*members.shape, *self.shape[:2])
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
