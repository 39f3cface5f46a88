"""Gradient penalties: their points, their values, whole critics; settings and warnings."""

import warnings

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.losses import Wasserstein
from minigan.losses.gradient_penalties import (
    DRAGAN,
    PENALTIES,
    R1,
    R1R2,
    R2,
    WGANGP,
    GradientPenalty,
    examples_together,
    get_penalty,
)
from minigan.nn.gradcheck import check_gradient
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, LeakyReLU, Reshape, Sigmoid, Tanh
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential
from minigan.nn.optimizers import SGD
from minigan.training.alternating import AlternatingOptimizer

N = 4
IMAGE = (8, 8, 2)
INIT = Normal(0.3)
# With points of their own; R1 and R2 at once are compared with each alone.
OWN = [name for name, penalty in PENALTIES.items() if not penalty.shares_passes]
every_penalty = pytest.mark.parametrize("name", OWN)


def smooth() -> Sequential:
    """All that is curved, BatchNorm too."""
    return Sequential(
        [
            Conv2D(3, 4, stride=2, padding=1, init=INIT),
            Tanh(),
            Conv2D(4, 3, bias=False, init=INIT),
            BatchNorm(),
            LeakyReLU(),
            Residual([Conv2D(4, 3, init=INIT), Sigmoid(), Dropout(0.2)]),
            Flatten(),
            Dense(3, init=INIT),
            Tanh(),
            Dense(1, init=INIT),
        ],
        name="D",
    )


def piecewise_linear() -> Sequential:
    return Sequential(
        [
            Conv2D(3, 4, stride=2, padding=1, init=INIT),
            LeakyReLU(),
            Conv2D(4, 4, stride=2, padding=1, init=INIT),
            LeakyReLU(),
            Flatten(),
            Dense(1, init=INIT),
        ],
        name="D",
    )


def patches() -> Sequential:
    """A logit for each patch: the slope is that of their sum."""
    return Sequential([Conv2D(3, 4, stride=2, padding=1, init=INIT), Tanh(), Conv2D(1, 3, init=INIT)], name="D")


CRITICS = {"smooth": smooth, "piecewise linear": piecewise_linear, "patches": patches}
every_critic = pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS.keys())


def built(critic: Sequential, backend: Backend, dtype: str = "float64") -> Sequential:
    return critic.build(IMAGE, backend=backend, dtype=dtype, rng=np.random.default_rng(0))


def batches(backend: Backend, dtype: str = "float64"):
    rng = np.random.default_rng(1)
    return tuple(backend.asarray(rng.uniform(-1, 1, (N, *IMAGE)), dtype=np.dtype(dtype)) for _ in range(2))


def draws() -> np.random.Generator:
    """The same points and dropout masks each time."""
    return np.random.default_rng(2)


def slope(penalty: GradientPenalty, D: Sequential, real, fake, *, offset=0.0, grads=None):
    """dx at the penalty's points, moved by the offset."""
    rng = draws()
    logits, tape = D.forward(penalty.points(real, fake, rng, D.kernels) + offset, train=True, rng=rng)
    return D.backward(D.kernels.xp.ones_like(logits), tape, grads=grads)


def value(penalty: GradientPenalty, D: Sequential, real, fake) -> float:
    """The formula of the paper."""
    norms = np.sqrt((np.asarray(slope(penalty, D, real, fake)) ** 2).sum(axis=(1, 2, 3)))
    values = (norms - 1) ** 2 if isinstance(penalty, WGANGP | DRAGAN) else norms**2 / 2
    return penalty.weight * penalty.interval * float(values.mean())


# ---------------------------------------------------------------------------------------------- whole critics


@every_penalty
@every_critic
def test_finite_differences(host_backend: Backend, name: str, critic):
    D, penalty, (real, fake) = built(critic(), host_backend), get_penalty(name, weight=3.0), batches(host_backend)
    grads = D.gradients()
    P = penalty.add_gradients(D, real, fake, grads=grads, rng=draws())
    assert float(P) == pytest.approx(value(penalty, D, real, fake), rel=1e-9)
    checks = [
        check_gradient(
            lambda: value(penalty, D, real, fake), p.value, grads[p], path="D", what=n, rng=draws(), scale=float(P)
        )
        for n, p in D.named_parameters()
    ]
    assert [str(check) for check in checks if not check.passed] == []


@every_penalty
@every_critic
def test_difference_of_gradients(backend: Backend, name: str, critic):
    """[∇w ΣD(x + εv) - ∇w ΣD(x - εv)] / 2ε: an oracle without any second-order code."""
    D, penalty, (real, fake) = built(critic(), backend), get_penalty(name), batches(backend)
    grads = D.gradients()
    penalty.add_gradients(D, real, fake, grads=grads, rng=draws())
    _, v = penalty.of_gradient(slope(penalty, D, real, fake))
    step = 1e-5 / float(abs(v).max())
    above, below = D.gradients(), D.gradients()
    slope(penalty, D, real, fake, offset=step * v, grads=above)
    slope(penalty, D, real, fake, offset=-step * v, grads=below)
    expected = backend.to_numpy(above.flat - below.flat) / (2 * step)
    np.testing.assert_allclose(backend.to_numpy(grads.flat), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3


@every_penalty
def test_in_float32(backend: Backend, reference: Backend, name: str):
    """Close to the reference's float64."""
    found = []
    for kernels, dtype in ((reference, "float64"), (backend, "float32")):
        D = built(piecewise_linear(), kernels, dtype)
        grads = D.gradients()
        P = get_penalty(name).add_gradients(D, *batches(kernels, dtype), grads=grads, rng=draws())
        assert P.dtype == grads.flat.dtype == np.dtype(dtype)
        found.append((float(P), np.array(kernels.to_numpy(grads.flat))))
    (exact, gradient), (rounded, rounded_gradient) = found
    assert rounded == pytest.approx(exact, rel=1e-4)
    np.testing.assert_allclose(rounded_gradient, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


@every_critic
def test_r1_and_r2_at_once_are_the_sum_of_both(backend: Backend, critic):
    D, (real, fake) = built(critic(), backend), batches(backend)
    found = []
    for penalties in ((R1R2(weight=3.0),), (R1(weight=3.0), R2(weight=3.0))):
        grads, rng = D.gradients(), draws()
        P = [float(penalty.add_gradients(D, real, fake, grads=grads, rng=rng)) for penalty in penalties]
        found.append((sum(P), backend.to_numpy(grads.flat).copy()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-11, atol=1e-12)


def test_gradients_are_added_and_nothing_else_changes(backend: Backend):
    D, (real, fake) = built(smooth(), backend), batches(backend)
    state, weights = D.state.to_dict(), D.arena.to_dict()
    once, twice = D.gradients(), D.gradients()
    for grads in (once, twice, twice):
        WGANGP().add_gradients(D, real, fake, grads=grads, rng=draws())
    np.testing.assert_allclose(backend.to_numpy(twice.flat), 2 * backend.to_numpy(once.flat), rtol=1e-12)
    for before, after in ((state, D.state.to_dict()), (weights, D.arena.to_dict())):
        assert all((before[name] == after[name]).all() for name in before)


def test_a_flat_critic_has_a_finite_penalty(backend: Backend):
    """Where the slope is 0 the norm has no derivative, but the penalty's is 0."""
    D, (real, fake) = built(piecewise_linear(), backend, "float32"), batches(backend, "float32")
    D.arena.flat.fill(0)
    D.arena.updated()
    for name in PENALTIES:
        grads = D.gradients()
        P = get_penalty(name).add_gradients(D, real, fake, grads=grads, rng=draws())
        assert float(P) == pytest.approx(10 if name in ("wgan-gp", "dragan") else 0, abs=1e-4)
        assert not backend.to_numpy(grads.flat).any()


# ---------------------------------------------------------------------------------------------- points


def test_points_of_wgan_gp_lie_between_the_examples(backend: Backend):
    real, fake = batches(backend)
    x = backend.to_numpy(WGANGP().points(real, fake, draws(), backend))
    real, fake = backend.to_numpy(real), backend.to_numpy(fake)
    shares = (x - real) / (fake - real)
    for of_one_example in shares:  # one place for all its pixels
        np.testing.assert_allclose(of_one_example, of_one_example[0, 0, 0], rtol=1e-9)
    assert len(set(shares[:, 0, 0, 0].round(9))) == N
    assert ((shares > 0) & (shares < 1)).all()


def test_what_is_judged_together():
    assert examples_together(Sequential([Dense(3)])) == 1
    assert examples_together(Sequential([Sequential([Pack(2), Tanh()]), Pack(3), Dense(1)])) == 6
    branch = [Pack(2), Flatten(), Dense(1)]
    assert examples_together(Sequential([Parallel([branch, branch])])) == 2


def test_a_batch_without_whole_packs(backend: Backend):
    D, (real, fake) = built(Sequential([Pack(3), *patches().layers], name="D"), backend), batches(backend)
    for name in PENALTIES:
        with pytest.raises(ShapeError, match="joins 3 examples, got a batch of 4"):
            get_penalty(name).add_gradients(D, real, fake, grads=D.gradients(), rng=draws())


def test_points_of_the_others(backend: Backend):
    real, fake = batches(backend)
    assert R1().points(real, fake, draws(), backend) is real
    assert R2().points(real, fake, draws(), backend) is fake
    large = backend.asarray(3 * np.random.default_rng(0).normal(size=(100, *IMAGE)))
    delta = backend.to_numpy(DRAGAN().points(large, large, draws(), backend) - large)
    assert delta.std() == pytest.approx(1.5, rel=0.05)
    assert abs(delta.mean()) < 0.05
    assert len(np.unique(delta)) == delta.size


# ---------------------------------------------------------------------------------------------- settings


def test_lazy_regularization(backend: Backend):
    """Each third step has three times the weight."""
    D, (real, fake) = built(piecewise_linear(), backend), batches(backend)
    lazy, eager = R1(weight=2.0, interval=3), R1(weight=2.0)
    assert [lazy.is_due(step) for step in range(7)] == [True, False, False, True, False, False, True]
    assert all(eager.is_due(step) for step in range(7))
    values = [penalty.add_gradients(D, real, fake, grads=D.gradients(), rng=draws()) for penalty in (lazy, eager)]
    assert float(values[0]) == pytest.approx(3 * float(values[1]))


def test_names_and_ranges():
    assert {name: type(get_penalty(name)) for name in PENALTIES} == PENALTIES
    with pytest.raises(ConfigError, match="unknown penalty 'gp': expected one of wgan-gp, dragan, r1, r2"):
        get_penalty("gp")
    for wrong in ({"weight": 0.0}, {"weight": float("nan")}, {"weight": float("inf")}, {"interval": 0}):
        with pytest.raises(ConfigError, match=f"R1: {next(iter(wrong))} must be positive|interval must be a positive"):
            get_penalty("r1", **wrong)


def optimizer(backend: Backend, D: Sequential, penalty: GradientPenalty | None) -> AlternatingOptimizer:
    rng = np.random.default_rng(0)
    G = Sequential([Dense(int(np.prod(IMAGE))), Reshape(IMAGE)], name="G")
    G.build((3,), backend=backend, dtype="float64", rng=rng)
    return AlternatingOptimizer(
        G,
        built(D, backend),
        loss=Wasserstein(),
        noise=lambda rng, n: rng.normal(size=(n, 3)),
        g_optimizer=SGD(G.arena, lr=0.01),
        d_optimizer=SGD(D.arena, lr=0.01),
        penalty=penalty,
    )


def test_wgan_gp_warns_of_batchnorm(backend: Backend):
    with pytest.warns(UserWarning, match=r"D\.3\.BatchNorm makes each logit depend .* Use a D without BatchNorm\."):
        optimizer(backend, smooth(), WGANGP())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer(backend, piecewise_linear(), WGANGP())
        for penalty in (R1(), R2(), DRAGAN(), None):
            optimizer(backend, smooth(), penalty)


def test_a_penalty_holds_the_slope(backend: Backend):
    """Without it a Wasserstein critic's slope grows faster and faster."""
    slopes = {}
    for name, penalty, steps in (("penalty", WGANGP(), 80), ("none", None, 20)):
        gan, (real, fake) = optimizer(backend, piecewise_linear(), penalty), batches(backend)
        for _ in range(steps):
            gan.discriminator_step(real, fake, np.random.default_rng(0))
        dx = backend.to_numpy(slope(WGANGP(), gan.D, real, fake))
        slopes[name] = np.sqrt((dx**2).sum(axis=(1, 2, 3)))
    assert np.abs(slopes["penalty"] - 1).max() < 0.5
    assert slopes["none"].min() > 2


def test_a_lazy_penalty_in_training(backend: Backend):
    gan, (real, fake) = optimizer(backend, piecewise_linear(), R1(interval=2)), batches(backend)
    rng = np.random.default_rng(0)
    found = [float(gan.discriminator_step(real, fake, rng).penalty) for _ in range(4)]
    assert [value > 0 for value in found] == [True, False, True, False]
