"""Kernels of a step besides those of its layers: losses of logits, running statistics, checks of numbers."""

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from calling import DTYPES, assert_close, draws

from minigan.backends import get_backend
from minigan.backends.reference import ReferenceBackend
from minigan.losses import get_loss
from minigan.losses.logits import mean_cross_entropy, mean_probability

pytestmark = pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler for running CUDA on the CPU")

EDGES = [0.0, -0.0, 1e-8, -1e-8, 30.0, -30.0, 200.0, -200.0, np.inf, -np.inf]


@pytest.fixture(scope="module")
def gpu():
    with fake_cupy.installed():
        yield type(get_backend("gpu"))(precision="fp32")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("target", [0.0, 1.0, 0.9])
@pytest.mark.parametrize("shape", [(7, 1), (3, 20, 21, 1)], ids=str)
def test_cross_entropy(gpu, dtype, target, shape):
    (logits,) = draws(1, dtype, shape)
    value, gradient = map(gpu.to_numpy, mean_cross_entropy(gpu.asarray(4 * logits), target))
    wanted, wanted_gradient = mean_cross_entropy(4 * logits.astype(np.float64), target)
    assert (value.shape, gradient.shape) == ((), shape)
    assert value.dtype == gradient.dtype == dtype
    assert_close(value, np.asarray(wanted))
    assert_close(gradient * logits.size, np.asarray(wanted_gradient) * logits.size)


@pytest.mark.parametrize("logit", EDGES)
@pytest.mark.parametrize("target", [0.0, 1.0, 0.9])
def test_cross_entropy_at_the_edges(gpu, logit, target):
    """A certain and right answer costs nothing, every other certain one infinity."""
    logits = np.array([[logit]], np.float32)
    value, gradient = map(gpu.to_numpy, mean_cross_entropy(gpu.asarray(logits), target))
    with np.errstate(invalid="ignore"):
        wanted, wanted_gradient = mean_cross_entropy(logits.astype(np.float64), target)
    np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-5, atol=1e-7)


def test_what_is_no_number_stays_so(gpu):
    logits = gpu.asarray(np.array([[1.0], [np.nan]], np.float32))
    value, gradient = map(gpu.to_numpy, mean_cross_entropy(logits, 1.0))
    assert np.isnan(value)
    assert np.isnan(gradient[1]).all()
    assert np.isfinite(gradient[0]).all()
    assert np.isnan(gpu.to_numpy(mean_probability(logits)))


def test_the_losses_use_them(gpu):
    (logits,) = draws(2, np.float32, (9, 1))
    loss = get_loss("non-saturating")
    for one, other in (
        (loss.generator(gpu.asarray(logits)), loss.generator(logits)),
        (loss.discriminator(gpu.asarray(logits), 0.0), loss.discriminator(logits, 0.0)),
        ((loss.verdict(gpu.asarray(logits)),), (loss.verdict(logits),)),
    ):
        for actual, expected in zip(one, other, strict=True):
            assert_close(gpu.to_numpy(actual), np.asarray(expected))


def test_running_statistics(gpu):
    arrays = draws(3, np.float32, *[(300,)] * 4)
    (mean, var, batch_mean, batch_var), wanted = map(gpu.asarray, arrays), [a.copy() for a in arrays]
    options = {"momentum": 0.9, "count": 17}
    gpu.move_statistics((mean, var), (batch_mean, batch_var), **options)
    ReferenceBackend().move_statistics((wanted[0], wanted[1]), (wanted[2], wanted[3]), **options)
    assert_close(gpu.to_numpy(mean), wanted[0])
    assert_close(gpu.to_numpy(var), wanted[1])


@pytest.mark.parametrize("number", [2.0, -2.0, 1.5, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("limit", [2.0, np.inf])
@pytest.mark.parametrize("size", [1, 5, 1003])
def test_a_flag_is_cleared_by_one_number(gpu, number, limit, size):
    for place in {0, size // 2, size - 1}:
        array = np.zeros(size, np.float32)
        array[place] = number
        for before in (True, False):
            flags = [backend.asarray(np.array(before)) for backend in (gpu, ReferenceBackend())]
            gpu.clear_unless_below(flags[0], gpu.asarray(array), limit=limit)
            ReferenceBackend().clear_unless_below(flags[1], array, limit=limit)
            assert bool(flags[0]) == bool(flags[1]) == (before and bool(abs(number) < limit))
