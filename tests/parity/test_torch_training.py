"""200 steps of the recipes `dcgan` and `mlp` compared with the same GAN in PyTorch.

Both start from the same weights and see the same images and noise. PyTorch's side is the usual training step of its
DCGAN example: D on a real and on a fake batch (`fake.detach()`), `BCEWithLogitsLoss`, Adam; then G through D.

What two right programs may differ by is rounding, which the training amplifies. In float32 the losses agree to 1e-5
after two steps and still to 5e-2 after 50; later they wander about each other. In float64 there is room for 1e-9
through step 50, and that is what tells a wrong term from rounding.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch_twin import conv_weight, tensor, to_nchw  # noqa: E402

from minigan.backends import Backend, get_backend  # noqa: E402
from minigan.data import Digits  # noqa: E402
from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense  # noqa: E402
from minigan.recipes import Recipe, get_recipe  # noqa: E402
from minigan.training.alternating import AlternatingOptimizer  # noqa: E402

STEPS = 200
KINDS = ("mlp", "dcgan")
BATCH = 16
IMAGE = (28, 28, 1)
# The recipe's true layers, with a quarter of its channels and of its batch: 200 steps on both sides in seconds.
SETTINGS = {
    "dcgan": {"preset": "paper", "width": 16, "batch_size": BATCH},
    "mlp": {"batch_size": BATCH, "instance_noise": 0.0},
}


class Run(NamedTuple):
    d_loss: np.ndarray  # (STEPS,)
    g_loss: np.ndarray


def recipe(name: str) -> Recipe:
    return get_recipe(name).from_settings(SETTINGS[name])


def assembled(name: str, backend: Backend, dtype: str) -> AlternatingOptimizer:
    return recipe(name).assemble(IMAGE, backend=backend, dtype=dtype, rng=np.random.default_rng(0))


@cache
def images() -> np.ndarray:
    return Digits(count=512, seed=1).read(np.arange(512)).astype(np.float64)


def batches(name: str, dtype: str) -> Iterator[np.ndarray]:
    """The same in each run."""
    rng = np.random.default_rng(5)
    while True:
        yield recipe(name).prepare(images()[rng.integers(512, size=BATCH)]).astype(dtype)


def noise_generator() -> np.random.Generator:
    return np.random.default_rng(6)


@cache
def minigan_run(name: str, backend: Backend, dtype: str, steps: int = STEPS) -> Run:
    gan, rng = assembled(name, backend, dtype), noise_generator()
    reals = (backend.asarray(batch) for batch in batches(name, dtype))
    values = [gan.step(reals, rng) for _ in range(steps)]
    return Run(np.array([float(v.d_loss) for v in values]), np.array([float(v.g_loss) for v in values]))


# ---------------------------------------------------------------------------------------------- PyTorch's side


def dcgan_networks() -> tuple[nn.Module, nn.Module]:
    """As in PyTorch's DCGAN example, for 28x28."""
    G = nn.Sequential(
        nn.ConvTranspose2d(100, 32, 7, 1, 0, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    D = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 7, 1, 0, bias=False),
        nn.Flatten(),
    )
    return G, D


def mlp_networks() -> tuple[nn.Module, nn.Module]:
    def hidden(inputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2)]

    G = nn.Sequential(*hidden(100), nn.Linear(128, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))
    D = nn.Sequential(nn.Flatten(), *hidden(784), nn.Linear(128, 1))
    return G, D


def copy_weights(network, module: nn.Module) -> None:
    """From minigan's layers with weights to PyTorch's, in order."""
    layers = [layer for _, layer in network.walk() if layer.own_parameters]
    modules = [m for m in module.modules() if list(m.parameters(recurse=False))]
    for layer, m in zip(layers, modules, strict=True):
        match layer:
            case Conv2D() | ConvTranspose2D():
                weight = conv_weight(network.kernels.to_numpy(layer.w.value))
            case Dense():
                weight = tensor(network.kernels.to_numpy(layer.w.value).T)
            case BatchNorm():
                weight = tensor(network.kernels.to_numpy(layer.gamma.value))
        bias = layer.beta if isinstance(layer, BatchNorm) else layer.b
        assert m.weight.shape == weight.shape
        assert (m.bias is None) == (bias is None)
        with torch.no_grad():
            m.weight.copy_(weight)
            if bias is not None:
                m.bias.copy_(tensor(network.kernels.to_numpy(bias.value)))


def bce(logits: torch.Tensor, label: float) -> torch.Tensor:
    return nn.BCEWithLogitsLoss()(logits, torch.full_like(logits, label))


def dcgan_generator_loss(logits: torch.Tensor, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return bce(logits, 1.0)


def mlp_generator_loss(logits: torch.Tensor, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return ((torch.sigmoid(logits) - 1) ** 2).mean() + 1e-4 * nn.MSELoss()(fake, real)


GeneratorLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
TWINS: dict[str, tuple[Callable[[], tuple[nn.Module, nn.Module]], tuple[int, ...], GeneratorLoss]] = {
    "dcgan": (dcgan_networks, (100, 1, 1), dcgan_generator_loss),
    "mlp": (mlp_networks, (100,), mlp_generator_loss),
}


@cache
def torch_run(name: str, dtype: str, steps: int = STEPS) -> Run:
    networks, latent, generator_loss = TWINS[name]
    G, D = (network.to(getattr(torch, dtype)) for network in networks())
    start = assembled(name, get_backend("reference"), dtype)
    copy_weights(start.G, G)
    copy_weights(start.D, D)
    g_optimizer = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
    rng, reals = noise_generator(), batches(name, dtype)
    d_losses, g_losses = [], []
    for _ in range(steps):
        real = to_nchw(next(reals))
        z = tensor(rng.standard_normal((BATCH, 100)).astype(dtype)).reshape(BATCH, *latent)

        D.zero_grad()
        loss_real = bce(D(real), 1.0)
        loss_real.backward()
        fake = G(z)
        loss_fake = bce(D(fake.detach()), 0.0)
        loss_fake.backward()
        d_optimizer.step()

        G.zero_grad()
        g_loss = generator_loss(D(fake), fake, real)
        g_loss.backward()
        g_optimizer.step()
        d_losses.append((loss_real + loss_fake).item())
        g_losses.append(g_loss.item())
    return Run(np.array(d_losses), np.array(g_losses))


def differences(one: Run, other: Run) -> np.ndarray:
    """The larger relative difference of the two losses, step by step."""
    pairs = [(one.d_loss, other.d_loss), (one.g_loss, other.g_loss)]
    return np.max([np.abs(a - b) / np.maximum(np.abs(a), np.abs(b)) for a, b in pairs], axis=0)


def assert_both_trained(one: Run, other: Run, steps: int = STEPS) -> None:
    for losses in (*one, *other):
        assert np.isfinite(losses).all()
        assert losses.shape == (steps,)
    assert steps < STEPS or one.d_loss[-20:].mean() < 0.8 * one.d_loss[0]  # something was learned


# ---------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("mlp", 50),
        ("dcgan", 50),
        *(pytest.param(name, STEPS, marks=pytest.mark.exhaustive) for name in ("mlp", "dcgan")),
    ],
)
def test_losses_in_float64(name: str, steps: int):
    """On the reference, where a difference is a mistake and not rounding."""
    ours = minigan_run(name, get_backend("reference"), "float64", steps)
    theirs = torch_run(name, "float64", steps)
    assert_both_trained(ours, theirs, steps)
    apart = differences(ours, theirs)
    print(f"{name} float64 numpy: {apart[1]:.1e} at step 2, {apart[:50].max():.1e} to 50, {apart.max():.1e} to {steps}")
    assert apart[:50].max() < 1e-9
    assert apart.max() < 1e-6


@pytest.mark.parametrize("name", ["mlp", pytest.param("dcgan", marks=pytest.mark.exhaustive)])
def test_losses_in_float32(fast_backend: Backend, name: str):
    ours, theirs = minigan_run(name, fast_backend, "float32"), torch_run(name, "float32")
    assert_both_trained(ours, theirs)
    apart = differences(ours, theirs)
    print(
        f"{name} float32 {fast_backend.name}: {apart[1]:.1e} at step 2, {apart[49]:.1e} at 50, "
        f"{apart[:50].max():.1e} to 50, {apart.max():.1e} to 200"
    )
    assert apart[:2].max() < 1e-5
    assert apart[:50].max() < 5e-2
    smooth = np.convolve(ours.d_loss - theirs.d_loss, np.ones(20) / 20, mode="valid")
    assert np.abs(smooth).max() < 0.5  # the same course, though not the same numbers


@pytest.mark.parametrize("name", TWINS)
def test_the_first_loss_is_the_same_to_the_last_digits(fast_backend: Backend, name: str):
    """Before any update: forward passes and losses alone."""
    ours, theirs = minigan_run(name, fast_backend, "float32", 1), torch_run(name, "float32", 1)
    assert differences(ours, theirs)[0] < 1e-6
