"""Numbers that are not finite are found and named before they reach a weight."""

import contextlib

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import DivergenceError
from minigan.losses import Loss, Minimax, NonSaturating, RelativisticAverage, Wasserstein
from minigan.losses.gradient_penalties import R1, R1R2
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Flatten, Layer, LeakyReLU, Reshape, Tanh
from minigan.nn.network import Observer, Residual, Sequential, SkipConcat
from minigan.nn.optimizers import SGD, Adam
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.divergence import FirstNonFinite, all_finite, is_finite
from minigan.training.generator_term import GeneratorTerm

N = 4
IMAGE = (4, 4, 1)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own remarks on NaN and overflow


def gan(
    backend: Backend, *, lr: float = 1e-2, loss: Loss | None = None, terms=(), penalty=None, activation=LeakyReLU
) -> AlternatingOptimizer:
    init = Normal(0.3)
    G = Sequential(
        [
            Dense(16, init=init),
            BatchNorm(),
            Residual([Dense(16, init=init), LeakyReLU()], shortcut=[Dense(16, init=init)]),
            Reshape(IMAGE),
            SkipConcat([Conv2D(2, 3, init=init), Sequential([Tanh(), Conv2D(2, 3, init=init)])]),
            Conv2D(1, 3, init=init),
        ],
        name="G",
    )
    D = Sequential(
        [Conv2D(4, 3, init=init), Sequential([BatchNorm(), activation()]), Flatten(), Dense(1, init=init)], name="D"
    )
    rng = np.random.default_rng(0)
    G.build((3,), backend=backend, rng=rng)
    D.build(IMAGE, backend=backend, rng=rng)
    return AlternatingOptimizer(
        G,
        D,
        loss=loss or NonSaturating(),
        noise=lambda rng, n: rng.normal(size=(n, 3)),
        g_optimizer=Adam(G.arena, lr=lr),
        d_optimizer=Adam(D.arena, lr=lr),
        generator_terms=terms,
        penalty=penalty,
    )


def images(backend: Backend):
    rng = np.random.default_rng(1)
    while True:
        yield backend.asarray(rng.uniform(-1, 1, (N, *IMAGE)), dtype=np.dtype(np.float32))


def layer_at(network: Layer, prefix: str) -> Layer:
    return dict(network.walk())[prefix]


def failing_step(optimizer: AlternatingOptimizer, reals) -> str:
    with pytest.raises(DivergenceError) as caught:
        optimizer.step(reals, np.random.default_rng(0))
    return str(caught.value)


def unchanged(before: dict[str, np.ndarray], after: dict[str, np.ndarray], *, but: tuple[str, ...] = ()) -> bool:
    names = [name for name in before if not name.startswith(but)] if but else list(before)
    return all(before[name].tobytes() == after[name].tobytes() for name in names)


# ---------------------------------------------------------------------------------------------- in training


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_data(backend: Backend, bad: float):
    optimizer, reals = gan(backend), images(backend)
    optimizer.step(reals, np.random.default_rng(0))
    before = optimizer.to_dict()
    real = next(reals)
    real[1, 2, 3, 0] = bad
    assert failing_step(optimizer, iter([real])) == "the input of D is not finite."
    assert unchanged(before, optimizer.to_dict())  # weights, moments, and the running statistics as well
    optimizer.step(reals, np.random.default_rng(0))


def test_bad_statistics(backend: Backend):
    """No pass reads the running ones in training, so that none of them can be named."""
    optimizer, reals = gan(backend), images(backend)
    optimizer.D.state.flat[0] = np.inf
    assert failing_step(optimizer, reals) == "the running statistics of D are not finite."


WEIGHTS = [
    ("G", "0.", "w", "G.0.Dense's weight w"),
    ("G", "1.", "gamma", "G.1.BatchNorm's weight gamma"),
    ("G", "2.inner.0.", "w", "G.2.Residual.inner.0.Dense's weight w"),
    ("G", "2.shortcut.0.", "b", "G.2.Residual.shortcut.0.Dense's weight b"),
    ("G", "4.inner.1.1.", "w", "G.4.SkipConcat.inner.1.Sequential.1.Conv2D's weight w"),
    ("G", "5.", "b", "G.5.Conv2D's weight b"),
    ("D", "0.", "w", "D.0.Conv2D's weight w"),
    ("D", "1.0.", "beta", "D.1.Sequential.0.BatchNorm's weight beta"),
    ("D", "3.", "w", "D.3.Dense's weight w"),
]


@pytest.mark.parametrize(("network", "prefix", "name", "says"), WEIGHTS, ids=[case[3] for case in WEIGHTS])
def test_a_bad_weight(backend: Backend, network: str, prefix: str, name: str, says: str):
    optimizer = gan(backend)
    layer = layer_at(getattr(optimizer, network), prefix)
    parameter = next(p for p in layer.own_parameters if p.name == name)
    parameter.value.reshape(-1)[-1] = np.nan
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)) == f"{says} is not finite."
    assert unchanged(before, optimizer.to_dict())


class Broken(Tanh):
    """Overflows where it is told to."""

    def __init__(self, *, forward: bool = False, backward: bool = False) -> None:
        super().__init__()
        self.forward_breaks, self.backward_breaks = forward, backward

    def apply(self, x):
        return super().apply(x) * (np.inf if self.forward_breaks else 1)

    def gradient(self, dy, y):
        return super().gradient(dy, y) * (np.inf if self.backward_breaks else 1)


BROKEN = [
    ("D", "forward", "the output of D.1.Sequential.1.Broken is not finite."),
    ("D", "backward", "the gradient of D.1.Sequential.1.Broken is not finite."),
    ("G", "forward", "the output of G.2.Residual.inner.1.Broken is not finite."),
    ("G", "backward", "the gradient of G.2.Residual.inner.1.Broken is not finite."),
]


@pytest.mark.parametrize(("network", "where", "says"), BROKEN)
def test_a_layer_that_overflows(backend: Backend, network: str, where: str, says: str):
    optimizer = gan(backend)
    broken = Broken(**{where: True})
    inside = optimizer.D.layers[1] if network == "D" else optimizer.G.layers[2].inner
    inside.layers[1] = broken
    for net, shape in ((optimizer.G, (3,)), (optimizer.D, IMAGE)):
        net.build(shape, backend=backend, rng=np.random.default_rng(0))
    optimizer = AlternatingOptimizer(
        optimizer.G,
        optimizer.D,
        loss=NonSaturating(),
        noise=optimizer.noise,
        g_optimizer=SGD(optimizer.G.arena, lr=0.1),
        d_optimizer=SGD(optimizer.D.arena, lr=0.1),
    )
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)) == says
    # Where G's step fails, D's step was done.
    assert unchanged(before, optimizer.to_dict(), but=("D", "d_") if (network, where) == ("G", "backward") else ())


class LossThatOverflows(Minimax):
    def __init__(self, *, generator: bool) -> None:
        super().__init__()
        self.generator_breaks = generator

    def discriminator(self, logits, target):
        value, gradient = super().discriminator(logits, target)
        return value if self.generator_breaks else value * np.inf, gradient

    def generator(self, logits):
        value, gradient = super().generator(logits)
        return value * np.inf if self.generator_breaks else value, gradient


@pytest.mark.parametrize("generator", [True, False])
def test_a_bad_loss(backend: Backend, generator: bool):
    optimizer = gan(backend, loss=LossThatOverflows(generator=generator))
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)) == "the loss of D's logits is not finite."
    assert unchanged(before, optimizer.to_dict(), but=("D", "d_") if generator else ())


def test_a_bad_auxiliary_term(backend: Backend):
    optimizer = gan(backend, terms=[GeneratorTerm(1.0, lambda fake, _: (fake.sum() * np.nan, 0 * fake))])
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)) == "an auxiliary term of G's loss is not finite."
    assert unchanged(before, optimizer.to_dict(), but=("D", "d_"))


class OverflowingRelativistic(RelativisticAverage):
    def __init__(self, part: int) -> None:
        self.part = part

    def discriminator(self, real, fake):
        found = list(super().discriminator(real, fake))
        found[self.part] = found[self.part] * np.inf
        return tuple(found)


@pytest.mark.parametrize(
    ("part", "says"),
    [(0, "the loss of D's logits"), (1, "the gradient passed to D"), (2, "the gradient passed to D")],
)
def test_a_bad_coupled_loss(backend: Backend, part: int, says: str):
    optimizer = gan(backend, loss=OverflowingRelativistic(part))
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)).startswith(says)
    assert unchanged(before, optimizer.to_dict())


@pytest.mark.parametrize(("prefix", "says"), [("0.", "D.0.Conv2D's weight w"), ("3.", "D.3.Dense's weight w")])
def test_a_bad_weight_under_a_coupled_loss(backend: Backend, prefix: str, says: str):
    optimizer = gan(backend, loss=RelativisticAverage())
    layer_at(optimizer.D, prefix).own_parameters[0].value.reshape(-1)[-1] = np.nan
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)) == f"{says} is not finite."
    assert unchanged(before, optimizer.to_dict())


def test_bad_reals_in_the_generators_step_of_a_coupled_loss(backend: Backend):
    optimizer, rng = gan(backend, loss=RelativisticAverage()), np.random.default_rng(0)
    real = next(images(backend))
    z = backend.asarray(rng.normal(size=(N, 3)), dtype=optimizer.G.dtype)
    fake, g_tape = optimizer.G.forward(z, train=True)
    real[0, 0, 0, 0] = np.nan
    with pytest.raises(DivergenceError, match=r"the input of D is not finite\."):
        optimizer.generator_step(fake, g_tape, real, rng)


class BrokenTwice(Tanh):
    """Overflows in a penalty's sweeps only."""

    where = ""
    came_up = False

    def forward(self, x, *, train, rng=None):
        self.came_up = False
        return super().forward(x, train=train, rng=rng)

    def backward(self, dy, cache, *, grads, need_dx=True):
        dx = super().backward(dy, cache, grads=grads, need_dx=need_dx)
        return dx * (np.inf if self.where == "down" and self.came_up else 1)

    def backward_recorded(self, dy, cache):
        dx, record = super().backward_recorded(dy, cache)
        return dx * (np.inf if self.where == "recorded" else 1), record

    def double_backward(self, v, record, cache, *, grads):
        ddy, ddx = super().double_backward(v, record, cache, grads=grads)
        self.came_up = True
        return ddy * (np.inf if self.where == "up" else 1), ddx * (np.inf if self.where == "curvature" else 1)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("recorded", "the penalty's gradient of D.1.Sequential.1.BrokenTwice is not finite."),
        ("up", "the penalty's double gradient of D.1.Sequential.1.BrokenTwice is not finite."),
        ("curvature", "the penalty's double gradient of D.1.Sequential.1.BrokenTwice is not finite."),
    ],
)
def test_a_layer_that_overflows_in_a_penalty(backend: Backend, monkeypatch: pytest.MonkeyPatch, where: str, says: str):
    optimizer = gan(backend, penalty=R1(), activation=BrokenTwice)
    before = optimizer.to_dict()
    monkeypatch.setattr(BrokenTwice, "where", where)
    assert failing_step(optimizer, images(backend)) == says
    assert unchanged(before, optimizer.to_dict())


def test_what_comes_down_in_a_penalty_is_searched_too(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    D = Sequential([Dense(3), BrokenTwice(), Dense(3), Tanh(), Dense(1)], name="D")
    D.build((4,), backend=backend, rng=np.random.default_rng(0))
    x = backend.asarray(np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32))

    def searched() -> FirstNonFinite:
        found = FirstNonFinite()
        with D.observed(found):
            R1().add_gradients(D, x, x, grads=D.gradients(), rng=np.random.default_rng(0))
        return found

    assert searched().backward is None
    monkeypatch.setattr(BrokenTwice, "where", "down")
    assert searched().forward is None
    assert searched().backward == "the penalty's double gradient of D.1.BrokenTwice, on its way down,"


class NoNumber(NonSaturating):
    def discriminator(self, logits, target):
        value, dlogits = super().discriminator(logits, target)
        return value * np.nan, dlogits * np.nan


@pytest.mark.parametrize(
    ("loss", "scale", "says"),
    [
        (Wasserstein(), 1e20, "the gradient of D.0.Conv2D, of loss and penalty together, is not finite."),
        (NoNumber(), 1, "the loss of D's logits is not finite."),
    ],
)
def test_a_sweep_of_loss_and_penalty(backend: Backend, loss: Loss, scale: float, says: str):
    optimizer = gan(backend)
    D = Sequential([Conv2D(4, 3), LeakyReLU(), Flatten(), Dense(1)], name="D")
    D.build(IMAGE, backend=backend, rng=np.random.default_rng(0))
    D.layers[0].w.value[...] *= scale
    D.arena.updated()
    optimizer = AlternatingOptimizer(
        optimizer.G,
        D,
        loss=loss,
        noise=optimizer.noise,
        g_optimizer=optimizer.g_optimizer,
        d_optimizer=Adam(D.arena, lr=1e-2),
        penalty=R1R2(),
    )
    assert failing_step(optimizer, images(backend)) == says


def test_a_penalty_that_overflows(backend: Backend):
    optimizer = gan(backend, penalty=R1(weight=1e38))
    layer_at(optimizer.D, "3.").own_parameters[0].value[...] *= 1e6
    optimizer.D.arena.updated()
    before = optimizer.to_dict()
    assert failing_step(optimizer, images(backend)) == "the penalty on the slope of D is not finite."
    assert unchanged(before, optimizer.to_dict())


def test_an_exploding_learning_rate(backend: Backend):
    """Sooner or later a step fails, with a layer's name, and what it leaves is finite."""
    optimizer, reals, rng = gan(backend, lr=1e30), images(backend), np.random.default_rng(0)
    with pytest.raises(DivergenceError, match=r"\b[GD]\b.* is not finite\."):
        for _ in range(20):
            before = optimizer.to_dict()
            optimizer.step(reals, rng)
    after = optimizer.to_dict()
    assert all(np.isfinite(array).all() for name, array in after.items() if not name.startswith(("D", "d_")))
    assert unchanged(before, after, but=("D", "d_")), "G's weights are from before the failed step"


# ---------------------------------------------------------------------------------------------- the searches


def test_is_finite(backend: Backend):
    xp = backend.xp
    assert is_finite(xp.zeros((3, 4)))
    assert is_finite(xp.zeros((0,)))
    assert is_finite(xp.full(10, 3e38, dtype=np.float32)), "terms may overflow their sum"
    for bad in (np.nan, np.inf, -np.inf):
        array = xp.zeros((3, 4))
        array[1, 2] = bad
        assert not is_finite(array)
    both = xp.zeros(2)
    both[0], both[1] = np.inf, -np.inf
    assert not is_finite(both)


def test_all_finite_looks_at_the_value_and_the_gradients(backend: Backend):
    layer = Dense(3).build((2,), backend=backend, rng=np.random.default_rng(0))
    grads = layer.gradients()
    assert all_finite(backend.xp.ones(()), grads, layer)
    assert not all_finite(backend.xp.ones(()) * np.nan, grads, layer)
    for bad in (np.inf, -np.inf, np.nan, 1e20, -1e20):  # 1e20 squared is infinite in float32
        grads[layer.b][1] = bad
        assert not all_finite(backend.xp.ones(()), grads, layer)
    grads[layer.b][1] = 1e18
    assert all_finite(backend.xp.ones(()), grads, layer)


def test_running_statistics_that_overflow_are_a_divergence(backend: Backend):
    layer = BatchNorm().build((2,), backend=backend, rng=np.random.default_rng(0))
    x = backend.asarray(np.array([[1e30, 0], [-1e30, 1]], np.float32))
    with np.errstate(all="ignore"):
        _, cache = layer.forward(x, train=True)
        layer.commit_statistics(cache)
    assert not all_finite(backend.xp.ones(()), layer.gradients(), layer)


def searched(network: Sequential, x, *, scale: float = 1) -> FirstNonFinite:
    """The result of a search in a forward and a backward pass, from a gradient of that size."""
    found = FirstNonFinite()
    with network.observed(found):
        y, tape = network.forward(x, train=True, rng=np.random.default_rng(0))
        network.backward(network.kernels.xp.ones_like(y) * scale, tape, grads=network.gradients())
    return found


def test_where_all_is_well_nothing_is_found(backend: Backend):
    found = searched(gan(backend).D, next(images(backend)))
    assert (found.forward, found.backward) == (None, None)


def test_a_bad_gradient_from_outside(backend: Backend):
    found = searched(gan(backend).D, next(images(backend)), scale=np.nan)
    assert (found.forward, found.backward) == (None, "the gradient passed to D")


def test_a_gradient_whose_square_overflows(backend: Backend):
    optimizer = gan(backend)
    found = searched(optimizer.D, next(images(backend)), scale=1e20)
    assert (found.forward, found.backward) == (None, "the square of the gradient of D.3.Dense")


def test_what_was_found_is_forgotten(backend: Backend):
    D, x = gan(backend).D, next(images(backend))
    found = FirstNonFinite()
    with D.observed(found):
        D.forward(x * np.nan, train=True)
        assert found.forward == "the input of D"
        found.restart()
        D.forward(x, train=True)
    assert found.forward is None


class NotTwice(Tanh):
    """Overflows on a share of the draws: whoever looks for it has to draw the same."""

    def forward(self, x, *, train, rng=None):
        y, cache = super().forward(x, train=train, rng=rng)
        return y * (np.inf if train and rng.uniform() < 0.5 else 1), cache


def test_a_failed_step_is_repeated_on_the_same_draws(backend: Backend):
    for seed in range(8):
        optimizer, rng = gan(backend, activation=NotTwice), np.random.default_rng(seed)
        with pytest.raises(DivergenceError, match=r"the output of D\.1\.Sequential\.1\.NotTwice is not finite\."):
            for _ in range(100):
                optimizer.step(images(backend), rng)


def test_an_observer_of_the_user_is_not_told_of_the_search(backend: Backend):
    class Count(Observer):
        passes = 0

        def after(self, now):  # noqa: ARG002
            self.passes += 1

    counts = []
    for share in (1, np.nan):
        optimizer, count = gan(backend), Count()
        real = next(images(backend)) * share
        fake, _ = optimizer.G.forward(backend.asarray(np.ones((N, 3), np.float32)), train=True)
        with optimizer.observed(count), contextlib.suppress(DivergenceError):
            optimizer.discriminator_step(real, fake, np.random.default_rng(0))
        counts.append(count.passes)
    assert counts[0] == counts[1] > 0
