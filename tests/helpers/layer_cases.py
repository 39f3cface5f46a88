"""Every layer and combinator in the shapes that matter, built and with numbers that hide nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from minigan.backends import Array, Backend
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    Dropout,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Flatten,
    GenerativeBasis,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    GroupNorm,
    InnerProduct,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LearnedConstant,
    Maxout,
    MinibatchStdDev,
    Modulated,
    NoiseInjection,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    ReLU,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import (
    AdaptiveAugmentation,
    Color,
    Cutout,
    Flip,
    QuarterTurns,
    ScheduledAugmentation,
    Translation,
    augmentations,
)
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.mapping import MappedCondition, MappingNetwork
from minigan.nn.network.residual_blocks import conditional_batch_norm, projection
from minigan.nn.network.styled import Styled
from minigan.nn.network.synthesis import OutputSkips

BATCH = 3


class Case(NamedTuple):
    make: Callable[[], Layer]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 (never changed)
    curved: bool = False  # whether backward depends on x, so that double_backward returns a dP/dx in training
    curved_in_eval: bool = False
    alone: bool = True  # whether in evaluation no example sees another
    condition: tuple[int, ...] = ()  # the shape of one, where the layer is given such
    flat: bool = False  # whether y does not depend on x, so that dx is 0


def norm_parameters(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}gamma": (channels,), f"{prefix}beta": (channels,)}


def nested() -> Sequential:
    """Image to vector, through a sequence in a sequence and every kind of nonlinearity."""
    inner = Sequential([Conv2D(3, 3), BatchNorm(), Tanh(), Sequential([LeakyReLU(0.2)])])
    return Sequential([inner, UpSampling2D((2, 1)), Dropout(0.25), Flatten(), Dense(4), Sigmoid(), Dense(2)])


def residual() -> Residual:
    return Residual([Conv2D(2, 3), BatchNorm(), Tanh(), Dropout(0.3), Conv2D(2, 3)])


def residual_with_shortcut() -> Residual:
    return Residual(
        [Conv2D(3, 4, stride=2, padding=1), BatchNorm(), LeakyReLU(0.2), Conv2D(4, 3)],
        shortcut=[Conv2D(4, 1, stride=2, padding="valid"), Sigmoid()],
    )


def parallel() -> Parallel:
    """Three discriminators, one of which sees the image at half its size; only the first is curved."""
    return Parallel(
        [
            [Conv2D(2, 4, stride=2, padding=1), BatchNorm(), Tanh(), Flatten(), Dense(1)],
            [AveragePooling2D(2), Flatten(), Dense(2), LeakyReLU(0.2)],
            [Flatten(), Dense(1, bias=False)],
        ]
    )


def unet() -> SkipConcat:
    """Two levels."""
    deepest = SkipConcat([Conv2D(3, 4, stride=2, padding=1), Tanh(), ConvTranspose2D(2, 4, stride=2, padding=1)])
    return SkipConcat(
        [Conv2D(2, 4, stride=2, padding=1), LeakyReLU(0.2), deepest, BatchNorm(), ConvTranspose2D(3, 2, stride=2)]
    )


CASES: dict[str, Case] = {
    "Dense": Case(lambda: Dense(4), (5,), (4,), {"w": (5, 4), "b": (4,)}),
    "Dense, no bias": Case(lambda: Dense(1, bias=False), (1,), (1,), {"w": (1, 1)}),
    "Conv2D same": Case(lambda: Conv2D(3, 3), (5, 4, 2), (5, 4, 3), {"w": (3, 3, 2, 3), "b": (3,)}),
    "Conv2D 4x4 stride 2, no bias": Case(
        lambda: Conv2D(3, 4, stride=2, padding=1, bias=False), (6, 8, 2), (3, 4, 3), {"w": (4, 4, 2, 3)}
    ),
    "Conv2D lopsided": Case(
        lambda: Conv2D(2, (5, 3), stride=(2, 3), padding=((1, 2), (0, 1))),
        (7, 9, 1),
        (3, 3, 2),
        {"w": (5, 3, 1, 2), "b": (2,)},
    ),
    "Conv2D same stride 2, 5x5": Case(
        lambda: Conv2D(2, 5, stride=2), (7, 6, 3), (4, 3, 2), {"w": (5, 5, 3, 2), "b": (2,)}
    ),
    "Conv2D whole image": Case(
        lambda: Conv2D(1, (4, 3), padding="valid"), (4, 3, 5), (1, 1, 1), {"w": (4, 3, 5, 1), "b": (1,)}
    ),
    "Conv2D dilated": Case(
        lambda: Conv2D(2, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 3)),
        (6, 7, 2),
        (6, 3, 2),
        {"w": (3, 2, 2, 2), "b": (2,)},
    ),
    "Conv2D in groups": Case(
        lambda: Conv2D(6, 3, stride=2, groups=2), (5, 4, 4), (3, 2, 6), {"w": (3, 3, 2, 6), "b": (6,)}
    ),
    "Conv2D depthwise, dilated": Case(
        lambda: Conv2D(6, 2, dilation=2, groups=3, bias=False), (4, 5, 3), (4, 5, 6), {"w": (2, 2, 1, 6)}
    ),
    "ConvTranspose2D dilated": Case(
        lambda: ConvTranspose2D(2, 3, stride=2, padding=1, output_padding=1, dilation=2),
        (3, 4, 2),
        (8, 10, 2),
        {"w": (3, 3, 2, 2), "b": (2,)},
    ),
    "ConvTranspose2D in groups": Case(
        lambda: ConvTranspose2D(4, 4, stride=2, padding=1, groups=2, bias=False),
        (2, 3, 6),
        (4, 6, 4),
        {"w": (4, 4, 2, 6)},
    ),
    "ConvTranspose2D 4x4 stride 2, no bias": Case(
        lambda: ConvTranspose2D(3, 4, stride=2, padding=1, bias=False), (3, 4, 2), (6, 8, 3), {"w": (4, 4, 3, 2)}
    ),
    "ConvTranspose2D from a pixel": Case(
        lambda: ConvTranspose2D(2, (7, 5), padding="valid"), (1, 1, 4), (7, 5, 2), {"w": (7, 5, 2, 4), "b": (2,)}
    ),
    "ConvTranspose2D output padding": Case(
        lambda: ConvTranspose2D(2, 3, stride=2, padding=1, output_padding=1),
        (3, 4, 3),
        (6, 8, 2),
        {"w": (3, 3, 2, 3), "b": (2,)},
    ),
    "ConvTranspose2D lopsided": Case(
        lambda: ConvTranspose2D(1, (5, 3), stride=(2, 3), padding=((1, 2), (0, 1)), output_padding=(0, 2)),
        (3, 2, 2),
        (6, 7, 1),
        {"w": (5, 3, 1, 2), "b": (1,)},
    ),
    "ConvTranspose2D same 5x5": Case(
        lambda: ConvTranspose2D(3, 5, stride=2), (3, 2, 2), (6, 4, 3), {"w": (5, 5, 3, 2), "b": (3,)}
    ),
    "BatchNorm images": Case(BatchNorm, (3, 2, 4), (3, 2, 4), norm_parameters("", 4), curved=True),
    "BatchNorm vectors": Case(lambda: BatchNorm(eps=1e-3), (5,), (5,), norm_parameters("", 5), curved=True),
    "GroupNorm images": Case(
        lambda: GroupNorm(2), (3, 2, 6), (3, 2, 6), norm_parameters("", 6), curved=True, curved_in_eval=True
    ),
    "GroupNorm vectors": Case(
        lambda: GroupNorm(2, eps=1e-3), (8,), (8,), norm_parameters("", 8), curved=True, curved_in_eval=True
    ),
    "InstanceNorm": Case(InstanceNorm, (3, 4, 5), (3, 4, 5), norm_parameters("", 5), curved=True, curved_in_eval=True),
    "InstanceNorm not affine": Case(
        lambda: InstanceNorm(affine=False), (3, 4, 5), (3, 4, 5), curved=True, curved_in_eval=True
    ),
    "LayerNorm images": Case(LayerNorm, (2, 3, 4), (2, 3, 4), norm_parameters("", 4), curved=True, curved_in_eval=True),
    "LayerNorm vectors": Case(LayerNorm, (7,), (7,), norm_parameters("", 7), curved=True, curved_in_eval=True),
    "LeakyReLU": Case(LeakyReLU, (3, 2, 4), (3, 2, 4)),
    "LeakyReLU, gain": Case(lambda: LeakyReLU(0.2, gain=2**0.5), (3, 2, 4), (3, 2, 4)),
    "LeakyReLU .01": Case(lambda: LeakyReLU(0.01), (7,), (7,)),
    "ReLU": Case(ReLU, (3, 2, 4), (3, 2, 4)),
    "Maxout": Case(lambda: Maxout(3), (12,), (4,)),
    "Maxout images": Case(lambda: Maxout(2), (3, 2, 4), (3, 2, 2)),
    "Tanh": Case(Tanh, (3, 2, 4), (3, 2, 4), curved=True, curved_in_eval=True),
    "Sigmoid": Case(Sigmoid, (9,), (9,), curved=True, curved_in_eval=True),
    "Dropout": Case(lambda: Dropout(0.3), (3, 2, 4), (3, 2, 4)),
    "Dropout of nothing": Case(lambda: Dropout(0), (6,), (6,)),
    "Flatten": Case(Flatten, (3, 2, 4), (24,)),
    "Reshape": Case(lambda: Reshape((2, 3, 2)), (12,), (2, 3, 2)),
    "UpSampling2D": Case(UpSampling2D, (2, 3, 2), (4, 6, 2)),
    "UpSampling2D 3x1": Case(lambda: UpSampling2D((3, 1)), (2, 3, 2), (6, 3, 2)),
    "ReflectionPadding2D": Case(lambda: ReflectionPadding2D(2), (3, 4, 2), (7, 8, 2)),
    "ReflectionPadding2D lopsided": Case(lambda: ReflectionPadding2D(((2, 0), (1, 3))), (3, 4, 2), (5, 8, 2)),
    "FIRDownSampling2D": Case(FIRDownSampling2D, (6, 4, 3), (3, 2, 3)),
    "FIRDownSampling2D 3x1, odd": Case(lambda: FIRDownSampling2D((3, 1), taps=[1, 2, 0.5]), (6, 3, 2), (2, 3, 2)),
    "FIRDownSampling2D smoothing, padded": Case(
        lambda: FIRDownSampling2D(1, taps=(1, 3, 2, 5), padding=((2, 1), 0)), (4, 5, 1), (4, 2, 1)
    ),
    "FIRDownSampling2D shorter than its step": Case(lambda: FIRDownSampling2D(3, taps=(1, 2)), (6, 3, 2), (2, 1, 2)),
    "FIRUpSampling2D": Case(FIRUpSampling2D, (2, 3, 3), (4, 6, 3)),
    "FIRUpSampling2D 1x3, odd": Case(lambda: FIRUpSampling2D((1, 3), taps=(1, 2, 0.5)), (3, 2, 2), (3, 6, 2)),
    "FIRUpSampling2D, cut off": Case(
        lambda: FIRUpSampling2D(2, taps=(1, 3, 2, 5), padding=((2, 1), 0)), (4, 2, 1), (7, 6, 1)
    ),
    "FIRUpSampling2D shorter than its step": Case(lambda: FIRUpSampling2D(3, taps=(1, 2)), (2, 1, 2), (6, 3, 2)),
    "Bias": Case(Bias, (3, 2, 4), (3, 2, 4), {"b": (4,)}),
    "Bias vectors": Case(Bias, (5,), (5,), {"b": (5,)}),
    "GenerativeBasis": Case(lambda: GenerativeBasis((3, 2)), (4,), (3, 2, 4), {"basis": (3, 2, 1, 4)}),
    "DiscriminativeBasis": Case(DiscriminativeBasis, (3, 2, 4), (4,), {"basis": (3, 2, 1, 4)}),
    "AveragePooling2D": Case(AveragePooling2D, (4, 6, 3), (2, 3, 3)),
    "AveragePooling2D 3x1": Case(lambda: AveragePooling2D((3, 1)), (6, 3, 2), (2, 3, 2)),
    "GlobalAveragePooling2D": Case(GlobalAveragePooling2D, (3, 2, 4), (4,)),
    "GlobalSumPooling2D": Case(GlobalSumPooling2D, (2, 3, 5), (5,)),
    "PixelShuffle": Case(PixelShuffle, (2, 3, 8), (4, 6, 2)),
    "PixelShuffle 1x3": Case(lambda: PixelShuffle((1, 3)), (2, 3, 6), (2, 9, 2)),
    "SpectralNorm Dense": Case(
        lambda: SpectralNorm(Dense(4), iterations=2), (5,), (4,), {"inner.w": (5, 4), "inner.b": (4,)}
    ),
    "SpectralNorm ConvTranspose2D dilated, in groups": Case(
        lambda: SpectralNorm(ConvTranspose2D(4, 2, stride=2, padding=1, dilation=2, groups=2)),
        (3, 4, 2),
        (5, 7, 4),
        {"inner.w": (2, 2, 2, 2), "inner.b": (4,)},
    ),
    "SpectralNorm Conv2D": Case(
        lambda: SpectralNorm(Conv2D(3, 4, stride=2, padding=1)),
        (4, 6, 2),
        (2, 3, 3),
        {"inner.w": (4, 4, 2, 3), "inner.b": (3,)},
    ),
    "SpectralNorm ConvTranspose2D, no bias": Case(
        lambda: SpectralNorm(ConvTranspose2D(3, (4, 3), stride=(2, 1), padding=1, bias=False)),
        (2, 3, 2),
        (4, 3, 3),
        {"inner.w": (4, 3, 3, 2)},
    ),
    "EqualizedRate Dense": Case(lambda: EqualizedRate(Dense(4)), (5,), (4,), {"inner.w": (5, 4), "inner.b": (4,)}),
    "EqualizedRate Dense, multiplier": Case(
        lambda: EqualizedRate(Dense(4), multiplier=0.3), (5,), (4,), {"inner.w": (5, 4), "inner.b": (4,)}
    ),
    "EqualizedRate Conv2D in groups, multiplier": Case(
        lambda: EqualizedRate(Conv2D(4, 3, stride=2, padding=1, groups=2), multiplier=2),
        (4, 6, 2),
        (2, 3, 4),
        {"inner.w": (3, 3, 1, 4), "inner.b": (4,)},
    ),
    "EqualizedRate ConvTranspose2D, no bias": Case(
        lambda: EqualizedRate(ConvTranspose2D(3, (4, 3), stride=(2, 1), padding=1, bias=False)),
        (2, 3, 2),
        (4, 3, 3),
        {"inner.w": (4, 3, 3, 2)},
    ),
    "PixelNorm": Case(PixelNorm, (3, 2, 4), (3, 2, 4), curved=True, curved_in_eval=True),
    "PixelNorm vectors": Case(lambda: PixelNorm(eps=0.1), (6,), (6,), curved=True, curved_in_eval=True),
    "MinibatchStdDev": Case(MinibatchStdDev, (2, 3, 4), (2, 3, 5), curved=True, curved_in_eval=True, alone=False),
    "MinibatchStdDev, the whole batch": Case(
        lambda: MinibatchStdDev(32), (2, 1, 3), (2, 1, 4), curved=True, curved_in_eval=True, alone=False
    ),
    "MinibatchStdDev vectors": Case(
        lambda: MinibatchStdDev(3), (6,), (7,), curved=True, curved_in_eval=True, alone=False
    ),
    "SelfAttention": Case(
        SelfAttention,
        (3, 2, 9),
        (3, 2, 9),
        {"gamma": (1,), "f.w": (1, 1, 9, 1), "g.w": (1, 1, 9, 1), "h.w": (1, 1, 9, 9)},
        curved=True,
        curved_in_eval=True,
    ),
    "SelfAttention, SpectralNorm": Case(
        lambda: SelfAttention(2, wrap=SpectralNorm),
        (2, 2, 3),
        (2, 2, 3),
        {"gamma": (1,), "f.inner.w": (1, 1, 3, 2), "g.inner.w": (1, 1, 3, 2), "h.inner.w": (1, 1, 3, 3)},
        curved=True,
        curved_in_eval=True,
    ),
    "MappingNetwork": Case(
        lambda: MappingNetwork([PixelNorm(), EqualizedRate(Dense(3), multiplier=0.1), LeakyReLU(gain=1.5)], rows=4),
        (5,),
        (4, 3),
        {"inner.1.inner.w": (5, 3), "inner.1.inner.b": (3,)},
        curved=True,
        curved_in_eval=True,
    ),
    "MappingNetwork, mixing": Case(
        lambda: MappingNetwork([Dense(3), Tanh()], rows=4, mixing=0.7),
        (5,),
        (4, 3),
        {"inner.0.w": (5, 3), "inner.0.b": (3,)},
        curved=True,
        curved_in_eval=True,
    ),
    "MappingNetwork, truncated, with classes": Case(
        lambda: MappingNetwork(
            [MappedCondition((3,), [Dense(2), PixelNorm()], [ConcatCondition((2,))]), Dense(3)], rows=2
        ).truncated(0.6),
        (5,),
        (2, 3),
        {
            "inner.0.mapping.0.w": (3, 2),
            "inner.0.mapping.0.b": (2,),
            "inner.1.w": (7, 3),
            "inner.1.b": (3,),
        },
        condition=(3,),
    ),
    "MappedCondition, inner product": Case(
        lambda: MappedCondition((3,), [Dense(5), Tanh()], [Tanh(), InnerProduct(5)]),
        (5,),
        (1,),
        {"mapping.0.w": (3, 5), "mapping.0.b": (5,)},
        curved=True,
        curved_in_eval=True,
        condition=(3,),
    ),
    "ConcatCondition vectors": Case(lambda: ConcatCondition((3,)), (5,), (8,), condition=(3,)),
    "ConcatCondition embedding": Case(
        lambda: ConcatCondition((3,), embedding=2), (5,), (7,), {"E": (3, 2)}, condition=(3,)
    ),
    "ConcatCondition maps": Case(
        lambda: ConcatCondition((3,), embedding=2), (4, 3, 1), (4, 3, 3), {"E": (3, 2)}, condition=(3,)
    ),
    "ConcatCondition images": Case(lambda: ConcatCondition((4, 3, 2)), (4, 3, 1), (4, 3, 3), condition=(4, 3, 2)),
    "InnerProduct": Case(lambda: InnerProduct(5), (5,), (1,), condition=(5,)),
    "ConditionalAffine": Case(
        lambda: ConditionalAffine(3), (4, 2, 5), (4, 2, 5), {"gamma": (3, 5), "beta": (3, 5)}, condition=(3,)
    ),
    "ConditionalAffine vectors": Case(
        lambda: ConditionalAffine(2), (5,), (5,), {"gamma": (2, 5), "beta": (2, 5)}, condition=(2,)
    ),
    "conditional BatchNorm, projection": Case(
        lambda: Sequential([Conv2D(2, 3), conditional_batch_norm(3), Tanh(), Flatten(), projection(3)]),
        (2, 3, 2),
        (1,),
        {
            "0.w": (3, 3, 2, 2),
            "0.b": (2,),
            **norm_parameters("1.0.", 2),
            "1.1.gamma": (3, 2),
            "1.1.beta": (3, 2),
            "4.inner.0.inner.w": (12, 3),
            "4.shortcut.0.inner.w": (12, 1),
            "4.shortcut.0.inner.b": (1,),
        },
        curved=True,
        curved_in_eval=True,
        condition=(3,),
    ),
    "Parallel, a conditional branch": Case(
        lambda: Parallel([[ConcatCondition((2,)), Dense(2)], [Dense(2, bias=False), InnerProduct(2)]]),
        (3,),
        (3,),
        {"0.1.w": (5, 2), "0.1.b": (2,), "1.0.w": (3, 2)},
        condition=(2,),
    ),
    "SkipConcat, conditional": Case(
        lambda: SkipConcat([ConcatCondition((2,)), Conv2D(2, 3)]),
        (3, 2, 1),
        (3, 2, 3),
        {"inner.1.w": (3, 3, 3, 2), "inner.1.b": (2,)},
        condition=(2,),
    ),
    "Modulated": Case(
        lambda: Modulated(Conv2D(4, 3, bias=False), 3),
        (4, 3, 2),
        (4, 3, 4),
        {"inner.w": (3, 3, 2, 4), "affine.w": (3, 2), "affine.b": (2,)},
        condition=(3,),
    ),
    "Modulated, transposed": Case(
        lambda: Modulated(ConvTranspose2D(2, 3, stride=2, padding=0, bias=False), 3, wrap=EqualizedRate),
        (2, 3, 2),
        (5, 7, 2),
        {"inner.w": (3, 3, 2, 2), "affine.inner.w": (3, 2), "affine.inner.b": (2,)},
        condition=(3,),
    ),
    "Modulated, not demodulated": Case(
        lambda: Modulated(Conv2D(2, 1, bias=False), 3, demodulate=False),
        (3, 2, 3),
        (3, 2, 2),
        {"inner.w": (1, 1, 3, 2), "affine.w": (3, 3), "affine.b": (3,)},
        condition=(3,),
    ),
    "NoiseInjection": Case(NoiseInjection, (3, 4, 2), (3, 4, 2), {"strength": (1,)}),
    "OutputSkips": Case(
        lambda: OutputSkips(
            [([Conv2D(3, 3), Tanh()], [Conv2D(2, 1)]), ([UpSampling2D(2), Conv2D(2, 3)], [Conv2D(2, 1), Tanh()])]
        ),
        (3, 2, 2),
        (6, 4, 2),
        {
            "block0.0.w": (3, 3, 2, 3),
            "block0.0.b": (3,),
            "output0.0.w": (1, 1, 3, 2),
            "output0.0.b": (2,),
            "block1.1.w": (3, 3, 3, 2),
            "block1.1.b": (2,),
            "output1.0.w": (1, 1, 2, 2),
            "output1.0.b": (2,),
        },
        curved=True,
        curved_in_eval=True,
    ),
    "LearnedConstant": Case(lambda: LearnedConstant((2, 3, 4)), (5,), (2, 3, 4), {"c": (2, 3, 4)}, flat=True),
    "Styled": Case(
        lambda: Styled([LearnedConstant((2, 3, 2)), ConditionalAffine(4), Tanh(), Residual([ConditionalAffine(4)])]),
        (4,),
        (2, 3, 2),
        {
            "inner.0.c": (2, 3, 2),
            "inner.1.gamma": (4, 2),
            "inner.1.beta": (4, 2),
            "inner.3.inner.0.gamma": (4, 2),
            "inner.3.inner.0.beta": (4, 2),
        },
        curved=True,
        curved_in_eval=True,
    ),
    "Styled, also by x": Case(
        lambda: Styled([Dense(3), ConditionalAffine(4)]),
        (4,),
        (3,),
        {"inner.0.w": (4, 3), "inner.0.b": (3,), "inner.1.gamma": (4, 3), "inner.1.beta": (4, 3)},
        curved=True,
        curved_in_eval=True,
    ),
    "Color": Case(Color, (4, 3, 3), (4, 3, 3)),
    "Color, gray": Case(Color, (3, 2, 1), (3, 2, 1)),
    "Translation": Case(Translation, (8, 12, 2), (8, 12, 2)),
    "Cutout": Case(Cutout, (5, 4, 2), (5, 4, 2)),
    "Flip": Case(Flip, (3, 4, 2), (3, 4, 2)),
    "QuarterTurns": Case(QuarterTurns, (4, 4, 2), (4, 4, 2)),
    "QuarterTurns, no square": Case(QuarterTurns, (3, 4, 2), (3, 4, 2)),
    "ScheduledAugmentation": Case(
        lambda: ScheduledAugmentation([QuarterTurns(), Color(), Flip()], start=0.5, end=1.0), (5, 5, 3), (5, 5, 3)
    ),
    "AdaptiveAugmentation": Case(
        lambda: AdaptiveAugmentation([Color(), Translation(), Cutout()]), (8, 8, 3), (8, 8, 3)
    ),
    "Sequential, augmented": Case(
        lambda: Sequential([*augmentations("color,translation,cutout"), Conv2D(2, 3), LeakyReLU(0.2)]),
        (5, 4, 3),
        (5, 4, 2),
        {"3.w": (3, 3, 3, 2), "3.b": (2,)},
    ),
    "Sequential, nested": Case(
        nested,
        (4, 3, 2),
        (2,),
        {
            "0.0.w": (3, 3, 2, 3),
            "0.0.b": (3,),
            **norm_parameters("0.1.", 3),
            "4.w": (72, 4),
            "4.b": (4,),
            "6.w": (4, 2),
            "6.b": (2,),
        },
        curved=True,
        curved_in_eval=True,
    ),
    "Residual": Case(
        residual,
        (3, 4, 2),
        (3, 4, 2),
        {
            "inner.0.w": (3, 3, 2, 2),
            "inner.0.b": (2,),
            **norm_parameters("inner.1.", 2),
            "inner.4.w": (3, 3, 2, 2),
            "inner.4.b": (2,),
        },
        curved=True,
        curved_in_eval=True,
    ),
    "Residual, straight": Case(
        lambda: Residual([Dense(3)], shortcut=[Dense(3, bias=False)]),
        (4,),
        (3,),
        {"inner.0.w": (4, 3), "inner.0.b": (3,), "shortcut.0.w": (4, 3)},
    ),
    "Residual, shortcut": Case(
        residual_with_shortcut,
        (6, 4, 2),
        (3, 2, 4),
        {
            "inner.0.w": (4, 4, 2, 3),
            "inner.0.b": (3,),
            **norm_parameters("inner.1.", 3),
            "inner.3.w": (3, 3, 3, 4),
            "inner.3.b": (4,),
            "shortcut.0.w": (1, 1, 2, 4),
            "shortcut.0.b": (4,),
        },
        curved=True,
        curved_in_eval=True,
    ),
    "Parallel": Case(
        parallel,
        (4, 6, 2),
        (4,),
        {
            "0.0.w": (4, 4, 2, 2),
            "0.0.b": (2,),
            **norm_parameters("0.1.", 2),
            "0.4.w": (12, 1),
            "0.4.b": (1,),
            "1.2.w": (12, 2),
            "1.2.b": (2,),
            "2.1.w": (48, 1),
        },
        curved=True,
        curved_in_eval=True,
    ),
    "Parallel, straight": Case(
        lambda: Parallel([[Conv2D(1, 3)], [Conv2D(2, 1, bias=False), Dropout(0.3)]]),
        (3, 4, 2),
        (3, 4, 3),
        {"0.0.w": (3, 3, 2, 1), "0.0.b": (1,), "1.0.w": (1, 1, 2, 2)},
    ),
    "Parallel, conditional": Case(
        lambda: Parallel([[ConcatCondition((2,)), Dense(1)], [Dense(2), Tanh()]]),
        (3,),
        (3,),
        {"0.1.w": (5, 1), "0.1.b": (1,), "1.0.w": (3, 2), "1.0.b": (2,)},
        curved=True,
        curved_in_eval=True,
        condition=(2,),
    ),
    "SkipConcat, nested": Case(
        unet,
        (4, 8, 2),
        (4, 8, 5),
        {
            "inner.0.w": (4, 4, 2, 2),
            "inner.0.b": (2,),
            "inner.2.inner.0.w": (4, 4, 2, 3),
            "inner.2.inner.0.b": (3,),
            "inner.2.inner.2.w": (4, 4, 2, 3),
            "inner.2.inner.2.b": (2,),
            **norm_parameters("inner.3.", 4),
            "inner.4.w": (2, 2, 3, 4),
            "inner.4.b": (3,),
        },
        curved=True,
        curved_in_eval=True,
    ),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
both_modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


def built(case: Case, backend: Backend, *, dtype: str = "float64", seed: int = 0) -> Layer:
    """The layer with weights and statistics away from 0 and 1, which would hide a missing factor or term."""
    layer = case.make().build(case.input_shape, backend=backend, dtype=dtype, rng=np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    for _, p in layer.named_parameters():
        p.value[...] = backend.asarray(rng.normal(0, 0.7, p.shape), dtype=np.dtype(dtype))
    for name, p in layer.named_state():
        numbers = rng.uniform(0.3, 2, p.shape) if "var" in name else rng.normal(0, 1, p.shape)
        p.value[...] = backend.asarray(numbers, dtype=np.dtype(dtype))
    layer.arena.updated()
    return layer.given(condition(case, backend, dtype=dtype)) if case.condition else layer


def condition(case: Case, backend: Backend, *, dtype: str = "float64", seed: int = 5, count: int = BATCH) -> Array:
    """A row for each example of a batch."""
    c = np.random.default_rng(seed).normal(size=(count, *case.condition))
    return backend.asarray(c, dtype=np.dtype(dtype))


def batch(case: Case, backend: Backend, *, dtype: str = "float64", seed: int = 2) -> Array:
    """A batch off the kink at 0."""
    x = np.random.default_rng(seed).normal(size=(BATCH, *case.input_shape))
    return backend.asarray(x + 0.3 * np.sign(x), dtype=np.dtype(dtype))


def cotangent(case: Case, backend: Backend, *, dtype: str = "float64", seed: int = 3) -> Array:
    dy = np.random.default_rng(seed).normal(size=(BATCH, *case.output_shape))
    return backend.asarray(dy, dtype=np.dtype(dtype))


def masks() -> np.random.Generator:
    """The same draws for Dropout each time."""
    return np.random.default_rng(4)


def host(backend: Backend, array: Any) -> np.ndarray:
    return np.array(backend.to_numpy(array))


def same_bits(backend: Backend, one: Any, other: Any) -> bool:
    a, b = host(backend, one), host(backend, other)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
