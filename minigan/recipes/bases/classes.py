"""Classes of the data: whether G and D are told them, where the setting `condition` leaves that to the data."""

import numpy as np

from minigan.data.dataset import Collection
from minigan.errors import ConfigError

__all__ = [
    "class_count",
    "class_frequencies",
    "expect_labels",
    "few",
    "unseen_classes",
    "why_not_tell",
    "why_not_told",
]

MOST_CLASSES = 10_000
MOST_TOLD = 200  # unasked: with more, the one-hot vectors would be most of what G and D read
FEWEST_IMAGES = 20  # of a class on average: with fewer, D learns the images of a class by heart


def class_count(dataset: Collection) -> int:
    """The number of classes of labeled data: those that are named, else those up to the last label."""
    if dataset.classes is not None:
        return len(dataset.classes)
    return 0 if dataset.labels is None else int(dataset.labels.max()) + 1


def unseen_classes(dataset: Collection) -> tuple[int, ...]:
    """The numbers of the classes that no item has."""
    if dataset.labels is None:
        return ()
    return tuple(np.setdiff1d(np.arange(class_count(dataset)), dataset.labels).tolist())


def class_frequencies(dataset: Collection, classes: int) -> np.ndarray | None:
    """The share of each of a generator's classes in the data: (classes,); None where all are equal, or not known.

    Args:
        classes: their number; 0 if the generator is told none. Data with others say nothing of them.
    """
    labels = dataset.labels
    if labels is None or not classes or not len(labels) or labels.min() < 0 or labels.max() >= classes:
        return None
    counts = np.bincount(labels, minlength=classes)
    return None if counts.min() == counts.max() else counts / len(labels)


def why_not_told(dataset: Collection, *, remedy: str) -> str | None:
    """A reason against telling G and D the classes unasked: "" where the data have none; None if there is no reason.

    Args:
        remedy: tells how to tell them all the same; added where that can be done.
    """
    labels = dataset.labels
    if labels is None or not len(labels):
        return ""
    first, last = int(labels.min()), int(labels.max())
    if first < 0 or last >= MOST_CLASSES:
        return f"the labels run from {first} to {last}"
    return why_not_tell(np.bincount(labels, minlength=class_count(dataset)), remedy=remedy)


def why_not_tell(images: np.ndarray, *, remedy: str) -> str | None:
    """The same reason from the number of images of each class."""
    found = len(images)
    if found < 2:
        return ""
    if found > MOST_TOLD:
        reason = f"{found:,} are many"
    elif not images.all():
        reason = f"{np.count_nonzero(images == 0):,} of {found:,} have no images"
    elif images.mean() < FEWEST_IMAGES:
        reason = f"{found:,} classes have {images.mean():.3g} images each on average, which are few"
    else:
        return None
    return f"{reason}; {remedy}"


def expect_labels(dataset: Collection, *, recipe: str, condition: str) -> None:
    """Refuses data whose classes a recipe was asked to use, and cannot.

    Raises:
        ConfigError: they have no labels, or the labels do not count from 0.
    """
    if dataset.labels is None:
        raise ConfigError(
            f"{recipe}: condition={condition} needs the class of each image, but {dataset.name} has no "
            "labels. Use `condition='none'`, or sort the images into a folder for each class."
        )
    first, last = int(dataset.labels.min()), int(dataset.labels.max())
    if first < 0 or last >= MOST_CLASSES:
        raise ConfigError(
            f"{recipe}: expected classes counted from 0, at most {MOST_CLASSES:,}, but the labels of "
            f"{dataset.name} run from {first} to {last}. Renumber them, or use `condition='none'`."
        )


def few(numbers: np.ndarray) -> str:
    """A few of some numbers, for a message."""
    return ", ".join(map(str, numbers[:3])) + (" ..." if numbers.size > 3 else "")
