"""Distance of images in the features of a classifier, with its gradient."""

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.evaluation.classifier import Classifier
from minigan.evaluation.features import StackedClassifier
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network
from minigan.support.arguments import kind_of

__all__ = ["FeatureDistance"]


class FeatureDistance:
    """|f(x) - f(target)|² / |f(target)|² of each image x, where f are the inputs of a classifier's last layer.

    A classifier of single channels looks at each channel.

    Args:
        classifier: as `minigan.evaluation.kept_classifier` trains it, or one of stacked images.
        target: an image (H, W, C) in [-1, 1].
    Raises:
        ConfigError: it is no such classifier, or one of other images.
    """

    def __init__(self, classifier: Classifier | StackedClassifier, target: np.ndarray) -> None:
        single = classifier.single if isinstance(classifier, StackedClassifier) else classifier
        if not isinstance(single, Classifier):
            raise ConfigError(
                f"classifier must be one of minigan's, got {kind_of(classifier)}. Write "
                "classifier=minigan.evaluation.train_classifier(dataset)."
            )
        self.net: Sequential = expect_network(single.net.layers[0], "classifier")
        *_, channels = shape = self.net.input_shape
        if target.shape[:2] != shape[:2] or target.shape[2] % channels:
            raise ConfigError(
                f"classifier must look at images {target.shape} like the generator's, got one of images {shape}. "
                "Use that of the run's own data."
            )
        self.parts = [slice(first, first + channels) for first in range(0, target.shape[2], channels)]
        x = self.net.kernels.asarray(target[None], dtype=self.net.dtype)
        self.features = [self.net.forward(self._part(x, part), train=False)[0] for part in self.parts]
        self.size = max(sum(float((f * f).sum()) for f in self.features), 1e-12)

    def __call__(self, images: Array) -> tuple[Array, Array]:
        """The distance of each image, (N,), and its gradient with respect to that image.

        Args:
            images: (N, H, W, C) in [-1, 1].
        """
        x = self.net.kernels.asarray(images, dtype=self.net.dtype)
        distances, dx = 0.0, images * 0
        for part, features in zip(self.parts, self.features, strict=True):
            y, tape = self.net.forward(self._part(x, part), train=False)
            difference = y - features
            distances = distances + (difference * difference).sum(axis=1) / self.size
            dx[..., part] = self.net.backward(difference * (2 / self.size), tape, grads=None)
        return distances, dx

    def _part(self, x: Array, part: slice) -> Array:
        """Some channels, in memory of their own."""
        channels = self.net.kernels.empty((*x.shape[:-1], part.stop - part.start), x.dtype)
        channels[...] = x[..., part]
        return channels
