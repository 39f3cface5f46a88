"""A small convolutional classifier, trained by minigan itself, whose features replace Inception's.

Nothing is downloaded, and a network trained on the data at hand sees what matters there. Figures of such features have
a scale of their own: compare only figures of the same classifier.
"""

from collections.abc import Iterator

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.data import Dataset
from minigan.errors import DataError
from minigan.evaluation.features import ImageClassifier
from minigan.evaluation.metrics.checks import IntegerArray
from minigan.losses import softmax_cross_entropy
from minigan.nn.initializers import HeNormal
from minigan.nn.layers import AveragePooling2D, BatchNorm, Conv2D, Dense, Flatten, Layer, ReLU
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Adam
from minigan.nn.schedules import LinearDecay

__all__ = ["Classifier", "class_count", "network", "train_classifier"]

FEATURES = 128
STEPS, BATCH_SIZE, RATE = 1500, 128, 2e-3
MOST_CLASSES = 1000
LARGEST_HELD_OUT, HELD_OUT_SHARE = 10_000, 6  # a sixth, but no more than 10,000
AT_ONCE = 250  # images in one pass through the network


class Classifier(ImageClassifier):
    """A trained classifier of images; its features are the 128 inputs of its last layer.

    Args:
        net: a built network as `network` returns it.
        accuracy: share of right answers on held-out images, in [0, 1].
        count: number of images it was trained on.
        name: the dataset's name.
    """

    def __init__(self, net: Sequential, *, accuracy: float, count: int, name: str) -> None:
        self.net, self.accuracy, self.count, self.name = net, accuracy, count, name
        self.classes = net.output_shape[0]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._forward(self.net.layers[0], images)

    def classify(self, features: np.ndarray) -> IntegerArray:
        logits = self._forward(self.net.layers[1], features)
        labels: IntegerArray = logits.argmax(axis=1).astype(np.int64)
        return labels

    def _forward(self, layer: Layer, x: np.ndarray) -> np.ndarray:
        """The output of a layer in host memory, computed for a few examples at a time to bound the memory."""
        kernels, outputs = self.net.kernels, []
        for part in np.array_split(x, -(-len(x) // AT_ONCE)):
            y, _ = layer.forward(kernels.asarray(part, dtype=self.net.dtype), train=False)
            outputs.append(kernels.to_numpy(y))
        return np.concatenate(outputs)

    def __str__(self) -> str:
        return f"classifier of {self.name} ({self.accuracy:.2%} right on held-out images)"


def network(image_shape: tuple[int, int, int], classes: int) -> Sequential:
    """The classifier's network, not built, of two layers: images to features, and features to logits.

    Each stage of 3x3 filters, BatchNorm and ReLU halves the image, until its sides have at most 8 pixels. Averages
    halve it; the filters' stride does so if the sides are odd or longer than 32.
    """
    H, W, _ = image_shape
    channels = 32
    layers: list[Layer] = []
    while not layers or max(H, W) > 8:
        pool = max(H, W) <= 32 and H % 2 == W % 2 == 0
        conv = Conv2D(channels, 3, stride=1 if pool else 2, bias=False, init=HeNormal())
        layers += [conv, BatchNorm(), ReLU()] + [AveragePooling2D(2)] * pool
        H, W, channels = -(-H // 2), -(-W // 2), min(2 * channels, 256)
    layers += [Flatten(), Dense(FEATURES, bias=False, init=HeNormal()), BatchNorm(), ReLU()]
    return Sequential([Sequential(layers), Dense(classes)], name="classifier")


def class_count(dataset: Dataset) -> int:
    """Number of classes in a dataset's labels.

    Raises:
        DataError: the dataset has no labels, they are not 2 to 1,000 classes counted from 0, all images are of one
            class, or there are too few to hold some out.
    """
    labels = dataset.labels
    remedy = "Use `features='pixels'`, or other data."
    if labels is None or len(dataset.shape) != 3:
        found = "no labels" if labels is None else "points"
        raise DataError(f"{dataset.name}: expected labeled images for a classifier, found {found}. {remedy}")
    classes = int(labels.max()) + 1
    if labels.min() < 0 or not 2 <= classes <= MOST_CLASSES:
        raise DataError(
            f"{dataset.name}: expected 2 to {MOST_CLASSES} classes counted from 0, found labels from {labels.min()} "
            f"to {labels.max()}. {remedy}"
        )
    if labels.min() == labels.max():
        raise DataError(f"{dataset.name}: expected images of several classes, found those of one alone. {remedy}")
    if len(dataset) < HELD_OUT_SHARE:
        raise DataError(
            f"{dataset.name}: expected at least {HELD_OUT_SHARE} images for a classifier, found {len(dataset)}. "
            f"{remedy}"
        )
    return classes


def train_classifier(
    dataset: Dataset, *, seed: int = 0, backend: str | Backend = "auto", steps: int = STEPS
) -> Classifier:
    """Trains a classifier on five sixths of a dataset's images (on all but 10,000 of very many).

    It minimizes softmax cross-entropy by Adam, in batches of 128, at a rate that falls linearly to 0. The same dataset,
    seed and backend give the same weights. A backend that is named computes in fp32, whatever MINIGAN_PRECISION says:
    figures must not depend on the precision of what they measure.

    Args:
        dataset: labeled images.
        seed: of the weights, the order and the choice of held-out images.
        backend: an object or a name.
        steps: number of batches.
    Raises:
        DataError: the dataset has no labeled images, or too few.
    """
    classes = class_count(dataset)
    held_out, train = _split(dataset, np.random.default_rng([seed, 0]))
    net = network(_image_shape(dataset), classes)
    net.build(dataset.shape, backend=measuring_backend(backend), rng=np.random.default_rng([seed, 1]))
    optimizer = Adam(net.arena, lr=LinearDecay(RATE, 0, steps))
    grads = net.gradients()
    batches = _batches(train, np.random.default_rng([seed, 2]))
    for _ in range(steps):
        rows = next(batches)
        x = net.kernels.asarray(dataset.read(rows), dtype=net.dtype)
        logits, tape = net.forward(x, train=True)
        _, dlogits = softmax_cross_entropy(logits, _labels(dataset, rows))
        grads.zero()
        net.backward(dlogits, tape, grads=grads, need_dx=False)
        net.commit_statistics(tape)
        optimizer.step(grads)
    classifier = Classifier(net, accuracy=0.0, count=len(train), name=dataset.name)
    parts = np.array_split(held_out, -(-len(held_out) // 1000))
    right = [classifier.labels(dataset.read(part)) == _labels(dataset, part) for part in parts]
    classifier.accuracy = float(np.concatenate(right).mean())
    return classifier


def _split(dataset: Dataset, rng: np.random.Generator) -> tuple[IntegerArray, IntegerArray]:
    """Indices of the held-out images and of the training images."""
    held_out = min(LARGEST_HELD_OUT, len(dataset) // HELD_OUT_SHARE)
    order = rng.permutation(len(dataset))
    return order[:held_out], order[held_out:]


def _batches(rows: IntegerArray, rng: np.random.Generator) -> Iterator[IntegerArray]:
    """Endless batches of indices, in a new order each epoch."""
    size = min(BATCH_SIZE, len(rows))
    while True:
        order = rng.permutation(rows)
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def _labels(dataset: Dataset, rows: IntegerArray) -> IntegerArray:
    return np.asarray(dataset.labels)[rows]


def _image_shape(dataset: Dataset) -> tuple[int, int, int]:
    H, W, C = dataset.shape
    return H, W, C


def measuring_backend(backend: str | Backend) -> Backend:
    """The backend, in fp32 if it is named: figures must not depend on the precision of what they measure."""
    return get_backend(backend, precision="fp32") if isinstance(backend, str) else backend
