"""Metrics of samples: pure functions on NumPy arrays, each as its paper defines it."""

from minigan.evaluation.metrics.birthday import Birthday, birthday_test, close_distance
from minigan.evaluation.metrics.class_maps import MapAgreement, confusion_matrix, map_agreement, palette_labels
from minigan.evaluation.metrics.distances import distance_blocks, kth_nearest, nearest
from minigan.evaluation.metrics.frechet import Moments, frechet_distance
from minigan.evaluation.metrics.image_similarity import psnr, ssim
from minigan.evaluation.metrics.kernel_distance import KernelDistance, kernel_distance, mmd
from minigan.evaluation.metrics.modes import LabelCoverage, ModeCoverage, kl_divergence, label_coverage, mode_coverage
from minigan.evaluation.metrics.neighbors import Memorization, memorization, nearer_share
from minigan.evaluation.metrics.prdc import PRDC, prdc
from minigan.evaluation.metrics.sliced_wasserstein import (
    laplacian_pyramid,
    patch_distances,
    sliced_wasserstein,
    wasserstein_1d,
)

__all__ = [
    "PRDC",
    "Birthday",
    "KernelDistance",
    "LabelCoverage",
    "MapAgreement",
    "Memorization",
    "ModeCoverage",
    "Moments",
    "birthday_test",
    "close_distance",
    "confusion_matrix",
    "distance_blocks",
    "frechet_distance",
    "kernel_distance",
    "kl_divergence",
    "kth_nearest",
    "label_coverage",
    "laplacian_pyramid",
    "map_agreement",
    "memorization",
    "mmd",
    "mode_coverage",
    "nearer_share",
    "nearest",
    "palette_labels",
    "patch_distances",
    "prdc",
    "psnr",
    "sliced_wasserstein",
    "ssim",
    "wasserstein_1d",
]


def __dir__() -> list[str]:
    return sorted(__all__)
