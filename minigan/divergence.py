"""Naming the first layer where a number stopped being finite."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minigan.backends import Array
from minigan.layers.base import Layer
from minigan.losses import FAKE, REAL, AdversarialLoss
from minigan.network import Sequential, Tape
from minigan.parameters import Gradients

LossGradient = Callable[[Array], tuple[Array, Array]]  # logits -> (value, dlogits)


def is_finite(array: Array) -> bool:
    """Whether no number is NaN or infinite."""
    return _is_below(array, math.inf)


def _is_below(array: Array, limit: float) -> bool:
    """Whether all absolute values are below the limit."""
    return not array.size or (bool(array.max() < limit) and bool(array.min() > -limit))  # a NaN makes both false


def nonfinite_output(layer: Layer, x: Array, *, rng: np.random.Generator) -> str | None:
    """What goes wrong first in a training-mode forward pass: the input, a layer's weights or its output.

    Looks inside nested layers. None if all is finite.
    """
    if not is_finite(x):
        return f"the input of {layer.path}"
    for parameter in layer.own_parameters:
        if not is_finite(parameter.value):
            return f"{layer.path}'s weight {parameter.name}"
    for _, child in layer.children():
        found = nonfinite_output(child, x, rng=rng)
        if found is not None:
            return found
        if isinstance(layer, Sequential):  # elsewhere the layers inside are branches that share the input
            x, _ = child.forward(x, train=True, rng=rng)
    if isinstance(layer, Sequential):
        return None
    y, _ = layer.forward(x, train=True, rng=rng)
    return None if is_finite(y) else f"the output of {layer.path}"


def nonfinite_gradient(network: Sequential, dy: Array, tape: Tape) -> str | None:
    """What goes wrong first in a backward pass, from the last layer to the first; None if all is finite."""
    if not is_finite(dy):
        return f"the gradient that {network.path} is given"
    grads = network.gradients()
    for layer, cache in zip(reversed(network.layers), reversed(tape.caches(network)), strict=True):
        dy = layer.backward(dy, cache, grads=grads)
        if not (is_finite(dy) and is_finite(grads.flat)):
            return f"the gradient of {layer.path}"
        if not is_moderate(grads.flat):
            return f"the square of the gradient of {layer.path}"
    return None


def nonfinite_pass(network: Sequential, x: Array, loss: LossGradient, *, rng: np.random.Generator) -> str | None:
    """What goes wrong first in forward, loss and backward together; None if all is finite."""
    found = nonfinite_output(network, x, rng=rng)
    if found is not None:
        return found
    logits, tape = network.forward(x, train=True, rng=rng)
    value, dlogits = loss(logits)
    if not is_finite(value):
        return f"the loss of {network.path}'s logits"
    return nonfinite_gradient(network, dlogits, tape)


def is_moderate(array: Array) -> bool:
    """Whether all numbers are finite and stay so when squared, as Adam squares gradients."""
    return _is_below(array, float(np.finfo(array.dtype).max) ** 0.5)


def all_finite(value: Array, grads: Gradients, network: Layer) -> bool:
    """Whether a loss, all gradients and the running statistics are sound: asked before each update of the weights."""
    return is_finite(value) and is_moderate(grads.flat) and is_finite(network.state.flat)


def why_discriminator(
    D: Sequential, loss: AdversarialLoss, real: Array, fake: Array, *, rng: np.random.Generator
) -> str:
    """What is not finite in D's step."""
    for x, target in ((real, REAL), (fake, FAKE)):
        found = nonfinite_pass(D, x, partial(loss.discriminator, target=target), rng=rng)
        if found is not None:
            return found
    return f"the running statistics of {D.path}"


def why_generator(
    G: Sequential, D: Sequential, loss: AdversarialLoss, fake: Array, g_tape: Tape, *, rng: np.random.Generator
) -> str:
    """What is not finite in G's step."""
    found = nonfinite_pass(D, fake, loss.generator, rng=rng)
    if found is not None:
        return found
    logits, tape = D.forward(fake, train=True, rng=rng)
    dfake = D.backward(loss.generator(logits)[1], tape, grads=None)
    found = nonfinite_gradient(G, dfake, g_tape)
    if found is not None:
        return found
    return f"the running statistics of {G.path}" if not is_finite(G.state.flat) else "an auxiliary term of G's loss"
