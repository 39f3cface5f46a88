"""The networks and training step of minigan's recipes in PyTorch, as its DCGAN example has them: the peer."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.torch_pix2pix import pix2pix_networks
from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.recipes import DCGAN, MLP, Recipe
from minigan.recipes.dcgan import halvings
from minigan.recipes.pix2pix import Pix2Pix


def dcgan_networks(recipe: DCGAN, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    H, W, C = image_shape
    n = halvings((H, W))
    width, smallest = recipe.width << (n - 1), (H >> n, W >> n)
    g: list[nn.Module] = [
        nn.ConvTranspose2d(recipe.latent, width, smallest, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
    ]
    for k in range(1, n):
        g += [
            nn.ConvTranspose2d(width >> (k - 1), width >> k, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width >> k),
            nn.ReLU(True),
        ]
    g += [nn.ConvTranspose2d(recipe.width, C, 4, 2, 1, bias=False), nn.Tanh()]
    d: list[nn.Module] = [nn.Conv2d(C, recipe.width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    plain = recipe.d_norm == "none"
    for k in range(1, n):
        d += [
            nn.Conv2d(recipe.width << (k - 1), recipe.width << k, 4, 2, 1, bias=plain),
            *([] if plain else [nn.BatchNorm2d(recipe.width << k)]),
            nn.LeakyReLU(0.2, True),
        ]
    d += [nn.Conv2d(width, 1, smallest, bias=False), nn.Flatten()]
    for layer in (*g, *d):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return nn.Sequential(nn.Unflatten(1, (recipe.latent, 1, 1)), *g), nn.Sequential(*d)


def mlp_networks(recipe: MLP, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    size = int(np.prod(image_shape))

    def hidden(inputs: int) -> list[nn.Module]:
        h = recipe.hidden
        return [nn.Linear(inputs, h), nn.LeakyReLU(0.2, True), nn.Linear(h, h), nn.LeakyReLU(0.2, True)]

    G = nn.Sequential(*hidden(recipe.latent), nn.Linear(recipe.hidden, size), nn.Sigmoid())
    return G, nn.Sequential(nn.Flatten(), *hidden(size), nn.Linear(recipe.hidden, 1))


bce = nn.functional.binary_cross_entropy_with_logits


def discriminator_loss(recipe: Recipe, logits: torch.Tensor, *, real: bool) -> torch.Tensor:
    """On a batch that is all real or all fake."""
    if recipe.loss == "wasserstein":
        return -logits.mean() if real else logits.mean()
    return bce(logits, torch.full_like(logits, float(real)))


def generator_loss(recipe: Recipe, logits: torch.Tensor) -> torch.Tensor:
    if recipe.loss == "wasserstein":
        return -logits.mean()
    if recipe.loss == "squared-probability":
        return (torch.sigmoid(logits) - 1).square().mean()
    return bce(logits, torch.ones_like(logits))


def gradient_penalty(recipe: Recipe, D: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """WGAN-GP's, as its PyTorch programs have it."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    x = (real + share * (fake - real)).requires_grad_()
    (dx,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return recipe.penalty_weight * (dx.flatten(1).norm(dim=1) - 1).square().mean()


class Gan:
    """G and D of a recipe in training.

    Args:
        device: "cpu" or "cuda".
        channels_last: the layout of images and weights.
        bf16: autocast to bfloat16.
        capturable: whether a CUDA graph may hold the optimizers' steps.
    """

    def __init__(
        self,
        recipe: Recipe,
        image_shape: tuple[int, ...],
        *,
        device: str = "cpu",
        channels_last: bool = False,
        bf16: bool = False,
        capturable: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self.recipe, self.device, self.bf16 = recipe, device, bf16
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        G, D = self.networks(image_shape)
        if channels_last:
            G, D = G.to(memory_format=torch.channels_last), D.to(memory_format=torch.channels_last)
        self.G, self.D = G.to(device), D.to(device)
        betas = (recipe.beta1, recipe.beta2)
        self.g_adam, self.d_adam = (
            torch.optim.Adam(net.parameters(), lr=recipe.lr, betas=betas, fused=True, capturable=capturable)
            for net in (self.G, self.D)
        )

    def networks(self, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        """G and D."""
        return networks(self.recipe, image_shape)

    def tensor(self, images: np.ndarray) -> torch.Tensor:
        """Images (N, H, W, C) in host memory, laid out as the networks want them."""
        real = torch.from_numpy(images)
        if isinstance(self.recipe, MLP):
            return real
        return real.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

    def update(self, real: torch.Tensor, source: torch.Tensor | None = None) -> None:
        """One step of D and one of G.

        Args:
            source: the input of G, which D sees together with each image; None for noise.
        """
        recipe, D = self.recipe, self.D
        judge = D if source is None else lambda x: D(torch.cat([x, source], dim=1))
        self.d_adam.zero_grad()
        with self.autocast():
            value = discriminator_loss(recipe, judge(real), real=True)
        value.backward()
        with self.autocast():
            z = torch.randn(len(real), recipe.latent, device=self.device) if source is None else source
            fake = self.G(z)
            value = discriminator_loss(recipe, judge(fake.detach()), real=False)
        value.backward()
        if recipe.penalty == "wgan-gp":
            with self.autocast():
                value = gradient_penalty(recipe, judge, real, fake.detach())
            value.backward()
        self.d_adam.step()
        self.g_adam.zero_grad()
        with self.autocast():
            value = generator_loss(recipe, judge(fake)) + self.term(fake, real)
        value.backward()
        self.g_adam.step()

    @staticmethod
    def descend(adam: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        """One update by the gradients of a loss alone."""
        adam.zero_grad()
        loss.backward()
        adam.step()

    def term(self, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor | float:
        """The term of G's loss in addition to the game's."""
        if isinstance(self.recipe, MLP):
            return self.recipe.mse_weight * (fake - real.flatten(1)).square().mean()
        return self.recipe.l1 * (fake - real).abs().mean() if isinstance(self.recipe, Pix2Pix) else 0.0

    def autocast(self) -> torch.autocast:
        """Autocast for one forward pass: the casts of weights that it keeps must not outlive their update."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


def networks(recipe: Recipe, image_shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """G and D.

    Raises:
        ConfigError: the recipe, or one of its settings, has no twin here.
    """
    if recipe.loss not in ("non-saturating", "squared-probability", "wasserstein") or recipe.penalty not in (
        "none",
        "wgan-gp",
    ):
        raise ConfigError(f"no PyTorch twin of loss={recipe.loss} with penalty={recipe.penalty}.")
    if isinstance(recipe, DCGAN):
        return dcgan_networks(recipe, image_shape)
    if isinstance(recipe, MLP):
        return mlp_networks(recipe, image_shape)
    if isinstance(recipe, Pix2Pix):
        return pix2pix_networks(recipe, image_shape)
    raise ConfigError(f"no PyTorch twin of the recipe {recipe.name}.")


def training_step(
    recipe: Recipe,
    image_shape: tuple[int, ...],
    *,
    channels_last: bool = False,
    bf16: bool = False,
    compiled: bool = False,
    kind: Callable[..., Gan] = Gan,
) -> Callable[[np.ndarray], None]:
    """A function that trains both networks on one batch of images (N, H, W, C), on the CPU.

    Args:
        compiled: G and D by `torch.compile`, at the first step.
        kind: makes the networks in training.
    """
    gan = kind(recipe, image_shape, channels_last=channels_last, bf16=bf16)
    if compiled:
        gan.G, gan.D = compiled_module(gan.G), compiled_module(gan.D)
    return lambda images: gan.update(gan.tensor(images))


def compiled_module(module: nn.Module) -> nn.Module:
    """Is compiled at its first call, for that call's shape.

    (`module.compile()` compiles nothing of an `nn.Sequential`. The limit is one for the code that all of these share.)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        import torch._dynamo

        torch._dynamo.config.recompile_limit = 1000
        result: nn.Module = torch.compile(module, dynamic=False)
    return result


def compiles(name: str, call: Callable[[], object]) -> bool:
    """Makes the first call of a compiled peer; where that fails or compiles nothing, says so in one line.

    PyTorch needs a C++ compiler, and compiles no backward pass that is differentiated again.
    """
    before = graphs_compiled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as error:  # whatever the compiler, or PyTorch's generator of code, raises
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    else:
        reason = "" if graphs_compiled() > before else "torch.compile compiled nothing"
    if reason:
        print(f"without {name}: {reason}")
    return not reason


def graphs_compiled() -> int:
    """Graphs that `torch.compile` has compiled in this process."""
    from torch._dynamo.utils import counters  # 100 MiB that only compiling needs

    found: int = counters["stats"]["unique_graphs"]
    return found


def stack(channels: int, hidden: int) -> nn.Sequential:
    """The peer of `benchmarks.stack.network`."""
    layers: list[nn.Module] = []
    for inputs in (3, *[channels] * hidden):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.LeakyReLU(0.2, True), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh())


def tensor(values: np.ndarray) -> torch.Tensor:
    """A copy: (R, S, C, K) weights as (K, C, R, S), an image with its channels in front, dense weights transposed."""
    turned = values.transpose({4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0), 1: (0,)}[values.ndim])
    return torch.from_numpy(turned.copy())


def nchw(images: np.ndarray, *, channels_last: bool = False) -> torch.Tensor:
    """(N, H, W, C) images as (N, C, H, W), in one of PyTorch's two layouts; channels_last is a view."""
    turned = torch.from_numpy(images).permute(0, 3, 1, 2)
    return turned if channels_last else turned.contiguous()


def load(module: nn.Module, network: Sequential) -> None:
    """Gives a module the weights and the running statistics of the network whose layers it has, in their order."""
    buffers = [buffer for buffer in module.buffers() if buffer.ndim]  # without the counters of batches
    with torch.no_grad():
        for target, (_, source) in zip(module.parameters(), network.named_parameters(), strict=True):
            target.copy_(tensor(source.value))
        for target, (_, source) in zip(buffers, network.named_state(), strict=True):
            target.copy_(tensor(source.value))


def fused(network: nn.Sequential) -> nn.Sequential:
    """The module for evaluation: each BatchNorm folded into the (transposed) convolution before it."""
    layers: list[nn.Module] = []
    for layer in network.eval():
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d | nn.ConvTranspose2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer, transpose=isinstance(layers[-1], nn.ConvTranspose2d))
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def on_one_thread(
    make: Callable[..., Callable[[np.ndarray], None]], *, compiled: bool = False
) -> Callable[[np.ndarray], None]:
    """The same step with one of PyTorch's threads: for small networks a second one may cost more than it brings."""
    step = make(compiled=compiled)

    def alone(images: np.ndarray) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            step(images)
        finally:
            torch.set_num_threads(threads)

    return alone
