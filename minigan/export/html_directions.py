"""Directions of z that change a generator's first activations most, for sliders that mean something."""

from dataclasses import replace
from math import prod

import numpy as np

from minigan.export import graph as g
from minigan.export.base import Subject
from minigan.export.evaluation import evaluate
from minigan.training.portable_noise import portable_classes, portable_normals

__all__ = ["directions"]

COUNT = 8
SAMPLES = 1024
AT_ONCE = 256


def directions(subject: Subject, graph: g.Graph) -> np.ndarray:
    """Directions (8, F) of z, or F of fewer dimensions; orthonormal, the one of most effect first; float32.

    The principal components of the mean response of the first activations that are images, as in Härkönen et al. 2020
    ("GANSpace"), but of that part of it which is linear in z: by Stein's lemma E[z f(z)'] is the mean Jacobian of f for
    z from N(0, 1). Classes differ by more than z does, so each keeps its own mean.
    """
    front = _front(graph)
    (F,) = graph.input_shape
    labels = portable_classes(0, SAMPLES, max(1, subject.classes))
    z = portable_normals(0, SAMPLES, F).astype(np.float32)
    width = prod(front.output_shape)
    response = np.zeros((F, width))
    for label in np.unique(labels):
        of_class = z[labels == label]
        of_class = of_class - of_class.mean(axis=0)
        for at in range(0, len(of_class), AT_ONCE):
            part = of_class[at : at + AT_ONCE]
            c = np.eye(subject.classes, dtype=np.float32)[np.full(len(part), label)] if subject.classes else None
            response += part.T @ evaluate(front, part, c).reshape(len(part), -1)
    _, vectors = np.linalg.eigh(response @ response.T)
    chosen = vectors.T[::-1][:COUNT]
    signs = np.sign(chosen[np.arange(len(chosen)), np.abs(chosen).argmax(axis=1)])
    return np.ascontiguousarray(chosen * signs[:, None], np.float32)


def _front(graph: g.Graph) -> g.Graph:
    """The graph up to its first activation that is an image; the whole, where there is none."""
    for index, op in enumerate(graph.ops):
        if isinstance(op, g.Activation) and len(op.shape) == 3 and op.shape[0] * op.shape[1] > 1:
            return replace(graph, ops=graph.ops[: index + 1], output=op.output, output_shape=op.shape)
    return graph
