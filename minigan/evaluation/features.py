"""Features: functions from images to the vectors on which figures are computed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigan.evaluation.metrics.checks import IntegerArray

__all__ = ["FeatureFunction", "ImageClassifier", "PixelFeatures", "StackedClassifier", "block_means"]

# From images (N, H, W, C) in [-1, 1] to vectors (N, F). Reports name it by its `str`.
FeatureFunction = Callable[[np.ndarray], np.ndarray]

MOST_PIXELS = 1024


@dataclass(frozen=True)
class PixelFeatures:
    """The pixels of images, averaged over blocks until at most `most` numbers are left.

    They need neither labels nor training. But they see no more than pixels: two pictures of the same thing are far
    apart if one is shifted by a pixel.
    """

    most: int = MOST_PIXELS

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (N, F) of images (N, H, W, C); F is at most `most`."""
        _, H, W, C = images.shape
        factor = 1
        while -(-H // factor) * -(-W // factor) * C > self.most and factor < max(H, W):
            factor += 1
        return block_means(images, factor=factor).reshape(len(images), -1)

    def __str__(self) -> str:
        return "pixels"


def block_means(images: np.ndarray, *, factor: int) -> np.ndarray:
    """Averages images (N, H, W, C) over blocks of factor x factor pixels; blocks at the border may be smaller."""
    for axis in (1, 2):
        starts = np.arange(0, images.shape[axis], factor)
        sizes = np.diff(starts, append=images.shape[axis]).astype(images.dtype)
        sums = np.add.reduceat(images, starts, axis=axis)
        images = sums / np.expand_dims(sizes, tuple(a for a in range(4) if a != axis))
    return images


class ImageClassifier(ABC):
    """Base of the features that also classify images.

    Attributes:
        classes: number of classes.
        accuracy: share of right answers on images held out of training, in [0, 1].
    """

    classes: int
    accuracy: float

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (N, F) of images (N, H, W, C) in [-1, 1]."""

    @abstractmethod
    def classify(self, features: np.ndarray) -> IntegerArray:
        """Classes (N,) of images with the features (N, F)."""

    def labels(self, images: np.ndarray) -> IntegerArray:
        """Classes (N,) of images (N, H, W, C) in [-1, 1]."""
        return self.classify(self(images))


class StackedClassifier(ImageClassifier):
    """A classifier of grayscale images, applied to red, green and blue in turn.

    With ten classes the label is 100 a + 10 b + c, as in `minigan.data.StackedImages`. The features are those of the
    three channels, concatenated.

    Args:
        single: a classifier of images (H, W, 1).
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
