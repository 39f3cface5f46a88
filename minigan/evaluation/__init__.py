"""Evaluation without downloads: features, figures of samples and of image pairs, and a monitor for training."""

from minigan.evaluation.battery import ImageBattery, evaluate_points
from minigan.evaluation.classifier import Classifier, train_classifier
from minigan.evaluation.classifier_cache import cache_folder, kept_classifier
from minigan.evaluation.data_and_features import FEATURES, choose_features, open_like
from minigan.evaluation.features import FeatureFunction, ImageClassifier, PixelFeatures, StackedClassifier
from minigan.evaluation.monitor import Monitor, rank
from minigan.evaluation.nearest_images import Neighbors, nearest_items, neighbor_picture
from minigan.evaluation.paired_scores import Likeness, MapScore
from minigan.evaluation.palette import Palette, find_palette, palette_of
from minigan.evaluation.report import Figure, Report

__all__ = [
    "FEATURES",
    "Classifier",
    "FeatureFunction",
    "Figure",
    "ImageBattery",
    "ImageClassifier",
    "Likeness",
    "MapScore",
    "Monitor",
    "Neighbors",
    "Palette",
    "PixelFeatures",
    "Report",
    "StackedClassifier",
    "cache_folder",
    "choose_features",
    "evaluate_points",
    "find_palette",
    "kept_classifier",
    "nearest_items",
    "neighbor_picture",
    "open_like",
    "palette_of",
    "rank",
    "train_classifier",
]


def __dir__() -> list[str]:
    return sorted([*__all__, "metrics"])
