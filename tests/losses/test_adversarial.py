"""Losses: values and gradients by formula, by finite differences and against PyTorch."""

import importlib.util
import math

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.losses import (
    FAKE,
    LOSSES,
    REAL,
    CoupledLoss,
    CrossEntropyLoss,
    Hinge,
    LabeledLoss,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    RelativisticPairing,
    SoftmaxMixture,
    SquaredProbability,
    Wasserstein,
    bernoulli,
    gaussian,
    get_loss,
    l1,
    mse,
    probability,
    softmax_cross_entropy,
)
from minigan.losses.feature_matching import FeatureMatching
from minigan.nn.layers import Dense, Dropout, Flatten, LeakyReLU, Reshape, Tanh
from minigan.nn.network import Sequential

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
SEPARATE = [name for name, loss in LOSSES.items() if not issubclass(loss, CoupledLoss)]
LABELED = [name for name, loss in LOSSES.items() if issubclass(loss, LabeledLoss)]
every_separate_loss = pytest.mark.parametrize("name", SEPARATE)
SHAPES = {"one logit": (7, 1), "a map of patches": (2, 3, 4, 1), "no channel axis": (5,)}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


# One number at a time, as the papers have them.
def log_d(s: float) -> float:
    return -math.log1p(math.exp(-s))


def log_not_d(s: float) -> float:
    return -math.log1p(math.exp(s))


def cross_entropy(s: float, target: float) -> float:
    return -target * log_d(s) - (1 - target) * log_not_d(s)


def half_square(s: float, target: float) -> float:
    return (s - target) ** 2 / 2


D_FORMULAS = {
    "minimax": cross_entropy,
    "non-saturating": cross_entropy,
    "squared-probability": cross_entropy,
    "least-squares": half_square,
    "wasserstein": lambda s, target: -s if target == REAL else s,
    "hinge": lambda s, target: max(0, 1 - s) if target == REAL else max(0, 1 + s),
}
G_FORMULAS = {
    "minimax": log_not_d,
    "non-saturating": lambda s: -log_d(s),
    "squared-probability": lambda s: (math.exp(log_d(s)) - 1) ** 2,
    "least-squares": lambda s: half_square(s, 1),
    "wasserstein": lambda s: -s,
    "hinge": lambda s: -s,
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


@every_separate_loss
@every_shape
@pytest.mark.parametrize("target", [REAL, FAKE])
def test_discriminator(backend: Backend, name: str, shape: tuple[int, ...], target: float):
    loss, formula = get_loss(name), D_FORMULAS[name]
    check_loss(backend, lambda s: loss.discriminator(s, target), lambda x: formula(x, target), logits(backend, shape))


@every_separate_loss
@every_shape
def test_generator(backend: Backend, name: str, shape: tuple[int, ...]):
    check_loss(backend, get_loss(name).generator, G_FORMULAS[name], logits(backend, shape))


@pytest.mark.parametrize("name", LABELED)
def test_label_smoothing_is_one_sided(backend: Backend, name: str):
    s, loss, formula = logits(backend, (7, 1)), get_loss(name, label_smoothing=0.1), D_FORMULAS[name]
    check_loss(backend, lambda s: loss.discriminator(s, REAL), lambda x: formula(x, 0.9), s)
    check_loss(backend, lambda s: loss.discriminator(s, FAKE), lambda x: formula(x, 0.0), s)
    check_loss(backend, loss.generator, G_FORMULAS[name], s)


def test_label_smoothing_needs_labels():
    for name in LOSSES.keys() - set(LABELED):
        with pytest.raises(ConfigError, match=f"the loss {name} has no labels to smooth: expected one of minimax"):
            get_loss(name, label_smoothing=0.1)
    for loss in (Wasserstein(), Hinge()):
        with pytest.raises(ConfigError, match=r"expects the target REAL \(1\) or FAKE \(0\), got 0\.9"):
            loss.discriminator(np.zeros((2, 1)), 0.9)
    for label in (0.0, 1.1, math.nan):
        with pytest.raises(ConfigError, match=r"real_label must be in \(0, 1\], got"):
            Minimax(real_label=label)


def test_names():
    assert [*G_FORMULAS] == [*D_FORMULAS] == SEPARATE
    kinds = [
        *(Minimax, NonSaturating, SquaredProbability, LeastSquares),
        *(Wasserstein, Hinge, RelativisticAverage, RelativisticPairing),
    ]
    assert [type(get_loss(name)) for name in LOSSES] == kinds
    with pytest.raises(ConfigError, match="unknown loss 'wgan': expected one of minimax, non-saturating"):
        get_loss("wgan")


def test_verdicts(backend: Backend):
    """A probability of a loss that has one, otherwise the logit."""
    s = logits(backend, (6, 1))
    p = mean(lambda x: math.exp(log_d(x)), s)
    for name in LOSSES:
        expected = p if issubclass(LOSSES[name], CrossEntropyLoss) else float(s.mean())
        assert float(get_loss(name).verdict(s)) == pytest.approx(expected, rel=1e-12)


# ---------------------------------------------------------------------------------------------- relativistic


def relativistic(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """D's loss and G's, a logit at a time."""
    reals, fakes = [float(s) for s in real.ravel()], [float(s) for s in fake.ravel()]
    mean_real, mean_fake = sum(reals) / len(reals), sum(fakes) / len(fakes)
    d = np.mean([-log_d(s - mean_fake) for s in reals]) + np.mean([-log_not_d(s - mean_real) for s in fakes])
    g = np.mean([-log_d(s - mean_real) for s in fakes]) + np.mean([-log_not_d(s - mean_fake) for s in reals])
    return float(d), float(g)


@pytest.mark.parametrize("shapes", [((5, 1), (5, 1)), ((3, 1), (7, 1)), ((2, 3, 4, 1), (3, 2, 2, 1))])
def test_relativistic_average(backend: Backend, shapes):
    rng = np.random.default_rng(0)
    real, fake = (rng.normal(0, 2, shape) for shape in shapes)
    loss, on_real, on_fake = RelativisticAverage(), backend.asarray(real), backend.asarray(fake)
    d_value, dreal, dfake = loss.discriminator(on_real, on_fake)
    g_value, g_dfake = loss.generator(on_real, on_fake)
    assert (float(d_value), float(g_value)) == pytest.approx(relativistic(real, fake), rel=1e-12)
    for which, array, gradient in ((0, real, dreal), (0, fake, dfake), (1, fake, g_dfake)):
        gradient = backend.to_numpy(gradient)
        assert gradient.shape == array.shape
        for index in np.ndindex(array.shape):
            was, values = array[index], []
            for h in (1e-6, -1e-6):
                array[index] = was + h
                values.append(relativistic(real, fake)[which])
            array[index] = was
            assert gradient[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-9)


@every_shape
def test_relativistic_pairing(backend: Backend, shape: tuple[int, ...]):
    """Value by the paper's formula, pair by pair; gradients by differences."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 2, (2, *shape))
    loss, on_real, on_fake = RelativisticPairing(), backend.asarray(real), backend.asarray(fake)

    def pairs(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
        differences = [float(r - f) for r, f in zip(real.ravel(), fake.ravel(), strict=True)]
        return tuple(float(np.mean([-log_d(sign * t) for t in differences])) for sign in (1, -1))

    d_value, dreal, dfake = loss.discriminator(on_real, on_fake)
    g_value, dg = loss.generator(on_real, on_fake)
    assert (float(d_value), float(g_value)) == pytest.approx(pairs(real, fake), rel=1e-12)
    for which, side, gradient in ((0, real, dreal), (0, fake, dfake), (1, fake, dg)):
        found = np.array(backend.to_numpy(gradient))
        assert found.shape == shape
        for index in np.ndindex(*shape):
            values = []
            before = side[index]
            for h in (1e-6, -1e-6):
                side[index] = before + h
                values.append(pairs(real, fake)[which])
            side[index] = before
            assert found[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-9)


def test_pairs_need_a_fake_for_each_real():
    for play in (RelativisticPairing().discriminator, RelativisticPairing().generator):
        with pytest.raises(ShapeError, match=r"a fake for each real example, got logits of shapes \(3, 1\) and \(2, 1"):
            play(np.zeros((3, 1)), np.zeros((2, 1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_relativistic_loss_of_extreme_logits(backend: Backend, dtype: str):
    real, fake = (backend.asarray(np.array([[1e4], [x]], dtype)) for x in (-1e4, 5e3))
    for value, *gradients in (
        RelativisticAverage().discriminator(real, fake),
        RelativisticAverage().generator(real, fake),
    ):
        assert np.isfinite(float(value))
        assert all(np.isfinite(backend.to_numpy(g)).all() and str(g.dtype) == dtype for g in gradients)


def test_a_relativistic_loss_does_not_see_what_both_logits_have_in_common():
    real, fake = np.array([[0.3], [-1.0]]), np.array([[2.0], [0.1]])
    one, other = (
        RelativisticAverage().discriminator(real, fake),
        RelativisticAverage().discriminator(real + 5, fake + 5),
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# ---------------------------------------------------------------------------------------------- what they are like


def test_the_game_of_algorithm_1():
    """D's two cross-entropies are -V(D, G), and minimax G minimizes its share of V."""
    real, fake = np.array([[0.3], [-1.0]]), np.array([[2.0], [0.1]])
    loss = Minimax()
    d_value = loss.discriminator(real, REAL)[0] + loss.discriminator(fake, FAKE)[0]
    assert -d_value == pytest.approx(mean(log_d, real) + mean(log_not_d, fake), rel=1e-14)
    assert loss.generator(fake)[0] == pytest.approx(mean(log_not_d, fake), rel=1e-14)


def test_every_generator_loss_pulls_the_logits_up(backend: Backend):
    s = logits(backend, (20, 1))
    unbounded = [name for name in SEPARATE if name != "least-squares"]  # which pulls logits over 1 down
    assert all((backend.to_numpy(get_loss(name).generator(s)[1]) < 0).all() for name in unbounded)


def test_only_minimax_and_squared_probability_saturate():
    s = np.full((1, 1), -20.0)
    assert abs(Minimax().generator(s)[1][0, 0]) < 1e-8
    assert abs(SquaredProbability().generator(s)[1][0, 0]) < 1e-8
    assert NonSaturating().generator(s)[1][0, 0] == pytest.approx(-1, abs=1e-8)


def test_least_squares_pulls_to_its_labels():
    s = np.array([[-3.0], [0.0], [0.5], [1.0], [4.0]])
    assert (np.sign(LeastSquares().generator(s)[1]).ravel() == [-1, -1, -1, 0, 1]).all()
    assert (np.sign(LeastSquares().discriminator(s, FAKE)[1]).ravel() == [-1, 0, 1, 1, 1]).all()


def test_the_hinge_lets_go_beyond_its_margin():
    s = np.array([[-2.0], [-0.5], [0.5], [2.0]])
    assert (Hinge().discriminator(s, REAL)[1].ravel() == [-0.25, -0.25, -0.25, 0]).all()
    assert (Hinge().discriminator(s, FAKE)[1].ravel() == [0, 0.25, 0.25, 0.25]).all()


@pytest.mark.parametrize("name", [name for name in SEPARATE if name != "least-squares"])  # a square may overflow
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


@pytest.mark.parametrize(
    ("name", "settings", "on_real", "on_fake"),
    [  # the losses of a logit of -inf and of inf
        ("non-saturating", {}, (math.inf, 0), (0, math.inf)),
        ("minimax", {"real_label": 0.9}, (math.inf, math.inf), (0, math.inf)),
        ("hinge", {}, (math.inf, 0), (0, math.inf)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_logits_cost_nothing_where_they_are_right(backend: Backend, dtype, name, settings, on_real, on_fake):
    loss = LOSSES[name](**settings)
    for target, expected in ((REAL, on_real), (FAKE, on_fake)):
        for logit, cost in zip((-math.inf, math.inf), expected, strict=True):
            with np.errstate(invalid="ignore"):
                value, dlogits = loss.discriminator(backend.asarray(np.array([[logit]], dtype)), target)
            assert float(value) == cost
            assert value.dtype == dlogits.dtype == np.dtype(dtype)
            assert np.isfinite(backend.to_numpy(dlogits)).all()


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


# ---------------------------------------------------------------------------------------------- feature matching


def test_feature_matching_compares_means_of_what_the_last_layer_is_given(backend: Backend):
    D = Sequential([Dense(3), LeakyReLU(0.2), Sequential([Dense(2), Tanh()]), Dense(1), Reshape((1, 1))], name="D")
    D.build((4,), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    fake, real = (backend.asarray(np.random.default_rng(n).normal(size=(5, 4))) for n in (1, 2))
    matching = FeatureMatching(D)
    assert matching.layers == D.layers[:3]
    value, gradient = matching(fake, real)
    means = []
    for x in (fake, real):
        for layer in D.layers[:3]:
            x, _ = layer.forward(x, train=True)
        means.append(backend.to_numpy(x).mean(axis=0))
    assert float(value) == pytest.approx(((means[0] - means[1]) ** 2).sum(), rel=1e-12)
    assert gradient.shape == fake.shape
    assert float(matching(real, real)[0]) == 0
    assert float(matching(real[:3], real[:3])[0]) == 0


def test_feature_matching_refuses_what_has_no_features():
    rng = np.random.default_rng(0)
    shallow = Sequential([Flatten(), Dense(1)], name="D").build((4,), backend="reference", rng=rng)
    with pytest.raises(ConfigError, match="needs at least 2 layers with weights, but D has 1"):
        FeatureMatching(shallow)
    random = Sequential([Dense(2), Dropout(0.1), Dense(1)], name="D").build((4,), backend="reference", rng=rng)
    with pytest.raises(ConfigError, match=r"needs a D without Dropout, got D\.1\.Dropout"):
        FeatureMatching(random)


# ---------------------------------------------------------------------------------------------- PyTorch


@needs_torch
@every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parity_with_torch(shape: tuple[int, ...], dtype: str):
    import torch
    import torch.nn.functional as F

    def relativistic_torch(real, fake):
        on_real, on_fake = real - fake.mean(), fake - real.mean()
        return bce(on_real, torch.ones_like(real)) + bce(on_fake, torch.zeros_like(fake))

    rng = np.random.default_rng(1)
    s, other = rng.normal(0, 3, shape).astype(dtype), rng.normal(0, 1, shape).astype(dtype)
    target = torch.from_numpy(other)
    ones = torch.ones_like(target)
    bce = F.binary_cross_entropy_with_logits
    smooth = NonSaturating(real_label=0.9)
    pairs = [
        (NonSaturating().discriminator(s, REAL), lambda t: bce(t, ones)),
        (NonSaturating().discriminator(s, FAKE), lambda t: bce(t, 0 * ones)),
        (smooth.discriminator(s, REAL), lambda t: bce(t, 0.9 * ones)),
        (smooth.discriminator(s, FAKE), lambda t: bce(t, 0 * ones)),
        (NonSaturating().generator(s), lambda t: bce(t, ones)),
        (Minimax().generator(s), lambda t: -bce(t, 0 * ones)),
        (SquaredProbability().generator(s), lambda t: F.mse_loss(torch.sigmoid(t), ones)),
        (LeastSquares().discriminator(s, REAL), lambda t: 0.5 * F.mse_loss(t, ones)),
        (LeastSquares().discriminator(s, FAKE), lambda t: 0.5 * F.mse_loss(t, 0 * ones)),
        (LeastSquares().generator(s), lambda t: 0.5 * F.mse_loss(t, ones)),
        (Wasserstein().discriminator(s, REAL), lambda t: -t.mean()),
        (Wasserstein().discriminator(s, FAKE), lambda t: t.mean()),
        (Wasserstein().generator(s), lambda t: -t.mean()),
        (Hinge().discriminator(s, REAL), lambda t: F.relu(1 - t).mean()),
        (Hinge().discriminator(s, FAKE), lambda t: F.relu(1 + t).mean()),
        (Hinge().generator(s), lambda t: -t.mean()),
        (RelativisticAverage().discriminator(s, other)[:2], lambda t: relativistic_torch(t, target)),
        (RelativisticAverage().discriminator(other, s)[::2], lambda t: relativistic_torch(target, t)),
        (RelativisticAverage().generator(other, s), lambda t: relativistic_torch(t, target)),
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


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: NonSaturating().discriminator([0, 0], REAL),
            "NonSaturating: logits must be an array of numbers, got [",
        ),
        (
            lambda: NonSaturating().generator(None),
            "logits must be an array of numbers, got None. Write np.array(",
        ),
        (lambda: RelativisticAverage().generator([0.0], np.zeros(2)), "RelativisticAverage: fake must be an array"),
        (lambda: SoftmaxMixture(Hinge()).generator([[0.0]]), "SoftmaxMixture: logits must be an array"),
        (lambda: mse([1.0], np.ones(1)), "mse: prediction must be an array of numbers, got [1.0]."),
        (lambda: l1(np.ones(1), None), "l1: target must be an array of numbers, got None."),
        (lambda: bernoulli([0.0], np.ones(1)), "bernoulli: logits must be an array"),
        (lambda: gaussian("x", np.ones(1)), "gaussian: means must be an array of numbers, got 'x'."),
        (lambda: softmax_cross_entropy(np.ones((1, 2)), [0]), "softmax_cross_entropy: labels must be an array"),
        (
            lambda: Minimax().generator(np.array([None])),
            "numbers, got an array (1,) of object.",
        ),
    ],
)
def test_what_is_no_array_is_refused_in_one_line(call, says):
    with pytest.raises(DTypeError) as caught:
        call()
    assert says in str(caught.value)


@pytest.mark.parametrize("name", SEPARATE)
@pytest.mark.parametrize("logits", [[0.0], None, "x"], ids=str)
def test_every_loss_refuses_what_is_no_array(name, logits):
    loss = LOSSES[name]()
    for call in (lambda: loss.discriminator(logits, REAL), lambda: loss.generator(logits)):
        with pytest.raises(DTypeError, match=f"{type(loss).__name__}: logits must be an array of numbers"):
            call()


@pytest.mark.parametrize("name", SEPARATE)
@pytest.mark.parametrize("target", ["real", None, 2.0, np.ones(3)], ids=str)
def test_every_loss_refuses_what_is_no_target(name, target):
    with pytest.raises(ConfigError, match=r"target must be in \[0, 1\], got .*Write REAL or FAKE"):
        LOSSES[name]().discriminator(np.zeros((3, 1)), target)
