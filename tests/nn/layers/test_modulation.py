"""Modulated convolution: against a filter for each image, gradients in both orders, rows of styles, and refusals."""

import naive
import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.nn.gradcheck import GradientCheck, check_backward, check_double_backward
from minigan.nn.layers import Conv2D, ConvTranspose2D, Dense, EqualizedRate, Modulated
from minigan.nn.layers.condition import Condition


def conv(channels: int = 4, filter: int = 3, **options) -> Conv2D:
    return Conv2D(channels, filter, bias=False, **options)


MAKERS = {
    "3x3": (lambda: Modulated(conv(), 5), (4, 3, 2), (5,)),
    "4x4 with stride 2, equalized": (
        lambda: Modulated(conv(3, 4, stride=2, padding=1), 5, wrap=EqualizedRate),
        (4, 6, 2),
        (5,),
    ),
    "to RGB, a row of styles": (lambda: Modulated(conv(3, 1), 4, row=1, demodulate=False), (3, 2, 5), (3, 4)),
    "enlarging, a row of styles": (
        lambda: Modulated(ConvTranspose2D(3, 3, stride=2, padding=0, bias=False), 4, row=0),
        (2, 3, 2),
        (2, 4),
    ),
    "enlarging, not demodulated": (
        lambda: Modulated(ConvTranspose2D(2, 4, stride=2, padding=1, bias=False), 4, demodulate=False),
        (2, 2, 3),
        (4,),
    ),
}
every_maker = pytest.mark.parametrize(("make", "shape", "condition"), MAKERS.values(), ids=MAKERS.keys())


def built(make, shape, backend: Backend, *, dtype: str = "float64") -> Modulated:
    layer = make().build(shape, backend=backend, dtype=dtype, rng=np.random.default_rng(0))
    for _, p in layer.named_parameters():
        p.value[...] = backend.asarray(np.random.default_rng(p.size).normal(size=p.shape), dtype=np.dtype(dtype))
    layer.arena.updated()
    return layer


def failed(checks: list[GradientCheck]) -> list[str]:
    return [str(check) for check in checks if not check.passed]


@every_maker
def test_gradients_in_both_orders(host_backend: Backend, make, shape, condition):
    layer, rng = built(make, shape, host_backend), np.random.default_rng(1)
    x, c = rng.normal(size=(3, *shape)), rng.normal(size=(3, *condition))
    checks = check_backward(layer, x, condition=c, rng=rng) + check_double_backward(layer, x, condition=c, rng=rng)
    assert {"dc", "dP/dc", "dP/dx", "d(inner.w)", "dP/d(inner.w)"} <= {check.what for check in checks}
    assert failed(checks) == []
    fixed = layer.given(c)
    assert failed(check_backward(fixed, x, rng=rng) + check_double_backward(fixed, x, rng=rng)) == []


@pytest.mark.parametrize("demodulate", [True, False])
def test_it_is_a_filter_for_each_image(backend: Backend, demodulate):
    layer = built(lambda: Modulated(conv(4, 3, padding=1), 5, demodulate=demodulate), (4, 3, 2), backend)
    rng = np.random.default_rng(1)
    x, c = rng.normal(size=(3, 4, 3, 2)), rng.normal(size=(3, 5))
    y, _ = layer.given(backend.asarray(c)).forward(backend.asarray(x), train=True)
    w, A, b = (backend.to_numpy(p.value) for _, p in layer.named_parameters())
    gain = 1 if demodulate else 1 / np.sqrt(3 * 3 * 2)
    expected = naive.modulated_conv(x, gain * (c @ A + b + 1), w, layer.inner.geometry, demodulate=demodulate)
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-10, atol=1e-12)


def test_outputs_are_as_large_as_inputs(backend: Backend):
    """At the start, with styles of size 1, whatever the number of channels."""
    for demodulate in (True, False):
        layer = Modulated(conv(64), 32, demodulate=demodulate, wrap=EqualizedRate)
        layer.build((8, 8, 48), backend=backend, rng=np.random.default_rng(0))
        rng = np.random.default_rng(1)
        x, c = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 8, 8, 48), (4, 32)))
        y, _ = layer.given(backend.asarray(c) * 0).forward(backend.asarray(x), train=True)
        assert 0.8 < float(backend.to_numpy(y)[:, 2:-2, 2:-2].std()) < 1.2
        assert 0.9 < float(backend.to_numpy(layer.inner.w.value).std()) < 1.1


def test_a_layer_reads_its_own_row(host_backend: Backend):
    layer, rng = built(lambda: Modulated(conv(), 5, row=1), (2, 3, 2), host_backend), np.random.default_rng(1)
    x, c = rng.normal(size=(3, 2, 3, 2)), rng.normal(size=(3, 4, 5))
    y, cache = layer.given(c).forward(x, train=True)
    for_all, _ = layer.given(np.ascontiguousarray(c[:, 1])).forward(x, train=True)
    assert (y == for_all).all()
    dc = np.zeros_like(c)
    layer.given(Condition(c, dc)).backward(y, cache, grads=None)
    assert np.abs(dc[:, 1]).min() > 0
    assert not dc[:, [0, 2, 3]].any()


def test_without_gradients_of_anything_else_dx_is_the_same(host_backend: Backend):
    layer, rng = built(MAKERS["3x3"][0], (4, 3, 2), host_backend), np.random.default_rng(1)
    x, c = rng.normal(size=(3, 4, 3, 2)), rng.normal(size=(3, 5))
    y, cache = layer.given(c).forward(x, train=True)
    dx = layer.backward(y, cache, grads=layer.gradients())
    np.testing.assert_allclose(layer.backward(y, cache, grads=None), dx, rtol=1e-12)
    assert layer.backward(y, cache, grads=None, need_dx=False) is None


def test_refusals(backend: Backend):
    with pytest.raises(ConfigError, match=r"expected a convolution \(Conv2D, ConvTranspose2D\), got a Dense"):
        Modulated(Dense(4), 5)
    with pytest.raises(ConfigError, match=r"without bias, gaps and groups, got Conv2D\(4, 3\)\. Write bias=False"):
        Modulated(Conv2D(4, 3), 5)
    layer = built(lambda: Modulated(conv(), 5, row=2), (2, 3, 2), backend)
    x = backend.asarray(np.zeros((3, 2, 3, 2)))
    for shape in ((3, 5, 1), (3, 2, 5), (2, 3, 5), (3, 4)):
        with pytest.raises(ShapeError, match="expected a condition of shape"):
            layer.given(backend.asarray(np.zeros(shape))).forward(x, train=True)
