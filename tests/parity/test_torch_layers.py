"""Forward, backward and double backward of each layer, and of whole networks, against PyTorch's autograd."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_twin import parameters, parameters_back, statistics, to_nchw, to_nhwc, twin  # noqa: E402

from minigan.backends import Backend  # noqa: E402
from minigan.nn.layers import (  # noqa: E402
    AveragePooling2D,
    BatchNorm,
    Bias,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Flatten,
    GenerativeBasis,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
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
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat  # noqa: E402
from minigan.nn.network.residual_blocks import block, down_block, first_down_block, up_block  # noqa: E402

LAYERS = {
    "Dense": (lambda: Dense(4), (5,)),
    "Dense, no bias": (lambda: Dense(4, bias=False), (5,)),
    "Conv2D": (lambda: Conv2D(3, 3), (5, 4, 2)),
    "Conv2D 4x4 /2": (lambda: Conv2D(5, 4, stride=2, padding=1, bias=False), (8, 6, 3)),
    "Conv2D 5x3, strides and paddings of their own": (
        lambda: Conv2D(2, (5, 3), stride=(2, 3), padding=(2, 1)),
        (7, 9, 2),
    ),
    "Conv2D, image that the stride does not divide": (lambda: Conv2D(2, 3, stride=2, padding="valid"), (6, 8, 1)),
    "Conv2D dilated, in groups": (
        lambda: Conv2D(6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 3), groups=2),
        (7, 6, 4),
    ),
    "ConvTranspose2D dilated, in groups": (
        lambda: ConvTranspose2D(6, 3, stride=2, padding=1, output_padding=1, dilation=2, groups=2),
        (3, 4, 4),
    ),
    "ConvTranspose2D 4x4 /2": (lambda: ConvTranspose2D(3, 4, stride=2, padding=1, bias=False), (3, 4, 5)),
    "ConvTranspose2D from a pixel": (lambda: ConvTranspose2D(3, (7, 5), padding="valid"), (1, 1, 6)),
    "ConvTranspose2D, output padding": (
        lambda: ConvTranspose2D(3, 3, stride=2, padding=1, output_padding=1),
        (3, 4, 2),
    ),
    "ConvTranspose2D 5x3, lopsided": (
        lambda: ConvTranspose2D(2, (5, 3), stride=(2, 3), padding=(1, 0), output_padding=(0, 2)),
        (3, 2, 4),
    ),
    "BatchNorm2d": (BatchNorm, (3, 2, 4)),
    "BatchNorm1d": (lambda: BatchNorm(momentum=0.8, eps=1e-3), (5,)),
    "GroupNorm": (lambda: GroupNorm(3, eps=1e-3), (3, 2, 6)),
    "GroupNorm, vectors": (lambda: GroupNorm(2), (6,)),
    "InstanceNorm": (InstanceNorm, (3, 2, 4)),
    "LayerNorm": (LayerNorm, (3, 2, 4)),
    "LayerNorm, vectors": (LayerNorm, (7,)),
    "LeakyReLU": (lambda: LeakyReLU(0.2), (3, 2, 4)),
    "LeakyReLU, gain": (lambda: LeakyReLU(0.2, gain=2**0.5), (3, 2, 4)),
    "ReLU": (ReLU, (7,)),
    "Maxout": (lambda: Maxout(3), (12,)),
    "Maxout, images": (lambda: Maxout(2), (3, 2, 4)),
    "Tanh": (Tanh, (3, 2, 4)),
    "Sigmoid": (Sigmoid, (7,)),
    "Flatten": (Flatten, (3, 2, 4)),
    "Reshape": (lambda: Reshape((2, 3, 4)), (24,)),
    "UpSampling2D": (lambda: UpSampling2D((3, 2)), (2, 3, 2)),
    "ReflectionPadding2D": (lambda: ReflectionPadding2D(((2, 0), (1, 3))), (3, 4, 2)),
    "InstanceNorm, not affine": (lambda: InstanceNorm(affine=False), (3, 2, 4)),
    "FIRDownSampling2D": (FIRDownSampling2D, (4, 6, 3)),
    "FIRDownSampling2D, odd": (lambda: FIRDownSampling2D((1, 2), taps=(1, 2, 4, 0, 1), padding=(1, 2)), (5, 7, 2)),
    "FIRUpSampling2D": (FIRUpSampling2D, (2, 3, 3)),
    "FIRUpSampling2D, odd": (lambda: FIRUpSampling2D((1, 2), taps=(1, 2, 4), padding=((1, 0), (0, 2))), (3, 4, 2)),
    "Bias": (Bias, (3, 2, 4)),
    "Bias, vectors": (Bias, (7,)),
    "GenerativeBasis": (lambda: GenerativeBasis((3, 2)), (4,)),
    "DiscriminativeBasis": (DiscriminativeBasis, (3, 2, 4)),
    "bases around a convolution": (
        lambda: Sequential(
            [GenerativeBasis(2), FIRUpSampling2D(), Conv2D(4, 3), Tanh(), FIRDownSampling2D(), DiscriminativeBasis()]
        ),
        (3,),
    ),
    "AveragePooling2D": (lambda: AveragePooling2D((3, 2)), (6, 4, 2)),
    "GlobalAveragePooling2D": (GlobalAveragePooling2D, (3, 2, 4)),
    "GlobalSumPooling2D": (GlobalSumPooling2D, (3, 2, 4)),
    "PixelShuffle": (lambda: PixelShuffle(2), (3, 2, 8)),
    "SpectralNorm, Dense": (lambda: SpectralNorm(Dense(4), iterations=3), (5,)),
    "SpectralNorm, Conv2D": (lambda: SpectralNorm(Conv2D(4, 3)), (4, 3, 2)),
    "SpectralNorm, ConvTranspose2D": (
        lambda: SpectralNorm(ConvTranspose2D(3, 4, stride=2, padding=1, bias=False)),
        (2, 3, 4),
    ),
    "EqualizedRate, Dense": (lambda: EqualizedRate(Dense(4), multiplier=0.01), (5,)),
    "EqualizedRate, Conv2D": (lambda: EqualizedRate(Conv2D(4, 3, groups=2), gain=0.5), (4, 3, 2)),
    "EqualizedRate, ConvTranspose2D": (
        lambda: EqualizedRate(ConvTranspose2D(6, 4, stride=2, padding=1, groups=2), multiplier=2),
        (2, 3, 4),
    ),
    "PixelNorm": (PixelNorm, (3, 2, 4)),
    "PixelNorm, vectors": (PixelNorm, (6,)),
    "MinibatchStdDev, up to 32": (lambda: MinibatchStdDev(32), (3, 2, 4)),
    "MinibatchStdDev": (MinibatchStdDev, (3, 2, 4)),
    "MinibatchStdDev, two groups": (lambda: MinibatchStdDev(2), (3, 2, 4)),
    "MinibatchStdDev, vectors": (lambda: MinibatchStdDev(2), (5,)),
    "SelfAttention": (lambda: SelfAttention(2), (3, 2, 4)),
    "SelfAttention, SpectralNorm": (lambda: SelfAttention(2, wrap=SpectralNorm), (3, 2, 4)),
    "Residual": (
        lambda: Residual([Conv2D(3, 3, stride=2, padding=1), BatchNorm(), Tanh()], shortcut=[Conv2D(3, 2, stride=2)]),
        (6, 4, 2),
    ),
    "SkipConcat": (
        lambda: SkipConcat(
            [
                Conv2D(3, 4, stride=2, padding=1),
                SkipConcat([Tanh(), BatchNorm()]),
                LeakyReLU(0.2),
                ConvTranspose2D(2, 4, stride=2, padding=1),
            ]
        ),
        (4, 6, 2),
    ),
    "Parallel": (
        lambda: Parallel(
            [
                [Conv2D(3, 4, stride=2, padding=1), BatchNorm(), LeakyReLU(0.2), Flatten(), Dense(1)],
                [AveragePooling2D(2), Conv2D(2, 3), Tanh(), Flatten(), Dense(1)],
                [Flatten(), Dense(6), Maxout(3), Dense(1)],
            ]
        ),
        (4, 6, 2),
    ),
    "critic": (
        lambda: Sequential(
            [
                Conv2D(4, 4, stride=2, padding=1),
                LeakyReLU(0.2),
                Conv2D(6, 4, stride=2, padding=1, bias=False),
                BatchNorm(),
                LeakyReLU(0.2),
                Residual([Conv2D(6, 3), Tanh()]),
                Flatten(),
                Dense(3),
                Sigmoid(),
                Dense(1),
            ]
        ),
        (8, 12, 2),
    ),
    "layer-normalized critic": (
        lambda: Sequential(
            [
                Conv2D(4, 3),
                LayerNorm(),
                LeakyReLU(0.2),
                AveragePooling2D(2),
                Conv2D(6, 3),
                GroupNorm(2),
                Tanh(),
                GlobalAveragePooling2D(),
                Dense(1),
            ]
        ),
        (6, 4, 2),
    ),
    "SNGAN's discriminator with attention": (
        lambda: Sequential(
            [
                first_down_block(3),
                SelfAttention(2, wrap=SpectralNorm),
                down_block(4),
                block(4),
                MinibatchStdDev(2, eps=1e-2),  # two nearly equal numbers would magnify rounding
                Tanh(),
                GlobalSumPooling2D(),
                SpectralNorm(Dense(1)),
            ]
        ),
        (8, 8, 2),
    ),
    "SNGAN's generator": (
        lambda: Sequential(
            [Dense(16), Reshape((2, 2, 4)), up_block(3), BatchNorm(), ReLU(), PixelShuffle(1), Conv2D(2, 3), Tanh()]
        ),
        (5,),
    ),
    "generator": (
        lambda: Sequential(
            [
                Dense(24),
                Reshape((2, 3, 4)),
                BatchNorm(),
                ReLU(),
                UpSampling2D(2),
                Conv2D(3, 5, padding=2, bias=False),
                BatchNorm(),
                ReLU(),
                ConvTranspose2D(2, 4, stride=2, padding=1),
                Tanh(),
            ]
        ),
        (5,),
    ),
}
every_layer = pytest.mark.parametrize(("make", "input_shape"), LAYERS.values(), ids=LAYERS.keys())
both_modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
N = 4


@pytest.fixture(scope="session")
def backend(host_backend: Backend) -> Backend:
    return host_backend


def built(make, input_shape, backend: Backend) -> Layer:
    layer = make().build(input_shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for _, p in layer.named_parameters():
        p.value[...] = rng.normal(0.1, 0.5, p.shape)
    for name, p in layer.named_state():
        p.value[...] = rng.uniform(0.5, 2, p.shape) if "var" in name else rng.normal(size=p.shape)
    layer.arena.updated()
    return layer


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, *shape))


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    scale = max(float(np.abs(expected).max()), 1.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11 * scale)


@every_layer
@both_modes
def test_forward_and_backward(backend: Backend, make, input_shape, train: bool):
    layer = built(make, input_shape, backend)
    module = twin(layer).train(train)
    x, dy = numbers(layer.input_shape, 2), numbers(layer.output_shape, 3)
    y, cache = layer.forward(x, train=train)
    grads = layer.gradients()
    dx = layer.backward(dy, cache, grads=grads)

    tx = to_nchw(x).requires_grad_()
    ty = module(tx)
    ty.backward(to_nchw(dy))
    close(y, to_nhwc(ty))
    close(dx, to_nhwc(tx.grad))
    expected = parameters_back(layer, module, [p.grad for p in parameters(module)])
    for name, p in layer.named_parameters():
        close(grads[p], expected[name])

    layer.commit_statistics(cache)
    for (_, p), buffer in zip(layer.named_state(), statistics(module), strict=True):
        close(p.value, buffer)


@every_layer
@both_modes
def test_double_backward(backend: Backend, make, input_shape, train: bool):
    """dP/d(dy), dP/dx and dP/dw of a P that is a weighting of dx."""
    layer = built(make, input_shape, backend)
    module = twin(layer).train(train)
    x, dy, v = numbers(layer.input_shape, 2), numbers(layer.output_shape, 3), numbers(layer.input_shape, 4)
    _, cache = layer.forward(x, train=train)
    dx, record = layer.backward_recorded(dy, cache)
    grads = layer.gradients()
    ddy, ddx = layer.double_backward(v, record, cache, grads=grads)

    tx, tdy = to_nchw(x).requires_grad_(), to_nchw(dy).requires_grad_()
    (tdx,) = torch.autograd.grad(module(tx), tx, tdy, create_graph=True)
    P = (tdx * to_nchw(v)).sum()
    wanted = [tdy, tx, *parameters(module)]
    found = torch.autograd.grad(P, wanted, allow_unused=True, materialize_grads=True)
    close(dx, to_nhwc(tdx))
    close(ddy, to_nhwc(found[0]))
    close(np.zeros_like(x) if ddx is None else ddx, to_nhwc(found[1]))
    expected = parameters_back(layer, module, list(found[2:]))
    for name, p in layer.named_parameters():
        close(grads[p], expected[name])


@pytest.mark.parametrize("name", ["critic", "layer-normalized critic", "SNGAN's discriminator with attention"])
def test_gradient_penalty(backend: Backend, name: str):
    """The gradient of mean((|dx| - 1)²) with respect to all weights of a critic."""
    critic = built(*LAYERS[name], backend)
    module = twin(critic).train(True)
    x = numbers(critic.input_shape, 2)
    y, tape = critic.forward(x, train=True)
    dx, record = critic.backward_recorded(np.ones_like(y), tape)
    norms = np.sqrt((dx**2).sum(axis=(1, 2, 3), keepdims=True))
    grads = critic.gradients()
    critic.double_backward(2 * (norms - 1) / norms * dx / N, record, tape, grads=grads)

    tx = to_nchw(x).requires_grad_()
    (tdx,) = torch.autograd.grad(module(tx).sum(), tx, create_graph=True)
    penalty = ((tdx.flatten(1).norm(dim=1) - 1) ** 2).mean()
    penalty.backward()
    assert float(((norms - 1) ** 2).mean()) == pytest.approx(penalty.item(), rel=1e-12)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters(module)]
    expected = parameters_back(critic, module, gradients)
    for name, p in critic.named_parameters():
        close(grads[p], expected[name])
    assert np.abs(grads.flat).max() > 1e-3
