"""The limits of a healthy step, in one table, each with its reason and its source."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["LIMITS", "Limit"]

OWN = "measured: see docs/inspect.md"


class Limit(NamedTuple):
    """The limit of one measure, and the word for what lies beyond it.

    Attributes:
        measure: the number that is compared.
        value: the limit.
        upper: whether larger numbers are ill; otherwise smaller ones are.
        means: the trouble, in a sentence.
        reason: why the limit lies there.
        source: where it is from.
        since: the step from which it is judged: earlier it says nothing.
        late: whether it says nothing in the first tenth of a training either.
    """

    measure: str
    value: float
    upper: bool
    means: str
    reason: str
    source: str
    since: int = 1
    late: bool = False

    def judged_from(self, steps: int) -> int:
        """The step from which it is judged in a training of so many."""
        return max(self.since, steps // 10) if self.late else self.since

    def is_ill(self, value: float) -> bool:
        """Whether a measured number lies beyond the limit; NaN does."""
        return not (value <= self.value if self.upper else value >= self.value)

    @property
    def text(self) -> str:
        """The limit in words."""
        return f"at {'most' if self.upper else 'least'} {self.value:g}"


LIMITS: Mapping[str, Limit] = {
    "dead": Limit(
        "share of a layer's channels that give one number for every example and place",
        0.5,
        True,
        "Most channels of a layer say nothing about what they are shown, and no gradient brings them back.",
        "A few channels die in sound networks too, and are spare; with half of them gone the layer is a bottleneck.",
        "Lu et al. 2019 (Dying ReLU and Initialization), on how rectifiers die",
    ),
    "stopped": Limit(
        "largest gradient of a network's weights",
        1e-8,
        False,
        "A network learns nothing: its gradient is zero, since its loss is at its bound or nothing passes its layers.",
        "Adam divides by |gradient| + 1e-8: below that number even Adam takes no step of use.",
        "Kingma & Ba 2015 (Adam), algorithm 1",
    ),
    "hasty": Limit(
        "change of a layer's weights in a step, over the weights (norms)",
        0.1,
        True,
        "The weights are replaced rather than trained: what they had learned is lost within some steps.",
        "About 0.001 is usual, up to 0.05 with Adam on small weights. At 0.1 they are others after ten steps.",
        f"the usual 0.001: Karpathy, CS231n notes, ratio of weights to updates; the limit: {OWN}",
        since=100,
    ),
    "runaway": Limit(
        "mean absolute logit of D, of a loss of probabilities",
        100.0,
        True,
        "D's logits have run away: its probabilities are 0 and 1 to the last bit, whatever it is shown.",
        "sigmoid(17) is 1 in float32. Logits of up to 20 occur in sound trainings.",
        OWN,
    ),
    "vanishing": Limit(
        "sum of |dL/ds| over D's logits s of the fakes, without the loss's weight: 1 if all of L reaches G",
        0.05,
        False,
        "G's loss is flat where the fakes are, so that hardly any gradient reaches G.",
        "The log-losses pass on D or 1 - D, at most 1. Below 0.05 G learns at a twentieth of its rate.",
        "Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017, theorem 2.4",
    ),
    "saturated": Limit(
        "gradient behind G's last tanh or sigmoid over that before it (norms; of a sigmoid times 4)",
        0.05,
        False,
        "G's outputs stick to the ends of their range, where tanh and sigmoid are flat, and G cannot correct them.",
        "0.3 to 1 is usual, also for digits, most of whose pixels are black.",
        f"Glorot & Bengio 2010, section 3; the limit: {OWN}",
    ),
    "collapsed": Limit(
        "variance of the fakes over that of real examples",
        0.1,
        False,
        "G draws nearly the same whatever noise it is given.",
        "0.4 to 1 is usual once shapes are there. G begins near 0, with gray pictures: not judged at once.",
        f"Goodfellow 2016 (NIPS tutorial), section 5.1.1, on mode collapse; the limit: {OWN}",
        since=300,
        late=True,
    ),
    "repeating": Limit(
        "share of fakes with a near-duplicate in the batch: nearer than half of the distance of close real examples",
        0.3,
        True,
        "G draws a few pictures over and over.",
        "0 is usual: no two digits of a batch are that near.",
        f"Arora & Zhang 2018, section 2, counts near-duplicates; the limit: {OWN}",
        since=300,
        late=True,
    ),
    "missing": Limit(
        "share of real points with a fake within a fifth of the data's standard deviation",
        0.5,
        False,
        "G has given up most modes of the data, or has not found them yet.",
        "0.7 to 1 is usual once modes are found.",
        f"Naeem et al. 2020, coverage, with a radius fit for modes; the limit: {OWN}",
        since=1000,
        late=True,
    ),
    "overfitting": Limit(
        "(E[real] - E[held-out]) / (E[real] - E[fake]) of D's logits, less twice its standard error",
        0.5,
        True,
        "D knows its training images by heart: it takes images that it has not seen for half as false as fakes.",
        "0 is no overfitting, 1 a D that takes unseen images for fakes. ADA holds a like figure at 0.6.",
        "Karras et al. 2020 (ADA), equation 1",
    ),
    "steep": Limit(
        "mean norm of D's gradient at real and fake examples, of a critic that is to have 1",
        5.0,
        True,
        "The critic is steeper than its penalty allows, so its loss estimates no Wasserstein distance.",
        "0.5 to 2 is usual: the penalty acts between the examples, not at them.",
        f"Gulrajani et al. 2017, equation 3; the limit: {OWN}",
        since=100,
    ),
    "lagging": Limit(
        "running BatchNorm statistics of G against the batch's, mean of |mean - mean'| / std' + |log(std / std')|",
        1.0,
        True,
        "BatchNorm's running statistics are not those of the present weights: samples differ from training's fakes.",
        "0.02 to 0.3 is usual, more at first. At 1 a channel is off by a standard deviation, or by a factor of 2.7.",
        f"Ioffe & Szegedy 2015, section 3.1; the limit: {OWN}",
        since=100,
    ),
    "loose": Limit(
        "spectral norm of a weight that SpectralNorm has divided",
        1.3,
        True,
        "The power iteration lags behind weights that move fast, and the layer amplifies more than it should.",
        "1 is exact; one iteration a step keeps it within a few hundredths.",
        f"Miyato et al. 2018, section 2.1 and algorithm 1; the limit: {OWN}",
        since=100,
    ),
    "unused": Limit(
        "KL divergence of a VAE's code from its prior, in nats",
        0.5,
        False,
        "The encoder tells the decoder nothing, which draws the mean image whatever the code.",
        "Below half a nat the code holds less than one bit of its image. Digits need 10 nats and more.",
        "Bowman et al. 2016, section 3.1, on posterior collapse",
        since=300,
    ),
}
