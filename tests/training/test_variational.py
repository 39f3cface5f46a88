"""The variational autoencoder: its gradients against finite differences and PyTorch, its guarantees, its recipe."""

import sys

import numpy as np
import pytest

from minigan import runs
from minigan.backends import Backend
from minigan.errors import ConfigError, DivergenceError, ShapeError
from minigan.losses import bernoulli, gaussian
from minigan.nn.gradcheck import check_gradient
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Flatten, ReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Adam
from minigan.recipes import VAE
from minigan.runs.prepare import PreparedRun, create_folder, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.interruption import Interruption
from minigan.support.progress import PlainProgress
from minigan.training.rhythm import Rhythm
from minigan.training.variational import VariationalAutoencoder, kl_divergence, reparameterize, reparameterize_grad

LATENT = 3
IMAGE = (4, 4, 1)


@pytest.fixture(scope="session")
def backend(host_backend: Backend) -> Backend:
    return host_backend


def vae(backend: Backend, *, dtype: str = "float64", likelihood=bernoulli, kl_weight: float = 0.7):
    init = Normal(0.4)
    encoder = Sequential(
        [Conv2D(3, 3, init=init), BatchNorm(), Tanh(), Flatten(), Dense(2 * LATENT, init=init)], name="E"
    )
    G = Sequential(
        [
            Dense(8, init=init),
            BatchNorm(),
            ReLU(),
            Reshape((2, 2, 2)),
            ConvTranspose2D(1, 4, stride=2, padding=1, init=init),
        ],
        name="G",
    )
    rng = np.random.default_rng(0)
    encoder.build(IMAGE, backend=backend, dtype=dtype, rng=rng)
    G.build((LATENT,), backend=backend, dtype=dtype, rng=rng)
    return VariationalAutoencoder(
        encoder,
        G,
        likelihood=likelihood,
        kl_weight=kl_weight,
        e_optimizer=Adam(encoder.arena, lr=1e-2),
        g_optimizer=Adam(G.arena, lr=1e-2),
    )


def images(n: int = 5, *, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (n, *IMAGE)).astype(dtype)


@pytest.mark.parametrize("likelihood", [bernoulli, gaussian])
def test_every_gradient_against_finite_differences(backend: Backend, likelihood):
    model, x = vae(backend, likelihood=likelihood), images()
    model.gradients(x, np.random.default_rng(2))
    for network, grads in ((model.encoder, model.e_grads), (model.G, model.g_grads)):
        found = {name: grads[p].copy() for name, p in network.named_parameters()}
        for name, p in network.named_parameters():

            def loss() -> float:
                return float(model.gradients(x, np.random.default_rng(2)).loss)

            rng = np.random.default_rng(3)
            check = check_gradient(loss, p.value, found[name], path=network.path, what=name, rng=rng, scale=50.0)
            assert check.passed, check


def test_losses_against_their_definitions():
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(4, 3, 2, 1)), rng.uniform(size=(4, 3, 2, 1))
    p = 1 / (1 + np.exp(-s))
    value, gradient = bernoulli(s, t)
    assert value == pytest.approx(-(t * np.log(p) + (1 - t) * np.log(1 - p)).sum() / 4)
    np.testing.assert_allclose(gradient, (p - t) / 4)
    value, gradient = gaussian(s, t)
    assert value == pytest.approx(0.5 * ((s - t) ** 2).sum() / 4)
    np.testing.assert_allclose(gradient, (s - t) / 4)
    with pytest.raises(ShapeError):
        bernoulli(s, t[:2])


def test_kl_divergence_against_the_integral():
    """On a fine grid, for one latent number."""
    code = np.array([[0.7, -0.4]])
    z = np.linspace(-12, 12, 200_001)
    q = np.exp(-((z - 0.7) ** 2) / (2 * np.exp(-0.4))) / np.sqrt(2 * np.pi * np.exp(-0.4))
    prior = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    integral = (q * np.log(np.maximum(q, 1e-300) / prior)).sum() * (z[1] - z[0])
    value, _ = kl_divergence(code)
    assert float(value) == pytest.approx(integral, rel=1e-6)
    value, gradient = kl_divergence(np.zeros((3, 4)))
    assert float(value) == 0
    assert (gradient == 0).all()


def test_parity_with_torch(backend: Backend):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    code, eps, target = rng.normal(size=(4, 6)), rng.normal(size=(4, 3)), rng.uniform(size=(4, 3))
    c = torch.tensor(code, requires_grad=True)
    mu, logvar = c.chunk(2, dim=1)
    z = mu + (logvar / 2).exp() * torch.tensor(eps)
    rec = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(target), reduction="sum") / 4
    normal = torch.distributions.Normal(mu, (logvar / 2).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum() / 4
    (rec + 0.7 * kl).backward()

    identity = Sequential([Dense(3, bias=False)], name="G").build(
        (3,), backend=backend, dtype="float64", rng=np.random.default_rng(0)
    )
    identity.layers[0].w.value[...] = np.eye(3)
    identity.arena.updated()
    y, tape = identity.forward(reparameterize(code, eps), train=True)
    value, dy = bernoulli(y, target)
    dz = identity.backward(dy, tape, grads=None)
    kl_value, dkl = kl_divergence(code)
    np.testing.assert_allclose(reparameterize_grad(dz, code, eps) + 0.7 * dkl, c.grad.numpy(), rtol=1e-10, atol=1e-12)
    assert float(value + 0.7 * kl_value) == pytest.approx(float((rec + 0.7 * kl).detach()))


def test_it_learns(backend: Backend):
    model, rng = vae(backend, dtype="float32", kl_weight=1.0), np.random.default_rng(0)
    x = (images(16, dtype="float32") > 0.5).astype(np.float32)
    values = [float(model.step(iter([x]), rng).loss) for _ in range(300)]
    assert np.mean(values[-20:]) < 0.9 * np.mean(values[:20])


def test_divergence_leaves_both_networks_as_they_were(backend: Backend):
    model, rng = vae(backend, dtype="float32"), np.random.default_rng(0)
    model.step(iter([images()]), rng)
    before = {name: array.copy() for name, array in model.to_dict().items()}
    with pytest.raises(DivergenceError, match="the input of E"):
        model.step(iter([np.full((2, *IMAGE), np.nan)]), rng)
    for name, array in model.to_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    model.encoder.layers[-1].b.value[...] = 200.0  # exp(logvar / 2) overflows nothing yet, its square does
    model.encoder.arena.updated()
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(DivergenceError, match=r"is not finite"):
        model.step(iter([images()]), rng)


def test_networks_that_do_not_fit(reference: Backend):
    model = vae(reference)
    encoder = Sequential([Flatten(), Dense(5)], name="E")
    encoder.build(IMAGE, backend=reference, dtype=model.G.dtype, rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match="mu and logvar for each of G's inputs"):
        VariationalAutoencoder(
            encoder, model.G, e_optimizer=Adam(encoder.arena, lr=1), g_optimizer=Adam(model.G.arena, lr=1)
        )
    encoder = Sequential([Flatten(), Dense(6)], name="E").build(IMAGE, backend=reference, rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="one backend and dtype"):
        VariationalAutoencoder(
            encoder, model.G, e_optimizer=Adam(encoder.arena, lr=1), g_optimizer=Adam(model.G.arena, lr=1)
        )


# ---------------------------------------------------------------------------------------------- the recipe


def config(**settings: object) -> runs.RunConfig:
    recipe = VAE.from_settings({"width": 2, "latent": 4, "batch_size": 8, "steps": 4, **settings})
    return runs.RunConfig(
        recipe="vae", settings=recipe.settings(), data="digits", backend="reference", rhythm=Rhythm(1, 2, 2)
    )


def train(run: PreparedRun) -> PreparedRun:
    with run.trainer.state.loader:
        run.trainer.run(PlainProgress(start=0, total=4, stream=sys.stdout), Interruption())
    return run


def test_resuming_gives_the_same_bits(tmp_path, capsys):
    whole = prepare_run(config(ema=0.9), tmp_path / "whole")
    create_folder(whole)
    train(whole)
    half = prepare_run(config(ema=0.9, steps=2), tmp_path / "half")
    create_folder(half)
    train(half)
    rest = prepare_from_folder(tmp_path / "half", steps=4)
    assert load_checkpoint(rest) == ()
    train(rest)
    expected, got = whole.trainer.state.learner.to_dict(), rest.trainer.state.learner.to_dict()
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_array_equal(expected[name], got[name], err_msg=name)
    for name in ("step-000002.png", "step-000004.png"):
        assert (tmp_path / "whole/samples" / name).exists()
    assert "-ELBO" in capsys.readouterr().out


def test_samples_come_from_the_prior(tmp_path):
    run = prepare_run(config(), tmp_path / "run")
    create_folder(run)
    train(run)
    trained = runs.load_generator(tmp_path / "run", backend="reference")
    images = trained.sample(5, seed=0)
    assert images.shape == (5, 28, 28, 1)
    assert abs(images).max() <= 1
    with pytest.raises(ConfigError, match="was trained without classes"):
        trained.sample(5, seed=0, label=3)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 64, 3)])
def test_the_networks_fit_each_other(reference: Backend, shape: tuple[int, ...]):
    model = VAE(width=2, latent=4).assemble(shape, backend=reference, rng=np.random.default_rng(0))
    assert model.encoder.output_shape == (8,)
    assert model.G.output_shape == shape


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"likelihood": "poisson"}, "likelihood must be one of bernoulli, gaussian"), ({"kl_weight": -1.0}, "from 0 up")],
)
def test_wrong_settings(settings: dict[str, object], says: str):
    with pytest.raises(ConfigError, match=says):
        VAE.from_settings(settings)
