"""The two mixtures of Gaussians on which mode collapse is measured: 8 on a ring and 25 on a grid.

Their centers and spreads are those of PacGAN (Lin et al. 2018), which follows VEEGAN (Srivastava et al. 2017).
"""

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Dataset, FloatArray, LabelArray

__all__ = ["GaussianMixture", "Points", "grid", "ring"]


class Points(Dataset):
    """Dataset of points in the plane, held in memory and read unscaled."""

    def __init__(
        self,
        points: FloatArray,
        *,
        name: str,
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name=name, count=len(points), shape=(2,), labels=labels, classes=classes)
        self._points = points

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        return self._points[self.checked(indices)]


class GaussianMixture(Points):
    """Dataset of points drawn from Gaussians of equal weight; the label is the mode.

    Attributes:
        centers: float32 (modes, 2).
        sigma: standard deviation of each Gaussian, in each direction.
    """

    centers: FloatArray
    sigma: float

    def __init__(self, centers: FloatArray, *, name: str, sigma: float, count: int, seed: int) -> None:
        # one generator for the modes and one for the noise: a longer set begins with the shorter one's points
        modes_rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in (0, 1))
        modes = modes_rng.integers(len(centers), size=count)
        noise = noise_rng.standard_normal((count, 2))
        points = (centers[modes] + sigma * noise).astype(np.float32)
        names = tuple(f"({x:.2f}, {y:.2f})" for x, y in centers)
        super().__init__(points, name=name, labels=modes.astype(np.int64), classes=names)
        self.centers = centers
        self.sigma = sigma


def ring(*, count: int = 100_000, seed: int = 0) -> GaussianMixture:
    """Dataset of 8 Gaussians with sigma 0.01, evenly spread on a circle of radius 1.

    Args:
        count: number of points; a larger dataset of the same seed begins with the same points.
        seed: of the random generators.
    Source: Lin et al. 2018 ("PacGAN"), section 4.1.
    """
    angle = 2 * np.pi * np.arange(8) / 8
    centers = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    return GaussianMixture(centers, name="ring", sigma=0.01, count=count, seed=seed)


def grid(*, count: int = 100_000, seed: int = 0) -> GaussianMixture:
    """Dataset of 25 Gaussians with sigma 0.05 at x, y in {-4, -2, 0, 2, 4}.

    Args:
        count: number of points; a larger dataset of the same seed begins with the same points.
        seed: of the random generators.
    Source: Lin et al. 2018 ("PacGAN"), section 4.1.
    """
    axis = np.arange(-4, 5, 2, dtype=np.float32)
    centers = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return GaussianMixture(centers, name="grid", sigma=0.05, count=count, seed=seed)
