"""The figures of a generator that draws from noise, with the settings of their papers."""

import numpy as np

from minigan.data import Dataset, GaussianMixture
from minigan.errors import DataError, ShapeError
from minigan.evaluation.features import FeatureFunction, ImageClassifier, PixelFeatures
from minigan.evaluation.metrics import (
    Moments,
    birthday_test,
    close_distance,
    frechet_distance,
    kernel_distance,
    label_coverage,
    mode_coverage,
    nearer_share,
    patch_distances,
    prdc,
)
from minigan.evaluation.metrics.checks import FloatArray, IntegerArray
from minigan.evaluation.nearest_images import Neighbors, nearest_items
from minigan.evaluation.report import Figure, Report

__all__ = ["LEAST", "ImageBattery", "check_samples", "evaluate_points"]

LEAST = 50  # samples, and real images in either set
REFERENCE = 10_000  # real images to compare with, if the data has twice as many
SUBSETS = 100  # for the kernel distance, 1,000 examples each, as in Bińkowski et al. 2018
MOST_FOR_PRDC = 10_000
MOST_FOR_PATCHES, PATCHES, DIRECTIONS = 2048, 64, 256  # images, patches of each, and random directions
MOST_FOR_BIRTHDAYS = 5000
MOST_FOR_NEIGHBORS = 1000
SHOWN_NEIGHBORS = 3
NEIGHBORHOOD = 5  # k of precision, recall, density and coverage, as in Naeem et al. 2020


def evaluate_points(points: np.ndarray, dataset: Dataset, *, seed: int = 0) -> Report:
    """Counts the modes that points reach, by PacGAN's protocol, and compares with as many points of the data.

    Args:
        points: samples (N, 2), at least 50.
        dataset: ring or grid.
        seed: of the choice of the data's points.
    Raises:
        DataError: the dataset has no known modes, or a point is not finite.
        ShapeError: too few samples, or samples of another shape.
    Source: Lin et al. 2018 ("PacGAN"), section 4.1.
    """
    if not isinstance(dataset, GaussianMixture):
        raise DataError(f"expected a mixture whose modes are known, found {dataset.describe()}. Use ring or grid.")
    check_samples(points, dataset.shape)
    rows = np.random.default_rng(seed).permutation(len(dataset))[: len(points)]
    own, real = (mode_coverage(x, centers=dataset.centers, sigma=dataset.sigma) for x in (points, dataset.read(rows)))
    n, of = len(points), own.of
    figures = (
        Figure("modes", own.modes, "higher", f"of {of}, with a sample within 3 sigma", n, len(rows), real.modes),
        Figure(
            *("high_quality", own.high_quality, "higher", "share of samples within 3 sigma of a mode"),
            *(n, len(rows), real.high_quality),
        ),
        Figure(
            *("reverse_kl", own.reverse_kl, "lower", "KL(samples || even modes), nats"),
            *(n, len(rows), real.reverse_kl),
        ),
    )
    return Report(figures, seed=seed, histogram=tuple(own.histogram.tolist()))


class ImageBattery:
    """All figures of images; the part that depends only on real images is computed once, for any number of reports.

    Two disjoint sets of real images are drawn. Samples are compared with the reference. Fresh images, as many as there
    will be samples, are compared with it, too: so each figure is given for the data itself as well.

    Args:
        dataset: images.
        features: a function for Fréchet and kernel distance, precision, recall, density and coverage; see
            `minigan.evaluation.choose_features`. A classifier also counts the classes of the samples.
        count: number of samples that will be given. The reference has at least 10,000 images, or half the dataset.
        seed: of every random choice.
    Raises:
        DataError: the dataset holds too few images.
    """

    def __init__(self, dataset: Dataset, *, features: FeatureFunction, count: int = 10_000, seed: int = 0) -> None:
        self.dataset, self.features, self.pixels, self.seed = dataset, features, PixelFeatures(), seed
        self.count = min(max(count, REFERENCE), len(dataset) // 2)
        if self.count < LEAST:
            raise DataError(
                f"{dataset.name}: expected at least {2 * LEAST} images to compare with, found {len(dataset)}. "
                "Use more data."
            )
        self.rows = np.random.default_rng([seed, 0]).permutation(len(dataset)).astype(np.int64)
        self.reference = dataset.read(self.rows[: self.count])
        self.fresh = dataset.read(self.rows[self.count : self.count + min(count, self.count)])
        self.reference_features, self.fresh_features = features(self.reference), features(self.fresh)
        self.moments = Moments.of(self.reference_features)

    def report(self, samples: np.ndarray) -> tuple[Report, Neighbors]:
        """Computes all figures, and finds the training images nearest to the first 1,000 samples.

        Args:
            samples: images (N, H, W, C) in [-1, 1], at least 50; values outside are clipped, as in a picture.
        Returns:
            The figures, and for each of those samples its 3 nearest training images.
        Raises:
            ShapeError: too few samples, or samples of another shape than the dataset's.
            DataError: a sample is not finite.
        """
        check_samples(samples, self.dataset.shape)
        samples = np.clip(samples, -1, 1).astype(np.float32, copy=False)
        features = self.features(samples)
        remarks = []
        if min(len(samples), self.count) <= 2 * features.shape[1]:
            remarks.append(
                f"the Fréchet distance is too large for few examples ({min(len(samples), self.count):,}) in many "
                f"dimensions ({features.shape[1]}): compare it only with the data's own, or use more examples."
            )
        labels, histogram = self._labels(features)
        near, neighbors = self._neighbors(samples)
        figures = (
            *labels,
            *self._distances(features),
            *self._neighborhoods(features),
            *self._patches(samples),
            self._birthdays(samples),
            *near,
        )
        report = Report(figures, self.seed, str(self.features), tuple(histogram.tolist()), tuple(remarks))
        return report, neighbors

    def _labels(self, features: np.ndarray) -> tuple[tuple[Figure, ...], IntegerArray]:
        if not isinstance(self.features, ImageClassifier):
            return (), np.empty(0, dtype=np.int64)
        classes, data_labels = self.features.classes, np.asarray(self.dataset.labels)
        own, real = (
            label_coverage(self.features.classify(x), classes=classes, data_labels=data_labels)
            for x in (features, self.fresh_features)
        )
        counts = len(features), len(data_labels)
        modes, kl = f"of {classes} classes, by the classifier", "KL(samples' classes || data's), nats"
        return (
            Figure("modes", own.modes, "higher", modes, *counts, real.modes),
            Figure("reverse_kl", own.reverse_kl, "lower", kl, *counts, real.reverse_kl),
        ), own.histogram

    def _distances(self, features: np.ndarray) -> tuple[Figure, ...]:
        fid, fresh_fid = (frechet_distance(self.moments, Moments.of(x)) for x in (features, self.fresh_features))
        kid, fresh_kid = (
            kernel_distance(self.reference_features, x, rng=np.random.default_rng([self.seed, 1]), subsets=SUBSETS)
            for x in (features, self.fresh_features)
        )
        counts = len(features), self.count
        return (
            Figure("fid", fid, "lower", "Fréchet distance of these features", *counts, fresh_fid),
            Figure("kid", kid.mean, "lower", "kernel distance of these features", *counts, fresh_kid.mean, kid.std),
        )

    def _neighborhoods(self, features: np.ndarray) -> tuple[Figure, ...]:
        real, fresh, own = (x[:MOST_FOR_PRDC] for x in (self.reference_features, self.fresh_features, features))
        values, fresh_values = (prdc(real, x, k=NEIGHBORHOOD) for x in (own, fresh))
        meanings = {
            "precision": "share of samples among the data",
            "recall": "share of the data among the samples",
            "density": "real neighborhoods around a sample, by 5",
            "coverage": "share of real neighborhoods with a sample",
        }
        return tuple(
            Figure(name, value, "higher", meanings[name], len(own), len(real), fresh_value)
            for name, value, fresh_value in zip(values._fields, values, fresh_values, strict=True)
        )

    def _patches(self, samples: np.ndarray) -> tuple[Figure, ...]:
        if min(samples.shape[1:3]) < 7:  # smaller than a patch
            return ()
        n = min(MOST_FOR_PATCHES, len(samples), len(self.fresh))
        own, fresh = (
            patch_distances(
                self.reference[:n],
                x[:n],
                rng=np.random.default_rng([self.seed, 2]),
                patches=PATCHES,
                directions=DIRECTIONS,
            )
            for x in (samples, self.fresh)
        )
        return tuple(
            Figure(f"swd_{level}", value, "lower", f"patches at the scale {level}", n, n, fresh[level])
            for level, value in own.items()
        )

    def _birthdays(self, samples: np.ndarray) -> Figure:
        """Support by near-duplicates: pairs closer than all but one in 100,000 pairs of real images."""
        n = min(MOST_FOR_BIRTHDAYS, len(samples), len(self.fresh))
        threshold = close_distance(self.pixels(self.reference[:n]))
        own, fresh = (birthday_test(self.pixels(x[:n]), threshold=threshold) for x in (samples, self.fresh))
        meaning = "pairs for one near-duplicate, by pixels"
        return Figure("support", own.support, "data's", meaning, n, n, fresh.support)

    def _neighbors(self, samples: np.ndarray) -> tuple[tuple[Figure, ...], Neighbors]:
        """Compares distances to the training images: of samples, and of real images taken out of these."""
        n = min(MOST_FOR_NEIGHBORS, len(samples), self.count)
        left_out, train = self.rows[:n], self.rows[n:]
        own = nearest_items(self.pixels(samples[:n]), self.dataset, rows=train, features=self.pixels, k=SHOWN_NEIGHBORS)
        real = self._distance_of_real(self.pixels(self.dataset.read(left_out)), train)
        ratio = float(np.median(own.distances[:, 0])) / max(float(np.median(real)), np.finfo(np.float64).tiny)
        counts = n, len(train)
        nearer = nearer_share(own.distances[:, 0], real)
        return (
            Figure("nearer", nearer, "0.5", "chance to be nearer to training images than real", *counts, 0.5),
            Figure("distance_ratio", ratio, "1", "median distance to training images, by real's", *counts, 1.0),
        ), own

    def _distance_of_real(self, queries: np.ndarray, train: IntegerArray) -> FloatArray:
        return nearest_items(queries, self.dataset, rows=train, features=self.pixels).distances[:, 0]


def check_samples(samples: np.ndarray, shape: tuple[int, ...]) -> None:
    """Checks that samples can be evaluated.

    Raises:
        ShapeError: too few samples, or samples of another shape.
        DataError: a sample is not finite.
    """
    if samples.shape[1:] != shape:
        raise ShapeError(
            f"expected samples of the data's shape {shape}, got {samples.shape[1:]}. Scale the data to them."
        )
    if len(samples) < LEAST:
        raise ShapeError(f"expected at least {LEAST} samples to evaluate, got {len(samples)}. Draw more (`count`).")
    bad = int(np.count_nonzero(~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)))
    if bad:
        raise DataError(
            f"expected finite samples, found NaN or infinity in {bad:,} of {len(samples):,}. "
            "The generator has diverged: train again, or take an earlier model."
        )
