"""Naming the first layer where a number stopped being finite."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.losses import FAKE, REAL, CoupledLoss, Loss
from minigan.losses.gradient_penalties import GradientPenalty
from minigan.nn.layers.base import Layer
from minigan.nn.network import Sequential, Tape
from minigan.nn.parameters import Gradients

__all__ = [
    "all_finite",
    "is_finite",
    "nonfinite_gradient",
    "nonfinite_output",
    "nonfinite_penalty",
    "why_discriminator",
    "why_generator",
]

LossGradient = Callable[[Array], tuple[Array, Array]]  # logits -> (value, dlogits)


def is_finite(array: Array) -> bool:
    """Whether no number is NaN or infinite."""
    return _is_below(array, math.inf)


def _is_below(array: Array, limit: float) -> bool:
    """Whether all absolute values are below the limit."""
    return not array.size or bool(_below(array, limit))


def _below(array: Array, limit: float) -> Array:
    """The same, still on the backend: bool, of shape (). A NaN makes both comparisons false."""
    return (array.max() < limit) & (array.min() > -limit)


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
    return _is_below(array, _largest_moderate(array))


def _largest_moderate(array: Array) -> float:
    return math.sqrt(np.finfo(array.dtype).max)


def is_sound(array: Array, network: Layer) -> bool:
    """Whether no number is NaN or infinite, for a step of training to ask.

    Where the network's backend has a guard, that one is told, and the answer is True: nobody waits for it here, and if
    it is not so, what follows changes nothing.
    """
    if network.kernels.guard is None:
        return is_finite(array)
    network.kernels.guard.demand(_below(array, math.inf))
    return True


def all_finite(value: Array, grads: Gradients, network: Layer, *, statistics: Array | None = None) -> bool:
    """Whether a loss, all gradients and the running statistics are sound: asked before each update of the weights.

    Args:
        statistics: the running ones from before the step. A guard, see `is_sound`, goes back to them itself.
    """
    if network.kernels.guard is None:
        return is_finite(value) and is_moderate(grads.flat) and is_finite(network.state.flat)
    for array, limit in (
        (value, math.inf),
        (grads.flat, _largest_moderate(grads.flat)),
        (network.state.flat, math.inf),
    ):
        if array.size:
            network.kernels.guard.demand(_below(array, limit))
    if statistics is not None and statistics.size:
        network.kernels.guard.keep(network.state.flat, statistics)
    return True


def why_discriminator(
    D: Sequential,
    loss: Loss,
    real: Array,
    fake: Array,
    *,
    penalty: GradientPenalty | None = None,
    rng: np.random.Generator,
) -> str:
    """What is not finite in D's step."""
    for x in (real, fake):  # first of all: a coupled loss needs both batches' logits
        found = nonfinite_output(D, x, rng=rng)
        if found is not None:
            return found
    for x, gradient in _losses_by_batch(D, loss, real, fake, rng=rng):
        found = nonfinite_pass(D, x, gradient, rng=rng)
        if found is not None:
            return found
    found = nonfinite_penalty(D, penalty, real, fake, rng=rng) if penalty is not None else None
    return found or f"the running statistics of {D.path}"


def _losses_by_batch(
    D: Sequential, loss: Loss, real: Array, fake: Array, *, rng: np.random.Generator
) -> tuple[tuple[Array, LossGradient], ...]:
    """Each batch that D is trained on, and the loss of its logits; a coupled one with the other logits held fixed."""
    if not isinstance(loss, CoupledLoss):
        return (real, partial(loss.discriminator, target=REAL)), (fake, partial(loss.discriminator, target=FAKE))
    on_real, on_fake = (D.forward(x, train=True, rng=rng)[0] for x in (real, fake))

    def of_real(logits: Array) -> tuple[Array, Array]:
        value, dreal, _ = loss.discriminator(logits, on_fake)
        return value, dreal

    def of_fake(logits: Array) -> tuple[Array, Array]:
        value, _, dfake = loss.discriminator(on_real, logits)
        return value, dfake

    return (real, of_real), (fake, of_fake)


def nonfinite_penalty(
    D: Sequential, penalty: GradientPenalty, real: Array, fake: Array, *, rng: np.random.Generator
) -> str | None:
    """What goes wrong first in a gradient penalty: forward, backward to the input, the penalty, up and down again."""
    x = penalty.points(real, fake, rng, D.kernels)
    found = nonfinite_output(D, x, rng=rng)
    if found is not None:
        return found
    logits, tape = D.forward(x, train=True, rng=rng)
    walk = list(zip(D.layers, tape.caches(D), strict=True))
    dy, records = D.kernels.xp.ones_like(logits), []
    for layer, cache in reversed(walk):
        dy, record = layer.backward_recorded(dy, cache)
        records.append(record)
        if not is_finite(dy):
            return f"the penalty's gradient of {layer.path}"
    value, v = penalty.of_gradient(dy)
    if not (is_finite(value) and is_finite(v)):
        return f"the penalty on the slope of {D.path}"
    return _nonfinite_double_gradient(D, v, records[::-1], walk)


def _nonfinite_double_gradient(
    D: Sequential, v: Array, records: list[Any], walk: list[tuple[Layer, Any]]
) -> str | None:
    """The search in `Sequential.double_backward`'s two sweeps, which `walk` goes through: layers and caches."""
    grads, injected = D.gradients(), []
    for (layer, cache), record in zip(walk, records, strict=True):
        v, ddx = layer.double_backward(v, record, cache, grads=grads)
        injected.append(ddx)
        if not (is_finite(v) and is_moderate(grads.flat) and (ddx is None or is_finite(ddx))):
            return f"the penalty's double gradient of {layer.path}"
    down = 0 * v
    for (layer, cache), ddx in reversed(list(zip(walk, injected, strict=True))):
        down = layer.backward(down, cache, grads=grads)
        down = down if ddx is None else down + ddx
        if not (is_finite(down) and is_moderate(grads.flat)):
            return f"the penalty's double gradient of {layer.path}, on its way down,"
    return None


def why_generator(
    G: Sequential,
    D: Sequential,
    loss: Loss,
    fake: Array,
    g_tape: Tape,
    real: Array,
    *,
    rng: np.random.Generator,
) -> str:
    """What is not finite in G's step."""
    gradient: LossGradient
    if isinstance(loss, CoupledLoss):
        found = nonfinite_output(D, real, rng=rng)
        if found is not None:
            return found
        gradient = partial(loss.generator, D.forward(real, train=True, rng=rng)[0])
    else:
        gradient = loss.generator
    found = nonfinite_pass(D, fake, gradient, rng=rng)
    if found is not None:
        return found
    logits, tape = D.forward(fake, train=True, rng=rng)
    dfake = D.backward(gradient(logits)[1], tape, grads=None)
    found = nonfinite_gradient(G, dfake, g_tape)
    if found is not None:
        return found
    return f"the running statistics of {G.path}" if not is_finite(G.state.flat) else "an auxiliary term of G's loss"
