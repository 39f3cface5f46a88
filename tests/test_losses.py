"""Losses: values and gradients by formula, by finite differences and against PyTorch; then whole training steps."""

import importlib.util
import math

import numpy as np
import pytest

from minigan.alternating import AlternatingOptimizer, GeneratorTerm
from minigan.backends import Backend
from minigan.errors import ConfigError, ShapeError
from minigan.gradcheck import check_gradient
from minigan.initializers import Normal
from minigan.layers import BatchNorm, Conv2D, ConvTranspose2D, Flatten, LeakyReLU, ReLU, Reshape, Tanh
from minigan.losses import (
    FAKE,
    LOSSES,
    REAL,
    Minimax,
    NonSaturating,
    SquaredProbability,
    get_loss,
    l1,
    mse,
    probability,
)
from minigan.network import Sequential
from minigan.optim import SGD
from minigan.recipes import get_recipe

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
every_loss = pytest.mark.parametrize("name", LOSSES)
SHAPES = {"one logit": (7, 1), "a map of patches": (2, 3, 4, 1), "no channel axis": (5,)}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


# One number at a time, as the papers have them.
def log_d(s: float) -> float:
    return -math.log1p(math.exp(-s))


def log_not_d(s: float) -> float:
    return -math.log1p(math.exp(s))


def cross_entropy(s: float, target: float) -> float:
    return -target * log_d(s) - (1 - target) * log_not_d(s)


G_FORMULAS = {
    "minimax": log_not_d,
    "non-saturating": lambda s: -log_d(s),
    "squared-probability": lambda s: (math.exp(log_d(s)) - 1) ** 2,
}


def mean(formula, logits: np.ndarray) -> float:
    return float(np.mean([formula(float(s)) for s in logits.ravel()]))


def logits(backend: Backend, shape: tuple[int, ...], *, dtype: str = "float64"):
    return backend.asarray(np.random.default_rng(0).normal(0, 2, shape), dtype=np.dtype(dtype))


def check_loss(backend: Backend, function, formula, s) -> None:
    value, gradient = function(s)
    assert value.shape == ()
    assert gradient.shape == s.shape
    assert value.dtype == gradient.dtype == s.dtype
    assert float(value) == pytest.approx(mean(formula, backend.to_numpy(s)), rel=1e-12)
    numbers = np.array(backend.to_numpy(s))
    expected = np.array([(formula(x + 1e-6) - formula(x - 1e-6)) / 2e-6 for x in numbers.ravel()]) / s.size
    np.testing.assert_allclose(backend.to_numpy(gradient).ravel(), expected, rtol=1e-6, atol=1e-9)


@every_loss
@every_shape
@pytest.mark.parametrize("target", [REAL, FAKE, 0.9])
def test_discriminator(backend: Backend, name: str, shape: tuple[int, ...], target: float):
    s = logits(backend, shape)
    check_loss(backend, lambda s: get_loss(name).discriminator(s, target), lambda x: cross_entropy(x, target), s)


@every_loss
@every_shape
def test_generator(backend: Backend, name: str, shape: tuple[int, ...]):
    check_loss(backend, get_loss(name).generator, G_FORMULAS[name], logits(backend, shape))


def test_names():
    assert G_FORMULAS.keys() == LOSSES.keys()
    assert isinstance(get_loss("minimax"), Minimax)
    assert isinstance(get_loss("non-saturating"), NonSaturating)
    assert isinstance(get_loss("squared-probability"), SquaredProbability)
    with pytest.raises(ConfigError, match="unknown loss 'wgan': expected one of minimax, non-saturating"):
        get_loss("wgan")


def test_the_game_of_algorithm_1():
    """D's two cross-entropies are -V(D, G), and minimax G minimises its share of V."""
    real, fake = np.array([[0.3], [-1.0]]), np.array([[2.0], [0.1]])
    loss = Minimax()
    d_value = loss.discriminator(real, REAL)[0] + loss.discriminator(fake, FAKE)[0]
    assert -d_value == pytest.approx(mean(log_d, real) + mean(log_not_d, fake), rel=1e-14)
    assert loss.generator(fake)[0] == pytest.approx(mean(log_not_d, fake), rel=1e-14)


def test_every_generator_loss_pulls_the_logits_up(backend: Backend):
    s = logits(backend, (20, 1))
    assert all((backend.to_numpy(get_loss(name).generator(s)[1]) < 0).all() for name in LOSSES)


def test_only_minimax_and_squared_probability_saturate():
    s = np.full((1, 1), -20.0)
    assert abs(Minimax().generator(s)[1][0, 0]) < 1e-8
    assert abs(SquaredProbability().generator(s)[1][0, 0]) < 1e-8
    assert NonSaturating().generator(s)[1][0, 0] == pytest.approx(-1, abs=1e-8)


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_stay_finite_without_a_warning(backend: Backend, name: str, dtype: str):
    numbers = np.array([1e4, -1e4, 100, -100, 0, 3e38 if dtype == "float32" else 1e300], dtype)
    s = backend.asarray(numbers.reshape(-1, 1))
    loss = get_loss(name)
    for function in (lambda s: loss.discriminator(s, REAL), lambda s: loss.discriminator(s, FAKE), loss.generator):
        for part in (s, s[:-1]):
            value, gradient = function(part)
            # A mean of numbers near the largest float may overflow, on NumPy too; the ordinary ones must not.
            assert np.isfinite(float(value)) or part is s
            assert np.isfinite(backend.to_numpy(gradient)).all()
            assert str(gradient.dtype) == dtype


def test_the_values_at_the_extremes():
    s = np.array([[1e4], [-1e4]], np.float32)
    assert NonSaturating().discriminator(s, REAL)[0] == 5e3
    assert NonSaturating().discriminator(s, FAKE)[0] == 5e3
    assert NonSaturating().generator(s)[0] == 5e3
    assert Minimax().generator(s)[0] == -5e3
    assert SquaredProbability().generator(s)[0] == 0.5
    assert (NonSaturating().generator(s)[1] == np.array([[0], [-0.5]], np.float32)).all()


def test_probability(backend: Backend):
    s = np.array([-1e4, -2, 0, 0.5, 1e4])
    expected = [0, 1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-0.5)), 1]
    np.testing.assert_allclose(backend.to_numpy(probability(backend.asarray(s))), expected, rtol=1e-15)
    assert probability(backend.asarray(s, dtype=np.dtype(np.float32))).dtype == np.float32


# ---------------------------------------------------------------------------------------------- mse, l1


@pytest.mark.parametrize(("function", "formula"), [(mse, lambda d: d**2), (l1, abs)], ids=["mse", "l1"])
def test_distances(backend: Backend, function, formula):
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 3, 4, 1)), rng.normal(size=(2, 3, 4, 1))
    check_loss(
        backend,
        lambda d: function(d + backend.asarray(target), backend.asarray(target)),
        formula,
        backend.asarray(prediction - target),
    )


def test_l1_has_no_pull_where_it_is_met(backend: Backend):
    prediction = backend.asarray(np.array([[1.0, 2.0]]))
    assert backend.to_numpy(l1(prediction, backend.asarray(np.array([[1.0, 5.0]])))[1]).tolist() == [[0, -0.5]]


@pytest.mark.parametrize("function", [mse, l1])
def test_distances_do_not_broadcast(function):
    with pytest.raises(ShapeError, match=r"\(2, 3\), got \(2, 1\)"):
        function(np.zeros((2, 3)), np.zeros((2, 1)))


# ---------------------------------------------------------------------------------------------- PyTorch


@needs_torch
@every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parity_with_torch(shape: tuple[int, ...], dtype: str):
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(1)
    s, other = rng.normal(0, 3, shape).astype(dtype), rng.normal(0, 1, shape).astype(dtype)
    target = torch.from_numpy(other)
    ones = torch.ones_like(target)
    loss = NonSaturating()
    pairs = [
        (loss.discriminator(s, REAL), lambda t: F.binary_cross_entropy_with_logits(t, ones)),
        (loss.discriminator(s, FAKE), lambda t: F.binary_cross_entropy_with_logits(t, 0 * ones)),
        (loss.discriminator(s, 0.9), lambda t: F.binary_cross_entropy_with_logits(t, 0.9 * ones)),
        (loss.generator(s), lambda t: F.binary_cross_entropy_with_logits(t, ones)),
        (Minimax().generator(s), lambda t: -F.binary_cross_entropy_with_logits(t, 0 * ones)),
        (SquaredProbability().generator(s), lambda t: F.mse_loss(torch.sigmoid(t), ones)),
        (mse(s, other), lambda t: F.mse_loss(t, target)),
        (l1(s, other), lambda t: F.l1_loss(t, target)),
    ]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for (value, gradient), function in pairs:
        t = torch.tensor(s, requires_grad=True)
        expected = function(t)
        expected.backward()
        assert float(value) == pytest.approx(expected.item(), rel=tolerance)
        np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=tolerance, atol=tolerance / 100)


# ---------------------------------------------------------------------------------------------- one whole training step


def conv_gan(backend: Backend, loss: str) -> tuple[AlternatingOptimizer, np.ndarray]:
    """A DCGAN in small: BatchNorm in both, D seeing real and fake as separate batches; and a real batch."""
    weights, gamma = Normal(0.3), Normal(0.3, mean=1.0)
    G = Sequential(
        [
            Reshape((1, 1, 3)),
            ConvTranspose2D(4, 3, padding="valid", bias=False, init=weights),
            BatchNorm(gamma_init=gamma),
            ReLU(),
            ConvTranspose2D(1, 4, stride=2, padding=1, init=weights),
            Tanh(),
        ],
        name="G",
    )
    D = Sequential(
        [
            Conv2D(3, 4, stride=2, padding=1, init=weights),
            LeakyReLU(0.2),
            Conv2D(4, 3, bias=False, init=weights),
            BatchNorm(gamma_init=gamma),
            LeakyReLU(0.2),
            Conv2D(1, 3, padding="valid", init=weights),
            Flatten(),
        ],
        name="D",
    )
    rng = np.random.default_rng(0)
    G.build((3,), backend=backend, dtype="float64", rng=rng)
    D.build((6, 6, 1), backend=backend, dtype="float64", rng=rng)
    optimizer = AlternatingOptimizer(
        G,
        D,
        loss=get_loss(loss),
        noise=lambda rng, n: rng.normal(size=(n, 3)),
        g_optimizer=SGD(G.arena, lr=0.1),
        d_optimizer=SGD(D.arena, lr=0.1),
        generator_terms=[GeneratorTerm(0.3, l1)],
    )
    return optimizer, rng.uniform(-1, 1, (5, 6, 6, 1))


def mlp_gan(backend: Backend, loss: str) -> tuple[AlternatingOptimizer, np.ndarray]:
    """The recipe with a weight of its MSE term that shows."""
    recipe = get_recipe("mlp").from_settings({"latent": 4, "hidden": 5, "mse_weight": 0.5, "loss": loss})
    rng = np.random.default_rng(0)
    optimizer = recipe.assemble((3, 3, 1), backend=backend, dtype="float64", rng=rng)
    return optimizer, rng.uniform(0, 1, (4, 3, 3, 1))


def d_loss(gan: AlternatingOptimizer, real: np.ndarray, fake: np.ndarray) -> float:
    on_real, _ = gan.D.forward(real, train=True)
    on_fake, _ = gan.D.forward(fake, train=True)
    return mean(lambda s: -log_d(s), on_real) + mean(lambda s: -log_not_d(s), on_fake)


def g_loss(gan: AlternatingOptimizer, loss: str, real: np.ndarray, z: np.ndarray) -> float:
    fake, _ = gan.G.forward(z, train=True)
    value = mean(G_FORMULAS[loss], gan.D.forward(fake, train=True)[0])
    for weight, function in gan.generator_terms:
        distance = np.abs(fake - real) if function is l1 else (fake - real) ** 2
        value += weight * float(distance.mean())
    return value


@every_loss
@pytest.mark.parametrize("make", [conv_gan, mlp_gan])
def test_all_gradients_of_a_training_step(backend: Backend, make, name: str):
    if backend.xp is not np:
        pytest.skip("finite differences run on a CPU backend")
    gan, real = make(backend, name)
    rng = np.random.default_rng(3)
    z = gan.noise(rng, len(real))
    fake, g_tape = gan.G.forward(z, train=True)

    gan.discriminator_gradients(real, fake, rng)
    gan.generator_gradients(fake, g_tape, real, rng)
    d_checks = [
        check_gradient(lambda: d_loss(gan, real, fake), p.value, gan.d_grads[p], path="D", what=n, rng=rng, scale=1.0)
        for n, p in gan.D.named_parameters()
    ]
    g_checks = [
        check_gradient(
            lambda: g_loss(gan, name, real, z), p.value, gan.g_grads[p], path="G", what=n, rng=rng, scale=1.0
        )
        for n, p in gan.G.named_parameters()
    ]
    assert [str(c) for c in d_checks + g_checks if not c.passed] == []
    assert all(np.abs(grads.flat).max() > 1e-4 for grads in (gan.d_grads, gan.g_grads))
    assert len(d_checks) == len(dict(gan.D.named_parameters()))
    assert len(g_checks) == len(dict(gan.G.named_parameters()))
