"""Self-attention's own promises."""

import numpy as np
from layer_cases import host

from minigan.backends import Backend
from minigan.nn.layers import SelfAttention


def built(backend: Backend, *, gamma: float) -> SelfAttention:
    layer = SelfAttention(2).build((3, 2, 4), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    layer.gamma.value[...] = gamma
    return layer


def images(backend: Backend):
    return backend.asarray(np.random.default_rng(1).normal(size=(2, 3, 2, 4)))


def test_it_starts_as_the_identity(backend: Backend):
    layer = SelfAttention().build((3, 2, 4), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    x = images(backend)
    np.testing.assert_array_equal(host(backend, layer.forward(x, train=True)[0]), host(backend, x))


def test_attention_is_a_weighted_mean_of_all_pixels(backend: Backend):
    layer, x = built(backend, gamma=1), images(backend)
    y, cache = layer.forward(x, train=True)
    looks, h = host(backend, cache.B), host(backend, cache.h)
    assert looks.shape == (2, 6, 6)
    assert (looks > 0).all()
    np.testing.assert_allclose(looks.sum(axis=-1), 1, rtol=1e-12)
    f, g = host(backend, cache.f), host(backend, cache.g)
    for n in range(2):
        for j in range(6):
            weights = np.exp([f[n, i] @ g[n, j] for i in range(6)])
            gathered = sum(w * h[n, i] for i, w in enumerate(weights)) / weights.sum()
            expected = host(backend, x)[n].reshape(6, 4)[j] + gathered
            np.testing.assert_allclose(host(backend, y)[n].reshape(6, 4)[j], expected, rtol=1e-12)


def test_large_scores_do_not_overflow(backend: Backend):
    layer, x = built(backend, gamma=1), images(backend)
    y, cache = layer.forward(1e3 * x, train=True)
    dx = layer.backward(y, cache, grads=layer.gradients())
    assert np.isfinite(host(backend, y)).all()
    assert np.isfinite(host(backend, dx)).all()
    assert float(host(backend, cache.B).max()) == 1
