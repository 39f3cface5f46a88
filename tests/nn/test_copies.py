"""Copies of built networks and of what updates them: `copy.deepcopy` is true, pickle is refused in words."""

import copy
import pickle

import numpy as np
import pytest

import minigan
from minigan.errors import ConfigError
from minigan.losses import NonSaturating
from minigan.nn import (
    Adam,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    LeakyReLU,
    Observer,
    Parallel,
    Residual,
    Sequential,
    SpectralNorm,
)
from minigan.training import AlternatingOptimizer, MovingAverage


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def network(backend: object) -> Sequential:
    layers = [
        Conv2D(4, 4, stride=2, padding=1),
        BatchNorm(),
        LeakyReLU(),
        Residual([SpectralNorm(Conv2D(4, 3))]),
        Flatten(),
        Parallel([[Dense(1)], [Dense(2)]]),
    ]
    return Sequential(layers, name="D").build((8, 8, 1), backend=backend, rng=rng())


def images(net: Sequential, seed: int = 1) -> np.ndarray:
    return net.kernels.asarray(rng(seed).standard_normal((6, *net.input_shape)), dtype=net.dtype)


def step(net: Sequential, optimizer: Adam, grads: object) -> np.ndarray:
    y, tape = net.forward(images(net), train=True)
    grads.zero()
    net.backward(net.kernels.xp.ones_like(y), tape, grads=grads)
    net.commit_statistics(tape)
    optimizer.step(grads)
    return net.kernels.to_numpy(y)


def numbers(net: Sequential) -> dict[str, np.ndarray]:
    return net.arena.to_dict() | net.state.to_dict()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kept", ["network", "unfused"])
def test_a_deep_copy_learns_as_the_original_does_and_leaves_it_alone(backend, kept):
    net = network(backend)
    if kept == "unfused":
        net.build((8, 8, 1), backend=backend, rng=rng(), fuse=False)
    before = numbers(net)
    other = copy.deepcopy(net)
    assert same(numbers(other), before)
    assert other.kernels is net.kernels
    twin = copy.deepcopy(other)
    twin.arena.flat.fill(3)
    twin.state.flat.fill(3)
    assert all((array == 3).all() for array in numbers(twin).values())  # each parameter is a view
    ys = [step(other, Adam(other.arena, lr=0.1), other.gradients())]
    assert same(numbers(net), before)
    assert not any(np.array_equal(before[name], value) for name, value in other.arena.to_dict().items() if ".w" in name)
    ys.append(step(net, Adam(net.arena, lr=0.1), net.gradients()))
    np.testing.assert_array_equal(*ys)
    assert same(numbers(net), numbers(other))


def test_a_deep_copy_of_network_gradients_and_optimizer_is_one_training(backend):
    net = network(backend)
    parts = (net, net.gradients(), Adam(net.arena, lr=0.1))
    step(net, parts[2], parts[1])
    # Whatever is copied first, the parts belong together.
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        copies = copy.deepcopy([parts[k] for k in order])
        other, grads, optimizer = (copies[order.index(k)] for k in range(3))
        assert optimizer.arena is grads.arena is other.arena is not net.arena
        assert optimizer.steps == 1
        assert other.arena.owner() is other
        twin = copy.deepcopy(parts)
        step(other, optimizer, grads)
        step(twin[0], twin[2], twin[1])
        assert same(numbers(other), numbers(twin[0]))
        assert not same(numbers(other), numbers(net))


def test_a_deep_copy_of_a_whole_gan_goes_on_with_the_same_bits():
    G = Sequential([Dense(8), LeakyReLU(), Dense(2)], name="G").build((3,), backend="reference", rng=rng(0))
    D = Sequential([Dense(8), LeakyReLU(), Dense(1)], name="D").build((2,), backend="reference", rng=rng(1))
    average = Sequential([Dense(8), LeakyReLU(), Dense(2)], name="G").build((3,), backend="reference", rng=rng(0))
    gan = AlternatingOptimizer(
        G,
        D,
        loss=NonSaturating(),
        noise=lambda rng, n: rng.standard_normal((n, 3)),
        g_optimizer=Adam(G.arena, lr=1e-2),
        d_optimizer=Adam(D.arena, lr=1e-2),
    )
    ema = MovingAverage(average, G, decay=0.9)
    data = iter(rng(2).standard_normal((8, 4, 2)).astype(np.float32))

    def train(gan, ema, batches):
        stream = rng(5)
        for x in batches:
            gan.step(iter([x]), stream)
            ema.update()
        return gan.to_dict() | ema.to_dict()

    train(gan, ema, [next(data)])
    twin, twin_ema = copy.deepcopy((gan, ema))
    batches = list(data)
    start = gan.to_dict()
    there = train(twin, twin_ema, batches)
    assert same(gan.to_dict(), start)
    assert same(train(gan, ema, batches), there)


def test_a_copied_gradient_keeps_a_destination_elsewhere():
    net = network("reference")
    w = net[0].w
    elsewhere = np.ones(w.shape, np.float32)
    grads = copy.deepcopy(net.gradients().with_destination(w, elsewhere))
    views = {name: grads[p] for name, p in grads.arena.items()}
    np.testing.assert_array_equal(views["0.w"], elsewhere)
    assert not np.shares_memory(views["0.w"], elsewhere)
    assert np.shares_memory(views["1.gamma"], grads.flat)


def test_a_deep_copy_of_a_slice_or_a_layer_is_free_and_complete():
    net = network("reference")
    front = copy.deepcopy(net[:-1])
    assert np.array_equal(front.forward(images(net), train=False)[0], net[:-1].forward(images(net), train=False)[0])
    before = numbers(net)
    front.build((4, 4, 1), backend="reference", rng=rng(3))
    copy.deepcopy(net[0]).build((5, 5, 2), backend="reference", rng=rng(3))
    assert same(numbers(net), before)
    parameter = copy.deepcopy(net[0].w)
    parameter.value += 1
    assert same(numbers(net), before)


def test_a_copy_is_not_observed():
    net = network("reference")
    with net.observed(Observer()):
        assert not copy.deepcopy(net).is_observed
        assert net.is_observed


@pytest.mark.parametrize("what", ["network", "layer", "arena", "gradients", "optimizer", "tape", "backend"])
def test_pickle_is_refused_in_one_line_that_says_what_to_use(backend, what):
    net = network(backend)
    items = {
        "network": net,
        "layer": net[0],
        "arena": net.arena,
        "gradients": net.gradients(),
        "optimizer": Adam(net.arena, lr=0.1),
        "tape": net.forward(images(net), train=True)[1],
        "backend": backend,
    }
    with pytest.raises(ConfigError, match=r"cannot be pickled, .*Write minigan\.save\(.*copy\.deepcopy\(net\)"):
        pickle.dumps(items[what])


def test_a_network_that_is_not_built_can_be_pickled_and_copied():
    plain = Sequential([Dense(3, bias=False), BatchNorm(momentum=0.5), LeakyReLU()], name="D")
    for other in (pickle.loads(pickle.dumps(plain)), copy.deepcopy(plain)):
        other.build((2,), backend="reference", rng=rng())
        assert not plain.is_built
        assert other[1].momentum == 0.5


def test_a_learner_whose_network_was_built_again_still_shows_itself():
    gan = minigan.get_recipe("mlp")(batch_size=4).assemble((28, 28, 1), backend="reference", rng=rng())
    assert "GeneratorTerm(weight=0.0001, function=mse)" in repr(gan) and " at 0x" not in repr(gan)
    gan.D.build((28, 28, 1), backend="reference", rng=rng())
    assert "  a network that was built again since; Adam(" in repr(gan)
    with pytest.raises(ConfigError, match=r"D: these gradients are of another network.*D\.gradients\(\)"):
        gan.step(iter([np.zeros((4, 28, 28, 1), np.float32)]), rng())
