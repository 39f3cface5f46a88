"""Activations and their derivatives, one pass each: activation.cu."""

from minigan.backends.base import Array, expect
from minigan.backends.gpu.engine import Engine
from minigan.backends.gpu.launch import contiguous


class ActivationKernels(Engine):
    """Overrides of `reference.activation.ActivationKernels`."""

    def leaky_relu(self, x: Array, *, slope: float) -> Array:
        return self._forward("leaky_relu", x, float(slope))

    def leaky_relu_grad(self, dy: Array, y: Array, *, slope: float) -> Array:
        return self._backward("leaky_relu_grad", dy, y, float(slope))

    def tanh(self, x: Array) -> Array:
        return self._forward("hyperbolic_tangent", x)

    def tanh_grad(self, dy: Array, y: Array) -> Array:
        return self._backward("tanh_grad", dy, y)

    def sigmoid(self, x: Array) -> Array:
        return self._forward("sigmoid", x)

    def sigmoid_grad(self, dy: Array, y: Array) -> Array:
        return self._backward("sigmoid_grad", dy, y)

    def maxout(self, x: Array, *, pieces: int) -> Array:
        K = x.shape[-1] // pieces
        expect("x", x, (*x.shape[:-1], pieces * K), x.dtype)
        y = self.empty((*x.shape[:-1], K), x.dtype)
        self.vector_pass("activation", "maxout", (contiguous(x), y), K, pieces, over=y, together=K)
        return y

    def maxout_grad(self, dy: Array, x: Array, y: Array, *, pieces: int) -> Array:
        K = y.shape[-1]
        expect("dy", dy, y.shape, x.dtype)
        expect("x", x, (*y.shape[:-1], pieces * K), y.dtype)
        dx = self.empty(x.shape, x.dtype)
        arrays = (*map(contiguous, (dy, x, y)), dx)
        self.vector_pass("activation", "maxout_grad", arrays, K, pieces, over=y, together=K)
        return dx

    def _forward(self, kernel: str, x: Array, *settings: float) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.vector_pass("activation", kernel, (contiguous(x), y), *settings, over=y)
        return y

    def _backward(self, kernel: str, dy: Array, y: Array, *settings: float) -> Array:
        expect("dy", dy, y.shape, y.dtype)
        dx = self.empty(y.shape, y.dtype)
        self.vector_pass("activation", kernel, (contiguous(dy), contiguous(y), dx), *settings, over=dx)
        return dx
