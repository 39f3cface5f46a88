"""Replayed steps on the CPU have the bits of steps in Python, and steps that cannot be replayed are done in Python."""

import itertools

import numpy as np
import pytest

pytest.importorskip("numba")

from minigan.backends.cpu import CpuBackend
from minigan.errors import DivergenceError
from minigan.losses import NonSaturating
from minigan.nn import Dense, Dropout, LeakyReLU, Sequential, Tanh
from minigan.nn.network import Observer
from minigan.nn.optimizers import Adam
from minigan.nn.schedules import Schedule
from minigan.recipes import DCGAN, MLP, R3GAN, SNGAN, VAE, StyleGAN2
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.moving_average import MovingAverage
from minigan.training.stepper import Stepper

IMAGE = (16, 16, 1)
STYLES = {"latent": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "penalty_interval": 3, "condition": "none"}
# Of these more than one kind of step comes often enough in nine.
SEVERAL = {"r1 at times": 2, "stylegan2": 2, "stylegan2, path length": 2}
RECIPES = {
    "mlp": MLP(hidden=32),
    "dcgan": DCGAN(width=8),
    "wgan-gp": DCGAN(width=8, loss="wasserstein", penalty="wgan-gp", d_norm="none"),
    "r1 at times": DCGAN(width=8, penalty="r1", penalty_interval=2),
    "pairs": DCGAN(width=8, loss="relativistic-pairing", penalty="r1+r2", d_norm="none", augment="flip,turns"),
    "numbers over images": R3GAN(widths="8,4,4", group=4, batch_size=4, steps=6, augment="flip,turns"),
    "sngan": SNGAN(width=8),
    "stylegan2": StyleGAN2(**STYLES),
    "stylegan2, path length": StyleGAN2(**STYLES, mixing=0.9, path_weight=2.0, path_interval=2),
    "vae": VAE(width=8),
    "pool": MLP(hidden=32, fake_pool=16),
    "clipped": MLP(hidden=32, clip_norm=0.1, clip_weights=0.05, optimizer="rmsprop", schedule="linear"),
}


def batches(sizes=None, shape=IMAGE):
    rng = np.random.default_rng(1)
    return (rng.uniform(-1, 1, (size, *shape)).astype(np.float32) for size in sizes or itertools.repeat(4))


def of_recipe(recipe, *, threads=1, precision="fp32"):
    rng = np.random.default_rng(0)
    return recipe.assemble(IMAGE, backend=CpuBackend(threads=threads, precision=precision), rng=rng), rng


class Sudden(Schedule):
    """A rate that is far too large in one step."""

    def __init__(self, at):
        self.at = at

    def __call__(self, step):
        return 1e30 if step == self.at else 1e-3


def dense_gan(*, loss=None, d_lr=1e-3):
    rng, backend = np.random.default_rng(0), CpuBackend(threads=1)
    G = Sequential([Dense(16), LeakyReLU(0.2), Dense(6), Tanh()], name="G").build((4,), backend=backend, rng=rng)
    D = Sequential([Dense(16), LeakyReLU(0.2), Dropout(0.3), Dense(1)], name="D").build((6,), backend=backend, rng=rng)
    return AlternatingOptimizer(
        G,
        D,
        loss=loss or NonSaturating(),
        noise=lambda rng, n: rng.normal(size=(n, 4)),
        g_optimizer=Adam(G.arena, lr=1e-3),
        d_optimizer=Adam(D.arena, lr=d_lr),
    ), rng


def run(make, steps, given, *, average=False, is_alone=True, each=lambda *_: None):
    """The stepper, and after each step the bits of its values, of all that training has changed, and the error."""
    learner, rng = make()
    kept = None
    if average:
        twin, _ = make()
        kept = MovingAverage(twin.G, learner.G, decay=0.9)
    stepper, history = Stepper(learner, given, rng, averages=[kept] if kept else [], is_alone=is_alone), []
    for number in range(steps):
        each(number, learner)
        try:
            with np.errstate(all="ignore"):  # as in a trainer
                found = [np.asarray(value).tobytes() for value in stepper.step()]
        except DivergenceError as error:
            found = str(error)
        state = learner.to_dict() | ({} if kept is None else kept.to_dict())
        history.append((found, {name: array.tobytes() for name, array in state.items()}, rng.bit_generator.state))
        if isinstance(found, str):
            break
    return stepper, history


def both(monkeypatch, make, steps, given=batches, **settings):
    """A run whose steps may be replayed; it has the bits of one in Python."""
    monkeypatch.setenv("MINIGAN_GRAPHS", "0")
    plain, expected = run(make, steps, given(), **settings)
    assert plain._replays is None
    monkeypatch.delenv("MINIGAN_GRAPHS")
    stepper, found = run(make, steps, given(), **settings)
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert one == other, f"step {number}"
    return stepper, found


def replayed(stepper):
    """The number of kinds of steps that are replayed."""
    return sum(known is not None for known in stepper._replays._known.values())


TWO_THREADS = ("dcgan", "mlp", "vae", "wgan-gp")
CASES = [
    pytest.param(name, threads, marks=[pytest.mark.exhaustive] if threads == 1 and name in TWO_THREADS else [])
    for name in RECIPES
    for threads in ((1, 2) if name in TWO_THREADS else (1,))
]


@pytest.mark.parametrize(("name", "threads"), CASES)
def test_replayed_steps_have_the_bits_of_steps_in_python(monkeypatch, name, threads):
    stepper, _ = both(monkeypatch, lambda: of_recipe(RECIPES[name], threads=threads), 9)
    assert replayed(stepper) == (SEVERAL | {"pool": 0}).get(name, 1)


def test_steps_whose_activations_are_bfloat16_are_replayed(monkeypatch):
    stepper, _ = both(monkeypatch, lambda: of_recipe(RECIPES["dcgan"], threads=2, precision="bf16"), 6)
    assert stepper.learner.G.kernels.activation_dtype(np.dtype(np.float32)).itemsize == 2
    assert replayed(stepper) == 1


def test_an_average_and_dropout_are_replayed(monkeypatch):
    stepper, _ = both(monkeypatch, dense_gan, 8, lambda: batches(shape=(6,)), average=True)
    assert replayed(stepper) == 1


def test_other_batch_sizes_in_between_are_done_in_python(monkeypatch):
    sizes = [4, 4, 4, 4, 4, 3, 4, 4, 5, 4]
    stepper, _ = both(monkeypatch, dense_gan, len(sizes), lambda: batches(sizes, (6,)), average=True)
    assert replayed(stepper) == 1


def spoilt():
    for number, batch in enumerate(batches(shape=(6,))):
        if number == 7:
            batch[1, 2] = np.nan
        yield batch


@pytest.mark.parametrize(
    ("make", "given", "culprit"),
    [
        (dense_gan, spoilt, "the input of D"),
        (lambda: dense_gan(d_lr=Sudden(7)), lambda: batches(shape=(6,)), "D"),
    ],
    ids=["before D's update", "after D's update"],
)
def test_divergence_has_its_error_and_its_weights(monkeypatch, make, given, culprit):
    stepper, found = both(monkeypatch, make, 10, given, average=True)
    assert replayed(stepper) == 1
    assert len(found) == 8 and culprit in found[-1][0]


def test_steps_go_on_after_divergence(monkeypatch):
    def states():
        learner, rng = dense_gan()
        stepper = Stepper(learner, spoilt(), rng)
        for _ in range(12):
            try:
                stepper.step()
            except DivergenceError as error:
                assert stepper.back(error) == 0
        return {name: array.tobytes() for name, array in learner.to_dict().items()}

    found = states()
    monkeypatch.setenv("MINIGAN_GRAPHS", "0")
    assert found == states()


def test_observed_steps_are_done_in_python(monkeypatch):
    class Count(Observer):
        passes = 0

        def after(self, _):
            Count.passes += 1

    opened = []

    def each(number, learner):
        if number == 5:
            Count.passes = 0
            opened.append(learner.observed(Count()))
            opened[-1].__enter__()
        if number == 6:
            opened.pop().__exit__(None, None, None)
            assert Count.passes

    stepper, _ = both(monkeypatch, dense_gan, 9, lambda: batches(shape=(6,)), each=each)
    assert replayed(stepper) == 1


class Mine(NonSaturating):
    """A loss of the user's own, which might count its calls."""


def test_classes_of_others_are_not_replayed(monkeypatch):
    stepper, _ = both(monkeypatch, lambda: dense_gan(loss=Mine()), 5, lambda: batches(shape=(6,)))
    assert stepper._replays is None


def test_steps_between_which_others_act_are_not_replayed(monkeypatch):
    stepper, _ = both(monkeypatch, dense_gan, 5, lambda: batches(shape=(6,)), is_alone=False)
    assert stepper._replays is None


def test_a_replay_that_differs_is_not_used(monkeypatch):
    """Here the host keeps a number of the step that was recorded, where nothing can see it."""

    def discriminator(self, logits, target, original=NonSaturating.discriminator):
        value, gradient = original(self, logits, target)
        return value, gradient * np.asarray(logits).max()

    monkeypatch.setattr(NonSaturating, "discriminator", discriminator)
    stepper, _ = both(monkeypatch, dense_gan, 6, lambda: batches(shape=(6,)))
    assert replayed(stepper) == 0
