"""The mathematics of losses and gradient penalties, with a worked example of each."""

import numpy as np

from minigan.inspection.loss_trials import FunctionTrial, LossTrial, MatchingTrial, PenaltyTrial
from minigan.inspection.theory import Theory, describe
from minigan.inspection.trials import distinct
from minigan.losses import (
    DRAGAN,
    R1,
    R1R2,
    R2,
    WGANGP,
    FeatureMatching,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    RelativisticPairing,
    SoftmaxMixture,
    SquaredProbability,
    Wasserstein,
    bernoulli,
    gaussian,
    l1,
    mse,
    softmax_cross_entropy,
)
from minigan.losses.gradient_penalties import PenaltyOfEach
from minigan.nn import Conv2D, Dense, Flatten, Layer, Parallel, Tanh

__all__: list[str] = []

# ------------------------------------------------------------------------------------------ adversarial losses

CROSS_ENTROPY = "D's: softplus(s) - t s = -t log D - (1 - t) log(1 - D),  D = sigmoid(s),  t = 1 real, 0 fake"
CROSS_ENTROPY_GRAD = "D's: (D - t) / N"
GAME = "Goodfellow et al. 2014, equation 1"
GRADIENT_ONLY = "A loss has no second order here: the penalties differentiate D's logits, not its loss."
describe(
    Minimax,
    Theory(
        "The game as it was first written: G minimizes the term that D maximizes.",
        forward=(CROSS_ENTROPY, "G's: log(1 - D) = -softplus(s)"),
        backward=(CROSS_ENTROPY_GRAD, "G's: -D / N"),
        remark="Where D is sure of a fake, D is near 0, and so is G's gradient: it saturates.",
    ),
    example=lambda: LossTrial(Minimax()),
)
describe(
    NonSaturating,
    Theory(
        "D learns to tell real from fake; G maximizes the probability that D takes its fakes for real.",
        forward=(CROSS_ENTROPY, "G's: -log D = softplus(-s)"),
        backward=(CROSS_ENTROPY_GRAD, "G's: -(1 - D) / N"),
        remark="Where D is sure of a fake, G's gradient is largest. The usual choice.",
    ),
    example=lambda: LossTrial(NonSaturating()),
)
describe(
    SquaredProbability,
    Theory(
        "G minimizes the squared distance of D's probability from real; D keeps cross-entropy.",
        forward=(CROSS_ENTROPY, "G's: (1 - D)^2"),
        backward=(CROSS_ENTROPY_GRAD, "G's: -2 (1 - D)^2 D / N"),
        remark="Where D is sure the gradient vanishes. It is not LSGAN, which squares logits.",
        source=f"a form of some tutorials; the game is that of {GAME}",
    ),
    example=lambda: LossTrial(SquaredProbability()),
)
describe(
    LeastSquares,
    Theory(
        "Pulls D's logits to 1 on real and to 0 on fake, and G's fakes to 1: distances, no probabilities.",
        forward=("D's: (s - t)^2 / 2,  t = 1 real, 0 fake", "G's: (s - 1)^2 / 2"),
        backward=("D's: (s - t) / N", "G's: (s - 1) / N"),
        remark="A logit that is right, but far beyond its target, has a gradient, too.",
    ),
    example=lambda: LossTrial(LeastSquares()),
)
describe(
    Wasserstein,
    Theory(
        "D scores real above fake; the difference of the means estimates how far G's images are from the data.",
        forward=("D's: -mean(s) on real, +mean(s) on fake", "G's: -mean(s)"),
        backward=("D's: -1/N on real, +1/N on fake", "G's: -1/N"),
        remark="It holds only for a D whose slope is at most 1: add penalty=wgan-gp, or clip_weights.",
    ),
    example=lambda: LossTrial(Wasserstein()),
)
describe(
    Hinge,
    Theory(
        "D pushes logits beyond a margin of 1 on each side and then lets them be; G raises D's logits.",
        forward=("D's: max(0, 1 - s) on real, max(0, 1 + s) on fake", "G's: -mean(s)"),
        backward=("D's: -1/N on real where s < 1, +1/N on fake where s > -1, else 0", "G's: -1/N"),
        remark="Usual with spectral normalization.",
    ),
    example=lambda: LossTrial(Hinge()),
)
describe(
    RelativisticAverage,
    Theory(
        "D judges whether an example is more real than the average of the other kind.",
        forward=(
            "a = s_real - mean(s_fake),  b = s_fake - mean(s_real)",
            "D's: mean softplus(-a) + mean softplus(b)",
            "G's: the same with real and fake exchanged",
        ),
        backward=(
            "D's, real: -(1 - sigmoid(a) + mean sigmoid(b)) / N",
            "D's, fake: (sigmoid(b) + mean(1 - sigmoid(a))) / N",
            "G's: D's gradient for real, at the fakes",
        ),
        remark="Neither batch has a loss of its own, so both tapes are needed at once.",
    ),
    example=lambda: LossTrial(RelativisticAverage()),
)
describe(
    RelativisticPairing,
    Theory(
        "D judges whether each real example is more real than the fake that it is paired with.",
        forward=("u = s_fake - s_real of each pair", "D's: mean softplus(u)", "G's: mean softplus(-u)"),
        backward=("D's, real: -sigmoid(u) / N", "D's, fake: sigmoid(u) / N", "G's: -sigmoid(-u) / N"),
        remark="Where D is at a loss between real and fake, each pair still has a slope. G's step takes new reals.",
        source="Jolicoeur-Martineau 2018; Huang et al. 2024 (R3GAN), equations 2 and 3",
    ),
    example=lambda: LossTrial(RelativisticPairing()),
)
describe(
    SoftmaxMixture,
    Theory(
        "G plays against several discriminators at once, and listens most to the strictest.",
        forward=("G's: F = sum_k w_k V_k,  w = softmax(lambda V),  V_k = the wrapped loss on D_k's logits",),
        backward=("dF/dV_k = w_k (1 + lambda (V_k - F)), times V_k's own gradient",),
        remark="D's loss is the wrapped one, the mean over all discriminators.",
    ),
    example=lambda: LossTrial(SoftmaxMixture(Minimax()), (5, 2)),
)

# ------------------------------------------------------------------------------------------ with a target

describe(
    l1,
    Theory(
        "The mean absolute distance of two images: it keeps G near the target without blurring as much as mse.",
        forward=("mean |prediction - target|",),
        backward=("sign(prediction - target) / size",),
        source="Isola et al. 2017, equation 3",
    ),
    example=lambda: FunctionTrial(l1, distinct((5, 5), 1, seed=1), distinct((5, 5), 2, seed=2)),
)
describe(
    mse,
    Theory(
        "The mean squared distance of two images; minimized alone it gives the mean of all answers, which is blurred.",
        forward=("mean (prediction - target)^2",),
        backward=("2 (prediction - target) / size",),
        source="Pathak et al. 2016, equation 1",
    ),
    example=lambda: FunctionTrial(mse, distinct((5, 5), 1, seed=1), distinct((5, 5), 2, seed=2)),
)
describe(
    bernoulli,
    Theory(
        "The negative log-likelihood of gray pixels whose probabilities are the sigmoid of logits: a VAE's, in nats.",
        forward=("sum (softplus(s) - t s) over an image, the mean over images",),
        backward=("(sigmoid(s) - t) / N",),
    ),
    example=lambda: FunctionTrial(
        bernoulli, distinct((2, 5), 2, seed=1), (distinct((2, 5), 0.5, seed=2) + 0.5), ("logits", "target")
    ),
)
describe(
    gaussian,
    Theory(
        "The negative log-likelihood of pixels with normal noise of deviation 1, up to a constant: a VAE's.",
        forward=("sum (means - target)^2 / 2 over an image, the mean over images",),
        backward=("(means - target) / N",),
    ),
    example=lambda: FunctionTrial(
        gaussian, distinct((2, 5), 1, seed=1), distinct((2, 5), 1, seed=2), ("means", "target")
    ),
)
describe(
    softmax_cross_entropy,
    Theory(
        "A classifier's loss: the negative log-probability of the right class.",
        forward=("mean -log p[label],  p = softmax(logits)",),
        backward=("(p - one_hot(label)) / N",),
        source="Bridle 1990, section 2.2",
    ),
    example=lambda: FunctionTrial(
        softmax_cross_entropy, distinct((3, 5), 2, seed=1), np.array([0, 3, 1]), ("logits", "labels")
    ),
)


def _small() -> list[Layer]:
    """A D with a curved layer, so that each sweep of the double backward has something to do."""
    return [Conv2D(1, 3, stride=2, bias=False), Tanh(), Flatten(), Dense(1)]


describe(
    FeatureMatching,
    Theory(
        "G's images are to have, in the mean over the batch, the features that D finds in real ones.",
        forward=("|mean f(fake) - mean f(real)|^2,  f = the input of D's last layer with weights",),
        backward=("2 (mean f(fake) - mean f(real)) / N for each f(fake), then back through D to the image",),
    ),
    example=lambda: MatchingTrial(_small),
)

# ------------------------------------------------------------------------------------------ penalties

SWEEPS = (
    "1. forward at x, and backward to the input with each layer's cotangent recorded: g = dD/dx",
    "2. P, and v = dP/dg",
    "3. up-sweep: v through each layer's double backward, adding dP/dw",
    "4. down-sweep: dP/dx of curved layers by ordinary backward; skipped if there are none",
)
UNIT = "v = 2 weight/N (1 - 1/|g|) g"
ZERO = "v = weight/N g"
describe(
    WGANGP,
    Theory(
        "Pulls D's slope to 1 on the lines between real and fake, as Wasserstein's loss needs it.",
        forward=("P = weight mean (|g| - 1)^2,  g = dD/dx at x = real + e (fake - real),  e uniform in [0, 1]",),
        backward=(UNIT,),
        double_backward=SWEEPS,
        remark="It bounds each example's slope by itself, so D has no BatchNorm: LayerNorm or none.",
    ),
    example=lambda: PenaltyTrial(WGANGP(), _small),
)
describe(
    DRAGAN,
    Theory(
        "Pulls D's slope to 1 in the neighborhood of real images.",
        forward=("P = weight mean (|g| - 1)^2,  g = dD/dx at x = real + std(real)/2 noise",),
        backward=(UNIT,),
        double_backward=SWEEPS,
    ),
    example=lambda: PenaltyTrial(DRAGAN(), _small),
)
describe(
    R1,
    Theory(
        "Pulls D's slope to 0 at real images, so that the game comes to rest where G draws the data.",
        forward=("P = weight/2 mean |g|^2,  g = dD/dx at x = real",),
        backward=(ZERO,),
        double_backward=SWEEPS,
    ),
    example=lambda: PenaltyTrial(R1(), _small),
)
describe(
    R2,
    Theory(
        "Pulls D's slope to 0 at fakes.",
        forward=("P = weight/2 mean |g|^2,  g = dD/dx at x = fake",),
        backward=(ZERO,),
        double_backward=SWEEPS,
    ),
    example=lambda: PenaltyTrial(R2(), _small),
)
describe(
    R1R2,
    Theory(
        "Pulls D's slope to 0 at real images and at fakes, on the forward passes of D's loss.",
        forward=("P = weight/2 (mean |g_real|^2 + mean |g_fake|^2),  g = dD/dx",),
        backward=(ZERO,),
        double_backward=SWEEPS,
        remark="With the pairing loss the game converges near its rest (R3GAN, proposition 2).",
        source="Huang et al. 2024 (R3GAN), section 3.2; Roth et al. 2017",
    ),
    example=lambda: PenaltyTrial(R1R2(), _small),
)
describe(
    PenaltyOfEach,
    Theory(
        "Takes the mean of a penalty over several discriminators, whose slopes together could cancel.",
        forward=("P = mean_k P_k,  P_k = the penalty on the k-th discriminator",),
        backward=("v_k = dP/dg_k: as for one discriminator, with weight / K",),
        double_backward=SWEEPS,
        source="Durugkar et al. 2017, with the penalty of Gulrajani et al. 2017",
    ),
    example=lambda: PenaltyTrial(
        PenaltyOfEach(WGANGP()), lambda: [Parallel([[Dense(1), Tanh()], [Dense(1)]])], input_shape=(5,)
    ),
)
