"""BatchNorm on several ranks: forward, backward and double backward are those of the whole batch."""

import threading

import numpy as np
import pytest
from calling import draws
from thread_ranks import on_ranks

from minigan.backends import Backend

LAUNCHING = threading.Lock()
SHAPES = [(8, 6), (8, 5, 4, 3), (4, 1, 1, 33)]


def of_rank(backend: Backend, ranks) -> Backend:
    """A backend object of this rank's own."""
    own = type(backend)(threads=1) if backend.name == "cpu" else type(backend)()
    own.ranks = ranks
    if backend.name == "gpu":  # the stand-in runs one kernel at a time
        own.launch = one_at_a_time(own.launch)
    return own


def one_at_a_time(launch):
    def locked(*arguments, **settings):
        with LAUNCHING:
            return launch(*arguments, **settings)

    return locked


def everything(backend: Backend, x, gamma, beta, dy, v) -> list[np.ndarray]:
    """Results of the kernels of BatchNorm for these host arrays: arrays of the batch, then arrays of channels.

    The gradients of gamma and beta are means over ranks, as they are after the exchange of all gradients.
    """
    x, gamma, beta, dy, v = map(backend.asarray, (x, gamma, beta, dy, v))
    eps, slope, ranks = 1e-3, 0.2, backend.ranks
    dgamma, dbeta, dgamma2, dbeta2, ddgamma = (backend.xp.zeros_like(gamma) for _ in range(5))
    y, mean, var = backend.batchnorm(x, gamma, beta, eps=eps)
    y2, mean2, var2 = backend.batchnorm_leaky_relu(x, gamma, beta, eps=eps, slope=slope)
    dx = backend.batchnorm_grad(dy, x, gamma, mean, var, eps=eps, add_to=(dgamma, dbeta))
    dx2 = backend.batchnorm_leaky_relu_grad(
        dy, x, gamma, beta, mean, var, eps=eps, slope=slope, add_to=(dgamma2, dbeta2)
    )
    ddy, ddx = backend.batchnorm_double_grad(v, dy, x, gamma, mean, var, eps=eps, add_to=ddgamma)
    sums = [ranks.mean(total) for total in (dgamma, dbeta, dgamma2, dbeta2, ddgamma)]
    of_rows, of_channels = [y, y2, dx, dx2, ddy, ddx], [mean, var, mean2, var2, *sums]
    return [*(ranks.whole(array) for array in of_rows), *of_channels]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_compute_what_one_does(backend, size, shape):
    dtype = np.float32 if backend.name == "cpu" else np.float64  # compiled anyhow
    x, dy, v, gamma, beta = draws(1, np.dtype(dtype), shape, shape, shape, shape[-1:], shape[-1:])
    x = x + 5  # so that a mean over ranks is not that of one
    expected = [backend.to_numpy(array) for array in everything(of_rank(backend, backend.ranks), x, gamma, beta, dy, v)]

    def work(ranks):
        own = of_rank(backend, ranks)
        ranks.deal(len(x))
        found = everything(own, ranks.own(x), gamma, beta, ranks.own(dy), ranks.own(v))
        return [own.to_numpy(array) for array in found]

    results = on_ranks(size, work)
    # of all sums over the batch, which are N times a rank's mean
    factors = [1.0] * 10 + [size] * 5
    for found in results:
        for number, (array, whole, factor) in enumerate(zip(found, expected, factors, strict=True)):
            scale = max(1.0, float(np.abs(whole).max()))
            np.testing.assert_allclose(
                array * factor,
                whole,
                rtol=0,
                atol=scale * (1e-11 if dtype == np.float64 else 2e-5),
                err_msg=str(number),
            )
            assert np.array_equal(array, results[0][number])


def test_an_evaluating_batchnorm_talks_to_nobody(backend):
    """A projection, or a picture, is made by one rank."""
    x, dy, gamma, mean, beta = draws(1, np.dtype(np.float32), (4, 6), (4, 6), (6,), (6,), (6,))
    calls = []

    def work(ranks):
        own = of_rank(backend, ranks)
        arrays = [own.asarray(array) for array in (x, dy, gamma, mean, mean**2 + 1, beta)]
        own.batchnorm_frozen(arrays[0], arrays[2], arrays[5], *arrays[3:5], eps=1e-3)
        sums = own.asarray(np.zeros_like(gamma)), own.asarray(np.zeros_like(gamma))
        own.batchnorm_frozen_grad(arrays[1], arrays[0], arrays[2], *arrays[3:5], eps=1e-3, add_to=sums)
        calls.append(ranks.calls)

    on_ranks(2, work)
    assert calls == [0, 0]
