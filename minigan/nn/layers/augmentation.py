"""Differentiable augmentation: D sees real and fake images changed at random, so that few images last longer.

The augmentations are layers in front of D. So D's step and G's step both go through them, forward and backward, and so
does a gradient penalty; in evaluation they change nothing. Each maps an image by y = A x + b, where A and b are drawn
anew for every image of every forward pass: dx = A^T dy, and double backward is A v.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3.2; how much is
changed is from the authors' code, for images in [-1, 1]. `AdaptiveAugmentation` leaves each image as it is with a
probability that training adjusts.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.initializers import Constant
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import number

__all__ = [
    "AUGMENTATIONS",
    "AdaptiveAugmentation",
    "Augmentation",
    "Color",
    "Cutout",
    "Flip",
    "QuarterTurns",
    "ScheduledAugmentation",
    "Translation",
    "augmentations",
]

ADAPTIVE = "adaptive"  # begins the policy of augmentations whose probability training adjusts


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

    def extend(self, u: Array, record: Array, cache: Any, *, grads: Gradients | None) -> Array:
        return u if cache is None else self.affine(u, cache)


class ColorMaps(NamedTuple):
    """(N, 1, 1, 1) each."""

    brightness: Array
    saturation: Array
    contrast: Array


class Color(Augmentation):
    """Brightness, saturation and contrast: x + b; then each pixel about its gray; then the image about its mean.

    With P the mean over the channels and Q that over the whole image, the two scalings by s and c are
    A = (Q + c (I - Q)) (P + s (I - P)) = Q + c (P - Q) + c s (I - P), because Q P = Q. P and Q are symmetric, so A is.
    """

    piecewise_linear: ClassVar[bool] = True

    def draw(self, rng: np.random.Generator, n: int) -> ColorMaps:
        ranges = ((-0.5, 0.5), (0.0, 2.0), (0.5, 1.5))
        drawn = self.kernels.feed(lambda: tuple(rng.uniform(*ends, (n, 1, 1, 1)) for ends in ranges), dtype=self.dtype)
        return ColorMaps(*drawn)

    def linear(self, x: Array, maps: ColorMaps) -> Array:
        N, H, W, C = x.shape
        average = self.kernels.xp.full((C, 1), 1 / C, dtype=x.dtype)
        gray = self.kernels.matmul(x.reshape(-1, C), average).reshape(N, H, W, 1)
        mean = gray.mean(axis=(1, 2), keepdims=True)  # (N, 1, 1, 1)
        _, s, c = maps
        y = self.kernels.xp.subtract(x, gray, out=self.kernels.empty(x.shape, x.dtype))
        y *= c * s
        y += c * (gray - mean) + mean
        return y

    def affine(self, x: Array, maps: ColorMaps) -> Array:
        y = self.linear(x, maps)
        y += maps.brightness  # A leaves a constant as it is
        return y


class Translation(Augmentation):
    """Moves the image by up to an eighth of its sides; pixels from outside are 0. A^T moves it back."""

    piecewise_linear: ClassVar[bool] = True

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
    """Sets a rectangle of half the sides to 0; its center is anywhere in the image, so part of it may be outside."""

    piecewise_linear: ClassVar[bool] = True

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


class Flip(Augmentation):
    """Mirrors half of the images, left and right exchanged. A is its own transpose."""

    piecewise_linear: ClassVar[bool] = True

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """(N, 1, 1, 1): the images that are mirrored."""
        return self.kernels.feed(lambda: rng.random((n, 1, 1, 1)) < 0.5)

    def linear(self, x: Array, maps: Array) -> Array:
        y = self.kernels.empty(x.shape, x.dtype)
        y[...] = x
        self.kernels.xp.copyto(y, x[:, :, ::-1], where=maps)
        return y


class QuarterTurns(Augmentation):
    """Turns each image by 0, 90, 180 or 270 degrees, or by 0 or 180 if it is no square. A^T turns it back."""

    piecewise_linear: ClassVar[bool] = True

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """(N, 1, 1, 1): quarter turns against the clock."""
        H, W, _ = self.input_shape
        step = 1 if H == W else 2
        return self.kernels.feed(lambda: step * rng.integers(0, 4 // step, (n, 1, 1, 1)))

    def linear(self, x: Array, maps: Array) -> Array:
        xp, y = self.kernels.xp, self.kernels.empty(x.shape, x.dtype)
        y[...] = x
        xp.copyto(y, x[:, ::-1, ::-1], where=maps == 2)
        if x.shape[1] == x.shape[2]:
            turned = xp.swapaxes(x, 1, 2)
            xp.copyto(y, turned[:, ::-1], where=maps == 1)
            xp.copyto(y, turned[:, :, ::-1], where=maps == 3)
        return y

    def adjoint(self, dy: Array, maps: Array) -> Array:
        return self.linear(dy, -maps % 4)


def _part(side: int, ratio: float) -> int:
    return int(side * ratio + 0.5)


def _within(numbers: Array, first: Array | int, end: Array | int) -> Array:
    """Mask of the numbers in [first, end)."""
    return (numbers >= first) & (numbers < end)


def _crossed(rows: Array, columns: Array) -> Array:
    """The pixels (N, H, W, 1) whose row (N, H) and column (N, W) are both marked."""
    return (rows[:, :, None] & columns[:, None])[..., None]


class RandomAugmentation(Augmentation):
    """Base of augmentations that each change each image with probability p, which training moves.

    A learner tells it of D's logits by `note` and of D's updates by `adapt`. The layer counts in its state, so that a
    checkpoint has it, and a device need not be waited for.

    Args:
        layers: the augmentations, applied one after the other.
    Attributes:
        p: the probability, (1,).
    Raises:
        ConfigError: there is no augmentation.
    """

    p: Parameter

    def __init__(self, layers: Sequence[Augmentation]) -> None:
        super().__init__()
        if not layers:
            raise ConfigError(f"{self.path}: expected at least one augmentation, got none. Write [Translation()].")
        self.layers = list(layers)

    @property
    def first(self) -> float:
        """p before the first update."""
        return 0.0

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def infer(self, input_shape: Shape) -> Shape:
        shape = super().infer(input_shape)
        for index, layer in enumerate(self.layers):
            layer.setup(shape, f"{self.path}.{index}.{type(layer).__name__}")
        self.p = self.add_state("p", (1,), Constant(self.first))
        return shape

    def draw(self, rng: np.random.Generator, n: int) -> list[tuple[Any, Array]]:
        """For each augmentation its own numbers, and the images (N, 1, 1, 1) that it changes."""
        drawn = []
        for layer in self.layers:
            maps = layer.draw(rng, n)
            share = self.kernels.feed(lambda: rng.random((n, 1, 1, 1)), dtype=self.dtype)
            drawn.append((maps, share < self.p.value))
        return drawn

    def linear(self, x: Array, maps: list[tuple[Any, Array]]) -> Array:
        for layer, (own, changed) in zip(self.layers, maps, strict=True):
            x = self._some(layer.linear(x, own), x, changed)
        return x

    def affine(self, x: Array, maps: list[tuple[Any, Array]]) -> Array:
        for layer, (own, changed) in zip(self.layers, maps, strict=True):
            x = self._some(layer.affine(x, own), x, changed)
        return x

    def adjoint(self, dy: Array, maps: list[tuple[Any, Array]]) -> Array:
        for layer, (own, changed) in zip(reversed(self.layers), reversed(maps), strict=True):
            dy = self._some(layer.adjoint(dy, own), dy, changed)
        return dy

    def _some(self, changed: Array, x: Array, where: Array) -> Array:
        """x, with the marked images changed; the memory is that of `changed`."""
        self.kernels.xp.copyto(changed, x, where=~where)
        return changed

    def note(self, logits: Array, boundary: Array | float, *, images: int) -> None:
        """Hears of D's logits on a real batch.

        Args:
            logits: of any shape; this rank's.
            boundary: the logit at which D is undecided.
            images: the number of this rank's real images.
        """

    @abstractmethod
    def adapt(self) -> None:
        """Moves p after an update of D."""

    def measures(self) -> dict[str, float]:
        """Numbers for the log, by name. Waits for the device."""
        return {"augment_p": float(self.kernels.to_numpy(self.p.value)[0])}


class ScheduledAugmentation(RandomAugmentation):
    """Augmentations that each change each image with probability p, which goes from one number to another.

    p = start + (end - start) (1 - cos(pi t / steps)) / 2 after t of D's updates, and `end` after `steps` of them.

    Args:
        layers: the augmentations, applied one after the other.
        start, end: of p, in [0, 1].
        steps: updates of D from start to end.
    Raises:
        ConfigError: there is no augmentation, or an argument is out of range.
    Source: Huang et al. 2024 (R3GAN), appendix, training details.
    """

    piecewise_linear: ClassVar[bool] = True

    updates: Parameter

    def __init__(
        self, layers: Sequence[Augmentation], *, start: float = 0.0, end: float = 0.3, steps: float = 10_000
    ) -> None:
        super().__init__(layers)
        name = type(self).__name__
        self.start = number(start, "start", of=name, least=0, most=1)
        self.end = number(end, "end", of=name, least=0, most=1)
        self.steps = number(steps, "steps", of=name, least=1)

    @property
    def first(self) -> float:
        return self.start

    def infer(self, input_shape: Shape) -> Shape:
        shape = super().infer(input_shape)
        self.updates = self.add_state("updates", (1,), Constant(0))
        return shape

    def adapt(self) -> None:
        xp, updates = self.kernels.xp, self.updates.value
        updates += 1
        done = xp.minimum(updates / self.steps, 1)
        self.p.value[...] = self.start + (self.end - self.start) * (1 - xp.cos(math.pi * done)) / 2


class AdaptiveAugmentation(RandomAugmentation):
    """Augmentations that each change each image with probability p, which rises while D overfits, and falls otherwise.

    D overfits when it is surer of the training images than of others it would be. What can be seen without others is

        r = the mean sign of D's logits on real images, 0 where D is undecided and 1 where it is sure of each.

    After every 4 updates of D p moves by the share that their real images are of `over`: up if r is above `target`,
    down if it is below.

    Args:
        layers: the augmentations, applied one after the other.
        target: the r that is aimed at, in (0, 1).
        over: the number of real images over which p can rise from 0 to 1.
    Attributes:
        p: the probability, (1,).
        verdict: r of the last 4 updates, (1,).
    Raises:
        ConfigError: there is no augmentation, or an argument is out of range.
    Source: Karras et al. 2020a, "Training Generative Adversarial Networks with Limited Data", section 3, with a target
        of .6 and 500,000 images.
    """

    piecewise_linear: ClassVar[bool] = True

    EVERY = 4  # updates of D

    verdict: Parameter
    counts: Parameter

    def __init__(self, layers: Sequence[Augmentation], *, target: float = 0.6, over: float = 500_000) -> None:
        super().__init__(layers)
        name = type(self).__name__
        self.target = number(target, "target", of=name, above=0, below=1)
        self.over = number(over, "over", of=name, above=0)

    def infer(self, input_shape: Shape) -> Shape:
        shape = super().infer(input_shape)
        self.verdict = self.add_state("verdict", (1,), Constant(0))
        self.counts = self.add_state("counts", (4,), Constant(0))  # since p moved: signs, logits, images, updates
        return shape

    def note(self, logits: Array, boundary: Array | float, *, images: int) -> None:
        """Counts the signs of D's logits on a real batch."""
        counts, ranks = self.counts.value, self.kernels.ranks
        counts[0:1] += ranks.sum(self.kernels.xp.sign(logits - boundary).sum())
        counts[1:2] += logits.size * ranks.size
        counts[2:3] += images * ranks.size

    def adapt(self) -> None:
        """Moves p, if this was the last of 4 updates of D. Nothing is read, so that no device is waited for."""
        xp, p, counts = self.kernels.xp, self.p.value, self.counts.value
        counts[3:4] += 1
        is_due = counts[3:4] >= self.EVERY
        r = counts[0:1] / xp.maximum(counts[1:2], 1)
        moved = xp.clip(p + xp.sign(r - self.target) * (counts[2:3] / self.over), 0, 1)
        p[...] = xp.where(is_due, moved, p)
        self.verdict.value[...] = xp.where(is_due, r, self.verdict.value)
        counts *= ~is_due

    def measures(self) -> dict[str, float]:
        return {**super().measures(), "augment_r": float(self.kernels.to_numpy(self.verdict.value)[0])}


AUGMENTATIONS: Mapping[str, type[Augmentation]] = {
    "flip": Flip,
    "turns": QuarterTurns,
    "color": Color,
    "translation": Translation,
    "cutout": Cutout,
}
ADAPTED = ("color", "translation", "cutout")  # by "adaptive" alone


def augmentations(policy: str, *, target: float = 0.6, over: float = 500_000) -> list[Augmentation]:
    """The layers of a policy such as "color,translation,cutout", in its order; none for "".

    "adaptive" is one layer of those three whose probability adapts, and "adaptive:color,cutout" one of some.

    Args:
        target, over: of an adaptive one, see `AdaptiveAugmentation`.
    Raises:
        ConfigError: a name is unknown.
    """
    kind, colon, some = policy.partition(":")
    if kind.strip() == ADAPTIVE:
        layers = _named(some, policy) if colon else [AUGMENTATIONS[name]() for name in ADAPTED]
        return [AdaptiveAugmentation(layers, target=target, over=over)]
    return _named(policy, policy) if policy else []


def _named(names: str, policy: str) -> list[Augmentation]:
    """The augmentations of these names, joined by commas.

    Args:
        policy: with the names in it, for the error.
    """
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in AUGMENTATIONS:
            raise ConfigError(
                f"unknown augmentation {name!r}: expected some of {', '.join(AUGMENTATIONS)}, joined by commas, got "
                f"{policy!r}. With {ADAPTIVE}: before them, or {ADAPTIVE} alone, their probability adapts."
            )
    return [AUGMENTATIONS[name]() for name in found]
