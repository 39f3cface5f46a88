"""Losses. Each works on logits and returns its value and its gradient from one function.

The value is a scalar array of the backend, so that nobody waits for a GPU who doesn't want to see it; `float(value)`
brings it over. The gradient has the shape of the logits, and the mean runs over all of them: one logit an example, or
a map of patch logits.
"""

from abc import ABC, abstractmethod

import numpy as np

from minigan.backends import Array, array_module
from minigan.backends.reference.activation import sigmoid
from minigan.errors import ConfigError, DTypeError, ShapeError

__all__ = [
    "FAKE",
    "LOSSES",
    "REAL",
    "AdversarialLoss",
    "CoupledLoss",
    "CrossEntropyLoss",
    "Hinge",
    "LabelledLoss",
    "LeastSquares",
    "Loss",
    "Minimax",
    "NonSaturating",
    "RelativisticAverage",
    "SoftmaxMixture",
    "SquaredProbability",
    "Wasserstein",
    "bernoulli",
    "gaussian",
    "get_loss",
    "l1",
    "mse",
    "probability",
    "softmax_cross_entropy",
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
    """What D and G minimise, each for a batch of D's logits s that is all real or all fake."""

    @abstractmethod
    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        """D's loss on one batch; its whole loss is that on a real batch plus that on a fake one.

        Args:
            logits: s, any shape.
            target: t, REAL or FAKE.
        Returns:
            The mean, and its gradient like the logits.
        """

    @abstractmethod
    def generator(self, logits: Array) -> tuple[Array, Array]:
        """G's loss on D's logits for fakes: the mean, and its gradient like the logits."""

    def verdict(self, logits: Array) -> Array:
        """What a log shows of a batch: the mean logit, or D's mean probability of "real" where the loss knows one."""
        return _mean(logits)


class LabelledLoss(AdversarialLoss):
    """A loss whose D is to reach a number: the label of real batches, and 0 for fake ones.

    Args:
        real_label: less than 1 is one-sided label smoothing (Salimans et al. 2016, section 3.4).
    """

    def __init__(self, *, real_label: float = REAL) -> None:
        if not FAKE < real_label <= REAL:
            raise ConfigError(f"real_label must be in (0, 1], got {real_label}.")
        self.real_label = real_label


class CrossEntropyLoss(LabelledLoss):
    """The game `min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]`, D = sigmoid(s)."""

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        """D's loss on a batch that is all real or all fake: binary cross-entropy, -V's half.

        -t log D - (1 - t) log(1 - D) = softplus(s) - t s, whose derivative is D - t.
        """
        target = target * self.real_label
        softplus, p = _softplus_and_probability(logits)
        return _mean(softplus - target * logits), (p - target) / logits.size

    def verdict(self, logits: Array) -> Array:
        return _mean(probability(logits))


class Minimax(CrossEntropyLoss):
    """G minimises log(1 - D(G(z))): the game as it stands, whose gradient vanishes where D is sure ("saturates").

    Source: Goodfellow et al. 2014, equation 1 and algorithm 1.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        softplus, p = _softplus_and_probability(logits)
        return -_mean(softplus), p / -logits.size


class NonSaturating(CrossEntropyLoss):
    """G minimises -log D(G(z)): the same fixed point, with strong gradients where D is sure.

    Source: Goodfellow et al. 2014, section 3, last paragraph.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        softplus, q = _softplus_and_probability(-logits)  # q = 1 - p
        return _mean(softplus), q / -logits.size


class SquaredProbability(CrossEntropyLoss):
    """G minimises (D(G(z)) - 1)², squared distance of a probability from "real"; D keeps cross-entropy.

    Not LSGAN, which squares the logits on both sides. Here too the gradient vanishes where D is sure.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        p = probability(logits)
        q = 1 - p
        return _mean(q * q), q * q * p * (-2 / logits.size)


class LeastSquares(LabelledLoss):
    """LSGAN: D minimises (s - t)² / 2, G (s - 1)² / 2, on the logits themselves.

    Source: Mao et al. 2017, equations 2 and 9 (a = 0, b = c = 1).
    """

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        return self._half_square(logits - target * self.real_label)

    def generator(self, logits: Array) -> tuple[Array, Array]:
        return self._half_square(logits - REAL)

    @staticmethod
    def _half_square(distance: Array) -> tuple[Array, Array]:
        return 0.5 * _mean(distance * distance), distance / distance.size


class CriticLoss(AdversarialLoss):
    """G maximises the mean logit: D is no classifier but a critic, whose logits have no scale of their own."""

    def generator(self, logits: Array) -> tuple[Array, Array]:
        return -_mean(logits), _constant(logits, -1)


class Wasserstein(CriticLoss):
    """D minimises the mean of s on fakes minus that on reals; minus this estimates the Wasserstein distance.

    Only where D's slope is at most 1, for which a penalty cares.

    Source: Arjovsky et al. 2017, equations 2 and 3, algorithm 1.
    """

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        sign = _sign(target)
        return sign * _mean(logits), _constant(logits, sign)


class Hinge(CriticLoss):
    """D minimises max(0, 1 - s) on reals and max(0, 1 + s) on fakes: what is beyond the margin pulls no more.

    Source: Lim & Ye 2017, section 3; Miyato et al. 2018 ("Spectral Normalization"), equations 16 and 17.
    """

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        xp, sign = array_module(logits), _sign(target)
        margin = 1 + sign * logits
        return _mean(xp.maximum(margin, 0)), (margin > 0).astype(logits.dtype) * (sign / logits.size)


class SoftmaxMixture(AdversarialLoss):
    """G against several discriminators, of which the stricter count more: F = sum_k w_k V_k.

    V_k is the wrapped loss of G on the k-th discriminator's logits, w_k = exp(λ V_k) / sum_j exp(λ V_j). The weights
    depend on the logits, too, so dF/dV_k = w_k (1 + λ (V_k - F)): negative for a discriminator that is much more
    lenient than the others, as to please it less would turn weight to it. D's losses stay as they are: their mean.

    Source: Durugkar et al. 2017 ("Generative Multi-Adversarial Networks"), section 3.3.1, equation 3.

    Args:
        loss: of each discriminator, whose logits are the last axis (N, K).
        sharpness: λ; 0 gives the mean of all V_k, infinity would give the largest.
    """

    def __init__(self, loss: AdversarialLoss, *, sharpness: float = 1.0) -> None:
        if not 0 <= sharpness < float("inf"):
            raise ConfigError(f"sharpness must be a number from 0 up, got {sharpness}.")
        self.loss = loss
        self.sharpness = sharpness

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        return self.loss.discriminator(logits, target)

    def generator(self, logits: Array) -> tuple[Array, Array]:
        xp = array_module(logits)
        each = [self.loss.generator(logits[..., k]) for k in range(logits.shape[-1])]
        V = xp.stack([value for value, _ in each])
        e = xp.exp(self.sharpness * (V - V.max()))
        w = e / e.sum()
        F = (w * V).sum()
        slopes = w * (1 + self.sharpness * (V - F))
        return F, xp.stack([gradient for _, gradient in each], axis=-1) * slopes

    def verdict(self, logits: Array) -> Array:
        return self.loss.verdict(logits)


class CoupledLoss(ABC):
    """A loss that compares real with fake logits, so that neither batch has a loss of its own.

    The batches still go through D one after the other. The number of logits may differ.
    """

    @abstractmethod
    def discriminator(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        """D's loss, its gradient for the real logits and that for the fake ones."""

    @abstractmethod
    def generator(self, real: Array, fake: Array) -> tuple[Array, Array]:
        """G's loss, and its gradient for the fake logits; the real ones do not depend on G."""

    def verdict(self, logits: Array) -> Array:
        """What a log shows of a batch: the mean logit."""
        return _mean(logits)


class RelativisticAverage(CoupledLoss):
    """RaGAN: D tells whether an example is more real than the average of the other kind.

    With a = s_real - mean(s_fake) and b = s_fake - mean(s_real), D minimises -log sigmoid(a) - log(1 - sigmoid(b)).
    G's loss is D's with real and fake exchanged.

    Source: Jolicoeur-Martineau 2018 ("The relativistic discriminator"), on relativistic average GANs: RaSGAN.
    """

    def discriminator(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        on_real, not_a = _softplus_and_probability(_mean(fake) - real)  # softplus(-a) and 1 - sigmoid(a)
        on_fake, b = _softplus_and_probability(fake - _mean(real))
        dreal = -(not_a + _mean(b)) / real.size  # each real logit also moves the average in all b
        dfake = (b + _mean(not_a)) / fake.size
        return _mean(on_real) + _mean(on_fake), dreal, dfake

    def generator(self, real: Array, fake: Array) -> tuple[Array, Array]:
        value, dfake, _ = self.discriminator(fake, real)
        return value, dfake


Loss = AdversarialLoss | CoupledLoss

LOSSES: dict[str, type[Loss]] = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "squared-probability": SquaredProbability,
    "least-squares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
    "relativistic-average": RelativisticAverage,
}


def get_loss(name: str, *, label_smoothing: float = 0.0) -> Loss:
    """The adversarial loss of that name.

    Args:
        label_smoothing: how much less than 1 D is to say on reals; 0 for losses without labels.
    Raises:
        ConfigError: an unknown name, or a loss that has no labels to smooth.
    """
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}: expected one of {', '.join(LOSSES)}.")
    loss = LOSSES[name]
    if issubclass(loss, LabelledLoss):
        return loss(real_label=REAL - label_smoothing)
    if label_smoothing:
        labelled = [name for name, other in LOSSES.items() if issubclass(other, LabelledLoss)]
        raise ConfigError(f"the loss {name} has no labels to smooth: expected one of {', '.join(labelled)}.")
    return loss()


def _sign(target: float) -> int:
    """-1 where D is to raise its logits, 1 where it is to lower them."""
    if target not in (REAL, FAKE):
        raise ConfigError(f"this loss knows no labels but real ({REAL:g}) and fake ({FAKE:g}), got {target}.")
    return -1 if target == REAL else 1


def _constant(logits: Array, sign: int) -> Array:
    """The gradient of sign * mean(logits)."""
    return array_module(logits).full_like(logits, sign / logits.size)


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


def bernoulli(logits: Array, target: Array) -> tuple[Array, Array]:
    """-log p(target) for independent pixels with p = sigmoid(logits), in nats: summed over an image, mean over them.

    With s a logit and t in [0, 1] it is softplus(s) - t s, whose derivative is sigmoid(s) - t.

    Args:
        logits, target: (N, ...); ShapeError if they differ.
    Source: Kingma & Welling 2014, appendix C.1.
    """
    _difference(logits, target)
    softplus, p = _softplus_and_probability(logits)
    return (softplus - target * logits).sum() / len(logits), (p - target) / len(logits)


def gaussian(mean: Array, target: Array) -> tuple[Array, Array]:
    """-log N(target | mean, 1) without its constant: |target - mean|² / 2 summed over an image, mean over them.

    Args:
        mean, target: (N, ...); ShapeError if they differ.
    Source: Kingma & Welling 2014, appendix C.2, with the variance fixed.
    """
    difference = _difference(mean, target)
    return (difference * difference).sum() / (2 * len(mean)), difference / len(mean)


def softmax_cross_entropy(logits: Array, labels: np.ndarray) -> tuple[Array, Array]:
    """A classifier's loss: the mean of -log p[label], p = softmax(logits), and its gradient for the logits.

    The gradient is (p - one_hot(label)) / N. The largest logit is taken off all, so that nothing overflows.

    Args:
        logits: (N, K).
        labels: integers (N,) from 0 to K - 1, in host memory.
    Raises:
        ShapeError: logits or labels have other shapes.
        DTypeError: the labels are no integers.
        ConfigError: a label is out of range.
    """
    if logits.ndim != 2 or 0 in logits.shape or labels.shape != (len(logits),):
        raise ShapeError(f"expected logits (N, K) and labels (N,), got {logits.shape} and {labels.shape}. Pair them.")
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
    value = _mean(xp.log(total[:, 0]) - shifted[rows, columns])
    dlogits = e / total
    dlogits[rows, columns] -= 1
    return value, dlogits / len(logits)


def _difference(prediction: Array, target: Array) -> Array:
    if prediction.shape != target.shape:
        raise ShapeError(f"expected a target of the prediction's shape {prediction.shape}, got {target.shape}.")
    return prediction - target
