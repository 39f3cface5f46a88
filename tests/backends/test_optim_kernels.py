"""adam_step and sgd_step: one step against the formula, many steps against an oracle and PyTorch."""

import naive
import numpy as np
import pytest
from calling import DTYPES, assert_close, assert_same_bits, draws, dtypes, seeds, to_backend, to_host, update
from hypothesis import given
from hypothesis import strategies as st

lengths = st.integers(1, 70)
rates = st.sampled_from([0.0, 2e-4, 0.01, 1.0])
betas = st.sampled_from([0.0, 0.5, 0.9, 0.999])


@given(lengths, rates, betas, betas, st.sampled_from([1e-8, 1e-3]), st.integers(1, 5000), dtypes, seeds)
def test_adam_step_is_the_formula(backend, length, lr, beta1, beta2, eps, step, dtype, seed):
    w, dw, m, v = draws(seed, dtype, *[(length,)] * 4)
    # With beta2 = 0 a tiny gradient divided by its own size still counts: stay away from 0 / eps.
    dw, v = (dw + np.sign(dw)).astype(dtype), v**2
    settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "step": step}
    after_w, _, after_m, after_v = update(backend, "adam_step", w, dw, m, v, **settings)
    for actual, expected in zip((after_w, after_m, after_v), naive.adam_step(w, dw, m, v, **settings), strict=True):
        assert_close(actual, expected)


@given(lengths, rates, betas, dtypes, seeds)
def test_sgd_step_is_the_formula(backend, length, lr, momentum, dtype, seed):
    w, dw, velocity = draws(seed, dtype, *[(length,)] * 3)
    after_w, _, after_velocity = update(backend, "sgd_step", w, dw, velocity, lr=lr, momentum=momentum)
    expected = naive.sgd_step(w, dw, velocity, lr=lr, momentum=momentum)
    assert_close(after_w, expected[0])
    assert_close(after_velocity, expected[1])


ADAM = {"lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "eps": 1e-8}
SGD = {"lr": 0.01, "momentum": 0.9}


def walk(backend, kernel, gradients, states, **settings):
    """w after a step along each gradient, from a fixed start; the arrays live on the backend all the way."""
    (w,) = draws(0, gradients.dtype, gradients.shape[1:])
    arrays = to_backend(backend, (w, *np.zeros((states, len(w)), w.dtype)))
    for step, dw in enumerate(gradients, start=1):
        counter = {"step": step} if kernel == "adam_step" else {}
        getattr(backend, kernel)(arrays[0], backend.asarray(dw), *arrays[1:], **settings, **counter)
    return to_host(backend, arrays)[0]


def gradients(dtype, steps=400, length=37):
    """Of sizes from 1e-6 to 10, so that eps matters for some and for others does not; and one always zero."""
    (noise,) = draws(21, dtype, (steps, length))
    scaled = (noise * np.logspace(-6, 1, length)).astype(dtype)
    scaled[:, 0] = 0
    return scaled


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_many_steps_of_adam_stay_with_a_float64_oracle(backend, dtype):
    steps = gradients(dtype)
    (w,) = draws(0, dtype, steps.shape[1:])
    m = v = np.zeros(w.shape)
    for step, dw in enumerate(steps, start=1):
        w, m, v = naive.adam_step(w, dw, m, v, **ADAM, step=step)
    assert_close(walk(backend, "adam_step", steps, 2, **ADAM), w)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_many_steps_of_sgd_stay_with_a_float64_oracle(backend, dtype):
    steps = gradients(dtype)
    (w,) = draws(0, dtype, steps.shape[1:])
    velocity = np.zeros(w.shape)
    for dw in steps:
        w, velocity = naive.sgd_step(w, dw, velocity, **SGD)
    assert_close(walk(backend, "sgd_step", steps, 1, **SGD), w)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", ["adam_step", "sgd_step"])
def test_many_steps_agree_with_pytorch(backend, kernel, dtype):
    torch = pytest.importorskip("torch")
    steps = gradients(dtype, steps=100)
    w = torch.nn.Parameter(torch.from_numpy(draws(0, dtype, steps.shape[1:])[0]))
    if kernel == "adam_step":
        states, settings = 2, ADAM
        optimizer = torch.optim.Adam([w], lr=ADAM["lr"], betas=(ADAM["beta1"], ADAM["beta2"]), eps=ADAM["eps"])
    else:
        states, settings = 1, SGD
        optimizer = torch.optim.SGD([w], lr=SGD["lr"], momentum=SGD["momentum"])
    for dw in steps:
        w.grad = torch.from_numpy(dw.copy())
        optimizer.step()
    assert_close(walk(backend, kernel, steps, states, **settings), w.detach().numpy())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_zero_gradient_with_no_past_moves_nothing(backend, dtype):
    (w,) = draws(1, dtype, (9,))
    zeros = np.zeros_like(w)
    assert_same_bits(update(backend, "adam_step", w, zeros, zeros, zeros, **ADAM, step=1)[0], w)
    assert_same_bits(update(backend, "sgd_step", w, zeros, zeros, **SGD)[0], w)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_in_a_gradient_reaches_its_own_weight_only(backend, dtype):
    w, dw, m, v = draws(1, dtype, *[(101,)] * 4)
    dw[99] = np.nan
    expected = np.isnan(dw)
    for array in update(backend, "adam_step", w, dw, m, v**2, **ADAM, step=3):
        np.testing.assert_array_equal(np.isnan(array), expected)
    for array in update(backend, "sgd_step", w, dw, m, **SGD):
        np.testing.assert_array_equal(np.isnan(array), expected)


@pytest.mark.parametrize("kernel", ["adam_step", "sgd_step"])
def test_views_into_an_arena_are_updated_and_their_neighbours_are_not(backend, kernel):
    """A network's parameters are one block, and an optimiser may be given a piece of it."""
    states, settings = (2, {**ADAM, "step": 1}) if kernel == "adam_step" else (1, SGD)
    arrays = [backend.asarray(t) for t in draws(2, np.float32, *[(30,)] * (2 + states))]
    arrays[-1] **= 2
    before = [np.array(backend.to_numpy(t)) for t in arrays]
    getattr(backend, kernel)(*(t[7:18] for t in arrays), **settings)
    inside = (np.arange(30) >= 7) & (np.arange(30) < 18)
    for index, (array, old) in enumerate(zip(arrays, before, strict=True)):
        changed = backend.to_numpy(array) != old
        np.testing.assert_array_equal(changed, inside & (index != 1))
