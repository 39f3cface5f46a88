"""Each loss and each gradient penalty in D's and G's step, with all gradients, compared with PyTorch's autograd."""

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch_twin import parameters_back, to_nchw, twin  # noqa: E402

from minigan.backends import Backend  # noqa: E402
from minigan.losses import LOSSES, get_loss  # noqa: E402
from minigan.losses.gradient_penalties import PENALTIES, get_penalty  # noqa: E402
from minigan.nn.initializers import Normal  # noqa: E402
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Flatten, LeakyReLU, Reshape, Sigmoid, Tanh  # noqa: E402
from minigan.nn.layers.packing import Pack  # noqa: E402
from minigan.nn.network import Residual, Sequential  # noqa: E402
from minigan.nn.optimizers import Adam  # noqa: E402
from minigan.training.alternating import AlternatingOptimizer  # noqa: E402

N = 4
IMAGE = (8, 8, 2)
SEED = 3
WEIGHT = 10.0
INIT = Normal(0.3)

Logits = torch.Tensor
LogitsLoss = Callable[[Logits, Logits], torch.Tensor]


def bce(logits: Logits, label: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def game(real: Logits, fake: Logits) -> torch.Tensor:
    return bce(real, 1) + bce(fake, 0)


def relativistic(real: Logits, fake: Logits) -> torch.Tensor:
    return game(real - fake.mean(), fake - real.mean())


# As they stand in PyTorch programs: of the real and the fake logits.
TWINS: dict[str, tuple[LogitsLoss, LogitsLoss]] = {
    "minimax": (game, lambda _, fake: -bce(fake, 0)),
    "non-saturating": (game, lambda _, fake: bce(fake, 1)),
    "squared-probability": (game, lambda _, fake: (torch.sigmoid(fake) - 1).square().mean()),
    "least-squares": (
        lambda real, fake: (F.mse_loss(real, torch.ones_like(real)) + fake.square().mean()) / 2,
        lambda _, fake: F.mse_loss(fake, torch.ones_like(fake)) / 2,
    ),
    "wasserstein": (lambda real, fake: fake.mean() - real.mean(), lambda _, fake: -fake.mean()),
    "hinge": (lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(), lambda _, fake: -fake.mean()),
    "relativistic-average": (relativistic, lambda real, fake: relativistic(fake, real)),
    "relativistic-pairing": (lambda real, fake: bce(real - fake, 1), lambda real, fake: bce(fake - real, 1)),
}


def slope_penalty(name: str, D: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """As the papers' authors have it."""
    x = x.detach().clone().requires_grad_()
    (dx,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    squares = dx.square().flatten(1).sum(dim=1)
    if name in ("r1", "r2"):
        return WEIGHT / 2 * squares.mean()
    if name == "r1+r2":  # of both batches together
        return WEIGHT * squares.mean()
    return WEIGHT * ((squares + 1e-12).sqrt() - 1).square().mean()


def slope_of_both(D: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """R1 and R2, each of a batch of its own: they meet in BatchNorm."""
    return sum(slope_penalty("r1", D, x) for x in (real, fake))


def smooth() -> list:
    """BatchNorm and curves."""
    return [
        *[Conv2D(3, 4, stride=2, padding=1, init=INIT), Tanh(), Conv2D(4, 3, bias=False, init=INIT), BatchNorm()],
        *[LeakyReLU(), Residual([Conv2D(4, 3, init=INIT), Sigmoid()]), Flatten(), Dense(1, init=INIT)],
    ]


def piecewise_linear() -> list:
    return [
        *[Conv2D(3, 4, stride=2, padding=1, init=INIT), LeakyReLU()],
        *[Conv2D(4, 4, stride=2, padding=1, init=INIT), LeakyReLU(), Flatten(), Dense(1, init=INIT)],
    ]


@pytest.fixture(scope="session")
def backend(host_backend: Backend) -> Backend:
    return host_backend


def gan(backend: Backend, D: list, loss: str, penalty: str | None) -> AlternatingOptimizer:
    rng = np.random.default_rng(0)
    G = Sequential([Dense(32, init=INIT), BatchNorm(), LeakyReLU(), Dense(128, init=INIT), Tanh(), Reshape(IMAGE)])
    G.build((3,), backend=backend, dtype="float64", rng=rng)
    critic = Sequential(D, name="D").build(IMAGE, backend=backend, dtype="float64", rng=rng)
    return AlternatingOptimizer(
        G,
        critic,
        loss=get_loss(loss),
        noise=lambda rng, n: rng.normal(size=(n, 3)),
        g_optimizer=Adam(G.arena, lr=1e-3),
        d_optimizer=Adam(critic.arena, lr=1e-3),
        penalty=get_penalty(penalty, weight=WEIGHT) if penalty else None,
    )


def assert_same(network: Sequential, module: nn.Module, grads) -> None:
    expected = parameters_back(network, module, [p.grad for p in module.parameters()])
    for name, p in network.named_parameters():
        scale = max(1.0, float(np.abs(expected[name]).max()))
        np.testing.assert_allclose(grads[p], expected[name], rtol=0, atol=1e-11 * scale, err_msg=name)
    assert np.abs(grads.flat).max() > 1e-4


def compare(backend: Backend, D: list, loss: str, penalty: str | None) -> None:
    ours = gan(backend, D, loss, penalty)
    real = np.random.default_rng(1).uniform(-1, 1, (N, *IMAGE))
    z = np.random.default_rng(2).normal(size=(N, 3))
    g, d = twin(ours.G).train(), twin(ours.D).train()

    fake, g_tape = ours.G.forward(z, train=True)
    t_real, t_fake = to_nchw(real), g(to_nchw(z))
    np.testing.assert_allclose(fake, np.moveaxis(t_fake.detach().numpy(), 1, -1), atol=1e-12)

    values = ours.discriminator_gradients(real, fake, np.random.default_rng(SEED))
    d_value = TWINS[loss][0](d(t_real), d(t_fake.detach()))
    if penalty:
        x = ours.penalty.points(real, fake, np.random.default_rng(SEED), ours.D.kernels)
        P = slope_of_both(d, t_real, t_fake) if penalty == "r1+r2" else slope_penalty(penalty, d, to_nchw(x))
        assert float(values.penalty) == pytest.approx(P.item(), rel=1e-11)
        (d_value + P).backward()
    else:
        d_value.backward()
    assert float(values.loss) == pytest.approx(d_value.item(), rel=1e-11)
    assert_same(ours.D, d, ours.d_grads)

    g_value = ours.generator_gradients(fake, g_tape, real, np.random.default_rng(SEED))
    expected = TWINS[loss][1](d(t_real), d(t_fake))
    expected.backward()
    assert float(g_value.loss) == pytest.approx(expected.item(), rel=1e-11)
    assert_same(ours.G, g, ours.g_grads)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(backend: Backend, loss: str):
    assert TWINS.keys() == LOSSES.keys()
    compare(backend, smooth(), loss, None)


@pytest.mark.filterwarnings("ignore:.*makes each logit depend on the whole batch:UserWarning")
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("critic", [smooth, piecewise_linear])
def test_every_penalty(backend: Backend, critic, penalty: str):
    compare(backend, critic(), "wasserstein", penalty)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("pack", [2, 4])
def test_every_penalty_of_a_packed_discriminator(backend: Backend, pack: int, penalty: str):
    """The slope is that at D's actual input, a pack; the lines of WGAN-GP run from pack to pack."""
    ours = gan(backend, [Pack(pack), *piecewise_linear()], "wasserstein", penalty)
    real, fake = np.random.default_rng(1).uniform(-1, 1, (2, 2 * pack, *IMAGE))
    neighbors, d = twin(ours.D)[0], twin(ours.D)[1:]

    grads = ours.D.gradients()
    P = ours.penalty.add_gradients(ours.D, real, fake, grads=grads, rng=np.random.default_rng(SEED))
    t_real, t_fake, numbers = neighbors(to_nchw(real)), neighbors(to_nchw(fake)), np.random.default_rng(SEED)
    x = {
        "wgan-gp": lambda: t_real + torch.from_numpy(numbers.uniform(size=(2, 1, 1, 1))) * (t_fake - t_real),
        "dragan": lambda: t_real + neighbors(to_nchw(numbers.standard_normal(real.shape))) * (real.std() / 2),
        "r1": lambda: t_real,
        "r2": lambda: t_fake,
        "r1+r2": lambda: torch.cat([t_real, t_fake]),
    }[penalty]()
    expected = slope_penalty(penalty, d, x)
    expected.backward()
    assert float(P) == pytest.approx(expected.item(), rel=1e-11)
    for bias in (p for p in d.parameters() if p.grad is None):  # the last one moves no slope
        bias.grad = torch.zeros_like(bias)
    assert_same(ours.D, d, grads)


def test_a_training_with_wgan_gp(backend: Backend):
    """30 updates of the critic with Adam: the same losses and penalties to 9 digits."""
    ours = gan(backend, piecewise_linear(), "wasserstein", "wgan-gp")
    d = twin(ours.D)
    adam = torch.optim.Adam(d.parameters(), lr=1e-3)
    for step in range(30):
        numbers = np.random.default_rng(step)
        real, fake = (numbers.uniform(-1, 1, (N, *IMAGE)) for _ in range(2))
        values = ours.discriminator_step(real, fake, np.random.default_rng(SEED))
        x = ours.penalty.points(real, fake, np.random.default_rng(SEED), ours.D.kernels)
        adam.zero_grad()
        d_value, P = d(to_nchw(fake)).mean() - d(to_nchw(real)).mean(), slope_penalty("wgan-gp", d, to_nchw(x))
        (d_value + P).backward()
        adam.step()
        assert (float(values.loss), float(values.penalty)) == pytest.approx((d_value.item(), P.item()), rel=1e-9)
