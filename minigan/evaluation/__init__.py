"""Evaluation without downloads: features, the battery of figures, and a monitor for training."""

from minigan.evaluation.battery import ImageBattery, evaluate_points
from minigan.evaluation.classifier import Classifier, train_classifier
from minigan.evaluation.features import FeatureFunction, ImageClassifier, PixelFeatures, StackedClassifier
from minigan.evaluation.kept import cache_folder, kept_classifier
from minigan.evaluation.monitor import Monitor
from minigan.evaluation.neighbourhood import Neighbours, nearest_items, neighbour_picture
from minigan.evaluation.opening import FEATURES, choose_features, open_like
from minigan.evaluation.report import Figure, Report

__all__ = [
    "FEATURES",
    "Classifier",
    "FeatureFunction",
    "Figure",
    "ImageBattery",
    "ImageClassifier",
    "Monitor",
    "Neighbours",
    "PixelFeatures",
    "Report",
    "StackedClassifier",
    "cache_folder",
    "choose_features",
    "evaluate_points",
    "kept_classifier",
    "nearest_items",
    "neighbour_picture",
    "open_like",
    "train_classifier",
]
