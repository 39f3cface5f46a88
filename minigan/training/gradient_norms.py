"""Norms of a step's gradients, layer by layer: where learning stops or explodes shows here first."""

import math

from minigan.training.learner import Learner

__all__ = ["gradient_norms"]


def gradient_norms(learner: Learner) -> dict[str, float]:
    """The L2 norm of the gradients of each layer's own parameters, in the last step and after clipping.

    Returns:
        By the layer's path, `{"G.0.Dense": 0.31, ...}`; layers without parameters are left out.
    """
    norms: dict[str, float] = {}
    for name, network in learner.networks.items():
        gradients = learner.last_gradients[name]
        to_numpy = network.kernels.to_numpy
        for _, layer in network.walk():
            if layer.own_parameters:
                parts = [to_numpy(gradients[p]).astype("float64", copy=False) for p in layer.own_parameters]
                norms[layer.path] = math.sqrt(sum(float((part * part).sum()) for part in parts))
    return norms
