"""Images that are kept larger than they are used, so that a loader can cut out another part of each every time."""

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Dataset, FloatArray, IndexArray, Look
from minigan.errors import ConfigError

__all__ = ["Enlarged"]


class Enlarged(Dataset):
    """Dataset of parts of another one's images; `read` takes the middle, `read_at` what a corner says.

    Args:
        source: images (H, W, C); `close` closes it, too.
        size: height and width of the parts.
    Attributes:
        margin: by how much the source's images are higher and wider.
    Raises:
        ConfigError: the source's images are smaller than the parts.
    """

    def __init__(self, source: Dataset, *, size: tuple[int, int]) -> None:
        height, width, channels = source.shape
        self.margin = height - size[0], width - size[1]
        if min(self.margin) < 0:
            raise ConfigError(
                f"{source.name}: expected images of at least {size[0]}x{size[1]} to cut parts out, got "
                f"{height}x{width}. Use larger images."
            )
        super().__init__(
            name=source.name,
            count=len(source),
            shape=(*size, channels),
            labels=source.labels,
            classes=source.classes,
        )
        self.note(*source.notes)
        self.kind, self.varied = source.kind, source.varied
        self._source = source

    def close(self) -> None:
        self._source.close()

    def look(self, index: int) -> Look:
        return self._source.look(index)

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        rows = self.checked(indices)
        return self.read_at(rows, np.tile(np.array(self.margin, np.intp) // 2, (len(rows), 1)))

    def read_at(self, indices: npt.ArrayLike, corners: IndexArray) -> FloatArray:
        """Reads the parts whose upper left corners are given: (n, 2), the row and the column of each."""
        height, width = self.shape[:2]
        images = self._source.read(self.checked(indices))
        parts = [
            image[top : top + height, left : left + width] for image, (top, left) in zip(images, corners, strict=True)
        ]
        return np.stack(parts) if parts else images[:, :height, :width]
