"""Worked examples of the kernels: each is shown at work in the thing that calls it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from minigan.inspection.layer_trials import LayerTrial
from minigan.inspection.optimizer_trials import StepTrial
from minigan.inspection.trials import Trial
from minigan.nn import (
    SGD,
    Adam,
    BatchNorm,
    Bias,
    Conv2D,
    Dense,
    Dropout,
    GroupNorm,
    LeakyReLU,
    Maxout,
    Modulated,
    NoiseInjection,
    PixelShuffle,
    ReflectionPadding2D,
    RMSprop,
    SelfAttention,
    Sequential,
    Sigmoid,
    Tanh,
    UpSampling2D,
)

__all__ = ["AT_WORK", "OWN"]

# The thing whose worked example calls each kernel.
AT_WORK: Mapping[str, Any] = {
    **dict.fromkeys(("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "channel_sum"), Conv2D),
    **dict.fromkeys(("matmul", "dense_grad"), Dense),
    "batched_matmul": SelfAttention,
    **dict.fromkeys(("batchnorm", "batchnorm_grad", "batchnorm_double_grad"), BatchNorm),
    **dict.fromkeys(("group_norm", "group_norm_grad", "group_norm_double_grad"), GroupNorm),
    **dict.fromkeys(("leaky_relu", "leaky_relu_grad"), LeakyReLU),
    **dict.fromkeys(("tanh", "tanh_grad"), Tanh),
    **dict.fromkeys(("sigmoid", "sigmoid_grad"), Sigmoid),
    **dict.fromkeys(("maxout", "maxout_grad"), Maxout),
    **dict.fromkeys(("upsample_nearest", "upsample_nearest_grad"), UpSampling2D),
    **dict.fromkeys(("reflect_pad", "reflect_pad_grad"), ReflectionPadding2D),
    **dict.fromkeys(("depth_to_space", "space_to_depth"), PixelShuffle),
    **dict.fromkeys(("scale_channels", "scale_channels_grad"), Modulated),
    "dropout_mask": Dropout,
    "adam_step": Adam,
    "sgd_step": SGD,
    "rmsprop_step": RMSprop,
}


def _evaluated(*after: LeakyReLU) -> Trial:
    return LayerTrial(Sequential([BatchNorm(), *after]), (5, 5, 1), weights=(2, 1), train=False)


def _fused(first: Any, input_shape: tuple[int, ...], *, batch_size: int = 1) -> Trial:
    return LayerTrial(Sequential([first, LeakyReLU(0.2)]), input_shape, batch_size=batch_size, weights=(1.5, -0.7, 0.6))


def _noisy() -> Trial:
    return LayerTrial(Sequential([NoiseInjection(), Bias(), LeakyReLU(0.2)]), (5, 5, 1), weights=(1.5, -0.7))


def _averaged(average: list[float], w: list[float], decay: float) -> list[float]:
    return [a + (1 - decay) * (b - a) for a, b in zip(average, w, strict=True)]


def _to_norm(dw: list[float], limit: float) -> list[float]:
    norm = math.sqrt(sum(number * number for number in dw))
    return [number * min(1.0, limit / norm) for number in dw]


def _to_value(x: list[float], limit: float) -> list[float]:
    return [min(max(number, -limit), limit) for number in x]


FIVE = [3.0, -2.0, 0.5, 0.0, -4.0]
# And those kernels that no layer's or optimizer's example calls.
OWN: Mapping[str, Callable[[], Trial]] = {
    "conv2d_leaky_relu": lambda: _fused(Conv2D(1, 3), (5, 5, 1)),
    **dict.fromkeys(("dense_leaky_relu", "dense_leaky_relu_grad"), lambda: _fused(Dense(3), (5,), batch_size=2)),
    **dict.fromkeys(("batchnorm_leaky_relu", "batchnorm_leaky_relu_grad"), lambda: _fused(BatchNorm(), (5, 5, 1))),
    **dict.fromkeys(("batchnorm_frozen", "batchnorm_frozen_grad"), _evaluated),
    **dict.fromkeys(("noise_leaky_relu", "noise_leaky_relu_grad"), _noisy),
    "batchnorm_frozen_leaky_relu": lambda: _evaluated(LeakyReLU(0.2)),
    "ema_step": lambda: StepTrial("ema_step", {"average": [1, 1, 1, 1, 1], "w": FIVE}, {"decay": 0.9}, _averaged),
    "clip_norm": lambda: StepTrial("clip_norm", {"dw": FIVE}, {"limit": 1.0}, _to_norm),
    "clip_value": lambda: StepTrial("clip_value", {"x": FIVE}, {"limit": 1.0}, _to_value),
}
