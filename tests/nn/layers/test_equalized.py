"""Equalized learning rate, and the layers next to it: their first numbers, their scale, their oracle."""

import numpy as np
import pytest
from layer_cases import host

from minigan.backends import Backend
from minigan.nn.layers import Conv2D, ConvTranspose2D, Dense, EqualizedRate, LeakyReLU, MinibatchStdDev, PixelNorm
from minigan.nn.layers.base import Layer
from minigan.nn.optimizers import Adam


def build(layer: Layer, shape: tuple[int, ...], backend: Backend | str = "reference") -> Layer:
    return layer.build(shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("inner", "shape", "fan_in"),
    [
        (Dense(50), (40,), 40),
        (Conv2D(32, (3, 5)), (4, 5, 8), 15 * 8),
        (Conv2D(32, 3, groups=4), (4, 5, 8), 9 * 2),
        (ConvTranspose2D(16, 4, stride=2), (4, 5, 8), 16 * 8),
        (ConvTranspose2D(16, 4, stride=2, groups=2), (4, 5, 8), 16 * 4),
    ],
)
def test_weights_are_drawn_alike_and_scaled_by_the_fan_in(inner, shape, fan_in):
    layer = build(EqualizedRate(inner, multiplier=0.01), shape)
    w = layer.inner.w.value
    assert layer.scale == pytest.approx(fan_in**-0.5, rel=1e-15)
    assert w.std() == pytest.approx(100, rel=0.1)
    assert not layer.inner.b.value.any()
    x = np.random.default_rng(1).normal(size=(64, *shape))
    y, _ = layer.forward(x, train=True)
    layer.inner.b.value[...] = 3
    np.testing.assert_allclose(layer.forward(x, train=True)[0], y + 0.03, rtol=1e-9)
    layer.gain = 2.0
    np.testing.assert_allclose(layer.forward(x, train=True)[0], 2 * y + 0.03, rtol=1e-9)
    if not isinstance(inner, ConvTranspose2D):
        assert y.std() == pytest.approx(1, rel=0.3)  # less at borders


def test_it_computes_what_the_layer_inside_does_with_the_scaled_weight(backend: Backend):
    rng = np.random.default_rng(2)
    for inner, shape in ((Dense(3), (5,)), (Conv2D(3, 3), (4, 5, 2)), (ConvTranspose2D(3, 3, stride=2), (3, 2, 4))):
        layer = build(EqualizedRate(inner, multiplier=0.5), shape, backend)
        layer.inner.b.value[...] = backend.asarray(rng.normal(size=layer.inner.b.shape))
        x = backend.asarray(rng.normal(size=(2, *shape)))
        expected, _ = layer.effective().forward(x, train=True)
        np.testing.assert_allclose(host(backend, layer.forward(x, train=True)[0]), host(backend, expected), rtol=1e-12)


def test_a_small_multiplier_slows_the_layer_down():
    """Adam moves each stored weight alike, so the map moves by the multiplier's share."""
    moved = {}
    for multiplier in (1.0, 0.01):
        layer = build(EqualizedRate(Dense(4), multiplier=multiplier), (6,))
        x = np.random.default_rng(1).normal(size=(8, 6))
        before = layer.effective().w.value.copy()
        y, cache = layer.forward(x, train=True)
        grads = layer.gradients()
        layer.backward(np.ones_like(y), cache, grads=grads)
        Adam(layer.arena, lr=1e-3).step(grads)
        moved[multiplier] = np.abs(layer.effective().w.value - before).mean()
    assert moved[0.01] == pytest.approx(0.01 * moved[1.0], rel=1e-3)  # but for Adam's eps


def test_a_gain_multiplies_what_a_rectifier_passes(backend: Backend):
    plain, gained = build(LeakyReLU(0.2), (7,), backend), build(LeakyReLU(0.2, gain=3), (7,), backend)
    x = backend.asarray(np.random.default_rng(0).normal(size=(4, 7)))
    y, cache = gained.forward(x, train=True)
    np.testing.assert_allclose(host(backend, y), 3 * host(backend, plain.forward(x, train=True)[0]), rtol=1e-15)
    slopes = np.where(host(backend, x) > 0, 3, 0.6)
    np.testing.assert_allclose(host(backend, gained.backward(backend.xp.ones_like(x), cache, grads=None)), slopes)


def test_pixel_norm_against_loops(backend: Backend):
    layer = build(PixelNorm(eps=0.1), (2, 3, 4), backend)
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 2, 3, 4))
    y, cache = layer.forward(backend.asarray(x), train=True)
    dx = layer.backward(backend.asarray(dy), cache, grads=None)
    for place in np.ndindex(5, 2, 3):
        squares = sum(value**2 for value in x[place])
        r = (squares / 4 + 0.1) ** -0.5
        slope = sum(a * b for a, b in zip(x[place], dy[place], strict=True)) / 4
        np.testing.assert_allclose(host(backend, y)[place], r * x[place], rtol=1e-12)
        np.testing.assert_allclose(host(backend, dx)[place], r * dy[place] - r**3 * slope * x[place], rtol=1e-10)
    unit, _ = build(PixelNorm(), (64,)).forward(np.random.default_rng(0).normal(size=(3, 64)), train=False)
    np.testing.assert_allclose((unit**2).mean(axis=1), 1, rtol=1e-7)


@pytest.mark.parametrize(("batch", "group"), [(8, 8), (32, 32), (64, 32), (1, 1)])
def test_groups_of_minibatch_deviation_as_stylegan2_has_them(batch, group):
    """Groups of min(32, N), of examples N / 32 apart, and one channel."""
    layer = build(MinibatchStdDev(32), (2, 2, 3))
    x = np.random.default_rng(0).normal(size=(batch, 2, 2, 3))
    y, _ = layer.forward(x, train=True)
    groups = batch // group
    for n in range(batch):
        members = [x[m] for m in range(n % groups, batch, groups)]
        mean = sum(members) / group
        deviation = np.sqrt(sum((member - mean) ** 2 for member in members) / group + 1e-8).mean()
        np.testing.assert_allclose(y[n, ..., -1], deviation, rtol=1e-12)
    assert y.shape == (batch, 2, 2, 4)
