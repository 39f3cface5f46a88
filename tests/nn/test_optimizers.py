"""Optimizers on a network's arena; the kernels themselves are tested in `backends/`."""

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import CheckpointError, ConfigError
from minigan.nn.layers import Dense
from minigan.nn.network import Sequential
from minigan.nn.optimizers import SGD, Adam, AdamW, Clipping, Optimizer, RMSprop
from minigan.nn.schedules import ExponentialDecay

OPTIMIZERS = {
    "Adam": lambda arena: Adam(arena, lr=2e-2, beta1=0.5, beta2=0.9),
    "Adam, eps": lambda arena: Adam(arena, lr=2e-2, eps=1e-2),
    "Adam, decaying": lambda arena: Adam(arena, lr=ExponentialDecay(0.1, 0.5, every=2)),
    "AdamW": lambda arena: AdamW(arena, lr=2e-2, weight_decay=0.3),
    "RMSprop": lambda arena: RMSprop(arena, lr=2e-2, decay=0.9, eps=1e-4),
    "SGD": lambda arena: SGD(arena, lr=0.1),
    "SGD, momentum": lambda arena: SGD(arena, lr=0.1, momentum=0.9),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


def network(backend: Backend, *, dtype: str = "float64") -> Sequential:
    net = Sequential([Dense(3), Dense(5)])
    return net.build((4,), backend=backend, dtype=dtype, rng=np.random.default_rng(0))


def gradients(net: Sequential, seed: int):
    """Random in the parameters, zero in the gaps, as backward leaves them."""
    grads, rng = net.gradients(), np.random.default_rng(seed)
    for _, p in net.named_parameters():
        grads[p][...] = net.kernels.asarray(rng.normal(size=p.shape), dtype=net.dtype)
    return grads


def train(net: Sequential, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.step(gradients(net, step))


def naive_adam(w, grads, *, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, dw in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * dw
        v = beta2 * v + (1 - beta2) * dw**2
        w = w - lr(t - 1) * weight_decay * w
        w = w - lr(t - 1) * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w


def naive_sgd(w, grads, *, lr, momentum=0.0):
    velocity = np.zeros_like(w)
    for dw in grads:
        velocity = momentum * velocity + dw
        w = w - lr * velocity
    return w


def naive_rmsprop(w, grads, *, lr, decay, eps):
    square = np.zeros_like(w)
    for dw in grads:
        square = decay * square + (1 - decay) * dw**2
        w = w - lr * dw / (np.sqrt(square) + eps)
    return w


NAIVE = {
    "AdamW": lambda w, grads: naive_adam(w, grads, lr=lambda _: 2e-2, weight_decay=0.3),
    "RMSprop": lambda w, grads: naive_rmsprop(w, grads, lr=2e-2, decay=0.9, eps=1e-4),
    "Adam": lambda w, grads: naive_adam(w, grads, lr=lambda _: 2e-2, beta1=0.5, beta2=0.9),
    "Adam, eps": lambda w, grads: naive_adam(w, grads, lr=lambda _: 2e-2, eps=1e-2),
    "Adam, decaying": lambda w, grads: naive_adam(w, grads, lr=lambda step: 0.1 * 0.5 ** (step / 2)),
    "SGD": lambda w, grads: naive_sgd(w, grads, lr=0.1),
    "SGD, momentum": lambda w, grads: naive_sgd(w, grads, lr=0.1, momentum=0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_the_algorithm(backend: Backend, name: str):
    net = network(backend)
    expected = NAIVE[name](
        np.array(backend.to_numpy(net.arena.flat)),
        [np.array(backend.to_numpy(gradients(net, step).flat)) for step in range(5)],
    )
    train(net, OPTIMIZERS[name](net.arena), range(5))
    np.testing.assert_allclose(backend.to_numpy(net.arena.flat), expected, rtol=1e-12, atol=1e-14)


@every_optimizer
def test_gaps_stay_zero_and_gradients_are_left_alone(backend: Backend, make):
    net = network(backend)
    grads = gradients(net, 0)
    before = np.array(backend.to_numpy(grads.flat))
    optimizer = make(net.arena)
    optimizer.step(grads)
    assert (backend.to_numpy(grads.flat) == before).all()
    in_use = np.zeros(net.arena.flat.size, bool)
    offset = 0
    for _, p in net.arena.items():  # noqa: PERF102 (no dict)
        in_use[offset : offset + p.size] = True
        offset += -(-p.size // 16) * 16
    for flat in (net.arena.flat, *optimizer.buffers.values()):
        assert not backend.to_numpy(flat)[~in_use].any()


@every_optimizer
def test_the_state_makes_training_go_on_bit_for_bit(backend: Backend, make):
    straight = network(backend, dtype="float32")
    train(straight, make(straight.arena), range(6))

    first = network(backend, dtype="float32")
    optimizer = make(first.arena)
    train(first, optimizer, range(3))
    weights, state = first.arena.to_dict(), optimizer.to_dict()
    train(first, optimizer, range(3, 6))  # what was handed out must be copies

    second = network(backend, dtype="float32")
    second.arena.load_dict(weights)
    optimizer = make(second.arena)
    optimizer.load_dict(state)
    assert optimizer.steps == 3
    train(second, optimizer, range(3, 6))
    expected = backend.to_numpy(straight.arena.flat).tobytes()
    assert backend.to_numpy(first.arena.flat).tobytes() == expected
    assert backend.to_numpy(second.arena.flat).tobytes() == expected


def test_gradients_are_clipped_before_the_step_and_weights_after_it(backend: Backend):
    net, twin = network(backend), network(backend)
    w, dw = (np.array(backend.to_numpy(a)) for a in (net.arena.flat, gradients(net, 0).flat))
    grads = gradients(net, 0)
    SGD(net.arena, lr=0.1, clipping=Clipping(norm=0.5, value=0.2, weights=0.3)).step(grads)
    by_value = dw.clip(-0.2, 0.2)
    clipped = by_value * 0.5 / np.linalg.norm(by_value)
    np.testing.assert_allclose(backend.to_numpy(grads.flat), clipped, rtol=1e-12)
    np.testing.assert_allclose(backend.to_numpy(net.arena.flat), (w - 0.1 * clipped).clip(-0.3, 0.3), rtol=1e-12)

    SGD(twin.arena, lr=0.1, clipping=Clipping(norm=1e3, value=1e3, weights=1e3)).step(gradients(twin, 0))
    np.testing.assert_allclose(backend.to_numpy(twin.arena.flat), w - 0.1 * dw, rtol=1e-12)


def broken_states(state):
    yield "a missing buffer", {k: v for k, v in state.items() if k != "m"}
    yield "an unknown one", state | {"velocity": state["m"]}
    yield "another size", state | {"m": state["m"][:-1]}
    yield "another dtype", state | {"v": state["v"].astype(np.float32)}
    yield "no steps", {k: v for k, v in state.items() if k != "steps"}


def test_a_state_that_does_not_fit_changes_nothing(backend: Backend):
    net = network(backend)
    optimizer = Adam(net.arena, lr=0.1)
    train(net, optimizer, range(2))
    good = optimizer.to_dict()
    for what, state in broken_states(good):
        with pytest.raises(CheckpointError, match="a file: expected the state of Adam"):
            optimizer.load_dict(state, source="a file")
        assert optimizer.steps == 2, what
        assert all((optimizer.to_dict()[k] == good[k]).all() for k in good), what


def test_counting(backend: Backend):
    net = network(backend)
    optimizer = SGD(net.arena, lr=ExponentialDecay(1.0, 0.5, every=1))
    assert (optimizer.steps, optimizer.lr, net.arena.version) == (0, 1.0, 0)
    train(net, optimizer, range(2))
    assert (optimizer.steps, optimizer.lr, net.arena.version) == (2, 0.25, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda arena: Adam(arena, lr=0.1, beta1=1.0), "Adam: beta1 must be in [0, 1), got 1.0."),
        (lambda arena: Adam(arena, lr=0.1, beta2=-0.1), "Adam: beta2 must be in [0, 1), got -0.1."),
        (lambda arena: Adam(arena, lr=0.1, eps=0), "Adam: eps must be positive, got 0."),
        (lambda arena: AdamW(arena, lr=0.1, beta1=1.0), "AdamW: beta1 must be in [0, 1), got 1.0."),
        (
            lambda arena: AdamW(arena, lr=0.1, weight_decay=-1),
            "AdamW: weight_decay must be a finite number from 0",
        ),
        (lambda arena: RMSprop(arena, lr=0.1, decay=1), "RMSprop: decay must be in [0, 1), got 1."),
        (lambda arena: SGD(arena, lr=0.1, momentum=1), "SGD: momentum must be in [0, 1), got 1."),
        (lambda _: Clipping(norm=0), "Clipping: norm must be positive, got 0"),
        (lambda _: Clipping(weights=float("nan")), "Clipping: weights must be positive, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(reference: Backend, make, says: str):
    with pytest.raises(ConfigError) as caught:
        make(network(reference).arena)
    assert says in str(caught.value)


def test_gradients_of_another_network_are_refused(backend: Backend):
    one, two = (Dense(2).build((3,), backend=backend, rng=np.random.default_rng(0)) for _ in range(2))
    before = backend.to_numpy(one.arena.flat).copy()
    with pytest.raises(
        ConfigError, match=r"Adam: these gradients are of another network, or .*built again\. Use the gradients\(\)"
    ):
        Adam(one.arena, lr=1e-3).step(two.gradients())
    np.testing.assert_array_equal(backend.to_numpy(one.arena.flat), before)


def test_a_network_in_place_of_its_arena_is_refused():
    layer = Dense(2).build((3,), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"Pass net\.arena"):
        SGD(layer, lr=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("lr", [-1.0, np.nan, np.inf, None])
def test_a_rate_that_is_none_is_refused(lr):
    layer = Dense(2).build((3,), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="a learning rate must be positive"):
        Adam(layer.arena, lr=lr)
