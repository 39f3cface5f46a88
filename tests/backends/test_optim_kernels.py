"""Optimizer kernels: one step against the formula, many steps against an oracle and PyTorch."""

import naive
import numpy as np
import pytest
from calling import assert_close, assert_same_bits, draws, every_dtype, seeds, to_backend, to_host, update
from hypothesis import given
from hypothesis import strategies as st

lengths = st.integers(1, 70)
rates = st.sampled_from([0.0, 2e-4, 0.01, 1.0])
betas = st.sampled_from([0.0, 0.5, 0.9, 0.999])


decays = st.sampled_from([0.0, 0.01, 0.5])


@every_dtype
@given(lengths, rates, betas, betas, decays, st.sampled_from([1e-8, 1e-3]), st.integers(1, 5000), seeds)
def test_adam_step_is_the_formula(backend, dtype, length, lr, beta1, beta2, weight_decay, eps, step, seed):
    w, dw, m, v = draws(seed, dtype, *[(length,)] * 4)
    # With beta2 = 0 a tiny gradient divided by its own size still counts: stay away from 0 / eps.
    dw, v = (dw + np.sign(dw)).astype(dtype), v**2
    settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "step": step, "weight_decay": weight_decay}
    after_w, _, after_m, after_v = update(backend, "adam_step", w, dw, m, v, **settings)
    for actual, expected in zip((after_w, after_m, after_v), naive.adam_step(w, dw, m, v, **settings), strict=True):
        assert_close(actual, expected)


@every_dtype
@given(lengths, rates, betas, seeds)
def test_sgd_step_is_the_formula(backend, dtype, length, lr, momentum, seed):
    w, dw, velocity = draws(seed, dtype, *[(length,)] * 3)
    after_w, _, after_velocity = update(backend, "sgd_step", w, dw, velocity, lr=lr, momentum=momentum)
    expected = naive.sgd_step(w, dw, velocity, lr=lr, momentum=momentum)
    assert_close(after_w, expected[0])
    assert_close(after_velocity, expected[1])


@every_dtype
@given(lengths, rates, betas, st.sampled_from([1e-8, 1e-3]), seeds)
def test_rmsprop_step_is_the_formula(backend, dtype, length, lr, decay, eps, seed):
    w, dw, square = draws(seed, dtype, *[(length,)] * 3)
    dw, square = (dw + np.sign(dw)).astype(dtype), square**2
    after_w, _, after_square = update(backend, "rmsprop_step", w, dw, square, lr=lr, decay=decay, eps=eps)
    expected = naive.rmsprop_step(w, dw, square, lr=lr, decay=decay, eps=eps)
    assert_close(after_w, expected[0])
    assert_close(after_square, expected[1])


@every_dtype
@given(lengths, st.sampled_from([0.0, 0.5, 0.999, 1.0]), seeds)
def test_ema_step_is_the_formula(backend, dtype, length, decay, seed):
    average, w = draws(seed, dtype, *[(length,)] * 2)
    after, _ = update(backend, "ema_step", average, w, decay=decay)
    assert_close(after, naive.ema_step(average, w, decay=decay))


@every_dtype
@given(lengths, st.sampled_from([1e-3, 0.7, 5.0, 1e3]), seeds)
@pytest.mark.parametrize("kernel", ["clip_norm", "clip_value"])
def test_clipping_is_the_formula(backend, kernel, dtype, length, limit, seed):
    (x,) = draws(seed, dtype, (length,))
    (after,) = update(backend, kernel, x, limit=limit)
    assert_close(after, getattr(naive, kernel)(x, limit=limit))
    size = np.linalg.norm(after.astype(np.float64)) if kernel == "clip_norm" else abs(after).max()
    assert size <= limit * (1 + 1e-6)


@pytest.mark.parametrize("kernel", ["clip_norm", "clip_value"])
def test_what_is_within_the_limit_keeps_its_bits(backend, kernel):
    for x in (draws(3, np.float32, (1001,))[0], np.zeros(5, np.float32)):
        assert_same_bits(update(backend, kernel, x, limit=100.0)[0], x)


def test_a_norm_whose_square_is_too_large_for_single_precision(backend):
    (x,) = update(backend, "clip_norm", np.full(1000, 1e19, np.float32), limit=1.0)
    np.testing.assert_allclose(x, 1000**-0.5, rtol=1e-6)


def test_clipping_parts_of_several_threads(backend):
    (x,) = draws(5, np.float32, (200_003,))
    assert_close(update(backend, "clip_norm", x, limit=2.0)[0], naive.clip_norm(x, limit=2.0))
    assert_close(update(backend, "clip_value", x, limit=0.5)[0], x.clip(-0.5, 0.5))


ADAM = {"lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "eps": 1e-8}
SGD = {"lr": 0.01, "momentum": 0.9}
RMSPROP = {"lr": 1e-3, "decay": 0.99, "eps": 1e-8}
ADAMW = {**ADAM, "weight_decay": 0.05}
STEPS = {"Adam": ("adam_step", 2, ADAM), "AdamW": ("adam_step", 2, ADAMW), "SGD": ("sgd_step", 1, SGD),
         "RMSprop": ("rmsprop_step", 1, RMSPROP)}  # fmt: skip
every_step = pytest.mark.parametrize(("kernel", "states", "settings"), STEPS.values(), ids=STEPS.keys())


def walk(backend, kernel, gradients, states, **settings):
    """w after a step along each gradient, from a fixed start; the arrays live on the backend all the way."""
    (w,) = draws(0, gradients.dtype, gradients.shape[1:])
    arrays = to_backend(backend, (w, *np.zeros((states, len(w)), w.dtype)))
    for step, dw in enumerate(gradients, start=1):
        counter = {"step": step} if kernel == "adam_step" else {}
        getattr(backend, kernel)(arrays[0], backend.asarray(dw), *arrays[1:], **settings, **counter)
    return to_host(backend, arrays)[0]


def gradients(dtype, steps=400, length=37):
    """Gradients of sizes from 1e-6 to 10, so that eps matters for some but not for others; one is always zero."""
    (noise,) = draws(21, dtype, (steps, length))
    scaled = (noise * np.logspace(-6, 1, length)).astype(dtype)
    scaled[:, 0] = 0
    return scaled


@every_dtype
@every_step
def test_many_steps_stay_with_a_float64_oracle(backend, kernel, states, settings, dtype):
    steps = gradients(dtype)
    (w,) = draws(0, dtype, steps.shape[1:])
    memory = np.zeros((states, len(w)))
    for step, dw in enumerate(steps, start=1):
        counter = {"step": step} if kernel == "adam_step" else {}
        w, *memory = getattr(naive, kernel)(w, dw, *memory, **settings, **counter)
    assert_close(walk(backend, kernel, steps, states, **settings), w)


@every_dtype
@pytest.mark.parametrize("name", STEPS)
def test_many_steps_agree_with_pytorch(fast_backend, name, dtype):
    torch = pytest.importorskip("torch")
    kernel, states, settings = STEPS[name]
    steps = gradients(dtype, steps=100)
    w = torch.nn.Parameter(torch.from_numpy(draws(0, dtype, steps.shape[1:])[0]))
    adam = {"lr": ADAM["lr"], "betas": (ADAM["beta1"], ADAM["beta2"]), "eps": ADAM["eps"]}
    optimizer = {
        "Adam": lambda: torch.optim.Adam([w], **adam),
        "AdamW": lambda: torch.optim.AdamW([w], **adam, weight_decay=ADAMW["weight_decay"]),
        "SGD": lambda: torch.optim.SGD([w], lr=SGD["lr"], momentum=SGD["momentum"]),
        "RMSprop": lambda: torch.optim.RMSprop([w], lr=RMSPROP["lr"], alpha=RMSPROP["decay"], eps=RMSPROP["eps"]),
    }[name]()
    for dw in steps:
        w.grad = torch.from_numpy(dw.copy())
        optimizer.step()
    assert_close(walk(fast_backend, kernel, steps, states, **settings), w.detach().numpy())


@every_dtype
def test_clipping_and_averaging_agree_with_pytorch(backend, dtype):
    torch = pytest.importorskip("torch")
    average, w = draws(4, dtype, *[(301,)] * 2)
    lerped = torch.from_numpy(average.copy()).lerp_(torch.from_numpy(w), 1 - 0.99)
    assert_close(update(backend, "ema_step", average, w, decay=0.99)[0], lerped.numpy())
    p = torch.nn.Parameter(torch.zeros(301))
    for kernel, clip in (
        ("clip_norm", torch.nn.utils.clip_grad_norm_),
        ("clip_value", torch.nn.utils.clip_grad_value_),
    ):
        p.grad = torch.from_numpy(w.astype(np.float32))
        clip([p], 0.5)  # PyTorch adds 1e-6 to the norm
        assert_close(update(backend, kernel, w, limit=0.5)[0], p.grad.numpy(), tolerance=1e-6)


@every_dtype
def test_a_zero_gradient_with_no_past_moves_nothing(backend, dtype):
    (w,) = draws(1, dtype, (9,))
    zeros = np.zeros_like(w)
    assert_same_bits(update(backend, "adam_step", w, zeros, zeros, zeros, **ADAM, step=1)[0], w)
    assert_same_bits(update(backend, "sgd_step", w, zeros, zeros, **SGD)[0], w)
    assert_same_bits(update(backend, "rmsprop_step", w, zeros, zeros, **RMSPROP)[0], w)


@every_dtype
def test_nan_in_a_gradient_reaches_its_own_weight_only(backend, dtype):
    w, dw, m, v = draws(1, dtype, *[(101,)] * 4)
    dw[99] = np.nan
    expected = np.isnan(dw)
    for array in update(backend, "adam_step", w, dw, m, v**2, **ADAM, step=3):
        np.testing.assert_array_equal(np.isnan(array), expected)
    for array in update(backend, "sgd_step", w, dw, m, **SGD):
        np.testing.assert_array_equal(np.isnan(array), expected)
    for array in update(backend, "rmsprop_step", w, dw, v**2, **RMSPROP):
        np.testing.assert_array_equal(np.isnan(array), expected)
    for array in (update(backend, "ema_step", w, dw, decay=0.9)[0], update(backend, "clip_value", dw, limit=0.1)[0]):
        np.testing.assert_array_equal(np.isnan(array), expected)
    assert np.isnan(update(backend, "clip_norm", dw, limit=0.1)[0]).all()  # there is no norm to clip to


@every_step
def test_views_into_an_arena_are_updated_and_their_neighbors_are_not(backend, kernel, states, settings):
    """A network's parameters are one block, and an optimizer may be given a piece of it."""
    settings = {**settings, "step": 1} if kernel == "adam_step" else settings
    arrays = [backend.asarray(t) for t in draws(2, np.float32, *[(30,)] * (2 + states))]
    arrays[-1] **= 2
    before = [np.array(backend.to_numpy(t)) for t in arrays]
    getattr(backend, kernel)(*(t[7:18] for t in arrays), **settings)
    inside = (np.arange(30) >= 7) & (np.arange(30) < 18)
    for index, (array, old) in enumerate(zip(arrays, before, strict=True)):
        changed = backend.to_numpy(array) != old
        np.testing.assert_array_equal(changed, inside & (index != 1))
