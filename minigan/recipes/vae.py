"""The variational autoencoder, for comparison with a GAN.

It is an encoder and a decoder with DCGAN's layers, trained on the evidence lower bound of Kingma & Welling 2014 (see
`minigan.training.variational`, where the reparameterization and its gradients are written out). With the same data and
layers as a GAN it trains steadily, covers all of the data and draws blurred images; a GAN draws sharp images and may
miss some modes. `minigan evaluate` measures both.

Corrections to the usual tutorial code:

- Reconstruction is *summed* over the pixels, as the KL divergence is over the latent numbers. A mean over 784 pixels
  makes the KL term 784 times too heavy, and the decoder ignores z.
- The encoder returns log variances, so that no variance can become negative.
- The decoder returns logits; the sigmoid is in the likelihood, where log(sigmoid) cannot overflow.
- Samples are drawn from the prior, z ~ N(0, 1); they are not reconstructions of the data.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from minigan.nn.layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Flatten, Layer, LeakyReLU, ReLU, Reshape
from minigan.nn.network import Sequential
from minigan.recipes.bases.recipe import Recipe, Shape
from minigan.recipes.dcgan import SIZES, halvings
from minigan.training.exhibit import Exhibit, picture_count
from minigan.training.sampling import Noise
from minigan.training.variational import LIKELIHOODS, VariationalAutoencoder


@dataclass(frozen=True, kw_only=True)
class VAE(Recipe):
    """A variational autoencoder for images of 28, 32, 64 or 128 pixels, grayscale or RGB.

    Settings:
        latent: length of the latent vector z.
        width: number of channels of the largest hidden image; each halving of the image doubles it.
        likelihood: distribution of pixels: bernoulli (in [0, 1], for nearly black and white images) or gaussian.
        kl_weight: weight of the KL divergence; 1 gives the evidence lower bound, more gives a beta-VAE.
    """

    name: ClassVar[str] = "vae"
    largest_size = max(SIZES)

    steps: int = 5000
    lr: float = 1e-3
    beta1: float = 0.9
    latent: int = 32
    width: int = 32
    likelihood: str = "bernoulli"
    kl_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("latent", "width")
        self.check_from_zero("kl_weight")
        self.check_choice("likelihood", LIKELIHOODS)

    def check_size(self, size: tuple[int, int]) -> None:
        halvings(size)

    def encoder(self, image_shape: Shape) -> Sequential:
        """The encoder, not built: from images of the shape image_shape to [mu, logvar]."""
        layers: list[Layer] = []
        for k in range(halvings((image_shape[0], image_shape[1]))):
            layers += [Conv2D(self.width << k, 4, stride=2, padding=1, bias=False), BatchNorm(), LeakyReLU(0.2)]
        return Sequential([*layers, Flatten(), Dense(2 * self.latent)], name="E")

    def generator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        n = halvings((H, W))
        smallest = (H >> n, W >> n, self.width << (n - 1))
        layers: list[Layer] = [Dense(math.prod(smallest), bias=False), BatchNorm(), ReLU(), Reshape(smallest)]
        for k in reversed(range(n - 1)):
            layers += [ConvTranspose2D(self.width << k, 4, stride=2, padding=1, bias=False), BatchNorm(), ReLU()]
        return Sequential([*layers, ConvTranspose2D(C, 4, stride=2, padding=1)], name="G")

    def source_shape(self, image_shape: Shape) -> Shape:  # noqa: ARG002
        return (self.latent,)

    def networks(self, image_shape: Shape) -> list[tuple[Sequential, Shape]]:
        return [*super().networks(image_shape), (self.encoder(image_shape), image_shape)]

    def learner(self, networks: Sequence[Sequential]) -> VariationalAutoencoder:
        G, encoder = networks
        return VariationalAutoencoder(
            encoder,
            G,
            likelihood=LIKELIHOODS[self.likelihood],
            kl_weight=self.kl_weight,
            e_optimizer=self.make_optimizer(encoder.arena, lr=self.lr),
            g_optimizer=self.make_optimizer(G.arena, lr=self.lr),
            accumulate=self.accumulate,
        )

    def prepare(self, images: np.ndarray) -> np.ndarray:
        return (images + 1) / 2 if self.likelihood == "bernoulli" else images

    def to_images(self, samples: np.ndarray) -> np.ndarray:
        """Converts the decoder's outputs to means in [-1, 1]; for logits s these are 2 sigmoid(s) - 1."""
        means: np.ndarray = np.tanh(samples / 2) if self.likelihood == "bernoulli" else samples
        return means

    @property
    def numbers(self) -> Literal["signed", "logits"]:
        return "logits" if self.likelihood == "bernoulli" else "signed"

    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws n latent vectors from the prior N(0, 1): float64 (n, latent)."""
        return self.prior.draw(rng, n, self.latent)

    def sources(
        self,
        rng: np.random.Generator,
        count: int,
        *,
        label: int | Sequence[int] | None = None,
        unseen: Sequence[int] = (),  # noqa: ARG002
    ) -> tuple[np.ndarray, None]:
        self.refuse_label(label)
        return self.noise(rng, count), None

    def standing_noise(self) -> Noise:
        return self.noise

    def exhibit(self, dataset: Any, *, rng: np.random.Generator, extent: float) -> Exhibit:
        return Exhibit(self.noise(rng, picture_count(dataset.shape)), extent=extent)
