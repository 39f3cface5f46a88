"""Quality of a generator whose file has its weights in fewer bits: how near its images are to the engine's."""

import warnings
from dataclasses import dataclass
from math import prod

import numpy as np

from minigan.checkpoints.quantized import WEIGHTS
from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export.base import Subject
from minigan.export.evaluation import engine_images, evaluate
from minigan.training.portable_noise import portable_classes, portable_normals, portable_uniforms

__all__ = ["Quality", "examples", "expect_finite", "expect_weights", "finding", "quality"]

EXAMPLES = 16
LEAST_PSNR = 30.0  # dB; below it fewer bits change what is seen


@dataclass(frozen=True)
class Quality:
    """How near a graph's images are to the engine's.

    Attributes:
        psnr: decibels, for the range of the engine's images; infinite where they are equal.
        expected: the graph's first image, flat.
        engine: the engine's.
    """

    psnr: float
    expected: np.ndarray
    engine: np.ndarray


def quality(subject: Subject, graph: g.Graph, weights: str) -> Quality:
    """Compares the images of a graph's weights with the engine's, for portable noise or random images.

    Args:
        weights: fp32, which needs no comparison, fp16 or int8.
    """
    x, condition = examples(subject, graph)
    engine = engine_images(subject, x, condition)
    if weights == "fp32":
        return Quality(float("inf"), engine[0].ravel(), engine[0].ravel())
    images = evaluate(graph, x, condition)
    error = float(np.mean((images - engine).astype(np.float64) ** 2))
    span = 2.0 if len(graph.output_shape) == 3 else float(np.ptp(engine))
    psnr = 10 * float(np.log10(span**2 / error)) if error else float("inf")
    return Quality(psnr, images[0].ravel(), engine[0].ravel())


def examples(subject: Subject, graph: g.Graph) -> tuple[np.ndarray, np.ndarray | None]:
    """Inputs (16, *input_shape), float32, and a condition for each, or None.

    The first is that of self-tests: seed 0, number 0, and class 0; images and other conditions are a pattern that
    other languages make easily.
    """
    size = prod(graph.input_shape)
    if subject.from_noise:
        x = portable_normals(0, EXAMPLES, size).reshape(-1, *graph.input_shape).astype(np.float32)
    else:
        x = _uniform(graph.input_shape)
    if subject.classes:
        labels = portable_classes(0, EXAMPLES, subject.classes)
        labels[0] = 0
        return x, np.eye(subject.classes, dtype=np.float32)[labels]
    return x, None if graph.condition_shape is None else _uniform(graph.condition_shape)


def _uniform(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers (16, *shape) from [-1, 1]: a pattern, then portable noise."""
    size = prod(shape)
    x = 2 * portable_uniforms(0, EXAMPLES, size).astype(np.float32) - 1
    x[0] = (np.arange(size) * 37 % 64 - 32) / 32
    return x.reshape(-1, *shape)


def finding(found: Quality, weights: str) -> list[str]:
    """Lines on the quality, and a warning where it is poor; none of fp32."""
    if weights == "fp32":
        return []
    said = f"{weights} weights: PSNR {found.psnr:.1f} dB to the engine's images"
    if found.psnr < LEAST_PSNR:
        remedy = "Look at the images, or export with more bits."
        warnings.warn(f"{said}, less than {LEAST_PSNR:g} dB. {remedy}", stacklevel=3)
    return [said]


def expect_weights(weights: str) -> str:
    """The type of weights, if it is one.

    Raises:
        ConfigError: it is none.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f"expected `weights` as one of {', '.join(WEIGHTS)}, got {weights!r}.")
    return weights


def expect_finite(graph: g.Graph) -> None:
    """Refuses a graph whose weights are not finite.

    Raises:
        ConfigError: names the layer.
    """
    for op in graph.ops:
        for name, value in vars(op).items():
            if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                raise ConfigError(f"{op.path}: expected finite weights, found NaN or infinity in {name}. Train again.")
