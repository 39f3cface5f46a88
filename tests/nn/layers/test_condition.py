"""Conditions: what `given` shares and what it leaves alone, and what a wrong condition is told."""

import numpy as np
import pytest
from layer_cases import CASES, batch, built, condition

from minigan.backends import Backend
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.nn.gradcheck import check_backward, check_double_backward
from minigan.nn.layers import (
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    Dense,
    Flatten,
    InnerProduct,
    Layer,
    LeakyReLU,
    SelfAttention,
    SpectralNorm,
    Tanh,
)
from minigan.nn.layers.condition import Condition
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.residual_blocks import projection

ONE_HOT = np.eye(3)
CONDITIONAL = {name: case for name, case in CASES.items() if case.condition}


def network(backend: Backend) -> Sequential:
    layers = [ConcatCondition((3,)), Conv2D(4, 3), LeakyReLU(), Flatten(), projection(3)]
    return Sequential(layers, name="D").build((4, 4, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))


def test_a_network_without_conditional_layers_is_itself(backend: Backend):
    net = Sequential([Conv2D(2, 3), Residual([Conv2D(2, 3)]), SkipConcat([Conv2D(1, 3)])])
    net.build((4, 4, 1), backend=backend, rng=np.random.default_rng(0))
    assert net.given(backend.asarray(ONE_HOT)) is net


def test_given_shares_the_parameters_and_leaves_the_network_as_it_was(backend: Backend):
    net, rng = network(backend), np.random.default_rng(1)
    x, c = backend.asarray(rng.normal(size=(3, 4, 4, 1))), backend.asarray(ONE_HOT)
    bound = net.given(c)
    assert bound.arena is net.arena
    assert [p for _, p in bound.named_parameters()] == [p for _, p in net.named_parameters()]
    y, tape = bound.forward(x, train=True)
    grads = net.gradients()
    net.backward(backend.xp.ones_like(y), tape, grads=grads)  # the tape knows all that backward needs
    assert all(np.abs(backend.to_numpy(grads[p])).max() > 0 for _, p in net.named_parameters())
    with pytest.raises(ConfigError, match=r"D\.0\.ConcatCondition: expected a condition, got none"):
        net.forward(x, train=True)


def test_two_conditions_at_once(backend: Backend):
    net, rng = network(backend), np.random.default_rng(1)
    x = backend.asarray(rng.normal(size=(3, 4, 4, 1)))
    one, other = (net.given(backend.asarray(c)) for c in (ONE_HOT, ONE_HOT[::-1].copy()))
    before, _ = one.forward(x, train=False)
    different, _ = other.forward(x, train=False)
    again, _ = one.forward(x, train=False)
    assert (backend.to_numpy(before) == backend.to_numpy(again)).all()
    assert (backend.to_numpy(before[[0, 2]]) != backend.to_numpy(different[[0, 2]])).all()
    assert (backend.to_numpy(before[1]) == backend.to_numpy(different[1])).all()  # the same class in both


def test_what_has_layers_inside_hands_the_condition_on(backend: Backend):
    """Every combinator at once, one inside of the other."""

    def scaled() -> list[Layer]:
        return [ConditionalAffine(3)]

    inside = [
        Residual(scaled(), shortcut=scaled()),
        SkipConcat([*scaled(), SpectralNorm(Conv2D(2, 1))]),
        Parallel([scaled(), scaled()]),
        Inpainting([*scaled(), SelfAttention(), Conv2D(9, 1)]),
    ]
    net = Sequential([Sequential(inside)], name="net")
    net.build((4, 4, 3), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    for _, p in net.named_parameters():  # so that each class scales in its own way
        p.value[...] = backend.asarray(np.random.default_rng(p.size).normal(size=p.shape))
    x = backend.asarray(np.random.default_rng(1).normal(size=(2, 4, 4, 3)))
    one, other = (net.given(backend.asarray(ONE_HOT[k : k + 2])) for k in (0, 1))
    conditions = [layer.condition for _, layer in one.walk() if isinstance(layer, ConditionalAffine)]
    assert len(conditions) == 6
    assert all(condition is conditions[0] is not None for condition in conditions)
    y, tape = one.forward(x, train=True)
    different, _ = other.forward(x, train=True)
    assert np.abs(backend.to_numpy(y - different)).max() > 0.1
    assert net.backward(y, tape, grads=net.gradients()).shape == x.shape


def test_projection_is_the_papers_formula(backend: Backend):
    head = projection(3, wrap=lambda layer: layer)
    head.build((5,), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    h, classes = rng.normal(size=(4, 5)), np.array([2, 0, 1, 1])
    y, _ = head.given(backend.asarray(ONE_HOT[classes])).forward(backend.asarray(h), train=True)
    parameters = {name: backend.to_numpy(p.value) for name, p in head.named_parameters()}
    V, w, b = parameters["inner.0.w"], parameters["shortcut.0.w"], parameters["shortcut.0.b"]
    expected = [V[:, c] @ row + w[:, 0] @ row + b[0] for c, row in zip(classes, h, strict=True)]
    np.testing.assert_allclose(backend.to_numpy(y)[:, 0], expected, rtol=1e-12)


def test_conditional_affine_starts_as_the_identity(backend: Backend):
    layer = ConditionalAffine(3).build((2, 2, 5), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    x = backend.asarray(np.random.default_rng(1).normal(size=(3, 2, 2, 5)))
    y, _ = layer.given(backend.asarray(ONE_HOT)).forward(x, train=True)
    assert (backend.to_numpy(y) == backend.to_numpy(x)).all()


def test_wrong_conditions(backend: Backend):
    net = network(backend)
    x = backend.asarray(np.zeros((2, 4, 4, 1)))
    with pytest.raises(ShapeError, match=r"expected a condition of shape \(2, 3\), got \(3, 3\)"):
        net.given(backend.asarray(ONE_HOT)).forward(x, train=True)
    with pytest.raises(DTypeError, match="expected a condition of dtype float64 like x, got float32"):
        net.given(backend.asarray(ONE_HOT[:2], dtype="float32")).forward(x, train=True)
    rng = np.random.default_rng(0)
    with pytest.raises(ShapeError, match=r"cannot join a condition \(5, 4, 1\) to \(4, 4, 1\)"):
        ConcatCondition((5, 4, 1)).build((4, 4, 1), backend=backend, rng=rng)
    with pytest.raises(ShapeError, match=r"expected x of shape \(3,\) like the condition, got \(4,\)"):
        Sequential([Dense(4), InnerProduct(3)]).build((2,), backend=backend, rng=rng)
    with pytest.raises(ShapeError, match=r"shape must be a tuple of positive integers .*got \(0,\)"):
        ConcatCondition((0,))
    with pytest.raises(ConfigError, match="only a vector can have an embedding"):
        ConcatCondition((4, 4, 1), embedding=3)


@pytest.mark.parametrize("case", CONDITIONAL.values(), ids=CONDITIONAL.keys())
def test_gradients_of_conditions(host_backend: Backend, case):
    """dc, and the second order of a P that depends on dx and on dc: dP/d(dy), dP/dx, dP/dc, dP/dw."""
    layer, x, c = built(case, host_backend), batch(case, host_backend), condition(case, host_backend)
    rng = np.random.default_rng(3)
    checks = [
        *check_backward(layer, x, condition=c, rng=rng),
        *check_double_backward(layer, x, condition=c, rng=rng),
    ]
    assert {"dc", "dP/dc"} <= {check.what for check in checks}
    assert [str(check) for check in checks if not check.passed] == []


def test_every_combinator_hands_the_gradients_of_a_condition_on(host_backend: Backend):
    def scaled() -> list[Layer]:
        return [ConditionalAffine(3), Tanh()]

    inside = [
        Residual(scaled(), shortcut=scaled()),
        SkipConcat([*scaled(), Conv2D(2, 1)]),
        Parallel([scaled(), scaled()]),
        Inpainting([*scaled(), SelfAttention(), ConcatCondition((3,)), Conv2D(9, 1)]),
    ]
    net = Sequential([Sequential(inside)], name="net")
    net.build((2, 3, 3), backend=host_backend, dtype="float64", rng=np.random.default_rng(0))
    for _, p in net.named_parameters():
        p.value[...] = np.random.default_rng(p.size).normal(0, 0.5, size=p.shape)
    rng = np.random.default_rng(4)
    x, c = rng.normal(size=(2, 2, 3, 3)), rng.normal(size=(2, 3))
    checks = [*check_backward(net, x, condition=c, rng=rng), *check_double_backward(net, x, condition=c, rng=rng)]
    assert [str(check) for check in checks if not check.passed] == []


def test_a_condition_gets_gradients_without_dx_and_with_frozen_weights(backend: Backend):
    """Below the first layer with weights, too; and a condition held fixed changes nothing."""
    net, rng = network(backend), np.random.default_rng(1)
    x, c = backend.asarray(rng.normal(size=(3, 4, 4, 1))), backend.asarray(rng.normal(size=(3, 3)))
    y, tape = net.given(c).forward(x, train=True)
    all_of_it, frozen = (backend.zeros(9, net.dtype).reshape(3, 3) for _ in range(2))
    grads, fixed = net.gradients(), net.gradients()
    dx = net.given(Condition(c, all_of_it)).backward(y, tape, grads=grads)
    assert net.given(Condition(c, frozen)).backward(y, tape, grads=None, need_dx=False) is None
    assert (net.given(c).backward(y, tape, grads=fixed) == dx).all()
    assert (grads.flat == fixed.flat).all()
    assert np.abs(backend.to_numpy(frozen)).min() > 0
    np.testing.assert_allclose(backend.to_numpy(frozen), backend.to_numpy(all_of_it), rtol=1e-12)


def test_gradients_of_a_condition_add_up(backend: Backend):
    net, rng = network(backend), np.random.default_rng(1)
    x, c = backend.asarray(rng.normal(size=(3, 4, 4, 1))), backend.asarray(rng.normal(size=(3, 3)))
    dc = backend.zeros(9, net.dtype).reshape(3, 3)
    bound = net.given(Condition(c, dc))
    y, tape = bound.forward(x, train=True)
    bound.backward(y, tape, grads=None)
    once = backend.to_numpy(dc).copy()
    bound.backward(y, tape, grads=None)
    np.testing.assert_allclose(backend.to_numpy(dc), 2 * once, rtol=1e-12)
