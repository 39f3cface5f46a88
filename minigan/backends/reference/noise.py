"""Noise, a bias and a LeakyReLU: the end of a layer of StyleGAN's synthesis."""

from minigan.backends.base import Array
from minigan.backends.reference.activation import ActivationKernels
from minigan.backends.reference.dense import DenseKernels


class NoiseKernels(DenseKernels, ActivationKernels):
    def noise_leaky_relu(self, x: Array, n: Array, strength: Array, b: Array, *, slope: float, gain: float) -> Array:
        return self.leaky_relu(x + strength * n + b, slope=slope) * x.dtype.type(gain)

    def noise_leaky_relu_grad(
        self, dy: Array, y: Array, n: Array, *, slope: float, gain: float, add_to: tuple[Array, Array] | None
    ) -> Array:
        dx = self.leaky_relu_grad(dy, y, slope=slope) * y.dtype.type(gain)
        if add_to is not None:
            dstrength, db = add_to
            dstrength += (dx * n).sum()
            self.channel_sum(dx, add_to=db)
        return dx
