"""An error names the layer's path, the rule, what was expected and found, and the remedy."""

import numpy as np
import pytest

from minigan.errors import ConfigError, MiniganError, ShapeError
from minigan.nn.initializers import Normal
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
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
    GlobalSumPooling2D,
    GroupNorm,
    InnerProduct,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    Reshape,
    SelfAttention,
    SpectralNorm,
    UpSampling2D,
)
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat


def message(net: Layer, input_shape: tuple[int, ...]) -> str:
    with pytest.raises(ShapeError) as caught:
        net.build(input_shape, backend="reference", rng=np.random.default_rng(0))
    return str(caught.value)


BUILDING = [
    # layers after a first one that fits, input shape, and what the message must say
    ([Conv2D(3, 3)], (4,), ["D.1.Conv2D", "expected images (H, W, C)", "(4,)", "Reshape"]),
    ([ConvTranspose2D(3, 3)], (4,), ["D.1.ConvTranspose2D", "expected images", "(4,)", "Reshape"]),
    (
        [ReflectionPadding2D(3)],
        (3, 8, 2),
        ["D.1.Reflection", "3x8 pixels cannot be reflected 3 rows", "larger"],
    ),
    ([FIRDownSampling2D()], (4,), ["D.1.FIRDownSampling2D", "expected images (H, W, C)", "(4,)", "Reshape"]),
    ([FIRDownSampling2D()], (4, 5, 2), ["D.1.FIRDownSampling2D", "factor of 2 does not divide", "4x5", "padding"]),
    ([FIRDownSampling2D(padding=0)], (2, 2, 1), ["D.1.FIRDownSampling2D", "4x4 filter does not fit", "2x2"]),
    ([FIRUpSampling2D(padding=9)], (2, 2, 1), ["D.1.FIRUpSampling2D", "leaves nothing", "less padding"]),
    ([GenerativeBasis()], (4, 4, 2), ["D.1.GenerativeBasis", "expected vectors (F,)", "(4, 4, 2)", "Flatten"]),
    ([DiscriminativeBasis()], (4,), ["D.1.DiscriminativeBasis", "expected images (H, W, C)", "(4,)"]),
    ([UpSampling2D(2)], (4,), ["D.1.UpSampling2D", "expected images", "(4,)", "Reshape"]),
    ([Dense(3)], (4, 4, 2), ["D.1.Dense", "expected vectors (F,)", "(4, 4, 2)", "Flatten"]),
    ([Conv2D(3, 5, padding="valid")], (4, 4, 2), ["D.1.Conv2D", "5x5", "4x4", "smaller filter"]),
    ([ConvTranspose2D(3, 3, padding=9)], (4, 4, 2), ["D.1.ConvTranspose2D", "leaves nothing", "4x4", "less padding"]),
    (
        [ConvTranspose2D(3, 3, stride=2, padding=1, output_padding=2)],
        (4, 4, 2),
        ["D.1.ConvTranspose2D", "output_padding (2, 2)", "smaller than the stride (2, 2)"],
    ),
    ([ConvTranspose2D(3, 3, stride=2, output_padding=1)], (4, 4, 2), ["D.1.ConvTranspose2D", "explicit padding"]),
    ([Conv2D(3, 3, padding="valid", dilation=2)], (4, 4, 2), ["D.1.Conv2D", "5x5", "4x4", "smaller filter"]),
    ([Conv2D(3, 3, groups=2)], (4, 4, 2), ["D.1.Conv2D", "2 groups do not divide 2 and 3 channels", "Choose"]),
    ([ConvTranspose2D(4, 3, groups=4)], (4, 4, 2), ["D.1.ConvTranspose2D", "4 groups do not divide 4 and 2 chan"]),
    ([Reshape((5, 5))], (4, 4, 2), ["D.1.Reshape", "(4, 4, 2)", "32", "(5, 5)", "25", "sizes equal"]),
    ([GroupNorm(4)], (4, 4, 6), ["D.1.GroupNorm", "4 groups", "6 channels", "Choose"]),
    ([GroupNorm(6)], (6,), ["D.1.GroupNorm", "more than one number in a group", "6 groups of (6,)", "fewer groups"]),
    ([InstanceNorm()], (1, 1, 6), ["D.1.InstanceNorm", "more than one number", "(1, 1, 6)", "BatchNorm"]),
    ([InstanceNorm()], (6,), ["D.1.InstanceNorm", "expected images", "(6,)", "Reshape"]),
    ([LayerNorm()], (1,), ["D.1.LayerNorm", "more than one number", "(1,)"]),
    ([AveragePooling2D(3)], (4, 6, 2), ["D.1.AveragePooling2D", "3x3 pixels", "4x6", "divides both sides"]),
    ([AveragePooling2D()], (4,), ["D.1.AveragePooling2D", "expected images", "(4,)", "Reshape"]),
    ([GlobalSumPooling2D()], (4,), ["D.1.GlobalSumPooling2D", "expected images", "(4,)", "Reshape"]),
    ([PixelShuffle(2)], (4, 4, 6), ["D.1.PixelShuffle", "multiple of 2 * 2 channels", "got 6", "end with 4 channels"]),
    ([PixelShuffle(2)], (4,), ["D.1.PixelShuffle", "expected images", "(4,)", "Reshape"]),
    ([SpectralNorm(Dense(3))], (4, 4, 2), ["D.1.SpectralNorm.Dense", "expected vectors", "(4, 4, 2)", "Flatten"]),
    ([SelfAttention()], (4,), ["D.1.SelfAttention", "expected images", "(4,)", "Reshape"]),
    ([Maxout(3)], (4, 4, 8), ["D.1.Maxout", "multiple of 3 channels", "got 8", "end with 3 times as many"]),
    (
        [Parallel([[Conv2D(3, 3)], [Conv2D(3, 3, stride=2)]])],
        (4, 4, 2),
        ["D.1.Parallel", "(4, 4, 3)", "(2, 2, 3)", "one size of image"],
    ),
    ([Parallel([[Flatten()], [LeakyReLU(), Dense(3)]])], (4, 4, 2), ["D.1.Parallel.1.1.Dense", "(4, 4, 2)"]),
    ([Residual([Conv2D(3, 3)])], (4, 4, 2), ["D.1.Residual", "(4, 4, 3)", "(4, 4, 2)", "shortcut"]),
    (
        [Residual([Conv2D(3, 3)], shortcut=[Conv2D(3, 3, stride=2)])],
        (4, 4, 2),
        ["D.1.Residual", "(4, 4, 3)", "(2, 2, 3)"],
    ),
    ([SkipConcat([Conv2D(3, 3, stride=2)])], (4, 4, 2), ["D.1.SkipConcat", "(2, 2, 3)", "(4, 4, 2)", "size"]),
    ([Sequential([LeakyReLU(), Dense(3)])], (4, 4, 2), ["D.1.Sequential.1.Dense", "(4, 4, 2)"]),
    ([Residual([LeakyReLU(), Dense(3)])], (4, 4, 2), ["D.1.Residual.inner.1.Dense", "(4, 4, 2)"]),
    ([Residual([LeakyReLU()], shortcut=[Dense(3)])], (4, 4, 2), ["D.1.Residual.shortcut.0.Dense", "(4, 4, 2)"]),
    ([SkipConcat([LeakyReLU(), Dense(3)])], (4, 4, 2), ["D.1.SkipConcat.inner.1.Dense", "(4, 4, 2)"]),
]


@pytest.mark.parametrize(("layers", "input_shape", "says"), BUILDING, ids=[case[2][0] for case in BUILDING])
def test_layers_that_do_not_fit_are_named(layers: list[Layer], input_shape: tuple[int, ...], says: list[str]):
    text = message(Sequential([LeakyReLU(), *layers], name="D"), input_shape)
    assert all(part in text for part in says), text


CONSTRUCTING = [
    (lambda: Dense(0), "Dense: features must be a positive integer, got 0."),
    (lambda: Dense("128"), "Dense: features must be a positive integer, got '128'. Write features=128."),
    (lambda: Dense(True), "features must be a positive integer, got True."),
    (lambda: Conv2D(0, 3), "channels must be a positive integer, got 0."),
    (lambda: Conv2D(64.0, 3), "Conv2D: channels must be a positive integer, got 64.0. Write channels=64."),
    (lambda: Conv2D(64.5, 3), "Conv2D: channels must be a positive integer, got 64.5."),
    (lambda: Conv2D(3, 3, groups=0), "groups must be a positive integer, got 0."),
    (lambda: Conv2D(3, "3"), "Conv2D: filter must be a positive int or a pair of them, got '3'."),
    (lambda: Conv2D(3, 3, padding="full"), "Conv2D: padding must be 'same', 'valid', an int, a pair"),
    (lambda: Conv2D(3, 3, padding=-1), "Conv2D: padding must not be negative"),
    (lambda: ConvTranspose2D(3, 3, output_padding=-1), "output_padding must be an int from 0 up or a pair of them"),
    (lambda: Dense(3, init="he"), "Dense: init must be an initializer, got 'he'. Write init=HeNormal()."),
    (lambda: Dense(3, init=Normal), "init must be an initializer, got the class Normal. Write init=Normal()."),
    (lambda: BatchNorm(gamma_init=1), "gamma_init must be an initializer, got 1. Write gamma_init=Constant(1)."),
    (lambda: BatchNorm(momentum=2), "BatchNorm: momentum must be in [0, 1), got 2."),
    (lambda: SpectralNorm(Dense), "got the class Dense. Wrap only such a layer: SpectralNorm(Dense(1))."),
    (
        lambda: Reshape(4),
        "Reshape: shape must be a tuple of positive integers without the batch axis, got 4. Write shape=(4,).",
    ),
    (lambda: Reshape((4, -1)), "got (4, -1). Write shape=(4, 4, 256)."),
    (
        lambda: ConcatCondition(3),
        "ConcatCondition: shape must be a tuple of positive integers without the batch axis, got 3. Write shape=(3,).",
    ),
    (lambda: ConcatCondition((2, 2, 1), embedding=2), "only a vector can have an embedding, got embedding=2"),
    (lambda: InnerProduct("3"), "must be a positive integer, got '3'."),
    (lambda: Conv2D(3, 0), "filter must be a positive int or a pair of them, got 0"),
    (lambda: Conv2D(3, 3, stride=(1, 0)), "stride must be a positive int or a pair of them, got (1, 0)"),
    (lambda: ReflectionPadding2D(-1), "ReflectionPadding2D: padding must not be negative"),
    (lambda: ReflectionPadding2D("same"), "padding must be an int, a pair or a pair of pairs, got 'same'"),
    (
        lambda: ReflectionPadding2D(0.5),
        "padding must be an int, a pair or a pair of pairs, got 0.5",
    ),
    (lambda: InstanceNorm(affine=1), "affine must be True or False"),
    (lambda: FIRUpSampling2D(0), "factor must be a positive int or a pair of them, got 0"),
    (lambda: FIRUpSampling2D(taps=()), "FIRUpSampling2D: taps must be the numbers of a filter, got ()"),
    (lambda: FIRDownSampling2D(taps="1331"), "taps must be the numbers of a filter, got '1331'. Write taps=(1, 3, 3"),
    (lambda: FIRDownSampling2D(taps=(1, float("inf"))), "taps must be the numbers of a filter"),
    (lambda: FIRDownSampling2D(taps=(1, -1)), "the taps add up to 0, so the filter takes away the image's mean"),
    (lambda: FIRDownSampling2D(padding="half"), "FIRDownSampling2D: padding must be 'same', 'valid', an int"),
    (lambda: GenerativeBasis(0), "size must be a positive int or a pair of them, got 0"),
    (lambda: GenerativeBasis(init=1), "init must be an initializer, got 1"),
    (lambda: Bias(init="normal"), "init must be an initializer"),
    (lambda: UpSampling2D(0), "factor must be a positive int or a pair of them, got 0"),
    (lambda: AveragePooling2D(0), "factor must be a positive int or a pair of them, got 0"),
    (lambda: PixelShuffle((2, -1)), "factor must be a positive int or a pair of them, got (2, -1)"),
    (lambda: EqualizedRate(LeakyReLU()), "layer with a weight (Conv2D, ConvTranspose2D, Dense), got a LeakyReLU."),
    (lambda: EqualizedRate(SpectralNorm(Dense(1))), "got a SpectralNorm. Wrap only such a layer: EqualizedRate(Dense"),
    (lambda: SpectralNorm(EqualizedRate(Dense(1))), "got an EqualizedRate. Wrap only such a layer"),
    (lambda: EqualizedRate(Dense(1), multiplier=0), "EqualizedRate: multiplier must be positive, got 0."),
    (lambda: LeakyReLU(gain=0), "LeakyReLU: gain must be positive, got 0."),
    (lambda: PixelNorm(eps=0), "PixelNorm: eps must be positive, got 0."),
    (lambda: SpectralNorm(LeakyReLU()), "layer with a weight (Conv2D, ConvTranspose2D, Dense), got a LeakyReLU."),
    (lambda: SpectralNorm(Dense(2), iterations=0), "iterations must be a positive integer, got 0."),
    (lambda: MinibatchStdDev(0), "group must be a positive integer, got 0."),
    (lambda: SelfAttention(0), "channels must be a positive integer, got 0."),
    (lambda: LeakyReLU(1.0), "slope must be in [0, 1), got 1.0"),
    (lambda: LeakyReLU(-0.1), "slope must be in [0, 1), got -0.1"),
    (lambda: GroupNorm(0), "groups must be a positive integer, got 0."),
    (lambda: LayerNorm(eps=0.0), "LayerNorm: eps must be positive, got 0.0."),
    (lambda: Maxout(0), "pieces must be a positive integer, got 0."),
    (lambda: Parallel([]), "Parallel: expected at least one branch, got none"),
    (lambda: Dropout("0.5"), "Dropout: rate must be in [0, 1), got '0.5'."),
    (lambda: Dropout(1.0), "rate must be in [0, 1), got 1.0"),
    (lambda: Dropout(float("nan")), "rate must be in [0, 1), got nan"),
]


@pytest.mark.parametrize(("make", "says"), CONSTRUCTING, ids=[case[1] for case in CONSTRUCTING])
def test_arguments_out_of_range_are_refused(make, says: str):
    with pytest.raises(MiniganError) as caught:
        make()
    assert says in str(caught.value)


def test_dropout_in_training_needs_a_generator():
    net = Sequential([Dense(3), Dropout(0.5)], name="D").build((2,), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"D\.1\.Dropout.*rng=generator"):
        net.forward(np.zeros((2, 2), np.float32), train=True)


def test_batchnorm_refuses_to_train_on_one_value():
    net = Sequential([Dense(3), BatchNorm()], name="D").build((2,), backend="reference", rng=np.random.default_rng(0))
    x = np.zeros((1, 2), np.float32)
    with pytest.raises(ShapeError, match=r"D\.1\.BatchNorm.*more than one value.*\(1, 3\).*larger batch"):
        net.forward(x, train=True)
    net.forward(x, train=False)


def test_a_batch_that_groups_do_not_divide_is_refused():
    net = Sequential([Dense(3), MinibatchStdDev(4)], name="D")
    net.build((2,), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"D\.1\.MinibatchStdDev: groups of 4 .* batch of 6\. Choose a batch size"):
        net.forward(np.zeros((6, 2), np.float32), train=True)
    for size in (1, 3, 4, 8):
        net.forward(np.zeros((size, 2), np.float32), train=True)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_only_floats_of_two_sizes(dtype: str):
    with pytest.raises(ConfigError, match=f"float32 or float64, got {dtype}"):
        Dense(3).build((2,), backend="reference", dtype=dtype, rng=np.random.default_rng(0))
