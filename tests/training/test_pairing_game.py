"""The game of R3GAN: pairs, both penalties on the loss's own passes, new reals for G, and schedules that resume."""

import itertools
from collections import Counter

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError
from minigan.losses import R1R2, REAL, Hinge, Loss, NonSaturating, RelativisticPairing, Wasserstein
from minigan.losses.gradient_penalties import one_sweep_serves
from minigan.nn.layers import (
    ConcatCondition,
    Conv2D,
    Dense,
    DiscriminativeBasis,
    FIRDownSampling2D,
    Flatten,
    LeakyReLU,
    Reshape,
    Tanh,
)
from minigan.nn.layers.augmentation import Color, Flip, QuarterTurns, ScheduledAugmentation
from minigan.nn.network import Observer, Pass, Residual, Sequential
from minigan.nn.optimizers import Adam
from minigan.nn.schedules import CosineRamp
from minigan.training import back_through_d
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch

IMAGE, LATENT, CLASSES = (6, 6, 2), 3, 4


def game(backend: Backend | str = "reference", *, front=(), loss=None, classes=0, **options) -> AlternatingOptimizer:
    join = [ConcatCondition((classes,))] if classes else []
    G = Sequential([*join, Dense(12), Tanh(), Dense(72), Reshape(IMAGE)], name="G")
    join = [ConcatCondition((classes,))] if classes else []
    D = Sequential([*front, *join, Conv2D(4, 3), LeakyReLU(0.2), Conv2D(3, 3), Tanh(), Flatten(), Dense(1)], name="D")
    rng = np.random.default_rng(0)
    G.build((LATENT,), backend=backend, dtype="float64", rng=rng)
    D.build(IMAGE, backend=backend, dtype="float64", rng=rng)
    return AlternatingOptimizer(
        G,
        D,
        loss=loss or RelativisticPairing(),
        noise=lambda rng, n: rng.normal(size=(n, LATENT)),
        g_optimizer=Adam(G.arena, lr=1e-3, beta1=0.0, beta2=CosineRamp(0.9, 0.99, 6)),
        d_optimizer=Adam(D.arena, lr=CosineRamp(1e-3, 1e-4, 6), beta1=0.0, beta2=CosineRamp(0.9, 0.99, 6)),
        **options,
    )


def reals(seed: int = 1, n: int = 4):
    rng = np.random.default_rng(seed)
    return (rng.uniform(-1, 1, (n, *IMAGE)) for _ in itertools.count())


def test_both_penalties_cost_no_forward_pass(monkeypatch: pytest.MonkeyPatch):
    """Two for D's loss, two for G's, which compares with reals; penalties of their own would have two more."""
    gan = game(front=[Flip()], penalty=R1R2(weight=2.0))
    given, forward = [], gan.D.forward
    monkeypatch.setattr(gan.D, "forward", lambda x, **options: given.append(len(x)) or forward(x, **options))
    gan.step(reals(), np.random.default_rng(2))
    assert given == [4] * 4


def test_shared_passes_give_the_gradients_of_passes_of_their_own():
    """Where D draws nothing. Joined batches, too."""
    results = []
    for joined in (0, 1 << 20):
        gan = game(penalty=R1R2(weight=2.0))
        gan._joinable = joined
        real, fake = next(reals()), next(reals(5))
        values = gan.discriminator_gradients(real, fake, np.random.default_rng(0))
        results.append([values.loss, values.penalty, gan.d_grads.flat.copy()])
    plain = game()
    values = plain.discriminator_gradients(real, fake, np.random.default_rng(0))
    penalty = R1R2(weight=2.0).add_gradients(plain.D, real, fake, grads=plain.d_grads, rng=np.random.default_rng(0))
    results.append([values.loss, penalty, plain.d_grads.flat])
    for one, other in itertools.pairwise(results):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_the_slope_is_that_before_augmentation():
    """Differences at the image itself give the penalty, through the very maps that were drawn for the loss."""
    gan = game(front=[QuarterTurns(), Color()], penalty=R1R2(weight=2.0))
    real, fake = next(reals(n=2)), next(reals(5, n=2))
    values = gan.discriminator_gradients(real, fake, np.random.default_rng(3))
    rng, squares = np.random.default_rng(3), 0.0
    for x in (real, fake):
        _, tape = gan.D.forward(x, train=True, rng=rng)
        maps = list(tape.caches(gan.D)[:2])
        dx = np.zeros_like(x)

        def score(x: np.ndarray, maps=maps) -> float:
            turned = gan.D.layers[1].affine(gan.D.layers[0].affine(x, maps[0]), maps[1])
            return float(gan.D[2:].forward(turned, train=True)[0].sum())

        for index in np.ndindex(*x.shape):
            moved = x.copy()
            moved[index] += 1e-5
            above = score(moved)
            moved[index] -= 2e-5
            dx[index] = (above - score(moved)) / 2e-5
        squares += (dx**2).sum() / len(x)
        tape.release()
    assert float(values.penalty) == pytest.approx(2.0 / 2 * squares, rel=1e-6)


def linear_in_pieces(front=(), loss: Loss | None = None, *, head=(), shape=IMAGE) -> AlternatingOptimizer:
    """A game whose D is piecewise linear, with biases, and a penalty on the loss's own passes."""
    G = Sequential([Dense(72), Reshape(shape)], name="G")
    block = Residual([Conv2D(4, 1), LeakyReLU(0.2), Conv2D(4, 3, groups=2), LeakyReLU(0.2), Conv2D(3, 1, bias=False)])
    D = Sequential(
        [*front, Conv2D(3, 1), block, FIRDownSampling2D(), DiscriminativeBasis(), *(head or [Dense(1)])], name="D"
    )
    rng = np.random.default_rng(0)
    G.build((LATENT,), backend="reference", dtype="float64", rng=rng)
    D.build(shape, backend="reference", dtype="float64", rng=rng)
    for _, p in D.named_parameters():
        p.value[...] += rng.normal(0, 0.3, p.shape)
    D.arena.updated()
    return AlternatingOptimizer(
        G,
        D,
        loss=loss or RelativisticPairing(),
        noise=lambda rng, n: rng.normal(size=(n, LATENT)),
        g_optimizer=Adam(G.arena, lr=1e-3),
        d_optimizer=Adam(D.arena, lr=1e-3),
        penalty=R1R2(weight=2.0),
    )


class Kinds(Observer):
    """Counts the passes through a network's last layer."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def before(self, now: Pass) -> None:
        self.seen[now.kind] += now.network.layers[-1] in now.layers and now.network.path == "D"


@pytest.mark.parametrize("joined", [0, 1 << 20], ids=["apart", "joined"])
@pytest.mark.parametrize(
    ("front", "loss"),
    [((), None), ((QuarterTurns, Color), None), ((), Hinge()), ((), Wasserstein())],
    ids=["pairs", "augmented", "hinge", "wasserstein"],
)
def test_one_sweep_serves_a_piecewise_linear_d(front, loss, joined: int, monkeypatch: pytest.MonkeyPatch):
    """The gradients of a sweep for each; also where the loss leaves examples alone: its gradient there is 0."""
    real, fake = 8 * next(reals()), next(reals(5))
    found = []
    for shared in (True, False):
        gan, kinds = linear_in_pieces([layer() for layer in front], loss), Kinds()
        gan._joinable = 0 if front else joined
        if not shared:
            monkeypatch.setattr(back_through_d, "one_sweep_serves", lambda _: False)
        with gan.D.observed(kinds):
            values = gan.discriminator_gradients(real, fake, np.random.default_rng(3))
        walks = 1 if gan._joinable else 2
        sweeps = {"backward_recorded": walks}
        sweeps |= {"extended": walks} if shared else {"double_backward": walks, "backward": walks}
        assert kinds.seen == {"forward": walks, **sweeps}
        found.append((values.loss, values.penalty, gan.d_grads.flat.copy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    if isinstance(loss, Hinge):
        logits = gan.D.forward(real, train=True)[0]
        assert (loss.discriminator(logits, REAL)[1] == 0).any()


@pytest.mark.parametrize("head", [[Dense(2)], [Dense(1), Tanh()]], ids=["two logits", "a curve"])
def test_other_networks_have_a_sweep_for_each(head):
    assert one_sweep_serves(linear_in_pieces().D)
    assert not one_sweep_serves(linear_in_pieces(head=head).D)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_g_compares_with_new_reals_and_their_classes(accumulate: int):
    gan = game(classes=CLASSES, accumulate=accumulate)
    labels, taken = np.eye(CLASSES), []

    def batches():
        for number, x in enumerate(reals()):
            taken.append(number)
            yield Batch(x, labels[[number % CLASSES] * len(x)])

    seen = []
    through = gan._through_discriminator

    def noted(fake, condition, fresh, rng):
        seen.append((condition.argmax(axis=1)[0], fresh.condition.argmax(axis=1)[0]))
        return through(fake, condition, fresh, rng)

    gan._through_discriminator = noted
    gan.step(batches(), np.random.default_rng(0))
    assert seen == ([(0, 1)] if accumulate == 1 else [(0, 2), (1, 3)])
    assert len(taken) == gan.batches_per_step == 2 * accumulate
    gan.loss = NonSaturating()
    assert gan.batches_per_step == accumulate


def scheduled() -> AlternatingOptimizer:
    layers = [ScheduledAugmentation([Flip(), QuarterTurns()], start=0.1, end=0.9, steps=5)]
    return game(front=layers, penalty=R1R2(weight=CosineRamp(2.0, 0.2, 6)))


def test_schedules_reach_every_number():
    gan, batches, rng = scheduled(), reals(), np.random.default_rng(0)
    first = gan.measures()
    assert first == pytest.approx({"augment_p": 0.1, "penalty_weight": 2.0, "beta2": 0.9})
    for step in range(8):
        values = gan.step(batches, rng)
        p = 0.1 + 0.8 * (1 - np.cos(np.pi * min(step + 1, 5) / 5)) / 2
        assert gan.measures()["augment_p"] == pytest.approx(p, rel=1e-12)
    assert gan.measures() == pytest.approx({"augment_p": 0.9, "penalty_weight": 0.2, "beta2": 0.99})
    assert float(values.d_penalty) > 0


def test_the_weight_of_a_step_is_the_schedules():
    real, fake = next(reals()), next(reals(5))
    penalties = []
    for weight in (0.5, CosineRamp(0.5, 9.0, 10), CosineRamp(9.0, 0.5, 3)):
        gan = game(penalty=R1R2(weight=weight))
        gan.d_optimizer.steps = 3 if getattr(weight, "start", 0) == 9.0 else 0
        values = gan.discriminator_gradients(real, fake, np.random.default_rng(0))
        assert values.penalty.shape == ()
        penalties.append((float(values.penalty), gan.d_grads.flat.copy()))
    for value, grads in penalties[1:]:
        assert value == pytest.approx(penalties[0][0], rel=1e-14)
        np.testing.assert_allclose(grads, penalties[0][1], rtol=1e-12, atol=1e-14)


def test_it_resumes_bit_for_bit():
    whole, batches, rng = scheduled(), list(itertools.islice(reals(), 20)), np.random.default_rng(0)
    given = iter(batches)
    for _ in range(4):
        whole.step(given, rng)
    kept, draws, again = whole.to_dict(), rng.bit_generator.state, scheduled()
    again.load_dict(kept)
    for _ in range(4):
        whole.step(given, rng)
    rng.bit_generator.state = draws
    given = iter(batches[8:])
    for _ in range(4):
        again.step(given, rng)
    for name, array in whole.to_dict().items():
        np.testing.assert_array_equal(array, again.to_dict()[name], err_msg=name)


def test_penalties_of_no_weight_name_the_remedy():
    with pytest.raises(ConfigError, match="weight must be"):
        R1R2(weight=0.0)
