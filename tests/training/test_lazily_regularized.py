"""Regularization in updates of its own: which updates they are, their gradients, and what a checkpoint must hold."""

from itertools import count, islice

import numpy as np
import pytest

from minigan.errors import ConfigError
from minigan.losses import NonSaturating
from minigan.losses.gradient_penalties import R1
from minigan.losses.path_length import PathLength
from minigan.nn import (
    Adam,
    ConcatCondition,
    Conv2D,
    Dense,
    Flatten,
    LeakyReLU,
    PixelNorm,
    Reshape,
    Sequential,
    Tanh,
    check_gradient,
)
from minigan.nn.layers import LearnedConstant
from minigan.nn.network.mapping import MappedCondition, MappingNetwork
from minigan.nn.network.styled import Styled
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.lazily_regularized import LazilyRegularized, lazy_share

N, ROWS, F, CLASSES = 6, 3, 5, 2


def generator(*, mixing: float = 0.6, classes: int = 0) -> Sequential:
    """Styles that are joined to a constant, and a few dense layers."""
    first = [MappedCondition((classes,), [Dense(2)], [ConcatCondition((2,))])] if classes else []
    mapping = MappingNetwork([PixelNorm(), *first, Dense(F), Tanh()], rows=ROWS, mixing=mixing)
    synthesis = [LearnedConstant((ROWS, 2)), ConcatCondition((ROWS, F)), Flatten(), Dense(12), Tanh(), Dense(16)]
    return Sequential([mapping, Styled([*synthesis, Reshape((4, 4, 1))])], name="G")


def learner(
    *, d_every: int = 4, g_every: int = 3, accumulate: int = 1, classes: int = 0, dtype: str = "float32"
) -> LazilyRegularized:
    rng, how = np.random.default_rng(0), {"backend": "reference", "dtype": dtype}
    G = generator(classes=classes).build((4,), rng=rng, **how)
    D = Sequential([Conv2D(3, 3), LeakyReLU(), Flatten(), Dense(1)], name="D").build((4, 4, 1), rng=rng, **how)
    return LazilyRegularized(
        G,
        D,
        loss=NonSaturating(),
        noise=lambda rng, n: rng.standard_normal((n, 4)),
        g_optimizer=Adam(G.arena, lr=1e-3, beta1=0, beta2=0.99),
        d_optimizer=Adam(D.arena, lr=1e-3, beta1=0, beta2=0.99),
        penalty=R1(weight=0.5, interval=d_every) if d_every else None,
        path_length=PathLength(interval=g_every) if g_every else None,
        accumulate=accumulate,
    )


def batches(classes: int = 0):
    for seed in count():
        rng = np.random.default_rng(seed)
        real = rng.standard_normal((N, 4, 4, 1)).astype(np.float32)
        c = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=N)] if classes else None
        yield Batch(real, condition=c)


def test_the_share_keeps_what_adam_does_in_an_interval():
    for k in (1, 4, 16):
        assert (k + 1) * lazy_share(k) == pytest.approx(k)
        assert (0.99 ** lazy_share(k)) ** (k + 1) == pytest.approx(0.99**k)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_first_update_of_each_interval_is_followed_by_its_regularization(accumulate: int):
    gan, rng, data = learner(accumulate=accumulate), np.random.default_rng(1), batches()
    seen, lengths = [], []
    for step in range(9):
        kind, updates = gan.kind(), (gan.d_optimizer.steps, gan.g_optimizer.steps)
        values = gan.step(data, rng)
        more = gan.d_optimizer.steps - updates[0] - 1, gan.g_optimizer.steps - updates[1] - 1
        assert more == (step % 4 == 0, step % 3 == 0)
        assert kind[-2:] == more  # which a device must know before the step
        assert (float(values.d_penalty) > 0) == bool(more[0])
        seen.append(more)
        lengths.append(gan.measures()["path_length"])
    assert lengths[0] > 0
    assert [lengths[k] != lengths[k - 1] for k in range(1, 9)] == [more[1] for more in seen[1:]]


def test_without_regularization_it_is_the_alternating_optimizer():
    gan = learner(d_every=0, g_every=0)
    other = learner(d_every=0, g_every=0)
    plain = AlternatingOptimizer(
        other.G,
        other.D,
        loss=other.loss,
        noise=other.noise,
        g_optimizer=other.g_optimizer,
        d_optimizer=other.d_optimizer,
    )
    for trained in (gan, plain):
        data, rng = batches(), np.random.default_rng(2)
        for _ in range(3):
            trained.step(data, rng)
    np.testing.assert_array_equal(gan.G.arena.flat, plain.G.arena.flat)
    np.testing.assert_array_equal(gan.G.state.flat, plain.G.state.flat)
    assert gan.measures() == {}


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_a_resumed_training_goes_on_bit_for_bit(classes: int):
    """From between two updates of each regularization: no counter is kept but the optimizers'."""
    data = list(islice(batches(classes), 8))
    whole = learner(classes=classes)
    rng = np.random.default_rng(3)
    for batch in data[:3]:
        whole.step(iter([batch]), rng)
    resumed, draws = learner(classes=classes), np.random.default_rng(0)
    resumed.load_dict(whole.to_dict())
    draws.bit_generator.state = rng.bit_generator.state
    for batch in data[3:]:
        whole.step(iter([batch]), rng)
        resumed.step(iter([batch]), draws)
    for name, array in whole.to_dict().items():
        assert array.tobytes() == resumed.to_dict()[name].tobytes(), name


@pytest.mark.parametrize("mixing", [0.0, 0.7])
def test_the_gradient_of_the_path_length(mixing: float):
    """Every weight of the mapping and of the synthesis, against finite differences."""
    rng = np.random.default_rng(0)
    G = generator(mixing=mixing, classes=CLASSES)
    G.build((4,), backend="reference", dtype="float64", rng=rng)
    c = np.eye(CLASSES)[rng.integers(CLASSES, size=4)]
    z, penalty, state = rng.standard_normal((4, 4)), PathLength(decay=1e-15, weight=3, interval=2), G.state
    state.flat[...] = 0.3  # the mean that lengths are compared with

    def value() -> float:
        grads = G.gradients()
        return float(penalty.add_gradients(G.given(c), z, grads=grads, rng=np.random.default_rng(5)))

    grads = G.gradients()
    penalty.add_gradients(G.given(c), z, grads=grads, rng=np.random.default_rng(5))
    for name, parameter in G.named_parameters():
        found = check_gradient(value, parameter.value, grads[parameter], path="G", what=name, rng=rng, scale=10)
        assert found.passed, str(found)
    nonzero = {name for name, p in G.named_parameters() if np.abs(grads[p]).max() > 1e-6}
    assert {"0.inner.1.mapping.0.w", "0.inner.2.w", "1.inner.3.w", "1.inner.5.w"} <= nonzero


def test_the_mean_path_length_follows_the_lengths():
    G = generator().build((4,), backend="reference", rng=np.random.default_rng(0))
    mapping, penalty = G.layers[0], PathLength(decay=0.5)
    z = np.random.default_rng(1).standard_normal((N, 4)).astype(np.float32)
    for _ in range(30):
        penalty.add_gradients(G, z, grads=G.gradients(), rng=np.random.default_rng(2))
    lengths = float(mapping.path_length.value[0])
    value = penalty.add_gradients(G, z, grads=G.gradients(), rng=np.random.default_rng(2))
    assert float(mapping.path_length.value[0]) == pytest.approx(lengths, rel=1e-4)
    assert 0 < float(value) < 8 * lengths**2  # the variance of the lengths, with weight and interval


def test_the_mean_style_follows_training_and_truncation_uses_it():
    gan, rng, data = learner(d_every=0, g_every=0), np.random.default_rng(1), batches()
    mapping = gan.G.layers[0]
    for _ in range(3):
        before = mapping.w_avg.value.copy()
        gan.step(data, rng)
        assert (mapping.w_avg.value != before).any()
    z = rng.standard_normal((4, 4)).astype(np.float32)
    w = mapping.forward(z, train=False)[0]
    mean = mapping.w_avg.value
    for share in (0.0, 0.5, 1.0):
        narrowed = mapping.truncated(share).forward(z, train=False)[0]
        np.testing.assert_allclose(narrowed, mean + share * (w - mean), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(narrowed[:, 0], narrowed[:, -1])


def test_mixed_styles_are_those_of_another_z_from_a_layer_on():
    layer = MappingNetwork([Dense(F), Tanh()], rows=8, mixing=0.5)
    layer.build((4,), backend="reference", rng=np.random.default_rng(0))
    z = np.random.default_rng(1).standard_normal((400, 4)).astype(np.float32)
    w = layer.forward(z, train=False)[0]
    mixed, _ = layer.forward(z, train=True, rng=np.random.default_rng(2))
    own = (mixed == w).all(axis=2)
    assert own[:, 0].all()
    assert (np.diff(own.astype(int), axis=1) <= 0).all()  # once another style, always
    assert 0.4 < (~own[:, -1]).mean() < 0.6
    others = mixed[~own[:, -1]]
    np.testing.assert_array_equal(np.unique(own[~own[:, -1]].sum(axis=1)), np.arange(1, 8))
    assert (others[:, -1] != w[~own[:, -1]][:, -1]).any(axis=1).all()


def test_what_has_no_styles_is_refused():
    gan = learner(g_every=0)
    G = Sequential([Dense(16), Reshape((4, 4, 1))], name="G")
    G.build((4,), backend="reference", rng=np.random.default_rng(0))
    how = {"loss": gan.loss, "noise": gan.noise, "d_optimizer": gan.d_optimizer}
    with pytest.raises(ConfigError, match=r"G: expected a generator that begins with a MappingNetwork, got a Dense\."):
        LazilyRegularized(G, gan.D, g_optimizer=Adam(G.arena, lr=1e-3), path_length=PathLength(), **how)
    with pytest.raises(ConfigError, match="one row has nothing to mix"):
        MappingNetwork([Dense(2)], rows=1, mixing=0.5)
    with pytest.raises(ConfigError, match="weight must be positive, got 0"):
        PathLength(weight=0)
