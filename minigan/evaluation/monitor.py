"""Figures while a generator trains, quick enough to be computed many times."""

from collections.abc import Mapping

import numpy as np

from minigan.data import Dataset, GaussianMixture
from minigan.distributed import ALONE, Ranks
from minigan.errors import DataError
from minigan.evaluation.features import FeatureFunction, PixelFeatures
from minigan.evaluation.metrics import Moments, frechet_distance, kernel_distance, mode_coverage

__all__ = ["Monitor", "rank"]

LEAST = 2
SUBSETS = 20
LOWER_IS_BETTER = ("fid", "kid", "cycle")  # or what the name begins with: fid_AtoB
IMAGE_FIGURES, POINT_FIGURES = ("fid", "kid"), ("modes", "high_quality")


class Monitor:
    """Compares samples with a dataset: Fréchet and kernel distance of images, modes of points.

    The real images are read and reduced to their features once, by the constructor. The same samples give the same
    figures.

    Args:
        dataset: images, or ring or grid.
        features: a function from images (N, H, W, C) in [-1, 1] to vectors (N, F); None takes pixels. See
            `minigan.evaluation.choose_features`.
        count: number of real images, and of the samples in each call: distances of different numbers do not compare.
        seed: of the choice of the real images.
        ranks: share the work: each computes the features of its part of the images.
    Raises:
        DataError: points without known modes, or fewer than 2 images.

    Attributes:
        count: number of samples that a call should get.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        features: FeatureFunction | None = None,
        count: int = 2000,
        seed: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.count, self.seed, self.ranks = count, seed, ranks
        self.mixture = dataset if isinstance(dataset, GaussianMixture) else None
        self.check(dataset, count=count)
        if self.mixture is not None:
            return
        self.features = PixelFeatures() if features is None else features
        rows = np.random.default_rng(seed).permutation(len(dataset))[:count]
        own = np.array_split(rows, ranks.size)[ranks.rank]
        self.real = self._together(self.features(dataset.read(own)) if len(own) else None)
        self.moments = Moments.of(self.real)

    @staticmethod
    def figures(dataset: Dataset) -> tuple[str, ...]:
        """Names of the figures that a call returns for a dataset."""
        return POINT_FIGURES if isinstance(dataset, GaussianMixture) else IMAGE_FIGURES

    @staticmethod
    def check(dataset: Dataset, *, count: int) -> None:
        """Checks that a dataset can be monitored.

        Raises:
            DataError: points without known modes, or fewer than 2 images.
        """
        if isinstance(dataset, GaussianMixture):
            return
        if len(dataset.shape) != 3 or min(count, len(dataset)) < LEAST:
            raise DataError(
                f"expected ring, grid, or at least {LEAST} images to monitor, found {dataset.describe()} and "
                f"count={count}. Leave the monitor out."
            )

    def __call__(self, samples: np.ndarray) -> dict[str, float]:
        """Computes the figures of samples.

        Args:
            samples: images (N, H, W, C) in [-1, 1], or points (N, 2); on several ranks this one's part of them, one
                after the other, which may be empty.
        Returns:
            `{"fid": .., "kid": ..}` for images, `{"modes": .., "high_quality": ..}` for points.
        Raises:
            ShapeError, DataError: fewer than 2 samples, or samples that are not finite.
        """
        own: np.ndarray | None = samples
        if self.mixture is None:
            own = self.features(np.clip(samples, -1, 1)) if len(samples) or self.ranks.size == 1 else None
        whole = self._together(own)
        figures: dict[str, float] = self.ranks.from_first(self._figures(whole) if self.ranks.is_first else None)
        return figures

    def _together(self, own: np.ndarray | None) -> np.ndarray:
        """All ranks' rows, one rank's after the other's."""
        if self.ranks.size == 1 and own is not None:
            return own
        return np.concatenate([part for part in self.ranks.gather(own) if part is not None])

    def _figures(self, features: np.ndarray) -> dict[str, float]:
        """The figures of all features, or of all points."""
        if self.mixture is not None:
            found = mode_coverage(features, centers=self.mixture.centers, sigma=self.mixture.sigma)
            return {"modes": float(found.modes), "high_quality": found.high_quality}
        rng = np.random.default_rng(self.seed)
        return {
            "fid": frechet_distance(self.moments, Moments.of(features)),
            "kid": kernel_distance(self.real, features, rng=rng, subsets=SUBSETS).mean,
        }


def rank(figures: Mapping[str, float], *, by: str = "") -> tuple[float, ...]:
    """Sort key of figures, larger for better ones: the value of one of them, and for equal values the others.

    Args:
        figures: as a `Monitor` returns them, or figures of translations.
        by: name of the figure that counts first; "" takes the first one.
    """
    order = [by, *figures] if by else [*figures]
    return tuple(
        -figures[name] if name.partition("_")[0] in LOWER_IS_BETTER else figures[name] for name in dict.fromkeys(order)
    )
