"""Bases: learned images between vectors and images, one for each channel; R3GAN's first and last spatial layer.

G's weighs each channel's image by a number, and D's measures how much of it there is. Each is the other transposed:
a depthwise (transposed) convolution whose filter is as large as the image. Both are bilinear in x and the basis, so
double backward has a gradient of the basis and none of x.

Source: Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline", section 4.
"""

from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.backends.geometry import IntPair, pair, times
from minigan.nn.initializers import Initializer, Normal, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter


class BasisCache(NamedTuple):
    x: Array  # by reference


class Basis(Layer):
    """Base of both: the products of vectors (N, C), images (N, H, W, C) and the basis (H, W, 1, C).

    Args:
        init: the initializer of the basis.
    """

    separable: ClassVar[bool] = True
    basis: Parameter

    def __init__(self, *, init: Initializer) -> None:
        super().__init__()
        self.init = expect_initializer(init, "init", of=self.path)

    def add_basis(self, image: tuple[int, int, int]) -> None:
        """Declares the basis, in the layout of a depthwise filter."""
        H, W, C = image
        self.basis = self.add_parameter("basis", (H, W, 1, C), self.init)

    def draw(self, a: Array) -> Array:
        """y[n,h,w,c] = a[n,c] basis[h,w,c]."""
        basis = self.basis.value[:, :, 0]
        y = self.kernels.empty((len(a), *basis.shape), a.dtype)
        return self.kernels.xp.multiply(a[:, None, None, :], basis, out=y)

    def measure(self, x: Array) -> Array:
        """y[n,c] = sum_{h,w} x[n,h,w,c] basis[h,w,c]."""
        return self._products(x, self.basis.value[:, :, 0]).sum(axis=(1, 2))

    def add_gradient(self, a: Array, x: Array, *, add_to: Array) -> None:
        """add_to[h,w,0,c] += sum_n a[n,c] x[n,h,w,c]."""
        add_to[:, :, 0] += self._products(x, a[:, None, None, :]).sum(axis=0)

    def _products(self, x: Array, other: Array) -> Array:
        return self.kernels.xp.multiply(x, other, out=self.kernels.empty(x.shape, x.dtype))

    @property
    def own_flops(self) -> int:
        return 2 * self.basis.size


class GenerativeBasis(Basis):
    """G's basis: y[n,h,w,c] = x[n,c] basis[h,w,c], so that vectors (C,) become images (H, W, C).

    Args:
        size: H and W; one int or a pair.
        init: the initializer of the basis, (H, W, 1, C).
    """

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self, size: int | IntPair = 4, *, init: Initializer = Normal(1.0)) -> None:  # noqa: B008 (immutable)
        super().__init__(init=init)
        self.size = pair(size, f"{self.path}: size")

    def infer(self, input_shape: Shape) -> Shape:
        image = (*self.size, self.expect_vector(input_shape))
        self.add_basis(image)
        return image

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, BasisCache]:
        return self.draw(x), BasisCache(x)

    def backward(self, dy: Array, cache: BasisCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.add_gradient(cache.x, dy, add_to=grads[self.basis])
        return self.measure(dy) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: BasisCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.add_gradient(v, record, add_to=grads[self.basis])
        return self.draw(v), None

    def describe(self) -> str:
        return f"GenerativeBasis {times(self.size)}"


class DiscriminativeBasis(Basis):
    """D's basis: y[n,c] = sum_{h,w} x[n,h,w,c] basis[h,w,c], so that images (H, W, C) become vectors (C,).

    Args:
        init: the initializer of the basis, (H, W, 1, C).
    """

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self, *, init: Initializer = Normal(0.25)) -> None:  # noqa: B008 (immutable)
        super().__init__(init=init)

    def infer(self, input_shape: Shape) -> Shape:
        image = self.expect_image(input_shape)
        self.add_basis(image)
        return (image[-1],)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, BasisCache]:
        return self.measure(x), BasisCache(x)

    def backward(self, dy: Array, cache: BasisCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.add_gradient(dy, cache.x, add_to=grads[self.basis])
        return self.draw(dy) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: BasisCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.add_gradient(record, v, add_to=grads[self.basis])
        return self.measure(v), None
