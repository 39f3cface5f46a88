"""Spectral normalization: what its estimate tends to, and when it moves."""

import numpy as np
import pytest
from layer_cases import host, same_bits

from minigan.backends import Backend
from minigan.checkpoints.format import load_network, network_arrays
from minigan.nn.gradcheck import check_backward, check_double_backward
from minigan.nn.layers import Conv2D, ConvTranspose2D, Dense, Flatten, LeakyReLU, SpectralNorm
from minigan.nn.network import Sequential

WRAPPED = {
    "Dense": (lambda: Dense(3), (5,)),
    "Conv2D": (lambda: Conv2D(3, 3), (4, 5, 2)),
    "ConvTranspose2D": (lambda: ConvTranspose2D(3, 4, stride=2, padding=1), (4, 5, 2)),
}
every_wrapped = pytest.mark.parametrize(("make", "shape"), WRAPPED.values(), ids=WRAPPED.keys())


def critic(backend: Backend, *, dtype: str = "float64") -> Sequential:
    layers = [SpectralNorm(Conv2D(4, 3)), LeakyReLU(0.2), Flatten(), SpectralNorm(Dense(1))]
    return Sequential(layers, name="D").build((4, 4, 2), backend=backend, dtype=dtype, rng=np.random.default_rng(0))


def images(backend: Backend, seed: int):
    return backend.asarray(np.random.default_rng(seed).normal(size=(3, 4, 4, 2)))


def largest_singular_value(w: np.ndarray, *, transposed: bool) -> float:
    matrix = np.moveaxis(w, 2, -1) if transposed else w
    return float(np.linalg.norm(matrix.reshape(-1, matrix.shape[-1]), 2))


@every_wrapped
def test_sigma_becomes_the_largest_singular_value(backend: Backend, make, shape):
    layer = SpectralNorm(make()).build(shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))
    x = backend.asarray(np.random.default_rng(1).normal(size=(2, *shape)))
    expected = largest_singular_value(
        host(backend, layer.inner.w.value), transposed=make is WRAPPED["ConvTranspose2D"][0]
    )
    estimates = []
    for _ in range(300):
        _, cache = layer.forward(x, train=True)
        layer.commit_statistics(cache)
        estimates.append(float(cache.sigma))
    assert estimates == sorted(estimates) or np.diff(estimates).min() > -1e-12
    assert estimates[-1] == pytest.approx(expected, rel=1e-9)
    assert estimates[0] < expected * (1 - 1e-6)

    other = SpectralNorm(make()).build(shape, backend=backend, dtype="float64", rng=np.random.default_rng(0))
    other.settle()
    for train in (True, False):
        _, cache = other.forward(x, train=train)
        assert float(cache.sigma) == pytest.approx(expected, rel=1e-12)


def test_u_moves_when_committed_and_only_then(backend: Backend):
    net, x = critic(backend), images(backend, 1)
    before = host(backend, net.state.flat)
    for train in (True, False):
        y, tape = net.forward(x, train=train)
        net.backward(y, tape, grads=net.gradients())
        assert same_bits(backend, net.state.flat, backend.asarray(before))
    net.commit_statistics(tape)  # the last was an evaluation
    assert same_bits(backend, net.state.flat, backend.asarray(before))
    _, tape = net.forward(x, train=True)
    net.commit_statistics(tape)
    assert (host(backend, net.layers[0].u.value) != before[:4]).any()


def test_a_commit_between_forward_and_backward_does_not_matter(backend: Backend):
    """D's step: real forward, commit, fake forward, commit, and backward of both."""
    results = []
    for late in (False, True):
        net, grads = critic(backend), []
        passes = []
        for seed in (1, 2):
            y, tape = net.forward(images(backend, seed), train=True)
            net.commit_statistics(tape)
            passes.append((y, tape))
            if not late:
                grads.append(net.gradients())
                net.backward(y, tape, grads=grads[-1])
        if late:
            for y, tape in passes:
                grads.append(net.gradients())
                net.backward(y, tape, grads=grads[-1])
        results.append([host(backend, g.flat) for g in grads])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_u_is_saved(backend: Backend):
    one, other, x = critic(backend), critic(backend), images(backend, 1)
    for _ in range(3):
        one.commit_statistics(one.forward(x, train=True)[1])
    arrays = network_arrays(one, "D")
    assert {"D.state.0.u", "D.state.3.u", "D.0.inner.w", "D.3.inner.b"} <= arrays.keys()
    load_network(other, arrays, "D", source="the test")
    for train in (True, False):
        assert same_bits(backend, one.forward(x, train=train)[0], other.forward(x, train=train)[0])


def test_gradients_are_checked_at_rest_and_u_put_back(reference: Backend):
    """From a fresh u the estimate is far from what it tends to, and its gradient with it."""
    net, x = critic(reference), images(reference, 1)
    before = net.state.flat.copy()
    for check in (check_backward, check_double_backward):
        for train in (True, False):
            for result in check(net, x, rng=np.random.default_rng(2), train=train):
                assert result.passed, result
    assert same_bits(reference, net.state.flat, before)


def test_the_weight_itself_does_not_matter_in_size(backend: Backend):
    net, x = critic(backend), images(backend, 1)
    y, _ = net.forward(x, train=True)
    for index in (0, 3):
        net.layers[index].inner.w.value[...] *= 7
    net.arena.updated()
    np.testing.assert_allclose(host(backend, net.forward(x, train=True)[0]), host(backend, y), rtol=1e-12)
