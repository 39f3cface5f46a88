"""The inputs of an evaluation in addition to samples: the data to compare with, and features."""

from collections.abc import Callable

from minigan.backends import Backend
from minigan.data import Dataset, StackedImages, open_dataset
from minigan.data.subset import Subset
from minigan.distributed import ALONE, Ranks
from minigan.errors import ConfigError, DataError
from minigan.evaluation.classifier import class_count
from minigan.evaluation.classifier_cache import kept_classifier
from minigan.evaluation.features import FeatureFunction, PixelFeatures, StackedClassifier

__all__ = ["FEATURES", "choose_features", "open_like"]

FEATURES = ("classifier", "pixels")


def open_like(shape: tuple[int, ...], source: str, *, seed: int = 0) -> Dataset:
    """Opens a source with items of the shape that a generator draws.

    Args:
        shape: shape of a sample: (H, W, C), to which images are scaled, or (2,).
        source: see `minigan.open_dataset`.
        seed: of embedded and stacked datasets.
    Raises:
        DataError, ConfigError: the source cannot be read, or has another kind of items.
    """
    if len(shape) == 3:
        H, W, C = shape
        try:
            return open_dataset(source, size=(H, W), channels=C, seed=seed)
        except ConfigError as error:
            raise ConfigError(f"the generator draws {H}x{W} images with {C} channels; {error}") from None
    dataset = open_dataset(source, seed=seed)
    if dataset.shape == shape:
        return dataset
    dataset.close()
    raise DataError(f"expected 2-D points like the generator's, found {dataset.describe()}. Use the data of this run.")


def choose_features(
    dataset: Dataset,
    kind: str | None = None,
    *,
    backend: str | Backend = "auto",
    say: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> FeatureFunction:
    """Chooses the features for a dataset of images.

    Args:
        dataset: images.
        kind: "classifier" or "pixels"; None takes a classifier if the images have labels for one.
        backend: an object or a name, for training and running the classifier; in fp32 if it is named.
        say: called with a line on what was chosen, takes long or went wrong.
        ranks: that all choose at the same time: the first trains the classifier for all.
    Raises:
        ConfigError: an unknown kind.
        DataError: a classifier is asked for, and the images have no labels.
    """
    if kind not in (None, *FEATURES):
        raise ConfigError(f"features must be one of {', '.join(FEATURES)}, got {kind!r}.")
    labeled = dataset.source if isinstance(dataset, StackedImages) else dataset
    if isinstance(labeled, Subset) and labeled.labels is None:
        labeled = labeled.source  # of one class: a classifier of all is one of these images, too
    if kind is None:
        try:
            class_count(labeled)
        except DataError as error:
            say(f"features are pixels: {str(error).partition('. ')[0]}.")
            kind = "pixels"
    if kind == "pixels":
        return PixelFeatures()
    classifier = kept_classifier(labeled, backend=backend, say=say, ranks=ranks)
    return StackedClassifier(classifier) if isinstance(dataset, StackedImages) else classifier
