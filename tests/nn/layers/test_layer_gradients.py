"""Each layer's backward and double backward against finite differences, on every CPU backend."""

import numpy as np
from layer_cases import CASES, Case, batch, both_modes, built, cotangent, every_case, host, masks, same_bits

from minigan.backends import Backend
from minigan.nn.gradcheck import GradientCheck, check_backward, check_double_backward
from minigan.nn.layers import Conv2D, Flatten, LeakyReLU, ReLU
from minigan.nn.network import Sequential


def failures(checks: list[GradientCheck]) -> list[str]:
    return [str(check) for check in checks if not check.passed]


@every_case
@both_modes
def test_backward_is_the_derivative_of_forward(host_backend: Backend, case: Case, train: bool):
    layer = built(case, host_backend)
    checks = check_backward(layer, batch(case, host_backend), rng=np.random.default_rng(0), train=train)
    assert not failures(checks)
    assert [check.what for check in checks] == ["dx", *(f"d({name})" for name in case.parameters)]


@every_case
@both_modes
def test_double_backward_is_the_derivative_of_backward(host_backend: Backend, case: Case, train: bool):
    layer = built(case, host_backend)
    checks = check_double_backward(layer, batch(case, host_backend), rng=np.random.default_rng(0), train=train)
    assert not failures(checks)
    names = [f"dP/d({name})" for name in case.parameters]
    assert [check.what for check in checks] == ["dP/d(dy)", "dP/dx", *names]


@every_case
@both_modes
def test_dx_comes_back_from_double_backward_only_where_backward_depends_on_x(backend: Backend, case: Case, train: bool):
    """So that the down-sweep is skipped for piecewise-linear networks, and never for others."""
    layer = built(case, backend)
    x, dy = batch(case, backend), cotangent(case, backend)
    _, cache = layer.forward(x, train=train, rng=masks())
    dx, record = layer.backward_recorded(dy, cache)
    v = backend.xp.ones_like(dx)
    ddy, ddx = layer.double_backward(v, record, cache, grads=layer.gradients())
    assert ddy.shape == dy.shape
    assert (ddx is not None) == (case.curved if train else case.curved_in_eval)
    assert ddx is None or (ddx.shape == x.shape and float(abs(ddx).max()) > 0)


def test_a_piecewise_linear_network_skips_the_down_sweep(backend: Backend):
    net = Sequential([Conv2D(2, 3), LeakyReLU(0.2), Conv2D(2, 3), ReLU(), Flatten()])
    net.build((3, 3, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    x = backend.asarray(np.random.default_rng(1).normal(size=(2, 3, 3, 1)))
    y, tape = net.forward(x, train=True)
    dx, record = net.backward_recorded(backend.xp.ones_like(y), tape)
    assert net.double_backward(backend.xp.ones_like(dx), record, tape, grads=net.gradients())[1] is None


@every_case
def test_a_piecewise_linear_layer_goes_on_as_the_map_that_it_is_around_x(host_backend: Backend, case: Case):
    """At x that is its output and its gradients; from there both move as its second order says, however far."""
    backend, layer = host_backend, built(case, host_backend)
    if not layer.is_piecewise_linear:
        return
    x, dy = batch(case, backend), cotangent(case, backend)
    y, cache = layer.forward(x, train=True, rng=masks())
    first, moved, both = layer.gradients(), layer.gradients(), layer.gradients()
    layer.backward(dy, cache, grads=first)
    dx, record = layer.backward_recorded(dy, cache)
    v = backend.asarray(np.random.default_rng(5).normal(size=dx.shape) * 10)
    ddy, ddx = layer.double_backward(v, record, cache, grads=moved)
    result = layer.extend(x + v, record, cache, grads=both)
    assert ddx is None
    np.testing.assert_allclose(host(backend, result), host(backend, y + ddy), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(host(backend, both.flat), host(backend, first.flat + moved.flat), rtol=1e-10, atol=1e-10)
    assert same_bits(backend, layer.extend(x + v, record, cache, grads=None), result)


def test_what_is_piecewise_linear():
    """Layers that say so leave no dP/dx and let no examples meet."""
    said = {type(layer).__name__ for case in CASES.values() for layer in [case.make()] if layer.is_piecewise_linear}
    assert said >= {"Conv2D", "ConvTranspose2D", "Dense", "LeakyReLU", "ReLU", "Color", "Flip", "Residual"}
    assert not said & {"Tanh", "BatchNorm", "MinibatchStdDev", "Pack", "Dropout", "SpectralNorm"}


def test_all_layers_are_here():
    import minigan.nn.layers

    covered = {type(case.make()).__name__ for case in CASES.values()}
    assert covered >= set(minigan.nn.layers.__all__) - {"Layer"} | {"Sequential", "Parallel", "Residual", "SkipConcat"}
