"""The variational autoencoder, the model that GANs are most often compared with.

An encoder maps an image x to a normal distribution of latent vectors, N(mu, diag(exp(logvar))); a decoder G maps a
latent vector to the parameters of a distribution of images. Both minimize the negative evidence lower bound,

    -ELBO = -E[log p(x | z)] + weight * KL(N(mu, exp(logvar)) | N(0, 1)),    z = mu + exp(logvar / 2) * eps,

where one eps ~ N(0, 1) is drawn for each image: the reparameterization trick, which makes z differentiable in mu and
logvar. With weight = 1 it is the bound itself; other weights make a beta-VAE.

Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", equations 4 and 10, appendix B; the weight is that of
Higgins et al. 2017, equation 4.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from minigan.backends import Array, array_module
from minigan.errors import ConfigError, ShapeError
from minigan.losses import bernoulli, gaussian
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Optimizer
from minigan.support.arguments import kind_of, number
from minigan.support.representation import fields
from minigan.training.accumulation import mean_of_batches
from minigan.training.batch import expect_rng, next_batch
from minigan.training.learner import Learner

__all__ = ["LIKELIHOODS", "VariationalAutoencoder", "VariationalValues", "kl_divergence", "reparameterize"]

Likelihood = Callable[[Array, Array], tuple[Array, Array]]  # (decoder's output, x) -> (-log p(x | z), its gradient)
LIKELIHOODS: Mapping[str, Likelihood] = {"bernoulli": bernoulli, "gaussian": gaussian}


class VariationalValues(NamedTuple):
    """Values measured in one step, in nats per image; scalar arrays of the backend.

    Attributes:
        loss: -ELBO (with the KL divergence's weight).
        reconstruction: -log p(x | z).
        kl: KL(q(z | x) | p(z)), without its weight.
    """

    loss: Array
    reconstruction: Array
    kl: Array

    def __repr__(self) -> str:
        return fields(self)

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for, by the names that papers use."""
        return {"-ELBO": self.loss, "rec": self.reconstruction, "KL": self.kl}

    def losses(self) -> list[tuple[str, Array]]:
        """Both parts, and their weighted sum."""
        return [
            ("the reconstruction's likelihood", self.reconstruction),
            ("the KL divergence", self.kl),
            ("the evidence lower bound", self.loss),
        ]


class VariationalAutoencoder(Learner):
    """Trains an encoder and a decoder together.

    Args:
        encoder: maps images (N, *G.output_shape) to [mu, logvar], (N, 2 * latent); built.
        G: the decoder; maps z (N, latent) to the parameters of p(x | z), one per pixel and channel; built on the same
            backend with the same dtype.
        likelihood: (G's output, x) -> (-log p(x | z), summed over an image and averaged over the batch; its gradient).
        kl_weight: beta, the weight of the KL divergence.
        e_optimizer, g_optimizer: update the arenas of the encoder and of G.
        accumulate: batches whose mean gradient makes one update of both.
    Attributes:
        e_grads, g_grads: the gradients of the encoder and of G in the last step.
    Raises:
        ConfigError: an argument is of the wrong kind or out of range, or the networks do not go together.
        ShapeError: the encoder's shapes are not the reverse of G's.
    Source: Kingma & Welling 2014, equations 4 and 10.
    """

    def __init__(
        self,
        encoder: Sequential,
        G: Sequential,
        *,
        likelihood: Likelihood = bernoulli,
        kl_weight: float = 1.0,
        e_optimizer: Optimizer,
        g_optimizer: Optimizer,
        accumulate: int = 1,
    ) -> None:
        super().__init__({"encoder": (encoder, e_optimizer), "G": (G, g_optimizer)}, accumulate=accumulate)
        if not callable(likelihood):
            raise ConfigError(
                f"likelihood must be a function, got {kind_of(likelihood)}. Write likelihood=bernoulli, or gaussian."
            )
        if encoder.output_shape != (2 * G.input_shape[0],) or encoder.input_shape != G.output_shape:
            raise ShapeError(
                f"{encoder.path} maps {encoder.input_shape} to {encoder.output_shape}, {G.path} {G.input_shape} to "
                f"{G.output_shape}. The encoder must give mu and logvar for each of G's inputs, from what G draws."
            )
        self.encoder, self.G = encoder, G
        self.likelihood = likelihood
        self.kl_weight = number(kl_weight, "kl_weight", least=0)
        self.e_grads, self.g_grads = self.grads["encoder"], self.grads["G"]

    def kind(self) -> tuple[()]:
        return ()

    def inputs(self, batch: Array, rng: np.random.Generator) -> list[tuple[Sequential, Array]]:
        """Both networks, each with its input: the images, and latent vectors drawn for them."""
        x = self.G.kernels.asarray(batch, dtype=self.G.dtype)
        code, _ = self.encoder.forward(x, train=True, rng=rng)
        return [(self.encoder, x), (self.G, reparameterize(code, self._eps(code, rng)))]

    def step(self, batches: Iterator[Array], rng: np.random.Generator) -> VariationalValues:
        """One update of both networks.

        Args:
            batches: images (N, *G.output_shape), in host memory or the backend's, of any float dtype.
            rng: of eps and of dropout.
        Raises:
            DivergenceError: a value or a gradient is not finite; both networks are as they were before the step.
        """
        expect_rng(rng)
        fed = [self.G.kernels.feed(lambda: next_batch(batches), dtype=self.G.dtype) for _ in range(self.accumulate)]
        parts = [partial(self._add_gradients, x, rng) for x in fed]
        both = [self.e_grads, self.g_grads]
        return self.update("encoder", "G", gradients=lambda: mean_of_batches(both, parts), rng=rng)

    def gradients(self, x: Array, rng: np.random.Generator) -> VariationalValues:
        """Leaves in `e_grads` and `g_grads` the gradients of -ELBO."""
        return mean_of_batches([self.e_grads, self.g_grads], [partial(self._add_gradients, x, rng)])

    def _add_gradients(self, x: Array, rng: np.random.Generator) -> VariationalValues:
        code, e_tape = self.encoder.forward(x, train=True, rng=rng)
        eps = self._eps(code, rng)
        y, g_tape = self.G.forward(reparameterize(code, eps), train=True, rng=rng)
        reconstruction, dy = self.likelihood(y, x)
        kl, dkl = kl_divergence(code)
        dz = self.G.backward(dy, g_tape, grads=self.g_grads)
        dcode = reparameterize_grad(dz, code, eps) + self.kl_weight * dkl
        self.encoder.backward(dcode, e_tape, grads=self.e_grads, need_dx=False)
        self.G.commit_statistics(g_tape)
        self.encoder.commit_statistics(e_tape)
        return VariationalValues(reconstruction + self.kl_weight * kl, reconstruction, kl)

    def _eps(self, code: Array, rng: np.random.Generator) -> Array:
        shape = len(code), code.shape[1] // 2
        return self.G.kernels.feed(lambda: rng.standard_normal(shape), dtype=self.G.dtype)


def reparameterize(code: Array, eps: Array) -> Array:
    """z = mu + exp(logvar / 2) * eps, for code = [mu, logvar] (N, 2 * latent) and eps (N, latent)."""
    mu, logvar = _halves(code)
    return mu + array_module(code).exp(logvar / 2) * eps


def reparameterize_grad(dz: Array, code: Array, eps: Array) -> Array:
    """The gradient of code, like code: dmu = dz, dlogvar = dz * eps * exp(logvar / 2) / 2."""
    xp = array_module(code)
    _, logvar = _halves(code)
    return xp.concatenate([dz, dz * eps * xp.exp(logvar / 2) / 2], axis=1)


def kl_divergence(code: Array) -> tuple[Array, Array]:
    """KL(N(mu, exp(logvar)) | N(0, 1)) = sum(mu² + exp(logvar) - 1 - logvar) / 2, the mean over the batch.

    Args:
        code: [mu, logvar], (N, 2 * latent).
    Returns:
        The value in nats, and its gradient like code.
    Source: Kingma & Welling 2014, appendix B.
    """
    xp = array_module(code)
    mu, logvar = _halves(code)
    var = xp.exp(logvar)
    value = (mu * mu + var - 1 - logvar).sum() / (2 * len(code))
    return value, xp.concatenate([mu, (var - 1) / 2], axis=1) / len(code)


def _halves(code: Array) -> tuple[Array, Array]:
    latent = code.shape[1] // 2
    return code[:, :latent], code[:, latent:]
