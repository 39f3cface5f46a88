"""From images to the vectors that figures are computed on: pixels, or anything else that one can call."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigan.evaluation.metrics.checks import IntegerArray

__all__ = ["FeatureFunction", "ImageClassifier", "PixelFeatures", "StackedClassifier", "block_means"]

# Images (N, H, W, C) in [-1, 1] to vectors (N, F); what `str` says of it stands in the report.
FeatureFunction = Callable[[np.ndarray], np.ndarray]

MOST_PIXELS = 1024


@dataclass(frozen=True)
class PixelFeatures:
    """The pixels themselves, of images that blocks of pixels were averaged in until at most 1,024 numbers are left.

    It needs no labels and nothing trained, and sees no more than pixels can tell: two pictures of one thing that are a
    pixel apart are far from each other.
    """

    most: int = MOST_PIXELS

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images (N, H, W, C) as vectors (N, F) with F at most 1,024."""
        _, H, W, C = images.shape
        factor = 1
        while -(-H // factor) * -(-W // factor) * C > self.most and factor < max(H, W):
            factor += 1
        return block_means(images, factor=factor).reshape(len(images), -1)

    def __str__(self) -> str:
        return "pixels"


def block_means(images: np.ndarray, *, factor: int) -> np.ndarray:
    """Images (N, H, W, C) with each block of factor x factor pixels averaged; blocks at the border may be smaller."""
    for axis in (1, 2):
        starts = np.arange(0, images.shape[axis], factor)
        sizes = np.diff(starts, append=images.shape[axis]).astype(images.dtype)
        sums = np.add.reduceat(images, starts, axis=axis)
        images = sums / np.expand_dims(sizes, tuple(a for a in range(4) if a != axis))
    return images


class ImageClassifier(ABC):
    """Features that also know what an image shows.

    Attributes:
        classes: how many it tells apart.
        accuracy: on images held out of its training, in [0, 1].
    """

    classes: int
    accuracy: float

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The features of images (N, H, W, C) in [-1, 1]: (N, F)."""

    @abstractmethod
    def classify(self, features: np.ndarray) -> IntegerArray:
        """The classes of images, by their features (N, F): (N,)."""

    def labels(self, images: np.ndarray) -> IntegerArray:
        """The classes of images (N, H, W, C) in [-1, 1]: (N,)."""
        return self.classify(self(images))


class StackedClassifier(ImageClassifier):
    """Looks at red, green and blue one after the other, with a classifier of greyscale images.

    The label is 100 a + 10 b + c of ten classes, as in `minigan.data.StackedImages`, the features are those of the
    three channels side by side.

    Args:
        single: of images (H, W, 1).
    """

    def __init__(self, single: ImageClassifier) -> None:
        self.single = single
        self.classes = single.classes**3
        self.accuracy = single.accuracy**3  # all three must be right

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self.single(images[..., c, None]) for c in range(3)], axis=1)

    def classify(self, features: np.ndarray) -> IntegerArray:
        a, b, c = (self.single.classify(part) for part in np.split(features, 3, axis=1))
        return (a * self.single.classes + b) * self.single.classes + c

    def __str__(self) -> str:
        return f"{self.single}, channel by channel"
