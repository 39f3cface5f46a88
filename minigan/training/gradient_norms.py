"""Norms of a step's gradients, layer by layer."""

import numpy as np

from minigan.training.learner import Learner

__all__ = ["gradient_norms"]


def gradient_norms(learner: Learner) -> dict[str, float]:
    """The Euclidean norm of the gradient of each layer's own weights, by the layer's path: `"G.0.Dense"`.

    These are the gradients of the last step as the optimizers used them: the sum of all terms, after clipping. They are
    read from `learner.grads`, where every backend leaves the sums. An observer would see one part of each sum at a time
    (D learns from two batches and a penalty), and sees nothing of a replayed step.

    Waits for the device. If its last step failed, the norms are those of the gradients that it left behind.
    """
    norms: dict[str, float] = {}
    for name, network in learner.networks.items():
        kernels, grads = network.kernels, learner.grads[name]
        layers = [layer for _, layer in network.walk() if layer.own_parameters]
        squares = [
            # In float64, where the squares of float32 do not overflow.
            sum(kernels.xp.square(grads[p], dtype=np.float64).sum() for p in layer.own_parameters)
            for layer in layers
        ]
        if layers:  # all of them in one copy to the host
            roots = np.sqrt(kernels.to_numpy(kernels.xp.stack(squares)))
            norms |= {layer.path: float(root) for layer, root in zip(layers, roots, strict=True)}
    return norms
