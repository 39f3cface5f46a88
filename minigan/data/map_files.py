"""Pictures of a folder for a generator from image to image: maps of classes in colors, all others as they are."""

import numpy as np

from minigan.data.class_maps import SURVEYED, ClassMaps, find_maps, map_pixels
from minigan.data.dataset import IndexArray, PixelArray, PixelDataset
from minigan.data.files import FileStore
from minigan.data.image_files import ImageFiles, load_unchanged
from minigan.data.layout import all_files
from minigan.data.options import SourceOptions

__all__ = ["JPEG_MAGIC", "MapFiles", "open_pictures"]

JPEG_MAGIC = b"\xff\xd8\xff"


class MapFiles(PixelDataset):
    """Dataset of maps of classes in picture files, painted in colors.

    Args:
        store: the files.
        maps: their classes.
        size, channels: of the painted maps.
    """

    def __init__(self, store: FileStore, maps: ClassMaps, *, name: str, size: tuple[int, int], channels: int) -> None:
        super().__init__(name=name, count=len(store.names), shape=(*size, channels), cache_bytes=0)
        self.note(f"these are maps: {maps.describe()}")
        self._store = store
        self._maps = maps

    def close(self) -> None:
        self._store.close()

    def decode(self, indices: IndexArray) -> PixelArray:
        height, width, channels = self.shape
        images = np.empty((len(indices), *self.shape), dtype=np.uint8)
        for image, row in zip(images, indices.tolist(), strict=True):
            where, data = self._store.where(row), self._store.read(row)
            pixels = map_pixels(load_unchanged(data, where=where), exact=not data.startswith(JPEG_MAGIC))
            image[...] = self._maps.painted(pixels, size=(height, width), channels=channels, where=where)
        return images


def open_pictures(store: FileStore, *, name: str, size: tuple[int, int], channels: int) -> PixelDataset:
    """The pictures of a store, scaled to a size (H, W); maps of classes are painted as those of `open_pairs` are.

    Raises:
        DataError: a picture cannot be read.
    """
    count = min(len(store.names), SURVEYED)
    rows = (np.arange(count) * len(store.names) // count).tolist()
    files = ((store.where(row), store.read(row)) for row in rows)
    looks = (
        (where, map_pixels(load_unchanged(data, where=where), exact=not data.startswith(JPEG_MAGIC)))
        for where, data in files
    )
    maps = find_maps(looks, complete=count == len(store.names))
    if maps is not None and channels == 3:
        return MapFiles(store, maps, name=name, size=size, channels=channels)
    options = SourceOptions(size=size, channels=channels, count=None, cache_bytes=0)
    return ImageFiles(store, name=name, options=options, layout=all_files(store))
