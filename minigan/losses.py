"""Losses. Each works on logits and returns its value and its gradient from one function.

The value is a scalar array of the backend, so that nobody waits for a GPU who doesn't want to see it; `float(value)`
brings it over. The gradient has the shape of the logits, and the mean runs over all of them: one logit an example, or
a map of patch logits.
"""

from abc import ABC, abstractmethod

from minigan.backends import Array, array_module
from minigan.backends.reference.activation import sigmoid
from minigan.errors import ConfigError, ShapeError

__all__ = [
    "FAKE",
    "LOSSES",
    "REAL",
    "AdversarialLoss",
    "Minimax",
    "NonSaturating",
    "SquaredProbability",
    "get_loss",
    "l1",
    "mse",
    "probability",
]

REAL = 1.0
FAKE = 0.0


def _softplus_and_probability(x: Array) -> tuple[Array, Array]:
    """log(1 + exp(x)) and its derivative 1 / (1 + exp(-x)), from one exp(-|x|), which cannot overflow."""
    xp = array_module(x)
    e = xp.exp(-xp.abs(x))
    return xp.maximum(x, 0) + xp.log1p(e), xp.where(x >= 0, 1, e) / (1 + e)


def _mean(x: Array) -> Array:
    """For a few numbers NumPy's `mean` takes longer than all the rest of a loss."""
    return x.sum() / x.size


def probability(logits: Array) -> Array:
    """D = sigmoid(s) = 1 / (1 + exp(-s)), without overflow."""
    return sigmoid(logits, array_module(logits))


class AdversarialLoss(ABC):
    """The two sides of the game `min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]`, D = sigmoid(logits)."""

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        """D's loss on a batch that is all real or all fake: binary cross-entropy, -V's half.

        -t log D - (1 - t) log(1 - D) = softplus(s) - t s, whose derivative is D - t.

        Args:
            logits: s, any shape.
            target: t, REAL or FAKE; something between smooths the label.
        Returns:
            The mean, and its gradient like the logits.
        """
        softplus, p = _softplus_and_probability(logits)
        return _mean(softplus - target * logits), (p - target) / logits.size

    @abstractmethod
    def generator(self, logits: Array) -> tuple[Array, Array]:
        """G's loss on D's logits for fakes: the mean, and its gradient like the logits."""


class Minimax(AdversarialLoss):
    """G minimises log(1 - D(G(z))): the game as it stands, whose gradient vanishes where D is sure ("saturates").

    Source: Goodfellow et al. 2014, equation 1 and algorithm 1.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        softplus, p = _softplus_and_probability(logits)
        return -_mean(softplus), p / -logits.size


class NonSaturating(AdversarialLoss):
    """G minimises -log D(G(z)): the same fixed point, with strong gradients where D is sure.

    Source: Goodfellow et al. 2014, section 3, last paragraph.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        softplus, q = _softplus_and_probability(-logits)  # q = 1 - p
        return _mean(softplus), q / -logits.size


class SquaredProbability(AdversarialLoss):
    """G minimises (D(G(z)) - 1)², squared distance of a probability from "real"; D keeps cross-entropy.

    Not LSGAN, which squares the logits on both sides. Here too the gradient vanishes where D is sure.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        p = probability(logits)
        q = 1 - p
        return _mean(q * q), q * q * p * (-2 / logits.size)


LOSSES: dict[str, type[AdversarialLoss]] = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "squared-probability": SquaredProbability,
}


def get_loss(name: str) -> AdversarialLoss:
    """The adversarial loss of that name.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}: expected one of {', '.join(LOSSES)}.")
    return LOSSES[name]()


def mse(prediction: Array, target: Array) -> tuple[Array, Array]:
    """The mean of (prediction - target)², and its gradient with respect to the prediction.

    Args:
        prediction, target: any one shape; ShapeError if they differ.
    """
    difference = _difference(prediction, target)
    return _mean(difference * difference), difference * (2 / difference.size)


def l1(prediction: Array, target: Array) -> tuple[Array, Array]:
    """The mean of |prediction - target|, and its gradient with respect to the prediction (0 where they are equal).

    Args:
        prediction, target: any one shape; ShapeError if they differ.
    """
    difference = _difference(prediction, target)
    xp = array_module(difference)
    return _mean(xp.abs(difference)), xp.sign(difference) / difference.size


def _difference(prediction: Array, target: Array) -> Array:
    if prediction.shape != target.shape:
        raise ShapeError(f"expected a target of the prediction's shape {prediction.shape}, got {target.shape}.")
    return prediction - target
