"""The palette of class maps: as their files tell it, or found in the maps themselves.

Maps of numbers, of indices or of exact colors tell it (`palette_of`). The rest is for others (`find_palette`).

Maps kept as JPEG have no exact colors: along each edge two classes mix, and flat areas are off by a step or two. So
colors are sought only where a map is flat, in 3x3 pixels that hardly differ; there they form a few narrow clusters. If
all clusters belong to a known palette (the embedded shapes, CamVid's eleven classes) and are at least half of it, its
exact colors, names and void are used. Two colors alone prove nothing: black is CamVid's void, and the background of
many other maps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minigan.data import MASK_COLORS
from minigan.data.class_maps import ClassMaps
from minigan.data.pictures import to_pixels
from minigan.data.shapes import CLASSES
from minigan.evaluation.metrics import palette_labels
from minigan.evaluation.metrics.checks import IntegerArray

__all__ = ["CAMVID", "KNOWN", "SHAPES", "Palette", "find_palette", "palette_of"]

FLAT = 8  # levels of 255 by which 3x3 pixels of one class may differ
CLUSTER = 24  # largest distance from a cluster's center to its members
NEAR = 12  # largest distance from a cluster's center to its color in a known palette
TIGHT = 8  # distance from a cluster's center to nearly all members, in maps; clusters of photographs are wider
BLUR = 48  # a pixel further than this from every color is the blur of an edge
RAREST = 2e-4  # share of all flat pixels
MOST = 64  # clusters
FLAT_SHARE, TIGHT_SHARE = 0.2, 0.95  # least shares in a class map


@dataclass(frozen=True)
class Palette:
    """The classes of a map.

    Attributes:
        name: the dataset's name, or "found in the maps".
        colors: (K, 3), from 0 to 255.
        classes: the classes' names, or numbers if they are unknown.
        void: index of the color that means no class; None if all of them are classes.
    """

    name: str
    colors: tuple[tuple[int, int, int], ...]
    classes: tuple[str, ...]
    void: int | None = None

    def labels(self, images: np.ndarray) -> IntegerArray:
        """Class of each pixel of images (N, H, W, 3 or 1) in [-1, 1], by the nearest color: int64 (N, H, W)."""
        return palette_labels(_in_color(to_pixels(images)), palette=self.colors)

    def truth(self, maps: np.ndarray) -> IntegerArray:
        """Class of each pixel as by `labels`, but -1 for void and for pixels near no color, the blur of edges."""
        pixels = _in_color(to_pixels(maps))
        labels = palette_labels(pixels, palette=self.colors)
        distance = np.sqrt(np.square(pixels - np.array(self.colors, np.float32)[labels]).sum(axis=3))
        labels[distance > BLUR] = -1
        if self.void is not None:
            labels[labels == self.void] = -1
        return labels


SHAPES = Palette("shapes", MASK_COLORS, ("ground", *CLASSES))

# The eleven classes of Badrinarayanan et al. 2017 (SegNet), section 4.1, in the data set's own colors.
CAMVID = Palette(
    "CamVid",
    (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
        (0, 0, 0),
    ),
    (
        *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist"),
        "void",
    ),
    void=11,
)
KNOWN = (SHAPES, CAMVID)


def find_palette(maps: np.ndarray) -> Palette | None:
    """Finds the palette of maps (N, H, W, 3) in [-1, 1]; None if these are pictures of another kind.

    The most frequent color of all flat pixels is the center of a cluster, to which all colors near it belong; then
    the most frequent color of the rest, until only rare ones are left.
    """
    if maps.shape[3] != 3 or min(maps.shape[1:3]) < 3:
        return None
    flat = _flat_pixels(to_pixels(maps))
    if len(flat) < FLAT_SHARE * maps[..., 0].size:
        return None
    clusters, share = _clusters(flat)
    if share < TIGHT_SHARE or len(clusters) < 2:
        return None
    if (palette := _known(clusters)) is not None:
        return palette
    colors = tuple((int(r), int(g), int(b)) for r, g, b in np.rint(clusters))
    return Palette("found in the maps", colors, tuple(map(str, range(len(colors)))))


def palette_of(maps: ClassMaps) -> Palette:
    """The palette of maps whose classes their files tell: numbers, indices or exact colors."""
    known = _known(np.array(maps.colors)) if maps.kind == "colors" else None
    if known is not None:
        return known
    names = {"numbers": "Pascal VOC's, by number", "palette": "that of the files", "colors": "the maps' exact colors"}
    classes = tuple(map(str, maps.numbers or range(len(maps.colors))))
    if maps.void is None:
        return Palette(names[maps.kind], maps.colors, classes)
    return Palette(names[maps.kind], (*maps.colors, maps.void), (*classes, "void"), void=len(classes))


def _known(colors: npt.NDArray[Any]) -> Palette | None:
    """The known palette to which all colors (K, 3) belong, if they are at least half of it."""
    for palette in sorted(KNOWN, key=lambda palette: len(palette.colors)):
        known = np.array(palette.colors)
        enough = 2 * len(colors) >= len(known)
        if enough and all(np.sqrt(np.square(known - color).sum(axis=1)).min() <= NEAR for color in colors):
            return palette
    return None


def _in_color(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Gray maps as three equal channels."""
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def _flat_pixels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pixels (n, 3) in the middle of 3x3 pixels that hardly differ."""
    low = high = pixels
    for axis in (1, 2):
        length = pixels.shape[axis] - 2
        shifted = [np.arange(k, k + length) for k in range(3)]
        low = np.minimum.reduce([low.take(rows, axis=axis) for rows in shifted])
        high = np.maximum.reduce([high.take(rows, axis=axis) for rows in shifted])
    flat: npt.NDArray[np.uint8] = pixels[:, 1:-1, 1:-1][((high - low) <= FLAT).all(axis=3)]
    return flat


def _clusters(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], float]:
    """Centers of the clusters, largest first, and the share of all pixels that is close to a center."""
    _, where, counts = np.unique(pixels >> 2, axis=0, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(where.ravel(), pixels[:, c]) / counts for c in range(3)], axis=1)
    clusters: list[npt.NDArray[np.float64]] = []
    left, total, tight = counts.copy(), len(pixels), 0
    while len(clusters) < MOST and left.max() >= RAREST * total:
        middle = means[left.argmax()]
        distance = np.sqrt(np.square(means - middle).sum(axis=1))
        near = (distance <= CLUSTER) & (left > 0)
        tight += left[near & (distance <= TIGHT)].sum()
        clusters.append((means[near] * left[near, None]).sum(axis=0) / left[near].sum())
        left[near] = 0
    return np.array(clusters).reshape(-1, 3), tight / max(total, 1)
