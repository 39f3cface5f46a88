"""Differentiable augmentation: D sees real and fake images changed at random, so that few images last longer.

The augmentations are layers in front of D. So D's step and G's step both go through them, forward and backward, and so
does a gradient penalty; in evaluation they change nothing. Each maps an image by y = A x + b, where A and b are drawn
anew for every image of every forward pass: dx = A^T dy, and double backward is A v.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3.2; how much is
changed is from the authors' code, for images in [-1, 1].
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients

__all__ = ["AUGMENTATIONS", "Augmentation", "Color", "Cutout", "Translation", "augmentations"]


class Augmentation(Layer):
    """y = A x + b for each image in training, with A and b drawn anew for each; y = x otherwise."""

    def infer(self, input_shape: Shape) -> Shape:
        return self.expect_image(input_shape)

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int) -> Any:
        """The random numbers of A and b for n images."""

    @abstractmethod
    def linear(self, x: Array, maps: Any) -> Array:
        """A x, for x (N, H, W, C)."""

    def affine(self, x: Array, maps: Any) -> Array:
        """A x + b."""
        return self.linear(x, maps)

    def adjoint(self, dy: Array, maps: Any) -> Array:
        """A^T dy; the same as A dy for a symmetric A."""
        return self.linear(dy, maps)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        if not train:
            return x, None
        if rng is None:
            raise ConfigError(f"{self.path}: expected an rng in training, got none. Pass forward(..., rng=generator).")
        maps = self.draw(rng, len(x))
        return self.affine(x, maps), maps

    def backward(self, dy: Array, cache: Any, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if not need_dx:
            return None
        return dy if cache is None else self.adjoint(dy, cache)

    def double_backward(
        self, v: Array, record: Array, cache: Any, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        return v if cache is None else self.linear(v, cache), None


class ColorMaps(NamedTuple):
    """(N, 1, 1, 1) each."""

    brightness: Array
    saturation: Array
    contrast: Array


class Color(Augmentation):
    """Brightness, saturation and contrast: x + b; then each pixel about its grey; then the image about its mean.

    With P the mean over the channels and Q that over the whole image, the two scalings by s and c are
    A = (Q + c (I - Q)) (P + s (I - P)) = Q + c (P - Q) + c s (I - P), because Q P = Q. P and Q are symmetric, so A is.
    """

    def draw(self, rng: np.random.Generator, n: int) -> ColorMaps:
        ranges = ((-0.5, 0.5), (0.0, 2.0), (0.5, 1.5))
        drawn = self.kernels.feed(lambda: tuple(rng.uniform(*ends, (n, 1, 1, 1)) for ends in ranges), dtype=self.dtype)
        return ColorMaps(*drawn)

    def linear(self, x: Array, maps: ColorMaps) -> Array:
        N, H, W, C = x.shape
        average = self.kernels.xp.full((C, 1), 1 / C, dtype=x.dtype)
        grey = self.kernels.matmul(x.reshape(-1, C), average).reshape(N, H, W, 1)
        mean = grey.mean(axis=(1, 2), keepdims=True)  # (N, 1, 1, 1)
        _, s, c = maps
        y = self.kernels.xp.subtract(x, grey, out=self.kernels.empty(x.shape, x.dtype))
        y *= c * s
        y += c * (grey - mean) + mean
        return y

    def affine(self, x: Array, maps: ColorMaps) -> Array:
        y = self.linear(x, maps)
        y += maps.brightness  # A leaves a constant as it is
        return y


class Translation(Augmentation):
    """Moves the image by up to an eighth of its sides; pixels from outside are 0. A^T moves it back."""

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        most = np.array([_part(side, 0.125) for side in self.input_shape[:2]])
        return self.kernels.feed(lambda: rng.integers(-most, most, (n, 2), endpoint=True))  # pixels down, to the right

    def linear(self, x: Array, maps: Array) -> Array:
        xp = self.kernels.xp
        N, H, W, C = x.shape
        row, column = xp.arange(H) - maps[:, :1], xp.arange(W) - maps[:, 1:]  # (N, H), (N, W): where y is from
        above = xp.arange(N)[:, None] * H + row.clip(0, H - 1)
        place = above[:, :, None] * W + column.clip(0, W - 1)[:, None]
        y = x.reshape(-1, C)[place.ravel()].reshape(x.shape)
        xp.copyto(y, 0, where=~_crossed(_within(row, 0, H), _within(column, 0, W)))
        return y

    def adjoint(self, dy: Array, maps: Array) -> Array:
        return self.linear(dy, -maps)


class Cutout(Augmentation):
    """Sets a rectangle of half the sides to 0; its centre is anywhere in the image, so part of it may be outside."""

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """(N, 4): first and last row, first and last column."""
        return self.kernels.feed(lambda: self._corners(rng, n))

    def _corners(self, rng: np.random.Generator, n: int) -> np.ndarray:
        corners = []
        for side in self.input_shape[:2]:
            size = _part(side, 0.5)
            first = rng.integers(0, side + 1 - size % 2, n) - size // 2
            corners += [np.maximum(first, 0), first + size]
        return np.stack(corners, axis=1)

    def linear(self, x: Array, maps: Array) -> Array:
        xp = self.kernels.xp
        y = self.kernels.empty(x.shape, x.dtype)
        y[...] = x
        _, H, W, _ = x.shape
        rows = _within(xp.arange(H), maps[:, :1], maps[:, 1:2])
        columns = _within(xp.arange(W), maps[:, 2:3], maps[:, 3:])
        xp.copyto(y, 0, where=_crossed(rows, columns))
        return y


def _part(side: int, ratio: float) -> int:
    return int(side * ratio + 0.5)


def _within(numbers: Array, first: Array | int, end: Array | int) -> Array:
    """Mask of the numbers in [first, end)."""
    return (numbers >= first) & (numbers < end)


def _crossed(rows: Array, columns: Array) -> Array:
    """The pixels (N, H, W, 1) whose row (N, H) and column (N, W) are both marked."""
    return (rows[:, :, None] & columns[:, None])[..., None]


AUGMENTATIONS: Mapping[str, type[Augmentation]] = {"color": Color, "translation": Translation, "cutout": Cutout}


def augmentations(policy: str) -> list[Layer]:
    """The layers of a policy such as "color,translation,cutout", in its order; none for "".

    Raises:
        ConfigError: a name is unknown.
    """
    names = [name.strip() for name in policy.split(",")] if policy else []
    for name in names:
        if name not in AUGMENTATIONS:
            raise ConfigError(
                f"unknown augmentation {name!r}: expected some of {', '.join(AUGMENTATIONS)}, joined by commas, got "
                f"{policy!r}."
            )
    return [AUGMENTATIONS[name]() for name in names]
