"""A verdict in a word on a training, from nothing but the values that it logs: it costs no pass and no step.

What these values cannot show (dead layers, a saturated tanh, a D that knows its images by heart) is found by
`minigan inspect`, which does a step again.
"""

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minigan.losses import FAKE, LOSSES, PENALTIES, REAL, AdversarialLoss, Wasserstein
from minigan.losses.gradient_penalties import UnitSlope

__all__ = ["HEALTHY", "SIGNS", "UNDECIDED", "LogVerdict", "Sign", "undecided_losses"]

HEALTHY = "healthy"
STEPS, RECORDS, FEWEST = 100, 5, 3  # of the past that is judged; FEWEST for what no sound training shows by chance
UNDECIDED = {"least-squares": 0.5}  # the logit of a D that cannot tell real from fake; 0 for all others
Record = Mapping[str, Any]


class Sign(NamedTuple):
    """A sign of trouble in the log.

    Attributes:
        word: for the progress line.
        measure: the number that is compared: of the newest record, and the median of the last ones.
        value: its limit.
        upper: whether larger numbers are ill; otherwise smaller ones are.
        means: the trouble, in a sentence.
        reason: why the limit lies there.
        at_once: whether few records are enough, from the first step on.
    """

    word: str
    measure: str
    value: float
    upper: bool
    means: str
    reason: str
    at_once: bool = False

    def is_ill(self, value: float) -> bool:
        """Whether a number lies beyond the limit."""
        return value > self.value if self.upper else value < self.value


BLIND = Sign(
    "D is blind",
    "|d_real - d_fake| over the larger of the two",
    1e-6,
    False,
    "D gives real and fake examples the same verdict to the last digit: its layers are dead, or it is stuck.",
    "Even a D that has just been made tells two batches apart in the third digit.",
    at_once=True,
)
COLLAPSING = Sign(
    "collapsing?",
    "D's loss over that of a D that cannot tell real from fake",
    1.5,
    True,
    "D is worse than a coin: it takes fakes for real. G then gains most by drawing what D likes best, over and over.",
    "A D that learns is below 1; sound trainings reach 1.2 for some steps.",
)
WINS = Sign(
    "D wins",
    "D's loss over that of a D that cannot tell real from fake",
    0.002,
    False,
    "D has nothing left to learn, since it is sure of every example, and hands G gradients that say little.",
    "0.02 to 0.8 is usual, without any harm. At 0.002 D is wrong by a thousandth.",
)
SATURATES = Sign(
    "D wins",
    "share of its gradient that G's loss lets through, at D's mean verdict on fakes; minimax, squared-probability",
    0.05,
    False,
    "D is so sure of the fakes that G's loss is flat there, and G hardly learns.",
    "The limit of the word vanishing above.",
)
STEEP = Sign(
    "D is steep",
    "D's slope between real and fake examples, 1 + sqrt(penalty / weight), of a critic that is to have 1",
    5.0,
    True,
    "The critic is steeper than its penalty allows, so its loss estimates no distance.",
    "The limit of the word steep above. 1 to 2 is usual.",
)
UNUSED = Sign(
    "code unused",
    "KL divergence of a VAE's code from its prior, in nats",
    0.5,
    False,
    "The encoder tells the decoder nothing, which draws the mean image whatever the code.",
    "The limit of the word unused above.",
)
SIGNS = (BLIND, COLLAPSING, SATURATES, WINS, STEEP, UNUSED)  # the first that is found is named
PULLS: Mapping[str, Callable[[float], float]] = {  # |dL/ds| of G's loss where D's probability is p
    "minimax": lambda p: p,
    "squared-probability": lambda p: 2 * p * (1 - p) ** 2,
}


class LogVerdict:
    """Judges a training by its last records: those of the last 100 steps, and five at least.

        verdict = LogVerdict(recipe.settings())
        for record in records:
            word = verdict.add(record)      # "healthy", "D wins" ..., or "" while there is too little to go by

    Args:
        settings: of the recipe; those for the loss and the penalty say what the numbers mean.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._loss = str(settings.get("loss", ""))
        penalty = PENALTIES.get(str(settings.get("penalty", "")))
        has_slope = penalty is not None and issubclass(penalty, UnitSlope)
        self._weight = float(settings.get("penalty_weight", 0) or 0) if has_slope else 0.0
        self._undecided = undecided_losses(self._loss)[0] if self._loss in LOSSES else math.nan
        self._past: deque[tuple[int, dict[Sign, float]]] = deque()

    def add(self, record: Record) -> str:
        """Takes the next record of the log, and returns the word; that of an evaluation has none."""
        if "seconds" not in record:
            return ""
        step = int(record["step"])
        self._past.append((step, {sign: value for sign, value in self._measures(record) if math.isfinite(value)}))
        while len(self._past) > RECORDS and self._past[0][0] <= step - STEPS:
            self._past.popleft()
        return self._word(step)

    def _word(self, step: int) -> str:
        is_early, is_judged = step < STEPS or len(self._past) < RECORDS, False
        for sign in SIGNS:
            values = [measures[sign] for _, measures in self._past if sign in measures]
            if len(values) < FEWEST or (is_early and not sign.at_once):
                continue
            if sign.is_ill(values[-1]) and sign.is_ill(statistics.median(values)):
                return sign.word
            is_judged = is_judged or not is_early
        return HEALTHY if is_judged else ""

    def _measures(self, record: Record) -> Iterator[tuple[Sign, float]]:
        """The numbers that a record has for each sign."""
        known = {name: float(value) for name, value in record.items() if isinstance(value, int | float)}
        if "d_real" in known and "d_fake" in known:
            real, fake = known["d_real"], known["d_fake"]
            yield BLIND, abs(real - fake) / (max(abs(real), abs(fake)) or 1.0)
            if self._loss in PULLS:
                yield SATURATES, PULLS[self._loss](fake)
        if "d_loss" in known and self._undecided > 0:
            yield COLLAPSING, known["d_loss"] / self._undecided
            yield WINS, known["d_loss"] / self._undecided
        if self._weight > 0 and (penalty := known.get("d_penalty", 0.0)) > 0:  # 0: a step without one
            yield STEEP, 1 + math.sqrt(penalty / self._weight)
        if "kl" in known:
            yield UNUSED, known["kl"]


def undecided_losses(loss: str) -> tuple[float, float]:
    """The losses of D and of G where D gives real and fake the same verdict; NaN for a critic's, which have no zero.

    Args:
        loss: its name, a key of LOSSES.
    """
    if LOSSES[loss] is Wasserstein:
        return math.nan, math.nan
    rule, logits = LOSSES[loss](), np.full((2, 1), UNDECIDED.get(loss, 0.0))
    if isinstance(rule, AdversarialLoss):
        d = float(rule.discriminator(logits, REAL)[0] + rule.discriminator(logits, FAKE)[0])
        return d, float(rule.generator(logits)[0])
    return float(rule.discriminator(logits, logits)[0]), float(rule.generator(logits, logits)[0])
