"""Adversarial losses of D and G.

Each works on logits and returns its value and its gradient from one function. The value is a scalar array of the
backend, so that training does not wait for the GPU; `float(value)` waits for it and copies it to the host. The gradient
has the shape of the logits. The mean runs over all of them: one logit an example, or a map of patch logits.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from minigan.backends import Array, array_module, logit_kernels
from minigan.errors import ConfigError, ShapeError
from minigan.losses.logits import (
    expect_array,
    mean,
    mean_cross_entropy,
    mean_probability,
    probability,
    softplus_and_probability,
    stack,
)
from minigan.support.arguments import instance, number
from minigan.support.representation import constructor_call

REAL = 1.0
FAKE = 0.0


class AdversarialLoss(ABC):
    """Base of the losses that judge each batch by itself: D's logits s are all of real examples, or all of fakes.

    Attributes:
        separable: whether the value is the mean of those of any equal parts of the batch, as the mean of something of
            each logit is. Where it is not, ranks that share a batch exchange their logits.
        fresh_reals: see `CoupledLoss`.
    """

    separable: ClassVar[bool] = False
    fresh_reals: ClassVar[bool] = False

    def __repr__(self) -> str:
        return constructor_call(self)

    @abstractmethod
    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        """D's loss on one batch; D minimizes the sum of its losses on a real and on a fake batch.

        Args:
            logits: s, of any shape.
            target: t, REAL or FAKE.
        Returns:
            The mean over all logits, and its gradient, of the logits' shape.
        """

    @abstractmethod
    def generator(self, logits: Array) -> tuple[Array, Array]:
        """G's loss on D's logits for fakes.

        Args:
            logits: s, of any shape.
        Returns:
            The mean over all logits, and its gradient, of the logits' shape.
        """

    def verdict(self, logits: Array) -> Array:
        """The number logged for a batch: the mean logit, or the mean probability of "real" if the loss defines one."""
        return mean(logits)

    def boundary(self, real: Array, fake: Array) -> Array | float:  # noqa: ARG002 (scores have none of their own)
        """The logit at which D is undecided: 0 for log-odds and margins.

        Args:
            real, fake: D's logits on a batch of each, of any shape.
        """
        return 0.0


class LabeledLoss(AdversarialLoss):
    """Base of the losses with labels: D's target is a number, `real_label` for real batches and 0 for fake ones.

    Args:
        real_label: in (0, 1]; less than 1 is one-sided label smoothing (Salimans et al. 2016, section 3.4).
    Raises:
        ConfigError: the label is not in (0, 1].
    """

    separable: ClassVar[bool] = True

    def __init__(self, *, real_label: float = REAL) -> None:
        remedy = "0.9 is usual for label smoothing."
        self.real_label = number(real_label, "real_label", above=FAKE, most=REAL, remedy=remedy)


class CrossEntropyLoss(LabeledLoss):
    """Base of the losses of the game `min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]`, D = sigmoid(s)."""

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        """D's loss on a batch that is all real or all fake: binary cross-entropy, one of the two terms of -V.

        -t log D - (1 - t) log(1 - D) = softplus(s) - t s, whose derivative is D - t.
        """
        expect_array(logits, "logits", of=self)
        target = _target(target) * self.real_label
        return mean_cross_entropy(logits, target)

    def verdict(self, logits: Array) -> Array:
        return mean_probability(logits)


class Minimax(CrossEntropyLoss):
    """G minimizes log(1 - D(G(z))), its term of the game; the gradient vanishes where D is sure ("saturates").

    Source: Goodfellow et al. 2014, equation 1 and algorithm 1.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        softplus, p = softplus_and_probability(logits)
        return -mean(softplus), p / -logits.size


class NonSaturating(CrossEntropyLoss):
    """G minimizes -log D(G(z)): the same fixed point, with strong gradients where D is sure.

    Source: Goodfellow et al. 2014, section 3, last paragraph.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        native = logit_kernels(logits)
        if native is not None:
            return native.cross_entropy(logits, REAL)  # type: ignore[no-any-return]  # the same: softplus(s) - s
        softplus, q = softplus_and_probability(-logits)  # q = 1 - p
        return mean(softplus), q / -logits.size


class SquaredProbability(CrossEntropyLoss):
    """G minimizes (D(G(z)) - 1)², the squared distance of D's probability from "real"; D keeps cross-entropy.

    LSGAN is another loss: it squares the logits, for D and for G. Here, too, the gradient vanishes where D is sure.
    """

    def generator(self, logits: Array) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        p = probability(logits)
        q = 1 - p
        return mean(q * q), q * q * p * (-2 / logits.size)


class LeastSquares(LabeledLoss):
    """LSGAN: D minimizes (s - t)² / 2, G (s - 1)² / 2, on the logits themselves.

    Source: Mao et al. 2017, equations 2 and 9 (a = 0, b = c = 1).
    """

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        return self._half_square(logits - _target(target) * self.real_label)

    def generator(self, logits: Array) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        return self._half_square(logits - REAL)

    def boundary(self, real: Array, fake: Array) -> float:  # noqa: ARG002
        """The middle between both labels."""
        return (FAKE + self.real_label) / 2

    @staticmethod
    def _half_square(distance: Array) -> tuple[Array, Array]:
        return 0.5 * mean(distance * distance), distance / distance.size


class CriticLoss(AdversarialLoss):
    """Base of the critics' losses: G maximizes the mean logit, which is a score and no log-odds."""

    separable: ClassVar[bool] = True

    def generator(self, logits: Array) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        return -mean(logits), _constant(logits, -1)


class Wasserstein(CriticLoss):
    """D minimizes the mean of s on fakes minus that on reals, whose negative estimates the Wasserstein distance.

    The estimate holds only if D's slope is at most 1: use a gradient penalty, or clip D's weights.

    Source: Arjovsky et al. 2017, equations 2 and 3, algorithm 1.
    """

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        sign = _sign(target)
        return sign * mean(logits), _constant(logits, sign)

    def boundary(self, real: Array, fake: Array) -> Array:
        """The middle between both means: a score has no zero of its own."""
        return _middle(real, fake)


class Hinge(CriticLoss):
    """D minimizes max(0, 1 - s) on reals and max(0, 1 + s) on fakes: logits beyond the margin have no gradient.

    Source: Lim & Ye 2017, section 3; Miyato et al. 2018 ("Spectral Normalization"), equations 16 and 17.
    """

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        xp, sign = array_module(logits), _sign(target)
        margin = 1 + sign * logits
        return mean(xp.maximum(margin, 0)), (margin > 0).astype(logits.dtype) * (sign / logits.size)


class SoftmaxMixture(AdversarialLoss):
    """G against several discriminators, weighted by how strict they are: F = sum_k w_k V_k.

    V_k is the wrapped loss of G on the k-th discriminator's logits, and w_k = exp(λ V_k) / sum_j exp(λ V_j). The
    weights depend on the logits, too, so dF/dV_k = w_k (1 + λ (V_k - F)). This is negative for a discriminator much
    more lenient than the others: a larger V_k would shift weight to it. D's loss is the mean of the wrapped losses.

    Source: Durugkar et al. 2017 ("Generative Multi-Adversarial Networks"), section 3.3.1, equation 3.

    Args:
        loss: the loss of each discriminator; the K discriminators' logits are the last axis of (N, K).
        sharpness: λ, at least 0; 0 gives the mean of all V_k, and a large λ nearly the largest.
    Raises:
        ConfigError: the sharpness is negative or not finite.
    """

    def __init__(self, loss: AdversarialLoss, *, sharpness: float = 1.0) -> None:
        self.loss: AdversarialLoss = instance(
            loss, AdversarialLoss, "loss", a="an adversarial loss", example="Hinge()", named=LOSSES
        )
        self.sharpness = number(sharpness, "sharpness", least=0, remedy="1 is usual.")

    def discriminator(self, logits: Array, target: float) -> tuple[Array, Array]:
        return self.loss.discriminator(logits, target)

    def generator(self, logits: Array) -> tuple[Array, Array]:
        expect_array(logits, "logits", of=self)
        xp = array_module(logits)
        each = [self.loss.generator(logits[..., k]) for k in range(logits.shape[-1])]
        V = stack([value for value, _ in each])
        e = xp.exp(self.sharpness * (V - V.max()))
        w = e / e.sum()
        F = (w * V).sum()
        slopes = w * (1 + self.sharpness * (V - F))
        return F, stack([gradient for _, gradient in each]) * slopes

    def verdict(self, logits: Array) -> Array:
        return self.loss.verdict(logits)

    def boundary(self, real: Array, fake: Array) -> Array | float:
        return self.loss.boundary(real, fake)


class CoupledLoss(ABC):
    """Base of the losses that compare real with fake logits, so that neither batch has a loss of its own.

    The batches still go through D one after the other. They may differ in their number of logits.

    Attributes:
        fresh_reals: whether G's step compares its fakes with a new real batch, not with that of D's last step.
    """

    fresh_reals: ClassVar[bool] = False

    def __repr__(self) -> str:
        return constructor_call(self)

    @abstractmethod
    def discriminator(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        """D's loss.

        Args:
            real, fake: logits, each of any shape.
        Returns:
            The value, its gradient for the real logits, and its gradient for the fake ones.
        """

    @abstractmethod
    def generator(self, real: Array, fake: Array) -> tuple[Array, Array]:
        """G's loss; the real logits do not depend on G.

        Args:
            real, fake: logits, each of any shape.
        Returns:
            The value, and its gradient for the fake logits.
        """

    def verdict(self, logits: Array) -> Array:
        """The number logged for a batch: the mean logit."""
        return mean(logits)

    def boundary(self, real: Array, fake: Array) -> Array | float:
        """The logit at which D is undecided: the middle between both means, as only differences count."""
        return _middle(real, fake)


class RelativisticAverage(CoupledLoss):
    """RaGAN: D judges whether an example is more realistic than the average example of the other kind.

    With a = s_real - mean(s_fake) and b = s_fake - mean(s_real), D minimizes the mean of -log sigmoid(a) plus that of
    -log(1 - sigmoid(b)). G's loss is D's with real and fake exchanged.

    Source: Jolicoeur-Martineau 2018 ("The relativistic discriminator"), on relativistic average GANs: RaSGAN.
    """

    def discriminator(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        expect_array(real, "real", of=self)
        expect_array(fake, "fake", of=self)
        on_real, not_a = softplus_and_probability(mean(fake) - real)  # softplus(-a) and 1 - sigmoid(a)
        on_fake, b = softplus_and_probability(fake - mean(real))
        dreal = -(not_a + mean(b)) / real.size  # each real logit also moves the average in all b
        dfake = (b + mean(not_a)) / fake.size
        return mean(on_real) + mean(on_fake), dreal, dfake

    def generator(self, real: Array, fake: Array) -> tuple[Array, Array]:
        value, dfake, _ = self.discriminator(fake, real)
        return value, dfake


class RelativisticPairing(CoupledLoss):
    """RpGAN: D judges whether each real example is more realistic than the fake that it is paired with.

    With u = s_fake - s_real of each pair, D minimizes the mean of softplus(u) = -log sigmoid(s_real - s_fake), and G
    that of softplus(-u). With R1 and R2 on top the game converges locally, and no mode of the data can be left out at
    no cost. G's step takes new reals, as it takes D's logits on them for granted.

    Source: Jolicoeur-Martineau 2018, on relativistic GANs: RSGAN; Huang et al. 2024 (R3GAN), equations 2 and 3.
    """

    fresh_reals: ClassVar[bool] = True

    def discriminator(self, real: Array, fake: Array) -> tuple[Array, Array, Array]:
        values, p = softplus_and_probability(self._differences(real, fake))
        dfake = p / p.size
        return mean(values), -dfake, dfake

    def generator(self, real: Array, fake: Array) -> tuple[Array, Array]:
        values, p = softplus_and_probability(-self._differences(real, fake))
        return mean(values), p / -p.size

    def _differences(self, real: Array, fake: Array) -> Array:
        """u = s_fake - s_real of each pair."""
        expect_array(real, "real", of=self)
        expect_array(fake, "fake", of=self)
        if real.shape != fake.shape:
            raise ShapeError(
                f"RelativisticPairing: expected a fake for each real example, got logits of shapes {real.shape} and "
                f"{fake.shape}. Draw as many fakes as there are reals."
            )
        return fake - real


Loss = AdversarialLoss | CoupledLoss

LOSSES: dict[str, type[Loss]] = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "squared-probability": SquaredProbability,
    "least-squares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
    "relativistic-average": RelativisticAverage,
    "relativistic-pairing": RelativisticPairing,
}


def expect_loss(value: Any, name: str = "loss") -> Loss:
    """The value, if it is a loss.

    Args:
        name: the argument's.
    Raises:
        ConfigError: it is a name, a class or something else.
    """
    loss: Loss = instance(value, Loss, name, a="a loss", example="NonSaturating()", named=LOSSES)
    return loss


def get_loss(name: str, *, label_smoothing: float = 0.0) -> Loss:
    """The adversarial loss of that name.

    Args:
        name: a key of LOSSES: minimax, non-saturating, squared-probability, least-squares, wasserstein, hinge,
            relativistic-average or relativistic-pairing.
        label_smoothing: amount by which the label of real examples is below 1; must be 0 for losses without labels.
    Raises:
        ConfigError: an unknown name, or a loss that has no labels to smooth.
    """
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}: expected one of {', '.join(LOSSES)}.")
    loss = LOSSES[name]
    if issubclass(loss, LabeledLoss):
        return loss(real_label=REAL - label_smoothing)
    if label_smoothing:
        labeled = [name for name, other in LOSSES.items() if issubclass(other, LabeledLoss)]
        raise ConfigError(f"the loss {name} has no labels to smooth: expected one of {', '.join(labeled)}.")
    return loss()


def _middle(real: Array, fake: Array) -> Array:
    """The middle between the mean logit on reals and that on fakes."""
    return (mean(real) + mean(fake)) / 2


def _target(target: float) -> float:
    """D's target, if it is a number from FAKE to REAL."""
    if type(target) is float and FAKE <= target <= REAL:
        return target
    return number(target, "target", least=FAKE, most=REAL, remedy="Write REAL or FAKE, from minigan.losses.")


def _sign(target: float) -> int:
    """Sign of the mean logit in D's loss: -1 for real examples, 1 for fakes."""
    if _target(target) not in (REAL, FAKE):
        raise ConfigError(f"this loss expects the target REAL ({REAL:g}) or FAKE ({FAKE:g}), got {target}.")
    return -1 if target == REAL else 1


def _constant(logits: Array, sign: int) -> Array:
    """Gradient of sign * mean(logits)."""
    return array_module(logits).full_like(logits, sign / logits.size)
