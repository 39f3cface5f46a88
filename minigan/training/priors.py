"""Distributions of latent vectors: how they are drawn, narrowed and joined by a path."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from minigan.backends import Array, array_module

__all__ = ["NormalPrior", "Prior", "UniformPrior"]

LARGEST_NORM = 3.0  # of a normal vector above the root of its length: fewer than 1 in 10,000 are longer


class Prior(ABC):
    """Base of the distributions of z; its numbers are independent and spread evenly around 0."""

    name: ClassVar[str]

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int, length: int) -> np.ndarray:
        """Draws n latent vectors: float64 (n, length)."""

    @abstractmethod
    def quantile(self, p: float) -> float:
        """The number below which one number of z lies with probability p, in (0, 1)."""

    @abstractmethod
    def between(self, a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
        """The vector at t in [0, 1] of the path from a to b; at the ends it is exactly a and exactly b."""

    @abstractmethod
    def hold(self, z: Array) -> None:
        """Moves vectors (n, length) that are no typical draws to the nearest typical place, in place."""

    def truncated(self, z: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """Latent vectors whose numbers lie in the middle of the distribution: those outside are drawn again.

        Vector by vector, so that none depends on how many follow. Numbers that lie inside stay. The others come from
        the inverse distribution function, which is the same as to draw until one lies inside, but never takes long.

        Args:
            z: (n, length).
            share: the share of the distribution that is kept; 1 keeps z as it is, 0 makes it 0.
            rng: draws the new numbers.
        Source: Brock et al. 2019 (BigGAN), section 3.1: the truncation trick.
        """
        if share == 1:
            return z
        if share == 0:
            return np.zeros_like(z)
        bound, narrowed = self.bound(share), z.copy()
        for row in narrowed:
            outside = np.abs(row) > bound
            places = 0.5 + share * (rng.random(int(outside.sum())) - 0.5)
            row[outside] = [self.quantile(place) for place in places.tolist()]
        return narrowed

    def bound(self, share: float) -> float:
        """The b with P(|z| <= b) = share, for one number of z and a share below 1."""
        return self.quantile(0.5 + share / 2)


@dataclass(frozen=True)
class NormalPrior(Prior):
    """N(0, 1). Nearly all of its vectors lie near a sphere, on which its paths stay."""

    name: ClassVar[str] = "normal"

    def draw(self, rng: np.random.Generator, n: int, length: int) -> np.ndarray:
        return rng.standard_normal((n, length))

    def quantile(self, p: float) -> float:
        return NormalDist().inv_cdf(p)

    def between(self, a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
        """Spherical interpolation: a straight line would pass through vectors that are never drawn, too near to 0.

        Source: Shoemake 1985, section 3.3, with the angle between a and b; White 2016, "Sampling Generative Networks".
        """
        if t in (0, 1):
            return b if t else a
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        angle = math.acos(min(1.0, max(-1.0, float(a @ b) / lengths))) if lengths else 0.0
        if math.sin(angle) < 1e-6:  # in line: there is no arc between them, or no single one
            return (1 - t) * a + t * b
        point: np.ndarray = (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)
        return point

    def hold(self, z: Array) -> None:
        xp = array_module(z)
        norm = xp.sqrt((z * z).sum(axis=1, keepdims=True))
        z *= xp.minimum(1, (math.sqrt(z.shape[1]) + LARGEST_NORM) / xp.maximum(norm, 1e-12))


@dataclass(frozen=True)
class UniformPrior(Prior):
    """The uniform distribution over [-1, 1]: a cube, in which straight lines stay."""

    name: ClassVar[str] = "uniform"

    def draw(self, rng: np.random.Generator, n: int, length: int) -> np.ndarray:
        return rng.uniform(-1, 1, (n, length))

    def quantile(self, p: float) -> float:
        return 2 * p - 1

    def between(self, a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
        if t in (0, 1):
            return b if t else a
        return (1 - t) * a + t * b

    def hold(self, z: Array) -> None:
        array_module(z).clip(z, -1, 1, out=z)
