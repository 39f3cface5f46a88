"""R3GAN's networks and whole training steps against PyTorch's, written from the paper's description and autograd."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch_twin import conv_weight, tensor, to_nchw  # noqa: E402

from minigan.backends import Backend, get_backend  # noqa: E402
from minigan.nn.network import Sequential  # noqa: E402
from minigan.recipes import R3GAN  # noqa: E402
from minigan.training.alternating import AlternatingOptimizer  # noqa: E402
from minigan.training.batch import Batch  # noqa: E402
from minigan.training.reals import Reals  # noqa: E402

# ---------------------------------------------------------------------------------------------- as in the paper


def fir(up: bool) -> torch.Tensor:
    f = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)] * 2)
    return f / f.sum() * (4 if up else 1)


def enlarged(x: torch.Tensor) -> torch.Tensor:
    """Zeros between the pixels, pads 2/1, the filter with gain 4."""
    N, C, H, W = x.shape
    zeros = x.new_zeros(N, C, H, 2, W, 2)
    zeros[:, :, :, 0, :, 0] = x
    return F.conv2d(
        F.pad(zeros.reshape(N, C, 2 * H, 2 * W), (2, 1, 2, 1)), fir(True).to(x).expand(C, 1, 4, 4), groups=C
    )


def reduced(x: torch.Tensor) -> torch.Tensor:
    """Pads 1/1, the filter at every second pixel."""
    C = x.shape[1]
    return F.conv2d(F.pad(x, (1, 1, 1, 1)), fir(False).to(x).expand(C, 1, 4, 4), stride=2, groups=C)


class Block(nn.Module):
    def __init__(self, width: int, group: int) -> None:
        super().__init__()
        inside = 2 * width
        self.one = nn.Conv2d(width, inside, 1)
        self.three = nn.Conv2d(inside, inside, 3, padding=1, groups=inside // group)
        self.back = nn.Conv2d(inside, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.one(x), 0.2)
        return x + self.back(F.leaky_relu(self.three(y), 0.2))


class Basis(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.empty(width, 1, 4, 4))


class TorchG(nn.Module):
    def __init__(self, widths: list[int], blocks: int, group: int, latent: int, classes: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(classes, latent, bias=False) if classes else None
        self.dense = nn.Linear(latent * (2 if classes else 1), widths[0], bias=False)
        self.basis = Basis(widths[0])
        self.stages = nn.ModuleList()
        for k, width in enumerate(widths):
            changed = k > 0 and widths[k - 1] != width
            narrow = nn.Conv2d(widths[k - 1], width, 1, bias=False) if changed else nn.Identity()
            self.stages.append(nn.ModuleList([narrow, *(Block(width, group) for _ in range(blocks))]))
        self.rgb = nn.Conv2d(widths[-1], channels, 1, bias=False)

    def forward(self, z: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        h = z if c is None else torch.cat([z, self.embed(c)], dim=1)
        x = self.dense(h)[:, :, None, None] * self.basis.images[:, 0]
        for k, (narrow, *blocks) in enumerate(self.stages):
            x = enlarged(narrow(x)) if k else x
            for block in blocks:
                x = block(x)
        return self.rgb(x)


class TorchD(nn.Module):
    def __init__(self, widths: list[int], blocks: int, group: int, classes: int, channels: int) -> None:
        super().__init__()
        self.rgb = nn.Conv2d(channels, widths[-1], 1, bias=False)
        self.stages = nn.ModuleList()
        for k in reversed(range(len(widths))):
            changed = k > 0 and widths[k - 1] != widths[k]
            narrow = nn.Conv2d(widths[k], widths[k - 1], 1, bias=False) if changed else nn.Identity()
            self.stages.append(nn.ModuleList([*(Block(widths[k], group) for _ in range(blocks)), narrow]))
        self.basis = Basis(widths[0])
        self.dense = nn.Linear(widths[0], widths[0] if classes else 1, bias=False)
        self.embed = nn.Linear(widths[0], classes, bias=False) if classes else None  # its rows are the embeddings

    def forward(self, x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        x = self.rgb(x)
        for k, (*blocks, narrow) in enumerate(self.stages):
            for block in blocks:
                x = block(x)
            x = narrow(reduced(x)) if k < len(self.stages) - 1 else x
        y = self.dense((x * self.basis.images[:, 0]).sum(dim=(2, 3)))
        return y if c is None else (y * (c @ self.embed.weight)).sum(dim=1, keepdim=True)


# ---------------------------------------------------------------------------------------------- side by side


def to_torch(value: np.ndarray) -> torch.Tensor:
    return conv_weight(value) if value.ndim == 4 else tensor(value.T)


def filled(module: nn.Module, network: Sequential) -> nn.Module:
    """The module with the network's weights, which stand in the same order."""
    values = [to_torch(p.value) for _, p in network.named_parameters()]
    parameters = list(module.parameters())
    assert [tuple(value.shape) for value in values] == [tuple(p.shape) for p in parameters]
    for p, value in zip(parameters, values, strict=True):
        p.data = value
    return module


def assert_close(network: Sequential, arrays, tensors: list[torch.Tensor], tolerance: float) -> None:
    """Arrays of the network's parameters, and the module's; relative to the largest of each."""
    for (name, p), expected in zip(network.named_parameters(), tensors, strict=True):
        actual, wanted = to_torch(np.asarray(arrays(p))).numpy(), expected.detach().numpy()
        scale = float(np.abs(wanted).max())
        assert scale > 0, name
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * scale, err_msg=f"{network.path}.{name}")


def assert_same_direction(network: Sequential, arrays, tensors: list[torch.Tensor], tolerance: float) -> None:
    """The distance of both, relative to the length: a number at a LeakyReLU's kink may round to either side of it."""
    for (name, p), expected in zip(network.named_parameters(), tensors, strict=True):
        actual, wanted = to_torch(np.asarray(arrays(p))).numpy(), expected.detach().numpy()
        length = float(np.linalg.norm(wanted))
        assert length > 0, name
        assert float(np.linalg.norm(actual - wanted)) <= tolerance * length, f"{network.path}.{name}"


class Twins:
    """A learner of the recipe with random weights, none of them zero, and its twin."""

    def __init__(self, recipe: R3GAN, shape: tuple[int, int, int], backend: Backend, dtype: str) -> None:
        rng = np.random.default_rng(0)
        self.recipe, self.shape = recipe, shape
        self.gan: AlternatingOptimizer = recipe.assemble(shape, backend=backend, dtype=dtype, rng=rng)
        for network in (self.gan.G, self.gan.D):
            for _, p in network.named_parameters():
                if not np.asarray(p.value).any():
                    std = 0.5 / p.shape[-2] ** 0.5 if len(p.shape) == 4 else 0.1  # the last of a block, and biases
                    p.value[...] = rng.normal(0, std, p.shape)
            network.arena.updated()
        classes = recipe.classes if recipe.conditional else 0
        widths = list(recipe.widths_of(shape[:2]))
        options = {"widths": widths, "blocks": recipe.blocks, "group": recipe.group, "classes": classes}
        self.G = filled(TorchG(**options, latent=recipe.latent, channels=shape[2]), self.gan.G)
        self.D = filled(TorchD(**options, channels=shape[2]), self.gan.D)
        self.classes, self.dtype = classes, dtype

    def batch(self, rng: np.random.Generator, n: int) -> Batch:
        x = rng.uniform(-1, 1, (n, *self.shape)).astype(self.dtype)
        return Batch(
            x, np.eye(self.classes, dtype=self.dtype)[rng.integers(self.classes, size=n)] if self.classes else None
        )

    def in_torch(self, array: np.ndarray | None) -> torch.Tensor | None:
        return None if array is None else to_nchw(array)

    def d_losses(self, real, fake, c, gamma: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The game's and the penalty's."""
        real, fake = (x.detach().clone().requires_grad_() for x in (real, fake))
        on_real, on_fake = self.D(real, c), self.D(fake, c)
        slopes = torch.autograd.grad([on_real.sum(), on_fake.sum()], [real, fake], create_graph=True)
        P = gamma / 2 * sum(slope.square().sum(dim=(1, 2, 3)).mean() for slope in slopes)
        return F.softplus(-(on_real - on_fake)).mean(), P

    def g_loss(self, fake, c, fresh, fresh_c) -> torch.Tensor:
        return F.softplus(-(self.D(fake, c) - self.D(fresh, fresh_c).detach())).mean()


def ramp(start: float, end: float, share: float) -> float:
    return start + (end - start) * (1 - np.cos(np.pi * min(share, 1))) / 2


SMALL = {
    "classes": (R3GAN(widths="8,8,4", group=4, latent=5, condition="projection", classes=3, batch_size=4), (16, 16, 3)),
    "without classes, two blocks": (R3GAN(widths="6,4", blocks=2, group=2, latent=5, condition="none"), (8, 8, 1)),
}


@pytest.mark.parametrize("name", SMALL)
def test_whole_training_steps(host_backend: Backend, name: str):
    """Three of them, with all that follows a plan: values, gradients and weights to 1e-9."""
    recipe, shape = SMALL[name]
    N, steps = 4, 3
    recipe = R3GAN.from_settings({**recipe.settings(), "batch_size": N, "ramp_images": N * 2, "augment": ""})
    twins = Twins(recipe, shape, host_backend, "float64")
    rng = np.random.default_rng(1)
    adams = {"D": torch.optim.Adam(twins.D.parameters()), "G": torch.optim.Adam(twins.G.parameters())}
    for step in range(steps):
        batch, fresh = twins.batch(rng, N), twins.batch(rng, N)
        z = tensor(recipe.noise(np.random.default_rng(step), N))
        values = twins.gan.step(iter([batch, fresh]), np.random.default_rng(step))

        share = step / 2
        for adam in adams.values():
            adam.param_groups[0]["lr"] = ramp(recipe.lr, recipe.lr_end, share)
            adam.param_groups[0]["betas"] = (0.0, ramp(recipe.beta2, recipe.beta2_end, share))
            adam.zero_grad()
        (x, c), (more, more_c) = ((twins.in_torch(b.real), twins.in_torch(b.condition)) for b in (batch, fresh))
        fake = twins.G(z, c)
        gamma = ramp(recipe.penalty_weight, recipe.penalty_weight_end, share)
        d_loss, P = twins.d_losses(x, fake, c, gamma)
        (d_loss + P).backward()
        assert_close(twins.gan.D, lambda p: twins.gan.d_grads[p], [p.grad for p in twins.D.parameters()], 1e-9)
        adams["D"].step()
        g_loss = twins.g_loss(fake, c, more, more_c)
        adams["G"].zero_grad()
        g_loss.backward()
        assert_close(twins.gan.G, lambda p: twins.gan.g_grads[p], [p.grad for p in twins.G.parameters()], 1e-9)
        adams["G"].step()

        expected = [loss.item() for loss in (d_loss, g_loss, P)]
        assert [float(v) for v in (values.d_loss, values.g_loss, values.d_penalty)] == pytest.approx(expected, rel=1e-9)
        assert P.item() > 1e-4
        for network, module in ((twins.gan.D, twins.D), (twins.gan.G, twins.G)):
            assert_close(network, lambda p: p.value, list(module.parameters()), 1e-9)


@pytest.mark.exhaustive
@pytest.mark.parametrize("preset", ["cifar10", "ffhq64"])
def test_a_whole_training_step_at_full_width(preset: str):
    """All gradients of D and of G in float32."""
    recipe = R3GAN.from_settings({"preset": preset, "condition": "projection" if preset == "cifar10" else "none"})
    recipe = R3GAN.from_settings({**recipe.settings(), "batch_size": 2, "augment": ""})
    twins = Twins(recipe, (recipe.size, recipe.size, 3), get_backend("auto"), "float32")
    rng = np.random.default_rng(1)
    batch, fresh = twins.batch(rng, 2), twins.batch(rng, 2)
    z = recipe.noise(np.random.default_rng(0), 2).astype(np.float32)
    (x, c), (more, more_c) = ((twins.in_torch(b.real), twins.in_torch(b.condition)) for b in (batch, fresh))

    fake, g_tape = twins.gan.G.given(batch.condition).forward(z, train=True)
    t_fake = twins.G(tensor(z), c)
    np.testing.assert_allclose(
        to_nchw(fake).numpy(), t_fake.detach().numpy(), rtol=0, atol=1e-4 * float(abs(fake).max())
    )
    values = twins.gan.discriminator_gradients(batch.real, fake, rng, condition=batch.condition)
    d_loss, P = twins.d_losses(x, t_fake, c, recipe.penalty_weight)
    (d_loss + P).backward()
    assert [float(values.loss), float(values.penalty)] == pytest.approx([d_loss.item(), P.item()], rel=1e-3)
    assert_same_direction(twins.gan.D, lambda p: twins.gan.d_grads[p], [p.grad for p in twins.D.parameters()], 1e-3)
    values = twins.gan.generator_gradients(
        fake, g_tape, batch.real, rng, condition=batch.condition, fresh=Reals(fresh.real, fresh.condition)
    )
    g_loss = twins.g_loss(t_fake, c, more, more_c)
    g_loss.backward()
    assert float(values.loss) == pytest.approx(g_loss.item(), rel=1e-3)
    assert_same_direction(twins.gan.G, lambda p: twins.gan.g_grads[p], [p.grad for p in twins.G.parameters()], 1e-3)
