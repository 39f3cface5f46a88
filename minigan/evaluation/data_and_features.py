"""What an evaluation needs beside samples: the data they are compared with, and features."""

from collections.abc import Callable

from minigan.backends import Backend
from minigan.data import Dataset, StackedImages, open_dataset
from minigan.errors import ConfigError, DataError
from minigan.evaluation.classifier import class_count
from minigan.evaluation.classifier_cache import kept_classifier
from minigan.evaluation.features import FeatureFunction, PixelFeatures, StackedClassifier

__all__ = ["FEATURES", "choose_features", "open_like"]

FEATURES = ("classifier", "pixels")


def open_like(shape: tuple[int, ...], source: str, *, seed: int = 0) -> Dataset:
    """The data that a source names, as a generator draws it.

    Args:
        shape: of a sample: (H, W, C), to which images are scaled, or (2,).
        seed: of embedded and stacked sets.
    Raises:
        DataError, ConfigError: the source cannot be read, or holds another kind of items.
    """
    if len(shape) == 3:
        H, W, C = shape
        try:
            return open_dataset(source, size=(H, W), channels=C, seed=seed)
        except ConfigError as error:
            raise ConfigError(f"the generator draws images {H}x{W} with {C} channels; {error}") from None
    dataset = open_dataset(source, seed=seed)
    if dataset.shape == shape:
        return dataset
    dataset.close()
    raise DataError(
        f"expected 2-D points, as the generator draws, found {dataset.describe()}. Name the data of this run."
    )


def choose_features(
    dataset: Dataset,
    kind: str | None = None,
    *,
    backend: str | Backend = "auto",
    say: Callable[[str], None],
) -> FeatureFunction:
    """The features for a dataset of images.

    Args:
        kind: classifier or pixels; None takes a classifier where there are labels for one.
        backend: for training and running the classifier.
        say: told, in a line each, what was chosen, what takes long and what went wrong.
    Raises:
        ConfigError: an unknown kind.
        DataError: a classifier is asked for, and the data is not labelled.
    """
    if kind not in (None, *FEATURES):
        raise ConfigError(f"features must be one of {', '.join(FEATURES)}, got {kind!r}.")
    labelled = dataset.source if isinstance(dataset, StackedImages) else dataset
    if kind is None:
        try:
            class_count(labelled)
        except DataError as error:
            say(f"features are pixels: {str(error).partition('. ')[0]}.")
            kind = "pixels"
    if kind == "pixels":
        return PixelFeatures()
    classifier = kept_classifier(labelled, backend=backend, say=say)
    return StackedClassifier(classifier) if isinstance(dataset, StackedImages) else classifier
