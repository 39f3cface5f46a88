"""Quality of a generator whose file has its weights in fewer bits: how near its images are to the engine's."""

import warnings
from dataclasses import dataclass
from math import prod

import numpy as np

from minigan.evaluation.features import PixelFeatures
from minigan.evaluation.metrics import Moments, frechet_distance
from minigan.export import graph as g
from minigan.export.base import Subject
from minigan.export.evaluation import engine_images, evaluate
from minigan.training.portable_noise import portable_classes, portable_normals, portable_uniforms

__all__ = ["Quality", "decibels", "examples", "finding", "loss", "quality"]

EXAMPLES = 16
FID_EXAMPLES = 500
LEAST_PSNR = 30.0  # dB; below it fewer bits change what is seen


@dataclass(frozen=True)
class Quality:
    """How near a graph's images are to the engine's.

    Attributes:
        weights: fp32, fp16 or int8.
        psnr: decibels, for the range of the engine's images; infinite where they are equal.
        expected: the graph's first image, flat.
        engine: the engine's.
        fid: Fréchet distances of both to the data, as `minigan evaluate --features pixels` has it: the graph's, the
            engine's; None where no data are at hand, or weights are fp32.
    """

    weights: str
    psnr: float
    expected: np.ndarray
    engine: np.ndarray
    fid: tuple[float, float] | None = None


def quality(subject: Subject, graph: g.Graph, weights: str) -> Quality:
    """Compares the images of a graph's weights with the engine's, for portable noise or random images.

    Args:
        weights: its type of weights: fp32, which needs no comparison, fp16 or int8.
    """
    x, condition = examples(subject, graph, count=1 if weights == "fp32" else EXAMPLES)
    engine = engine_images(subject, x, condition)
    if weights == "fp32":
        return Quality(weights, float("inf"), engine[0].ravel(), engine[0].ravel())
    images = evaluate(graph, x, condition)
    error = float(np.mean((images - engine).astype(np.float64) ** 2))
    span = 2.0 if len(graph.output_shape) == 3 else float(np.ptp(engine))
    psnr = 10 * float(np.log10(span**2 / error)) if error else float("inf")
    return Quality(weights, psnr, images[0].ravel(), engine[0].ravel(), _distances(subject, graph))


def _distances(subject: Subject, graph: g.Graph) -> tuple[float, float] | None:
    """See `Quality.fid`."""
    real = subject.real(FID_EXAMPLES) if subject.real and subject.from_noise else None
    if real is None:
        return None
    x, condition = examples(subject, graph, count=FID_EXAMPLES)
    parts = [slice(at, at + EXAMPLES) for at in range(0, FID_EXAMPLES, EXAMPLES)]
    given = [(x[part], None if condition is None else condition[part]) for part in parts]
    of_graph = np.concatenate([evaluate(graph, *one) for one in given])
    of_engine = np.concatenate([engine_images(subject, *one) for one in given])
    features = PixelFeatures() if len(graph.output_shape) == 3 else np.asarray
    moments = Moments.of(features(real))
    ours, engines = (frechet_distance(Moments.of(features(images)), moments) for images in (of_graph, of_engine))
    return ours, engines


def examples(subject: Subject, graph: g.Graph, *, count: int = EXAMPLES) -> tuple[np.ndarray, np.ndarray | None]:
    """Inputs (count, *input_shape), float32, and a condition for each, or None.

    The first is that of self-tests: seed 0, number 0, and class 0; images and other conditions are a pattern that
    other languages make easily.
    """
    size = prod(graph.input_shape)
    if subject.from_noise:
        x = portable_normals(0, count, size).reshape(-1, *graph.input_shape).astype(np.float32)
    else:
        x = _uniform(count, graph.input_shape)
    if subject.classes:
        labels = portable_classes(0, count, subject.classes)
        labels[0] = 0
        return x, np.eye(subject.classes, dtype=np.float32)[labels]
    return x, None if graph.condition_shape is None else _uniform(count, graph.condition_shape)


def _uniform(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers (count, *shape) from [-1, 1]: a pattern, then portable noise."""
    size = prod(shape)
    x = 2 * portable_uniforms(0, count, size).astype(np.float32) - 1
    x[0] = (np.arange(size) * 37 % 64 - 32) / 32
    return x.reshape(-1, *shape)


def loss(subject: Subject, graph: g.Graph, weights: str) -> list[str]:
    """Lines on the quality of a graph's weights; none of fp32."""
    return [] if weights == "fp32" else finding(quality(subject, graph, weights))


def decibels(found: Quality) -> str:
    """The nearness in words."""
    return "the engine's very images" if np.isinf(found.psnr) else f"PSNR {found.psnr:.1f} dB to the engine's images"


def finding(found: Quality) -> list[str]:
    """Lines on the quality, and a warning where it is poor; none of fp32."""
    if found.weights == "fp32":
        return []
    said = f"{found.weights} weights: {decibels(found)}"
    if found.psnr < LEAST_PSNR:
        remedy = "Look at the images, or export with more bits."
        warnings.warn(f"{said}, less than {LEAST_PSNR:g} dB. {remedy}", stacklevel=3)
    if found.fid is None:
        return [said]
    ours, engines = found.fid
    return [f"{said}; FID {ours:.2f}, the engine's {engines:.2f} (pixels of {FID_EXAMPLES} images)"]
