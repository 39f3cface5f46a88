"""Two kernels in one: here literally, one after the other."""

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry
from minigan.backends.reference.activation import ActivationKernels
from minigan.backends.reference.conv import ConvKernels
from minigan.backends.reference.dense import DenseKernels
from minigan.backends.reference.norm import NormKernels


class FusedKernels(ConvKernels, DenseKernels, NormKernels, ActivationKernels):
    def conv2d_leaky_relu(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, *, slope: float) -> Array:
        return self.leaky_relu(self.conv2d(x, w, b, geometry), slope=slope)

    def dense_leaky_relu(self, x: Array, w: Array, b: Array | None, *, slope: float) -> Array:
        return self.leaky_relu(self.matmul(x, w, bias=b), slope=slope)

    def dense_leaky_relu_grad(
        self,
        dy: Array,
        x: Array,
        w: Array,
        y: Array,
        *,
        slope: float,
        add_to: tuple[Array, Array | None] | None,
        need_dx: bool = True,
    ) -> Array | None:
        dy = self.leaky_relu_grad(dy, y, slope=slope)
        return self.dense_grad(dy, x, w, add_to=add_to, need_dx=need_dx)

    def batchnorm_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, *, eps: float, slope: float
    ) -> tuple[Array, Array, Array]:
        y, mean, var = self.batchnorm(x, gamma, beta, eps=eps)
        return self.leaky_relu(y, slope=slope), mean, var

    def batchnorm_frozen_leaky_relu(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float, slope: float
    ) -> Array:
        return self.leaky_relu(self.batchnorm_frozen(x, gamma, beta, mean, var, eps=eps), slope=slope)

    def batchnorm_leaky_relu_grad(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        *,
        eps: float,
        slope: float,
        add_to: tuple[Array, Array] | None,
        need_dx: bool = True,
    ) -> Array | None:
        y = self.batchnorm_frozen(x, gamma, beta, mean, var, eps=eps)
        dy = self.leaky_relu_grad(dy, y, slope=slope)
        return self.batchnorm_grad(dy, x, gamma, mean, var, eps=eps, add_to=add_to, need_dx=need_dx)
