"""Generators to export: every recipe's, small, and layers that no recipe's generator has."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import get_backend
from minigan.export import Subject
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Flatten,
    GenerativeBasis,
    GlobalAveragePooling2D,
    GlobalSumPooling2D,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Maxout,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    ReLU,
    Reshape,
    SelfAttention,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.residual_blocks import conditional_batch_norm
from minigan.recipes import NoiseRecipe, get_recipe


class OfRecipe(NamedTuple):
    name: str
    settings: dict[str, Any]
    shape: tuple[int, ...] = (28, 28, 1)

    def subject(self) -> Subject:
        recipe = get_recipe(self.name).from_settings(self.settings)
        rng = np.random.default_rng(0)
        G = recipe.built_generator(self.shape, backend=get_backend("reference"), dtype="float32", rng=rng)
        conditional = isinstance(recipe, NoiseRecipe) and recipe.conditional
        return Subject(
            stirred(G),
            f"G of {self.name}",
            numbers="signed" if len(self.shape) == 1 else recipe.numbers,
            from_noise=not recipe.from_images,
            classes=recipe.classes if conditional else 0,
        )

    def expected(self, subject: Subject, x: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        recipe = get_recipe(self.name).from_settings(self.settings)
        return recipe.to_images(subject.network.given(c).forward(x, train=False)[0])


class OfLayers(NamedTuple):
    layers: Callable[[], Sequence[Layer]]
    shape: tuple[int, ...]

    def subject(self) -> Subject:
        network = Sequential(self.layers(), name="N")
        network.build(self.shape, backend=get_backend("reference"), rng=np.random.default_rng(0))
        return Subject(stirred(network), "N")

    def expected(self, subject: Subject, x: np.ndarray, c: np.ndarray | None) -> np.ndarray:
        return subject.network.given(c).forward(x, train=False)[0]


Case = OfRecipe | OfLayers

CASES: dict[str, Case] = {
    "dcgan": OfRecipe("dcgan", {"width": 4, "preset": "paper"}),
    "dcgan with hidden layers": OfRecipe("dcgan", {"width": 2, "mapping": 6}),
    "dcgan 32x64 RGB": OfRecipe("dcgan", {"width": 2}, (32, 64, 3)),
    "dcgan with classes": OfRecipe("dcgan", {"width": 4, "condition": "projection"}),
    "mlp": OfRecipe("mlp", {"hidden": 8}, (7, 6, 3)),
    "mlp of points": OfRecipe("mlp", {"hidden": 8}, (2,)),
    "mlp with classes": OfRecipe("mlp", {"hidden": 8, "condition": "concatenation"}),
    "minimax": OfRecipe("minimax", {"hidden": 8}),
    "dcgan-keras": OfRecipe("dcgan-keras", {"width": 2}, (28, 60, 3)),
    "dcgan-cifar": OfRecipe("dcgan-cifar", {"width": 2, "dense": 8}, (32, 48, 3)),
    "sngan": OfRecipe("sngan", {"width": 4}, (32, 32, 3)),
    "sngan with classes": OfRecipe("sngan", {"width": 4, "condition": "projection"}, (28, 28, 1)),
    "r3gan": OfRecipe("r3gan", {"widths": "4,3,2", "group": 2, "latent": 5}, (16, 16, 3)),
    "r3gan with classes": OfRecipe(
        "r3gan", {"widths": "4,3", "group": 2, "latent": 5, "condition": "projection"}, (8, 16, 1)
    ),
    "stylegan2": OfRecipe(
        "stylegan2", {"latent": 5, "w_dim": 4, "channel_base": 48, "channel_max": 4, "condition": "none"}, (16, 16, 3)
    ),
    "stylegan2 with classes": OfRecipe(
        "stylegan2",
        {"latent": 4, "w_dim": 4, "channel_base": 32, "channel_max": 4, "condition": "projection", "mapping": 3},
        (8, 12, 1),
    ),
    "multi-d": OfRecipe("multi-d", {"width": 2}),
    "pacgan": OfRecipe("pacgan", {"g_hidden": 8}, (2,)),
    "pacgan of images": OfRecipe("pacgan", {"g_hidden": 8}, (5, 6, 1)),
    "vae": OfRecipe("vae", {"width": 2}),
    "vae gaussian": OfRecipe("vae", {"width": 2, "likelihood": "gaussian"}),
    "segment": OfRecipe("segment", {"width": 3}, (9, 8, 3)),
    "pix2pix": OfRecipe("pix2pix", {"width": 2}, (32, 32, 3)),
    "pix2pix instance": OfRecipe("pix2pix", {"width": 2, "norm": "instance"}, (32, 16, 3)),
    "cyclegan": OfRecipe("cyclegan", {"width": 2, "blocks": 1, "d_width": 2}, (8, 12, 3)),
    "superres": OfRecipe("superres", {"width": 3, "blocks": 2}, (16, 24, 3)),
    "denoise": OfRecipe("denoise", {"width": 3, "depth": 4}, (16, 17, 1)),
    "inpaint": OfRecipe("inpaint", {"width": 2}, (16, 16, 3)),
    "attention": OfLayers(
        lambda: [Conv2D(9, 3), SelfAttention(2), SelfAttention(wrap=SpectralNorm), LeakyReLU(0.1)], (5, 4, 2)
    ),
    "spectral norm": OfLayers(
        lambda: [
            SpectralNorm(Dense(12)),
            ReLU(),
            Reshape((2, 2, 3)),
            SpectralNorm(ConvTranspose2D(4, 3, stride=2)),
            SpectralNorm(Conv2D(2, 3, stride=(1, 2), padding=((1, 0), (2, 1)))),
        ],
        (7,),
    ),
    "equalized rate": OfLayers(
        lambda: [
            PixelNorm(),
            EqualizedRate(Dense(12), multiplier=0.1),
            LeakyReLU(0.2, gain=2**0.5),
            Reshape((2, 2, 3)),
            EqualizedRate(ConvTranspose2D(4, 3, stride=2)),
            PixelNorm(eps=1e-3),
            EqualizedRate(Conv2D(2, 3, stride=(1, 2), padding=((1, 0), (2, 1)))),
            LeakyReLU(0.2, gain=3),
        ],
        (7,),
    ),
    "norms of each example": OfLayers(
        lambda: [Conv2D(6, 3), GroupNorm(3), InstanceNorm(eps=1e-3), LayerNorm(), Flatten(), GroupNorm(4)], (3, 4, 2)
    ),
    "output padding": OfLayers(
        lambda: [
            ConvTranspose2D(3, 3, stride=2, padding=1, output_padding=1),
            ConvTranspose2D(2, (2, 5), stride=(3, 2), padding=((0, 1), (2, 0)), output_padding=(0, 1)),
            ConvTranspose2D(2, 1, stride=2),
        ],
        (3, 4, 2),
    ),
    "gaps and groups": OfLayers(
        lambda: [
            Conv2D(6, (3, 2), stride=(1, 2), dilation=(2, 1), groups=2),
            ConvTranspose2D(3, 3, stride=2, padding=1, dilation=2, groups=3),
            SpectralNorm(Conv2D(6, 3, dilation=3, groups=3)),
        ],
        (5, 6, 4),
    ),
    "pixels moved": OfLayers(
        lambda: [PixelShuffle((2, 3)), UpSampling2D((1, 2)), AveragePooling2D((2, 4)), PixelShuffle(2)], (4, 4, 24)
    ),
    "reflected": OfLayers(
        lambda: [ReflectionPadding2D(((1, 2), (3, 0))), Conv2D(4, 3, padding="valid"), InstanceNorm(affine=False)],
        (4, 4, 2),
    ),
    "low-pass filters": OfLayers(
        lambda: [
            FIRUpSampling2D(),
            FIRDownSampling2D((1, 3), taps=(1, 2, 0.5)),
            Bias(),
            FIRUpSampling2D((3, 1), taps=(1, 2), padding=((1, 0), 0)),
            FIRDownSampling2D(1, taps=(1, 3, 2, 5), padding=((2, 1), 1)),
            FIRUpSampling2D(3, taps=(1, 2)),
        ],
        (3, 6, 2),
    ),
    "bases": OfLayers(
        lambda: [Dense(3), Bias(), GenerativeBasis((2, 3)), Conv2D(4, 3), DiscriminativeBasis(), Dense(2)], (5,)
    ),
    "pooled": OfLayers(lambda: [Parallel([[GlobalAveragePooling2D()], [GlobalSumPooling2D()]]), Maxout(2)], (3, 4, 2)),
    "maxout of images": OfLayers(lambda: [Conv2D(6, 1), Maxout(3), BatchNorm(), Tanh()], (3, 4, 2)),
    "a norm in front and behind": OfLayers(
        lambda: [BatchNorm(), UpSampling2D(2), BatchNorm(), Residual([Tanh()])], (2, 3, 4)
    ),
    "norms that follow what others look at": OfLayers(
        lambda: [Conv2D(3, 3), Residual([BatchNorm(), ReLU(), Conv2D(3, 3, bias=False), BatchNorm()]), BatchNorm()],
        (4, 4, 2),
    ),
    "a vector concatenated to every pixel": OfLayers(
        lambda: [SkipConcat([Conv2D(2, 3)]), ConcatCondition((5,), embedding=3), ConditionalAffine(5), Conv2D(1, 1)],
        (4, 3, 2),
    ),
    "a vector's own condition": OfLayers(
        lambda: [ConcatCondition((5,)), Dense(4), conditional_batch_norm(5), ReLU(), Dense(3)], (6,)
    ),
    "an image as condition": OfLayers(lambda: [ConcatCondition((4, 3, 1)), Conv2D(2, 3)], (4, 3, 2)),
}


def stirred(network: Sequential, seed: int = 0) -> Sequential:
    """The network with parameters and statistics as if it had been trained."""
    rng = np.random.default_rng(seed)
    for arena in (network.arena, network.state):
        for name, parameter in arena.items():
            noise = rng.normal(size=parameter.shape).astype(np.float32)
            parameter.value[...] += np.abs(noise) if name.endswith("running_var") else 0.1 * noise
            if name.endswith(".u"):
                parameter.value[...] /= np.linalg.norm(parameter.value)
    network.arena.updated()
    return network


def inputs(subject: Subject, n: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    """An input and, if the network takes one, a condition: a class for each example, or some numbers."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, *subject.network.input_shape), dtype=np.float32)
    shape = subject.graph(to="numpy").condition_shape
    if shape is None:
        return x, None
    if subject.classes:
        return x, np.eye(subject.classes, dtype=np.float32)[rng.integers(subject.classes, size=n)]
    return x, rng.standard_normal((n, *shape), dtype=np.float32)
