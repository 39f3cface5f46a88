"""Noise added to images inside a generator, as strong as it learns."""

from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.initializers import Constant, Normal
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter


class NoiseCache(NamedTuple):
    noise: Array  # (N, H, W, 1), or (1, H, W, 1) for all images


class NoiseInjection(Layer):
    """Noise: y = x + strength * n, one number of n ~ N(0, 1) for all channels of a pixel.

    The strength is one learned number, which starts at 0. In training n is drawn anew for each image; in evaluation it
    is one image for all, drawn once and kept in the state, so that a style has one picture.

    Source: Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 2;
    one strength a layer as in StyleGAN2.
    """

    strength: Parameter
    noise: Parameter

    def infer(self, input_shape: Shape) -> Shape:
        H, W, _ = self.expect_image(input_shape)
        self.strength = self.add_parameter("strength", (1,), Constant(0))
        self.noise = self.add_state("noise", (H, W, 1), Normal(1.0))
        return input_shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, NoiseCache]:
        n = self.noise_of(x, train=train, rng=rng)
        return self.kernels.xp.add(x, self.strength.value * n, out=self.kernels.empty(x.shape, x.dtype)), NoiseCache(n)

    def noise_of(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> Array:
        """Noise for images x: n."""
        return self._drawn(rng, x) if train else self.noise.value[None]

    def _drawn(self, rng: np.random.Generator | None, x: Array) -> Array:
        if rng is None:
            raise ConfigError(f"{self.path}: expected an rng in training, got none. Pass forward(..., rng=generator).")
        shape = (*x.shape[:-1], 1)
        return self.kernels.feed(lambda: rng.standard_normal(shape), dtype=x.dtype)

    def backward(self, dy: Array, cache: NoiseCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            dstrength = grads[self.strength]
            dstrength += self._by_noise(dy, cache.noise)
        return dy if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: NoiseCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        return v, None

    def _by_noise(self, dy: Array, n: Array) -> Array:
        """The sum of dy * n."""
        if len(n) != len(dy):
            dy = dy.sum(axis=0)
        # As a product of matrices it is one pass over dy, and no array of its size is made.
        return self.kernels.matmul(n.reshape(1, -1), dy.reshape(-1, dy.shape[-1])).sum()

    @property
    def own_flops(self) -> int:
        return int(np.prod(self.output_shape))
