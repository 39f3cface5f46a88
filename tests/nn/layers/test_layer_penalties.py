"""A gradient penalty on a critic around each layer, with two oracles that know nothing of double backward."""

import numpy as np
import pytest
from layer_cases import CASES, Case, batch, condition, masks

from minigan.backends import Array, Backend
from minigan.losses.gradient_penalties import WGANGP
from minigan.nn.gradcheck import check_gradient
from minigan.nn.layers import Conv2D, Dense, Flatten, Tanh
from minigan.nn.network import Sequential


class AtRealExamples(WGANGP):
    """So that nothing but Dropout draws."""

    def points(self, real: Array, fake: Array, rng: np.random.Generator, kernels: Backend) -> Array:  # noqa: ARG002
        return real


PENALTY = AtRealExamples(weight=2.0)

SLOPED = {name: case for name, case in CASES.items() if not case.flat}  # the others' slope is 0, whatever the weights
every_case = pytest.mark.parametrize("case", SLOPED.values(), ids=SLOPED.keys())


@pytest.fixture(scope="session")
def backend(host_backend: Backend) -> Backend:
    return host_backend


def critic(case: Case, backend: Backend) -> Sequential:
    """Weights below and above the layer, so that its dP/dx and its dP/d(dy) both count.

    And a curve above: the sum of a linear map of BatchNorm's output is a constant, whose slope is 0.
    """
    below = Conv2D(case.input_shape[-1], 3) if len(case.input_shape) == 3 else Dense(case.input_shape[0])
    D = Sequential([below, case.make(), Flatten(), Dense(3), Tanh(), Dense(1)], name="D")
    D.build(case.input_shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for _, p in D.named_parameters():
        p.value[...] += rng.normal(0, 0.2, p.shape)
    D.arena.updated()
    for _, layer in D.walk():
        layer.settle()
    return D.given(condition(case, backend)) if case.condition else D


def slope(D: Sequential, x: Array) -> Array:
    logits, tape = D.forward(x, train=True, rng=masks())
    return D.backward(np.ones_like(logits), tape, grads=None)


def value(D: Sequential, x: Array) -> float:
    norms = np.sqrt((slope(D, x) ** 2).reshape(len(x), -1).sum(axis=1))
    return 2.0 * float(((norms - 1) ** 2).mean())


@every_case
def test_finite_differences(backend: Backend, case: Case):
    D, x = critic(case, backend), batch(case, backend)
    grads = D.gradients()
    P = float(PENALTY.add_gradients(D, x, x, grads=grads, rng=masks()))
    assert abs(P - value(D, x)) < 1e-6  # the root's epsilon
    checks = [
        check_gradient(
            lambda: value(D, x), p.value, grads[p], path="D", what=name, rng=np.random.default_rng(5), scale=P
        )
        for name, p in D.named_parameters()
    ]
    assert [str(check) for check in checks if not check.passed] == []


@every_case
def test_difference_of_gradients(backend: Backend, case: Case):
    """[∇w ΣD(x + εv) - ∇w ΣD(x - εv)] / 2ε, from first-order gradients alone."""
    D, x = critic(case, backend), batch(case, backend)
    grads = D.gradients()
    PENALTY.add_gradients(D, x, x, grads=grads, rng=masks())
    _, v = PENALTY.of_gradient(slope(D, x))

    def gradient_at(x: Array) -> Array:
        first_order = D.gradients()
        logits, tape = D.forward(x, train=True, rng=masks())
        D.backward(np.ones_like(logits), tape, grads=first_order)
        return first_order.flat

    step = 1e-5 / np.abs(v).max()
    expected = (gradient_at(x + step * v) - gradient_at(x - step * v)) / (2 * step)
    np.testing.assert_allclose(grads.flat, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert np.abs(grads.flat).max() > 1e-3


def test_all_layers_are_here():
    import minigan.nn.layers

    covered = {type(case.make()).__name__ for case in CASES.values()}
    assert covered >= set(minigan.nn.layers.__all__) - {"Layer"}
