"""The embedded tinted digits: digits in ink on a colored sheet, whose map from and to the digits is known."""

import numpy as np

from minigan.data.dataset import IndexArray, PixelArray, PixelDataset
from minigan.data.digits import Digits

__all__ = ["Tinted", "tinted"]

SHEET, INK = (38, 70, 132), (246, 190, 74)  # colors of 0 and of 255
OTHERS = 500_000_003  # added to the seed: none of these digits is one of the embedded digits of that seed


class Tinted(PixelDataset):
    """Grayscale images in two colors: black becomes the sheet's, white the ink's, and gray lies between.

    Args:
        source: grayscale images; `close` closes it, too.
    Attributes:
        source: the source, as given. Its items are the truth of these.
    """

    def __init__(self, source: PixelDataset) -> None:
        height, width, _ = source.shape
        super().__init__(
            name="tinted",
            count=len(source),
            shape=(height, width, 3),
            labels=source.labels,
            classes=source.classes,
            cache_bytes=0,  # the source has its own
        )
        self.source = source
        share = np.arange(256)[:, None] / 255
        self._colors = np.rint(share * np.array(INK) + (1 - share) * np.array(SHEET)).astype(np.uint8)

    def close(self) -> None:
        self.source.close()

    def decode(self, indices: IndexArray) -> PixelArray:
        colored: PixelArray = self._colors[self.source.pixels(indices)[..., 0]]
        return colored


def tinted(*, size: tuple[int, int], count: int, seed: int, cache_bytes: int) -> Tinted:
    """The embedded dataset `tinted`; arguments as those of `Digits`."""
    return Tinted(Digits(size=size, count=count, seed=seed + OTHERS, cache_bytes=cache_bytes))
