"""A fused network is the network: the same values, gradients, tapes, errors, and the same names for everything."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ShapeError, StaleTapeError
from minigan.nn.gradcheck import check_backward, check_double_backward
from minigan.nn.initializers import Normal
from minigan.nn.layers import (
    BatchNorm,
    Bias,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    EqualizedRate,
    Flatten,
    LeakyReLU,
    NoiseInjection,
    ReLU,
    Tanh,
)
from minigan.nn.layers.fused import (
    ConvActivation,
    DenseActivation,
    EqualizedActivation,
    NoiseActivation,
    NormActivation,
    Single,
    steps,
)
from minigan.nn.network import Residual, Sequential
from minigan.nn.optimizers import SGD

IMAGE = (6, 6, 3)


def network(backend: Backend, *, fuse: bool, dtype: str = "float64") -> Sequential:
    gamma = Normal(std=0.3, mean=1.0)
    inner = [Conv2D(4, 3), BatchNorm(gamma_init=gamma), ReLU(), Conv2D(4, 3), BatchNorm()]
    layers = [
        BatchNorm(gamma_init=gamma), LeakyReLU(0.3), Conv2D(4, 3), BatchNorm(gamma_init=gamma), LeakyReLU(0.2),
        Residual(inner), ReLU(), Conv2D(6, 3, dilation=2, groups=2), LeakyReLU(0.15),
        Conv2D(5, 3, stride=2), LeakyReLU(0.25), EqualizedRate(Conv2D(4, 3)), LeakyReLU(0.2, gain=1.4),
        EqualizedRate(Conv2D(5, 3, bias=False), gain=0.7), LeakyReLU(0.1), Flatten(),
        Dense(20, bias=False), LeakyReLU(0.1), Dense(6), LeakyReLU(0.3),
        Dense(5), BatchNorm(), Tanh(), BatchNorm(), ReLU(), Dense(2),
    ]  # fmt: skip
    net = Sequential(layers, name="D")
    return net.build(IMAGE, backend=backend, dtype=dtype, rng=np.random.default_rng(0), fuse=fuse)


def batch(backend: Backend, *, dtype: str = "float64", n: int = 7, seed: int = 1):
    return backend.asarray(np.random.default_rng(seed).normal(size=(n, *IMAGE)), dtype=np.dtype(dtype))


def host(backend: Backend, array) -> np.ndarray:
    return np.array(backend.to_numpy(array))


def both(backend: Backend, **options):
    return network(backend, fuse=True, **options), network(backend, fuse=False, **options)


def assert_same(backend: Backend, one, other):
    if one is None or other is None:
        assert one is other
        return
    one, other = host(backend, one), host(backend, other)
    tolerance = 1e-11 if one.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def everything(net: Sequential, x, dy, *, train: bool, learn: bool = True, need_dx: bool = True):
    """All that one pass forth and back, and one double pass, give."""
    y, tape = net.forward(x, train=train)
    grads = net.gradients() if learn else None
    dx = net.backward(dy, tape, grads=grads, need_dx=need_dx)
    dx_recorded, record = net.backward_recorded(dy, tape)
    double = net.gradients()
    ddy, ddx = net.double_backward(x, record, tape, grads=double)
    net.commit_statistics(tape)
    return [y, dx, grads.flat if learn else None, dx_recorded, double.flat, ddy, ddx, net.state.flat, tape.nbytes]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("learn", [True, False], ids=["learning", "frozen"])
@pytest.mark.parametrize("need_dx", [True, False])
def test_fused_and_unfused_agree(backend: Backend, dtype: str, train: bool, learn: bool, need_dx: bool):
    fused, unfused = both(backend, dtype=dtype)
    x = batch(backend, dtype=dtype)
    dy = backend.asarray(np.random.default_rng(2).normal(size=(len(x), 2)), dtype=np.dtype(dtype))
    options = {"train": train, "learn": learn, "need_dx": need_dx}
    for one, other in zip(everything(fused, x, dy, **options), everything(unfused, x, dy, **options), strict=True):
        if isinstance(one, int):
            assert one == other
        else:
            assert_same(backend, one, other)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("learn", [True, False], ids=["learning", "frozen"])
def test_noise_fused_and_unfused_agree(backend: Backend, train: bool, learn: bool):
    nets = []
    for fuse in (True, False):
        net = Sequential([NoiseInjection(), Bias(init=Normal(1.0)), LeakyReLU(0.3, gain=1.4)], name="G")
        net.build(IMAGE, backend=backend, dtype="float64", rng=np.random.default_rng(0), fuse=fuse)
        net.layers[0].strength.value[...] = 0.7
        net.arena.updated()
        nets.append(net)
    x, passes = batch(backend), []
    for net in nets:
        y, tape = net.forward(x, train=train, rng=np.random.default_rng(1))
        grads = net.gradients() if learn else None
        dx = net.backward(x, tape, grads=grads)
        assert net.backward(x, tape, grads=None, need_dx=False) is None
        dx_recorded, record = net.backward_recorded(x, tape)
        ddy, _ = net.double_backward(x, record, tape, grads=None)
        passes.append([y, dx, grads.flat if learn else None, dx_recorded, ddy])
    for one, other in zip(*passes, strict=True):
        assert_same(backend, one, other)


def test_two_live_tapes(backend: Backend):
    net = network(backend, fuse=True)
    batches = [batch(backend, seed=3), batch(backend, seed=4, n=5)]
    passes = [net.forward(x, train=True) for x in batches]
    late = [net.backward(y, tape, grads=None) for y, tape in reversed(passes)][::-1]
    for x, dx in zip(batches, late, strict=True):
        y, tape = net.forward(x, train=True)
        assert host(backend, net.backward(y, tape, grads=None)).tobytes() == host(backend, dx).tobytes()


def test_layers_can_be_called_one_by_one_on_a_fused_tape(backend: Backend):
    """As the search for a number that is not finite does."""
    net, x = network(backend, fuse=True), batch(backend)
    y, tape = net.forward(x, train=True)
    dx, dy = net.backward(y, tape, grads=None), y
    for layer, cache in zip(reversed(net.layers), reversed(tape.caches(net)), strict=True):
        dy = layer.backward(dy, cache, grads=None)
    assert_same(backend, dy, dx)


def test_a_fused_tape_goes_stale(backend: Backend):
    net = network(backend, fuse=True)
    y, tape = net.forward(batch(backend), train=True)
    SGD(net.arena, lr=0.1).step(net.gradients())
    with pytest.raises(StaleTapeError, match=r"D: .*version 0.*version 1"):
        net.backward(y, tape, grads=None)


def test_names_tables_and_errors_are_those_of_the_layers(backend: Backend):
    fused, unfused = both(backend)
    assert [name for name, _ in fused.arena.items()] == [name for name, _ in unfused.arena.items()]
    assert host(backend, fused.arena.flat).tobytes() == host(backend, unfused.arena.flat).tobytes()
    assert fused.summary() == unfused.summary()
    small = Sequential([Dense(3), BatchNorm(), ReLU()], name="D")
    small.build((2,), backend=backend, rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"D\.1\.BatchNorm: training needs more than one value a channel"):
        small.forward(backend.xp.ones((1, 2), dtype=np.float32), train=True)
    y, _ = small.forward(backend.xp.ones((1, 2), dtype=np.float32), train=False)
    assert y.shape == (1, 3)


def test_gradients_by_finite_differences(reference: Backend):
    net = network(reference, fuse=True)
    for check in (check_backward, check_double_backward):
        for result in check(net, batch(reference), rng=np.random.default_rng(5)):
            assert result.passed, result


class OwnReLU(ReLU):
    pass


class OwnBatchNorm(BatchNorm):
    pass


class OwnDense(Dense):
    pass


def test_which_neighbors_are_joined():
    def kinds(*layers, fuse=True):
        return [type(step) for step in steps(layers, fuse=fuse)]

    assert kinds(BatchNorm(), ReLU()) == kinds(BatchNorm(), LeakyReLU()) == [NormActivation]
    assert kinds(BatchNorm(), ReLU(), LeakyReLU()) == [NormActivation, Single]
    assert kinds(BatchNorm(), BatchNorm(), ReLU()) == [Single, NormActivation]
    assert kinds(BatchNorm(), ReLU(), BatchNorm(), LeakyReLU()) == [NormActivation] * 2
    assert kinds(Dense(3), ReLU(), Dense(3), LeakyReLU(), Dense(1)) == [DenseActivation, DenseActivation, Single]
    assert kinds(Conv2D(3, 3), ReLU(), ConvTranspose2D(3, 3), ReLU()) == [ConvActivation, Single, Single]
    assert kinds(EqualizedRate(Conv2D(3, 3)), LeakyReLU(gain=2)) == kinds(EqualizedRate(Conv2D(3, 3)), ReLU())
    assert kinds(EqualizedRate(Conv2D(3, 3)), LeakyReLU(gain=2)) == [EqualizedActivation]
    noisy = (NoiseInjection(), Bias(), LeakyReLU(gain=2))
    assert kinds(Conv2D(3, 3), *noisy, *noisy) == [Single, NoiseActivation, NoiseActivation]
    assert kinds(*noisy[1:]) == kinds(noisy[0], noisy[2]) == [Single] * 2
    apart = [
        (Conv2D(3, 3), LeakyReLU(gain=2)),
        (EqualizedRate(Dense(3)), LeakyReLU(gain=2)),
        (EqualizedRate(ConvTranspose2D(3, 3)), LeakyReLU()),
        (EqualizedRate(Conv2D(3, 3, dilation=2)), LeakyReLU()),
        (EqualizedRate(Conv2D(3, 3), multiplier=2), LeakyReLU()),
        (ReLU(), Dense(3)),
        (Dense(3), Tanh()),
        (Conv2D(3, 3), Tanh()),
        (OwnDense(3), ReLU()),
        (Dense(3), OwnReLU()),
        (ReLU(), BatchNorm()),
        (BatchNorm(), Tanh()),
        (BatchNorm(), Dropout(0.5), ReLU()),
        (BatchNorm(), OwnReLU()),
        (OwnBatchNorm(), ReLU()),
    ]
    for layers in apart:
        assert kinds(*layers) == [Single] * len(layers)
    assert kinds(BatchNorm(), ReLU(), fuse=False) == kinds(Dense(3), ReLU(), fuse=False) == [Single] * 2
