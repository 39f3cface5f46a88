"""Figures of a generator from image to image, whose outputs are compared with targets one by one."""

from dataclasses import dataclass, field

import numpy as np

from minigan.evaluation.metrics import confusion_matrix, map_agreement, psnr, ssim
from minigan.evaluation.metrics.checks import FloatArray, IntegerArray
from minigan.evaluation.metrics.image_similarity import WINDOW
from minigan.evaluation.palette import Palette
from minigan.evaluation.report import Figure

__all__ = ["Likeness", "MapScore"]


@dataclass
class Likeness:
    """PSNR and SSIM of outputs and of a baseline in their place, gathered batch by batch.

    Args:
        baseline_name: name of the baseline; "" if there is none.
    """

    baseline_name: str = ""
    scores: dict[str, list[FloatArray]] = field(default_factory=dict)

    def add(self, output: np.ndarray, target: np.ndarray, baseline: np.ndarray | None) -> None:
        """Adds a batch of images (N, H, W, C); values outside [-1, 1] are clipped, as in a picture."""
        for name, images in (("", output), ("baseline ", baseline)):
            if images is None:
                continue
            clipped = np.clip(images, -1, 1)
            self.scores.setdefault(f"{name}psnr", []).append(psnr(clipped, target))
            if min(target.shape[1:3]) >= WINDOW:
                self.scores.setdefault(f"{name}ssim", []).append(ssim(clipped, target))

    def figures(self) -> tuple[Figure, ...]:
        """Means over all pairs."""
        found = {name: np.concatenate(parts) for name, parts in self.scores.items()}
        meanings = {"psnr": "decibels from the target", "ssim": "structural similarity to the target"}
        return tuple(
            Figure(
                name,
                float(found[name].mean()),
                "higher",
                meaning,
                samples=len(found[name]),
                real=len(found[name]),
                data=float(found[f"baseline {name}"].mean()) if f"baseline {name}" in found else None,
                std=float(found[name].std()) if np.isfinite(found[name]).all() else None,
            )
            for name, meaning in meanings.items()
            if name in found
        )

    def remarks(self) -> tuple[str, ...]:
        """Remarks for the report: none."""
        return ()


@dataclass
class MapScore:
    """Agreement of class maps with the true ones, gathered batch by batch.

    The baseline is a map that has the commonest class everywhere.

    Args:
        palette: the colors of the classes.
    """

    palette: Palette
    confusion: IntegerArray = field(init=False)
    pairs: int = 0
    pixels: int = 0
    baseline_name: str = "commonest class"

    def __post_init__(self) -> None:
        classes = len(self.palette.colors)
        self.confusion = np.zeros((classes, classes), np.int64)

    def add(self, output: np.ndarray, target: np.ndarray, baseline: np.ndarray | None) -> None:  # noqa: ARG002
        """Adds a batch of maps (N, H, W, 3) in [-1, 1]."""
        labels, truth = self.palette.labels(output), self.palette.truth(target)
        self.confusion += confusion_matrix(labels, truth, classes=len(self.confusion))
        self.pairs += len(target)
        self.pixels += truth.size

    def figures(self) -> tuple[Figure, ...]:
        """Agreement over all pixels, and that of the baseline."""
        counts = self.confusion.sum(axis=1)
        everywhere = np.zeros_like(self.confusion)
        everywhere[:, counts.argmax()] = counts
        meanings = ("pixels of the right class", "the same, mean over classes", "intersection over union, over classes")
        values = zip(map_agreement(self.confusion)._asdict().items(), map_agreement(everywhere), meanings, strict=True)
        return tuple(
            Figure(name, value, "higher", meaning, samples=self.pairs, real=self.pairs, data=baseline)
            for (name, value), baseline, meaning in values
        )

    def remarks(self) -> tuple[str, ...]:
        """Remarks on the palette, on pixels that do not count, and on each class."""
        right, there = np.diag(self.confusion), self.confusion.sum(axis=1)
        union = there + self.confusion.sum(axis=0) - right
        named = [(self.palette.classes[k], right[k] / union[k]) for k in np.flatnonzero(there)]
        void = "void and " if self.palette.void is not None else ""
        share = 1 - self.confusion.sum() / self.pixels
        classes = len(self.palette.colors) - (self.palette.void is not None)
        return (
            f"palette: {self.palette.name}, {classes} classes; each pixel of the output has the class with the "
            "nearest color",
            f"{share:.1%} of the targets' pixels do not count: {void}colors that are not near any of the palette",
            "intersection over union by class: " + ", ".join(f"{name} {iou:.2f}" for name, iou in named),
        )
