"""The mathematics of the optimizers, with three steps of each worked out."""

import math

from minigan.inspection.optimizer_trials import OptimizerTrial
from minigan.inspection.theory import Theory, describe
from minigan.nn import SGD, Adam, AdamW, RMSprop

__all__: list[str] = []

Memory = tuple[float, ...]
LR = 0.1
DECAY, EPS = 0.9, 1e-8
BETA1, BETA2 = 0.5, 0.999


def _adam(w: float, dw: float, memory: Memory, step: int, *, weight_decay: float = 0.0) -> tuple[float, Memory]:
    m, v = BETA1 * memory[0] + (1 - BETA1) * dw, BETA2 * memory[1] + (1 - BETA2) * dw * dw
    moved = LR * (m / (1 - BETA1**step)) / (math.sqrt(v / (1 - BETA2**step)) + EPS)
    return w * (1 - LR * weight_decay) - moved, (m, v)


def _adamw(w: float, dw: float, memory: Memory, step: int) -> tuple[float, Memory]:
    return _adam(w, dw, memory, step, weight_decay=0.01)


def _sgd(w: float, dw: float, memory: Memory, step: int) -> tuple[float, Memory]:  # noqa: ARG001
    velocity = DECAY * memory[0] + dw
    return w - LR * velocity, (velocity,)


def _rmsprop(w: float, dw: float, memory: Memory, step: int) -> tuple[float, Memory]:  # noqa: ARG001
    square = DECAY * memory[0] + (1 - DECAY) * dw * dw
    return w - LR * dw / (math.sqrt(square) + EPS), (square,)


MOMENTS = ("m <- beta1 m + (1 - beta1) dw", "v <- beta2 v + (1 - beta2) dw^2")
STEP = "lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps),  t = 1, 2, ..."
describe(
    Adam,
    Theory(
        "Gives each weight a step of about lr, whatever the size of its gradient, in the direction of a running mean.",
        forward=(*MOMENTS, f"w <- w - {STEP}"),
        remark="GANs use beta1 = 0.5: the game turns too fast for a long memory.",
    ),
    example=lambda: OptimizerTrial(lambda a: Adam(a, lr=LR, beta1=BETA1, beta2=BETA2), _adam, ("m", "v")),
)
describe(
    AdamW,
    Theory(
        "Adam, and every weight shrinks a little at each step, apart from its gradient.",
        forward=(*MOMENTS, f"w <- (1 - lr weight_decay) w - {STEP}"),
    ),
    example=lambda: OptimizerTrial(lambda a: AdamW(a, lr=LR, beta1=BETA1, beta2=BETA2), _adamw, ("m", "v")),
)
describe(
    SGD,
    Theory(
        "Goes down the gradient, with a velocity that remembers the way so far.",
        forward=("velocity <- momentum velocity + dw", "w <- w - lr velocity"),
        remark="momentum = 0 is plain gradient descent.",
    ),
    example=lambda: OptimizerTrial(lambda a: SGD(a, lr=LR, momentum=DECAY), _sgd, ("velocity",)),
)
describe(
    RMSprop,
    Theory(
        "Divides each gradient by the root of its mean square, so that all weights move at about the same rate.",
        forward=("square <- decay square + (1 - decay) dw^2", "w <- w - lr dw / (sqrt(square) + eps)"),
        remark="Without momentum it is the choice of the original WGAN.",
    ),
    example=lambda: OptimizerTrial(lambda a: RMSprop(a, lr=LR, decay=DECAY, eps=EPS), _rmsprop, ("square",)),
)
