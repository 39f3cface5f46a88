"""Layers whose condition is their own input, and two networks that do the same by hand."""

import numpy as np

from minigan.backends import Backend
from minigan.nn.gradcheck import check_network
from minigan.nn.layers import (
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    Dense,
    LearnedConstant,
    Sigmoid,
    Tanh,
)
from minigan.nn.layers.condition import Condition
from minigan.nn.network import Residual, Sequential
from minigan.nn.network.styled import Styled, conditional_layers


def generator(backend: Backend) -> Sequential:
    """A mapping and a synthesis; z (4,) to an image (2, 3, 1)."""
    layers = [ConditionalAffine(5), Tanh(), Residual([Conv2D(2, 3), ConditionalAffine(5)]), Sigmoid(), Conv2D(1, 1)]
    G = Sequential([Dense(6), Tanh(), Dense(5), Styled([LearnedConstant((2, 3, 2)), *layers])], name="G")
    return weighted(G.build((4,), backend=backend, dtype="float64", rng=np.random.default_rng(0)))


def weighted(net: Sequential) -> Sequential:
    for _, p in net.named_parameters():  # Conv2D's and Dense's biases start at 0
        p.value[...] = net.kernels.asarray(np.random.default_rng(p.size).normal(0, 0.5, size=p.shape))
    net.arena.updated()
    return net


def test_gradients_and_second_order(host_backend: Backend):
    checks = check_network(
        generator(host_backend), np.random.default_rng(1).normal(size=(3, 4)), rng=np.random.default_rng(2)
    )
    assert [str(check) for check in checks if not check.passed] == []


def test_mapping_and_synthesis_by_hand(host_backend: Backend):
    """One sequence does what its two halves do with a condition that gets gradients, in both orders."""
    G, rng = generator(host_backend), np.random.default_rng(1)
    z, dy, v = rng.normal(size=(3, 4)), rng.normal(size=(3, 2, 3, 1)), rng.normal(size=(3, 4))
    mapping, synthesis = G[:3], G[-1].inner

    y, tape = G.forward(z, train=True)
    w, mapping_tape = mapping.forward(z, train=True)
    image, synthesis_tape = synthesis.given(w).forward(w, train=True)
    assert (y == image).all()

    grads, own = G.gradients(), G.gradients()
    dz = G.backward(dy, tape, grads=grads)
    dw = np.zeros_like(w)
    synthesis.given(Condition(w, dw)).backward(dy, synthesis_tape, grads=own, need_dx=False)
    np.testing.assert_allclose(mapping.backward(dw, mapping_tape, grads=own), dz, rtol=1e-12)
    np.testing.assert_allclose(own.flat, grads.flat, rtol=1e-12, atol=1e-15)

    grads, own = G.gradients(), G.gradients()
    _, record = G.backward_recorded(dy, tape)
    ddy, ddz = G.double_backward(v, record, tape, grads=grads)
    dw[...] = 0
    _, record = synthesis.given(Condition(w, dw)).backward_recorded(dy, synthesis_tape)
    _, mapping_record = mapping.backward_recorded(dw, mapping_tape)
    u, through_dw = mapping.double_backward(v, mapping_record, mapping_tape, grads=own)
    P_w, nothing = np.zeros_like(w), np.zeros_like(w)
    bound = synthesis.given(Condition(w, P_w, tangent=u))
    np.testing.assert_allclose(bound.double_backward(nothing, record, synthesis_tape, grads=own)[0], ddy, rtol=1e-12)
    through_w = mapping.backward(P_w, mapping_tape, grads=own)
    np.testing.assert_allclose(through_dw + through_w, ddz, rtol=1e-12)
    np.testing.assert_allclose(own.flat, grads.flat, rtol=1e-12, atol=1e-15)


def test_an_outer_condition_belongs_to_the_mapping(backend: Backend):
    net = Sequential([ConcatCondition((3,)), Dense(5), Styled([LearnedConstant((2, 2, 1)), ConditionalAffine(5)])])
    weighted(net.build((4,), backend=backend, dtype="float64", rng=np.random.default_rng(0)))
    assert [layer.shape for layer in conditional_layers(net)] == [(3,)]
    z = backend.asarray(np.random.default_rng(1).normal(size=(3, 4)))
    one, _ = net.given(backend.asarray(np.eye(3))).forward(z, train=True)
    other, _ = net.given(backend.asarray(np.eye(3)[::-1].copy())).forward(z, train=True)
    assert (backend.to_numpy(one) != backend.to_numpy(other))[[0, 2]].any()
    assert (backend.to_numpy(one) == backend.to_numpy(other))[1].all()
