"""D's real and fake batch as one: the same numbers as from two, and only where nothing in D depends on the batch."""

from itertools import count

import numpy as np
import pytest

from minigan.backends import get_backend
from minigan.losses import LOSSES, get_loss
from minigan.losses.gradient_penalties import R1
from minigan.nn.layers import (
    BatchNorm,
    ConcatCondition,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MinibatchStdDev,
    Reshape,
    Sigmoid,
    SpectralNorm,
)
from minigan.nn.layers.augmentation import Color
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Observer, Pass, Residual, Sequential
from minigan.nn.optimizers import SGD
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.joined import joinable_examples

IMAGE, LATENT, CLASSES, N = (4, 4, 1), 3, 5, 6


def body() -> list[Layer]:
    return [Conv2D(4, 3), LeakyReLU(), Flatten(), Dense(8), LeakyReLU(), Dense(1)]


def gan(loss="non-saturating", *, joined_bytes=1 << 20, conditional=False, penalty=None, backend="reference"):
    """On an engine of its own, so that the limit is nobody else's."""
    engine = type(get_backend(backend))()
    engine.joined_bytes = joined_bytes
    rng = np.random.default_rng(0)
    networks = []
    for name, layers in (("G", [Dense(16), Sigmoid(), Reshape(IMAGE)]), ("D", body())):
        front = [ConcatCondition((CLASSES,))] if conditional else []
        network = Sequential([*front, *layers], name=name)
        networks.append(network.build((LATENT,) if name == "G" else IMAGE, backend=engine, dtype="float64", rng=rng))
    G, D = networks
    return AlternatingOptimizer(
        G,
        D,
        loss=get_loss(loss),
        noise=lambda rng, n: rng.standard_normal((n, LATENT)),
        g_optimizer=SGD(G.arena, lr=0.1),
        d_optimizer=SGD(D.arena, lr=0.1),
        penalty=penalty,
    )


def batches(conditional=False):
    rng = np.random.default_rng(1)
    while True:
        classes = np.eye(CLASSES)[rng.integers(CLASSES, size=N)] if conditional else None
        yield Batch(rng.uniform(size=(N, *IMAGE)), condition=classes)


class ForwardPasses(Observer):
    """The number of examples in each of D's forward passes."""

    def __init__(self):
        self.examples = []

    def before(self, now: Pass) -> None:
        if now.kind == "forward" and now.network.path == "D" and now.layers[0] is now.network.layers[0]:
            self.examples.append(len(now.given))


@pytest.mark.parametrize("conditional", [False, True], ids=["", "conditional"])
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_on_joined_batches_are_those_on_separate_ones(loss, conditional):
    results, walks = [], []
    for limit in (0, 1 << 20):
        learner, seen = gan(loss, joined_bytes=limit, conditional=conditional), ForwardPasses()
        source, rng = batches(conditional), np.random.default_rng(2)
        with learner.observed(seen):
            values = [learner.step(source, rng) for _ in range(3)]
        results.append([np.array(values), *learner.to_dict().values(), learner.d_grads.flat])
        walks.append(sum(seen.examples[:2]) if limit == 0 else seen.examples[0])
        assert len(set(seen.examples)) == (1 if limit == 0 else 2)
    assert walks == [2 * N, 2 * N]
    for separate, joined in zip(*results, strict=True):
        np.testing.assert_allclose(joined, separate, rtol=1e-9, atol=1e-12)


def test_a_penalty_is_added_to_both():
    results = []
    for limit in (0, 1 << 20):
        learner = gan(joined_bytes=limit, penalty=R1(weight=3.0))
        values = learner.step(batches(), np.random.default_rng(2))
        assert values.d_penalty > 0
        results.append([np.array(values), learner.d_grads.flat])
    for separate, joined in zip(*results, strict=True):
        np.testing.assert_allclose(joined, separate, rtol=1e-9, atol=1e-12)


def test_batches_of_two_sizes():
    results = []
    rng = np.random.default_rng(3)
    real, fake = rng.uniform(size=(5, *IMAGE)), rng.uniform(size=(2, *IMAGE))
    for limit in (0, 1 << 20):
        learner = gan(joined_bytes=limit)
        results.append([*learner.discriminator_gradients(real, fake, rng), learner.d_grads.flat])
    for separate, joined in zip(*results, strict=True):
        np.testing.assert_allclose(joined, separate, rtol=1e-9, atol=1e-12)


class Mixing(Dense):
    """A layer of a user's, whose examples meet; it inherits Dense, but not that they do not."""

    def forward(self, x, *, train, rng=None):
        return super().forward(x - x.mean(axis=0), train=train, rng=rng)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: BatchNorm(),
        lambda: Dropout(0.5),
        lambda: SpectralNorm(Conv2D(1, 3)),
        lambda: MinibatchStdDev(),
        lambda: Pack(2),
        lambda: Color(),
        lambda: Residual([Conv2D(1, 3), BatchNorm()]),
        lambda: Sequential([Flatten(), Mixing(16), Reshape(IMAGE)]),
    ],
    ids=count(),
)
def test_examples_that_meet_are_not_joined(layer):
    engine = type(get_backend("reference"))()
    engine.joined_bytes = 1 << 20
    network = Sequential([layer(), *body()], name="D")
    network.build(IMAGE, backend=engine, rng=np.random.default_rng(0))
    assert joinable_examples(network) == 0


def test_the_limit_is_on_the_largest_output():
    largest = 4 * 4 * 4 * 8  # of Conv2D, in float64
    assert joinable_examples(gan(joined_bytes=10 * largest).D) == 10
    assert joinable_examples(gan(joined_bytes=10 * largest - 1).D) == 9
    assert joinable_examples(gan(joined_bytes=0).D) == 0
    learner, seen = gan(joined_bytes=2 * N * largest - 1), ForwardPasses()
    with learner.observed(seen):
        learner.step(batches(), np.random.default_rng(0))
    assert seen.examples == [N, N, N]


def test_the_reference_never_joins_and_the_cpu_does():
    assert get_backend("reference").joined_bytes == 0
    pytest.importorskip("numba")
    assert joinable_examples(gan(backend="cpu", joined_bytes=get_backend("cpu").joined_bytes).D) >= 2 * N
