"""SNGAN's and SAGAN's networks, small: shapes, gradients, a training step, and a NaN found in them."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import DivergenceError
from minigan.losses import NonSaturating
from minigan.nn.gradcheck import check_network
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    GlobalSumPooling2D,
    MinibatchStdDev,
    ReLU,
    Reshape,
    SelfAttention,
    SpectralNorm,
    Tanh,
)
from minigan.nn.network import Sequential
from minigan.nn.network.residual_blocks import block, down_block, first_down_block, up_block
from minigan.nn.optimizers import Adam
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.divergence import FirstNonFinite

IMAGE = (8, 8, 2)


def generator() -> Sequential:
    return Sequential(
        [
            SpectralNorm(Dense(2 * 2 * 4)),
            Reshape((2, 2, 4)),
            up_block(4),
            SelfAttention(2, wrap=SpectralNorm),
            up_block(3, wrap=SpectralNorm),
            BatchNorm(),
            ReLU(),
            Conv2D(IMAGE[-1], 3),
            Tanh(),
        ],
        name="G",
    )


def discriminator() -> Sequential:
    return Sequential(
        [
            first_down_block(3),
            SelfAttention(2, wrap=SpectralNorm),
            down_block(4),
            block(4),
            MinibatchStdDev(2),
            ReLU(),
            GlobalSumPooling2D(),
            SpectralNorm(Dense(1)),
        ],
        name="D",
    )


def built(network: Sequential, shape: tuple[int, ...], backend: Backend, *, dtype: str = "float64") -> Sequential:
    network.build(shape, backend=backend, dtype=dtype, rng=np.random.default_rng(0))
    for name, p in network.named_parameters():
        if name.endswith(("gamma", "beta")):  # attention's gamma starts at 0, and hides what is behind it
            p.value[...] += backend.asarray(np.random.default_rng(1).normal(0, 0.3, p.shape).astype(dtype))
    return network


def gan(backend: Backend) -> AlternatingOptimizer:
    G = built(generator(), (3,), backend, dtype="float32")
    D = built(discriminator(), IMAGE, backend, dtype="float32")
    return AlternatingOptimizer(
        G,
        D,
        loss=NonSaturating(),
        noise=lambda rng, n: rng.normal(size=(n, 3)),
        g_optimizer=Adam(G.arena, lr=1e-3),
        d_optimizer=Adam(D.arena, lr=1e-3),
    )


def images(bad: float = 0.0):
    x = np.random.default_rng(1).uniform(-1, 1, (4, *IMAGE)).astype(np.float32)
    x[0, 0, 0, 0] += bad
    while True:
        yield x


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (up_block, (3, 4, 2), (6, 8, 5)),
        (down_block, (6, 8, 2), (3, 4, 5)),
        (first_down_block, (6, 8, 2), (3, 4, 5)),
        (block, (6, 8, 5), (6, 8, 5)),
    ],
)
def test_the_blocks_enlarge_and_shrink(make, shape, expected):
    layer = make(5).build(shape, backend="reference", rng=np.random.default_rng(0))
    assert layer.output_shape == expected


@pytest.mark.parametrize(("make", "shape"), [(generator, (3,)), (discriminator, IMAGE)], ids=["G", "D"])
def test_gradients_and_double_gradients(reference: Backend, make, shape):
    network = built(make(), shape, reference)
    x = np.random.default_rng(2).normal(size=(4, *shape))
    checks = list(check_network(network, x, rng=np.random.default_rng(3)))
    assert not [str(check) for check in checks if not check.passed]
    assert {check.path for check in checks} == {network.path, *(layer.path for layer in network.layers)}


def test_training_steps_move_every_weight_and_every_u(backend: Backend):
    optimizer = gan(backend)
    before = optimizer.to_dict()
    for _ in range(2):
        optimizer.step(images(), np.random.default_rng(0))
    after = optimizer.to_dict()
    still = [name for name in before if (before[name] == after[name]).all() and before[name].size > 1]
    assert not still
    assert all(np.isfinite(array).all() for array in after.values())


def test_d_s_spectral_norms_move_in_d_s_step_only(backend: Backend):
    optimizer = gan(backend)
    fake, tape = optimizer.G.forward(backend.asarray(np.ones((4, 3), np.float32)), train=True)
    real = backend.asarray(next(images()))
    before = optimizer.D.state.to_dict()
    optimizer.generator_step(fake, tape, real, np.random.default_rng(0))
    assert all((optimizer.D.state.to_dict()[name] == array).all() for name, array in before.items())
    optimizer.discriminator_step(real, fake, np.random.default_rng(0))
    assert any((optimizer.D.state.to_dict()[name] != array).any() for name, array in before.items())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("prefix", ["0.inner.2.inner.", "1.h.inner.", "2.shortcut.1.inner.", "7.inner."])
def test_a_bad_weight_is_named_wherever_it_hides(backend: Backend, prefix: str):
    D = built(discriminator(), IMAGE, backend, dtype="float32")
    layer = dict(D.walk())[prefix]
    layer.w.value.ravel()[0] = np.nan
    found = FirstNonFinite()
    with D.observed(found):
        D.forward(backend.asarray(next(images())), train=True, rng=np.random.default_rng(0))
    assert found.forward == f"{layer.path}'s weight w"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_data_leave_the_networks_as_they_were(backend: Backend):
    optimizer = gan(backend)
    before = optimizer.to_dict()
    with pytest.raises(DivergenceError, match="the input of D is not finite"):
        optimizer.step(images(np.nan), np.random.default_rng(0))
    after = optimizer.to_dict()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
