"""Losses with a target to compare with: pixels, densities, classes.

Each returns its value, a scalar array of the backend, and its gradient from one function.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.backends import Array, array_module
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.losses.logits import expect_array, mean, softplus_and_probability


def mse(prediction: Array, target: Array) -> tuple[Array, Array]:
    """The mean of (prediction - target)², and its gradient with respect to the prediction.

    Args:
        prediction, target: arrays of one shape, which may be any.
    Raises:
        ShapeError: the shapes differ.
    """
    difference = _difference(prediction, target, of=mse, name="prediction")
    return mean(difference * difference), difference * (2 / difference.size)


def l1(prediction: Array, target: Array) -> tuple[Array, Array]:
    """The mean of |prediction - target|, and its gradient with respect to the prediction (0 where they are equal).

    Args:
        prediction, target: arrays of one shape, which may be any.
    Raises:
        ShapeError: the shapes differ.
    """
    difference = _difference(prediction, target, of=l1, name="prediction")
    xp = array_module(difference)
    return mean(xp.abs(difference)), xp.sign(difference) / difference.size


def bernoulli(logits: Array, target: Array) -> tuple[Array, Array]:
    """Negative log-likelihood -log p(target) of independent pixels with p = sigmoid(logits), in nats.

    It is the sum over an image and the mean over images. For a logit s and a target t in [0, 1] it is
    softplus(s) - t s, whose derivative is sigmoid(s) - t.

    Args:
        logits, target: (N, ...) of one shape.
    Returns:
        The value, a scalar array, and its gradient with respect to the logits.
    Raises:
        ShapeError: the shapes differ.
    Source: Kingma & Welling 2014, appendix C.1.
    """
    _difference(logits, target, of=bernoulli, name="logits")
    softplus, p = softplus_and_probability(logits)
    return (softplus - target * logits).sum() / len(logits), (p - target) / len(logits)


def gaussian(means: Array, target: Array) -> tuple[Array, Array]:
    """Negative log-likelihood -log N(target | means, 1) without its constant, |target - means|² / 2, in nats.

    It is the sum over an image and the mean over images.

    Args:
        means, target: (N, ...) of one shape.
    Returns:
        The value in nats, a scalar array, and its gradient with respect to the means.
    Raises:
        ShapeError: the shapes differ.
    Source: Kingma & Welling 2014, appendix C.2, with the variance fixed.
    """
    difference = _difference(means, target, of=gaussian, name="means")
    return (difference * difference).sum() / (2 * len(means)), difference / len(means)


def softmax_cross_entropy(logits: Array, labels: np.ndarray) -> tuple[Array, Array]:
    """A classifier's loss: the mean of -log p[label] with p = softmax(logits), in nats.

    Its gradient is (p - one_hot(label)) / N. The largest logit is subtracted from all, so that nothing overflows.

    Args:
        logits: (N, K).
        labels: integers (N,) from 0 to K - 1, in host memory.
    Returns:
        The value, a scalar array, and its gradient with respect to the logits.
    Raises:
        ShapeError: logits or labels have other shapes.
        DTypeError: the labels are not integers.
        ConfigError: a label is out of range.
    """
    expect_array(logits, "logits", of=softmax_cross_entropy)
    expect_array(labels, "labels", of=softmax_cross_entropy)
    if logits.ndim != 2 or 0 in logits.shape or labels.shape != (len(logits),):
        raise ShapeError(
            f"expected logits (N, K) and labels (N,), got {logits.shape} and {labels.shape}. Give one label a row."
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"expected integer labels, got {labels.dtype}. Convert the array.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ConfigError(
            f"expected labels from 0 to {logits.shape[1] - 1}, got {labels.min()} to {labels.max()}. "
            "Give the network a logit for each class."
        )
    xp = array_module(logits)
    rows, columns = xp.arange(len(logits)), xp.asarray(labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    e = xp.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    value = mean(xp.log(total[:, 0]) - shifted[rows, columns])
    dlogits = e / total
    dlogits[rows, columns] -= 1
    return value, dlogits / len(logits)


def _difference(prediction: Array, target: Array, *, of: Callable[..., Any], name: str) -> Array:
    expect_array(prediction, name, of=of)
    expect_array(target, "target", of=of)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"expected a target of the prediction's shape {prediction.shape}, got {target.shape}. Reshape one of them."
        )
    return prediction - target
