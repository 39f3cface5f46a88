"""Figures of two generators that translate between unpaired images: by the truth, by the cycle, and by the look."""

from typing import NamedTuple

import numpy as np

from minigan.data.channels import convert_channels
from minigan.evaluation.features import FeatureFunction
from minigan.evaluation.metrics import Moments, frechet_distance, prdc, psnr, ssim
from minigan.evaluation.metrics.image_similarity import WINDOW
from minigan.evaluation.report import Figure

__all__ = ["BASELINE", "RoundTrip", "cycle_figures", "likeness_figures", "look_figures"]

BASELINE = "untranslated"
NEIGHBORHOOD = 5
LEAST = 50  # images on either side for figures of the look


class RoundTrip(NamedTuple):
    """Images of one side, their translations, and these translated back: (N, H, W, C) each, in [-1, 1]."""

    image: np.ndarray
    translated: np.ndarray
    back: np.ndarray

    def untranslated(self) -> np.ndarray:
        """The images as they are, with the channels of the translations."""
        return convert_channels(self.image, channels=self.translated.shape[-1])


def likeness_figures(trip: RoundTrip, truth: np.ndarray, *, direction: str) -> tuple[Figure, ...]:
    """PSNR and SSIM of translations to the true ones, and of the untranslated images in their place.

    Args:
        truth: what a perfect translation would be, like the translations.
        direction: AtoB or BtoA, a part of the figures' names.
    """
    n = len(truth)
    scores = {"psnr": (psnr, "decibels from the true translation")}
    if min(truth.shape[1:3]) >= WINDOW:
        scores["ssim"] = (ssim, "structural similarity to the true translation")
    found = []
    for name, (score, meaning) in scores.items():
        own, baseline = score(trip.translated, truth), score(trip.untranslated(), truth)
        std = float(own.std()) if np.isfinite(own).all() else None
        value = float(own.mean())
        found.append(Figure(f"{name}_{direction}", value, "higher", meaning, n, n, float(baseline.mean()), std))
    return tuple(found)


def cycle_figures(trip: RoundTrip, *, side: str) -> tuple[Figure, ...]:
    """Mean |back - image|, in the range [-1, 1].

    Args:
        side: A or B, a part of the figure's name.
    """
    errors = np.abs(trip.back - trip.image).mean(axis=(1, 2, 3), dtype=np.float64)
    meaning = "mean |back - image|, of 2 from black to white"
    n = len(errors)
    return (Figure(f"cycle_{side}", float(errors.mean()), "lower", meaning, n, n, std=float(errors.std())),)


def look_figures(trip: RoundTrip, real: np.ndarray, features: FeatureFunction, *, direction: str) -> tuple[Figure, ...]:
    """Fréchet distance, precision and recall of translations as against images of their target.

    Args:
        real: images of the target.
        features: a function from images to vectors.
        direction: AtoB or BtoA, a part of the figures' names.
    Returns:
        None of them, if either side has fewer than 50 images.
    """
    n, of = len(trip.image), len(real)
    if min(n, of) < LEAST:
        return ()
    target, own, before = (features(images) for images in (real, trip.translated, trip.untranslated()))
    moments = Moments.of(target)
    fids = [frechet_distance(moments, Moments.of(x)) for x in (own, before)]
    near = [prdc(target, x, k=NEIGHBORHOOD) for x in (own, before)]
    shares = {"precision": "share of translations among the target", "recall": "share of the target among translations"}
    return (
        Figure(f"fid_{direction}", fids[0], "lower", "Fréchet distance to the target", n, of, fids[1]),
        *(
            Figure(f"{name}_{direction}", getattr(near[0], name), "higher", meaning, n, of, getattr(near[1], name))
            for name, meaning in shares.items()
        ),
    )
