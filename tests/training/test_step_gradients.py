"""One whole training step for every loss and penalty: all gradients of G and D against finite differences."""

from collections.abc import Callable

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.losses import LOSSES, get_loss, l1
from minigan.losses.feature_matching import FeatureMatching
from minigan.losses.gradient_penalties import PENALTIES, get_penalty
from minigan.nn.gradcheck import check_gradient
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dropout, Flatten, LeakyReLU, ReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.nn.optimizers import SGD
from minigan.recipes import DCGAN, get_recipe
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.generator_term import GeneratorTerm
from minigan.training.instance_noise import InstanceNoise

SEED = 3


@pytest.fixture(scope="session")
def backend(host_backend: Backend) -> Backend:
    return host_backend


def conv_gan(
    backend: Backend, loss: str, penalty: str | None = None, *, norm: bool = True, noise: InstanceNoise | None = None
) -> tuple[AlternatingOptimizer, np.ndarray]:
    """A DCGAN in small, D with or without BatchNorm; and a real batch."""
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
            BatchNorm(gamma_init=gamma) if norm else Tanh(),
            LeakyReLU(0.2),
            Dropout(0.1),
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
        penalty=get_penalty(penalty, weight=3.0, interval=2) if penalty else None,
        instance_noise=noise,
    )
    return optimizer, rng.uniform(-1, 1, (5, 6, 6, 1))


def mlp_gan(backend: Backend, loss: str) -> tuple[AlternatingOptimizer, np.ndarray]:
    """The recipe with a weight of its MSE term that shows."""
    recipe = get_recipe("mlp").from_settings({"latent": 4, "hidden": 5, "mse_weight": 0.5, "loss": loss})
    rng = np.random.default_rng(0)
    optimizer = recipe.assemble((3, 3, 1), backend=backend, dtype="float64", rng=rng)
    return optimizer, rng.uniform(0, 1, (4, 3, 3, 1))


# ---------------------------------------------------------------------------------------------- values, by hand


def log_d(s: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-s))


def minus_v(real: np.ndarray, fake: np.ndarray) -> float:
    return float(-log_d(real).mean() - log_d(-fake).mean())


def relativistic(real: np.ndarray, fake: np.ndarray) -> float:
    return minus_v(real - fake.mean(), fake - real.mean())


# Each loss as its paper has it: D's, and G's, of the real and the fake logits.
LogitsLoss = Callable[[np.ndarray, np.ndarray], float]
FORMULAS: dict[str, tuple[LogitsLoss, LogitsLoss]] = {
    "minimax": (minus_v, lambda _, s: log_d(-s).mean()),
    "non-saturating": (minus_v, lambda _, s: -log_d(s).mean()),
    "squared-probability": (minus_v, lambda _, s: ((np.exp(log_d(s)) - 1) ** 2).mean()),
    "least-squares": (
        lambda r, s: ((r - 1) ** 2).mean() / 2 + (s**2).mean() / 2,
        lambda _, s: ((s - 1) ** 2).mean() / 2,
    ),
    "wasserstein": (lambda r, s: s.mean() - r.mean(), lambda _, s: -s.mean()),
    "hinge": (lambda r, s: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + s).mean(), lambda _, s: -s.mean()),
    "relativistic-average": (relativistic, lambda r, s: relativistic(s, r)),
    "relativistic-pairing": (lambda r, s: -log_d(r - s).mean(), lambda r, s: -log_d(s - r).mean()),
}
# Each penalty of |g| at its points, without weight.
SLOPE_FORMULAS = {
    "wgan-gp": lambda norms: ((norms - 1) ** 2).mean(),
    "dragan": lambda norms: ((norms - 1) ** 2).mean(),
    "r1": lambda norms: (norms**2).mean() / 2,
    "r2": lambda norms: (norms**2).mean() / 2,
    "r1+r2": lambda norms: (norms**2).mean(),  # of both batches, so twice their mean
}


def d_loss(gan: AlternatingOptimizer, loss: str, penalty: str | None, real: np.ndarray, fake: np.ndarray) -> float:
    rng = np.random.default_rng(SEED)
    passes = [gan.D.forward(x, train=True, rng=rng) for x in (real, fake)]
    value = FORMULAS[loss][0](*(logits for logits, _ in passes))
    if penalty is None:
        return value
    if not gan.penalty.shares_passes:
        passes = [gan.D.forward(gan.penalty.points(real, fake, rng, gan.D.kernels), train=True, rng=rng)]
    dx = np.concatenate([gan.D.backward(np.ones_like(logits), tape, grads=None) for logits, tape in passes])
    return value + 2 * 3.0 * SLOPE_FORMULAS[penalty](np.sqrt((dx**2).sum(axis=(1, 2, 3))))


def g_loss(gan: AlternatingOptimizer, loss: str, real: np.ndarray, z: np.ndarray) -> float:
    fake, _ = gan.G.forward(z, train=True)
    rng, std = np.random.default_rng(SEED), gan.instance_noise.std if gan.instance_noise else 0

    def on(x: np.ndarray) -> np.ndarray:
        return gan.D.forward(x + std * rng.standard_normal(x.shape) if std else x, train=True, rng=rng)[0]

    on_fake = on(fake)
    on_real = on(real) if loss.startswith("relativistic") else None
    value = FORMULAS[loss][1](on_real, on_fake)
    for weight, function in gan.generator_terms:
        if isinstance(function, FeatureMatching):
            value += weight * feature_distance(gan.D, fake, real)
        else:
            distance = np.abs(fake - real) if function is l1 else (fake - real) ** 2
            value += weight * float(distance.mean())
    return value


def feature_distance(D: Sequential, fake: np.ndarray, real: np.ndarray) -> float:
    """The distance between the inputs of the last layer with weights, which are in its cache."""
    last = max(index for index, layer in enumerate(D.layers) if layer.own_parameters)
    means = []
    for x in (fake, real):
        _, tape = D.forward(x, train=True)
        means.append(tape.caches(D)[last].x.mean(axis=0))
    return float(((means[0] - means[1]) ** 2).sum())


def check_step(gan: AlternatingOptimizer, loss: str, penalty: str | None, real: np.ndarray) -> None:
    z = gan.noise(np.random.default_rng(SEED), len(real))
    fake, g_tape = gan.G.forward(z, train=True)
    values = gan.discriminator_gradients(real, fake, np.random.default_rng(SEED))
    g_value = gan.generator_gradients(fake, g_tape, real, np.random.default_rng(SEED))
    assert values.loss + values.penalty == pytest.approx(d_loss(gan, loss, penalty, real, fake), rel=1e-10)
    assert g_value.loss == pytest.approx(g_loss(gan, loss, real, z), rel=1e-10)
    assert (values.penalty != 0) == (penalty is not None)

    sides = (
        (gan.D, gan.d_grads, lambda: d_loss(gan, loss, penalty, real, fake)),
        (gan.G, gan.g_grads, lambda: g_loss(gan, loss, real, z)),
    )
    for network, grads, value in sides:
        checks = [
            check_gradient(
                value, p.value, grads[p], path=network.path, what=name, rng=np.random.default_rng(0), scale=5.0
            )
            for name, p in network.named_parameters()
        ]
        assert [str(check) for check in checks if not check.passed] == []
        assert np.abs(grads.flat).max() > 1e-4


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make", [conv_gan, mlp_gan])
def test_every_loss(backend: Backend, make, loss: str):
    gan, real = make(backend, loss)
    check_step(gan, loss, None, real)


RECIPES = {
    "minimax": ({"hidden": 8, "latent": 3}, (5, 4, 1)),
    "dcgan-keras": ({"width": 1, "latent": 3}, (8, 7, 3)),
    "dcgan-cifar": ({"width": 1, "dense": 6, "latent": 3}, (16, 16, 1)),
    "sngan": ({"width": 4, "latent": 3}, (16, 16, 1)),
    "multi-d": ({"width": 1, "latent": 3, "discriminators": 2, "multi_scale": True}, (16, 16, 1)),
    "pacgan": ({"g_hidden": 6, "d_hidden": 4, "batch_size": 6, "pack": 2}, (2,)),
}


def recipe_gan(backend: Backend, name: str, **settings: object) -> tuple[AlternatingOptimizer, np.ndarray]:
    """A recipe's networks, small, with weights that are not; and a real batch."""
    small, shape = RECIPES[name]
    rng = np.random.default_rng(0)
    gan = (
        get_recipe(name).from_settings({**small, **settings}).assemble(shape, backend=backend, dtype="float64", rng=rng)
    )
    for network in (gan.G, gan.D):
        for parameter, p in network.named_parameters():
            p.value[...] += rng.normal(0, 0.3, p.shape) * ("gamma" not in parameter)
        network.arena.updated()
        for _, layer in network.walk():
            layer.settle()
    return gan, rng.uniform(-1, 1, (6, *shape))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(backend: Backend, name: str):
    gan, real = recipe_gan(backend, name)
    loss = next(key for key, kind in LOSSES.items() if type(gan.loss) is kind)
    check_step(gan, loss, None, real)


@pytest.mark.parametrize("loss", ["minimax", "hinge"])
def test_softmax_weights(backend: Backend, loss: str):
    """F = sum_k w_k V_k with w_k = exp(λ V_k) / sum_j exp(λ V_j), weights and all."""
    sharpness = 3.0
    gan, real = recipe_gan(backend, "multi-d", weights="softmax", sharpness=sharpness, loss=loss)
    z = gan.noise(np.random.default_rng(SEED), len(real))

    def F() -> float:
        logits, _ = gan.D.forward(gan.G.forward(z, train=True)[0], train=True)
        V = np.array([FORMULAS[loss][1](None, logits[:, k]) for k in range(2)])
        w = np.exp(sharpness * V) / np.exp(sharpness * V).sum()
        return float((w * V).sum())

    fake, g_tape = gan.G.forward(z, train=True)
    rng = np.random.default_rng(SEED)
    assert gan.generator_gradients(fake, g_tape, real, rng).loss == pytest.approx(F(), rel=1e-10)
    for name, p in gan.G.named_parameters():
        check = check_gradient(F, p.value, gan.g_grads[p], path="G", what=name, rng=np.random.default_rng(0), scale=5.0)
        assert check.passed, str(check)


@pytest.mark.parametrize("penalty", ["wgan-gp", "r1"])
def test_each_discriminator_has_a_penalty_of_its_own(backend: Backend, penalty: str):
    gan, real = recipe_gan(backend, "multi-d", penalty=penalty, penalty_weight=3.0, d_norm="none", multi_scale=False)
    fake = np.random.default_rng(SEED).uniform(-1, 1, real.shape)

    def P() -> float:
        rng, value = np.random.default_rng(SEED), 0.0
        for k in range(2):
            x = gan.penalty.points(real, fake, rng, gan.D.kernels)
            logits, tape = gan.D.forward(x, train=True)
            dlogits = np.zeros_like(logits)
            dlogits[:, k] = 1
            dx = gan.D.backward(dlogits, tape, grads=None)
            value += 3.0 / 2 * float(SLOPE_FORMULAS[penalty](np.sqrt((dx**2).sum(axis=(1, 2, 3)))))
        return value

    grads = gan.D.gradients()
    value = gan.penalty.add_gradients(gan.D, real, fake, grads=grads, rng=np.random.default_rng(SEED))
    assert value == pytest.approx(P(), rel=1e-10)
    for name, p in gan.D.named_parameters():
        check = check_gradient(P, p.value, grads[p], path="D", what=name, rng=np.random.default_rng(0), scale=5.0)
        assert check.passed, str(check)


@pytest.mark.filterwarnings("ignore:.*makes each logit depend on the whole batch:UserWarning")
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("norm", [True, False], ids=["BatchNorm", "no norm"])
def test_every_penalty(backend: Backend, penalty: str, norm: bool):
    gan, real = conv_gan(backend, "wasserstein", penalty, norm=norm)
    check_step(gan, "wasserstein", penalty, real)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_with_a_penalty(backend: Backend, loss: str):
    gan, real = conv_gan(backend, loss, "r1")
    check_step(gan, loss, "r1", real)


@pytest.mark.parametrize("loss", ["hinge", "relativistic-average"])
def test_instance_noise(backend: Backend, loss: str):
    gan, real = conv_gan(backend, loss, noise=InstanceNoise(0.3, 10))
    check_step(gan, loss, None, real)


@pytest.mark.parametrize(
    ("recipe", "settings", "shape"),
    [("mlp", {"hidden": 5}, (3, 3, 1)), ("dcgan", {"width": 2}, (8, 8, 1)), ("dcgan", {"width": 1}, (16, 16, 1))],
)
def test_feature_matching(backend: Backend, recipe: str, settings: dict, shape: tuple[int, ...]):
    r = get_recipe(recipe).from_settings({"latent": 4, "feature_matching": 0.7, **settings})
    rng = np.random.default_rng(0)
    gan = r.assemble(shape, backend=backend, dtype="float64", rng=rng)
    for network in (gan.G, gan.D):  # DCGAN's first weights are so small that hardly anything depends on the images
        for name, p in network.named_parameters():
            p.value[...] += rng.normal(0, 0.2, p.shape) * ("gamma" not in name)
        network.arena.updated()
    assert any(isinstance(function, FeatureMatching) for _, function in gan.generator_terms)
    check_step(gan, r.loss, None, rng.uniform(-1, 1, (5, *shape)))


@pytest.mark.parametrize("condition", ["concatenation", "projection"])
@pytest.mark.parametrize("penalty", [None, "r1"])
def test_class_conditional_networks(backend: Backend, condition: str, penalty: str | None):
    r = DCGAN(
        width=2,
        latent=4,
        classes=3,
        condition=condition,
        penalty=penalty or "none",
        penalty_weight=3.0,
        penalty_interval=2,
    )
    rng = np.random.default_rng(0)
    gan = r.assemble((8, 8, 1), backend=backend, dtype="float64", rng=rng)
    for network in (gan.G, gan.D):
        for name, p in network.named_parameters():
            p.value[...] += rng.normal(0, 0.2, p.shape) * ("gamma" not in name)
        network.arena.updated()
    classes = backend.asarray(r.one_hot(np.array([0, 2, 1, 1, 0])), dtype=np.dtype(np.float64))
    gan.G, gan.D = gan.G.given(classes), gan.D.given(classes)
    check_step(gan, r.loss, penalty, rng.uniform(-1, 1, (5, 8, 8, 1)))


def test_nothing_is_left_out():
    assert FORMULAS.keys() == LOSSES.keys()
    assert SLOPE_FORMULAS.keys() == PENALTIES.keys()
