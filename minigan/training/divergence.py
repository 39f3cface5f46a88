"""Numbers that are not finite: keeps them from the weights, and names the first layer that produced one."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minigan.backends import Array
from minigan.nn.layers.base import Layer
from minigan.nn.network import Observer, Pass
from minigan.nn.parameters import Gradients, Parameter

__all__ = ["FirstNonFinite", "all_finite", "is_finite", "is_sound"]


def is_finite(array: Array) -> bool:
    """Whether no number is NaN or infinite."""
    return _is_below(array, math.inf)


def _is_below(array: Array, limit: float) -> bool:
    """Whether all absolute values are below the limit."""
    return not array.size or bool(_below(array, limit))


def _below(array: Array, limit: float) -> Array:
    """The same as an array of the backend: bool, of shape (). A NaN makes both comparisons false."""
    return (array.max() < limit) & (array.min() > -limit)


def _largest_moderate(array: Array) -> float:
    """Limit below which squares are finite, as Adam squares gradients."""
    return math.sqrt(np.finfo(array.dtype).max)


def is_sound(array: Array, network: Layer) -> bool:
    """Whether no number is NaN or infinite, as a training step asks.

    If the network's backend has a guard, the check is left to it and the answer is True: the host does not wait, and
    if the check fails, the rest of the step changes nothing.
    """
    return _hold(network, (array, math.inf))


def all_finite(value: Array, grads: Gradients, network: Layer) -> bool:
    """Whether a loss, all gradients and the running statistics are sound; asked before each update of the weights.

    A guard is used as in `is_sound`.
    """
    return _hold(
        network, (value, math.inf), (grads.flat, _largest_moderate(grads.flat)), (network.state.flat, math.inf)
    )


def _hold(network: Layer, *limits: tuple[Array, float]) -> bool:
    """Whether each array is below its limit; True if the guard has been asked to check that."""
    guard = network.kernels.guard
    if guard is None:
        return all(network.kernels.is_below(array, limit) for array, limit in limits)
    for array, limit in limits:
        if array.size:
            guard.demand_below(array, limit)
    return True


class FirstNonFinite(Observer):
    """Names the first number that is NaN or infinite, or a gradient whose square is, in the networks it observes.

    Attributes:
        forward: its name if it was found in a forward pass: the input, a weight or a layer's output. Otherwise None.
        place: how many numbers of forward passes were looked at, up to that one: ranks compare it.
        backward: its name if it was found in a backward or double backward pass: a gradient. Otherwise None.
    """

    forward: str | None
    backward: str | None

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets what it found."""
        self.forward = self.backward = None
        self.place = 0
        self._of_penalty = False  # whether `backward` is
        self._double = 0  # the number of double backward passes around the present pass

    def first(self, losses: Sequence[tuple[str, Array]]) -> str | None:
        """Name of the first, including these losses; None if all is finite.

        The losses are computed between forward and backward passes, a penalty after its gradient.
        """
        loss = next((name for name, value in losses if not is_finite(value)), None)
        after_forward = (self.backward, loss) if self._of_penalty else (loss, self.backward)
        return next((found for found in (self.forward, *after_forward) if found is not None), None)

    def before(self, now: Pass) -> None:
        network = now.network.path
        if now.kind == "forward":
            self._look_forward(f"the input of {network}", now.given)
            for layer, parameter in _parameters(now):
                self._look_forward(f"{layer.path}'s weight {parameter.name}", parameter.value)
        elif now.kind in ("double_backward", "extended"):
            self._look_backward(now, f"the penalty on the slope of {network}", now.given)
        else:
            self._look_backward(now, f"the gradient passed to {network}", now.given)
        self._double += now.kind.startswith("double")

    def after(self, now: Pass) -> None:
        if now.kind == "forward":
            self._look_forward(f"the output of {now.path}", now.result)
            return
        gradient = self._gradient(now)
        for array in (now.result, now.curvature):
            self._look_backward(now, f"the {gradient}", array)
        if (grads := now.grads) is not None:
            for dw in (grads[parameter] for _, parameter in _parameters(now)):
                self._look_backward(now, f"the {gradient}", dw)
                self._look_backward(now, f"the square of the {gradient}", dw, limit=_largest_moderate(dw))
        self._double -= now.kind.startswith("double")

    def _gradient(self, now: Pass) -> str:
        """The name of the gradient that a backward pass of this kind computes."""
        if now.kind == "backward_recorded":
            return f"penalty's gradient of {now.path}"
        if now.kind == "double_backward":
            return f"penalty's double gradient of {now.path}"
        if now.kind == "extended":
            return f"gradient of {now.path}, of loss and penalty together,"
        return (
            f"penalty's double gradient of {now.path}, on its way down,"
            if self._double
            else (f"gradient of {now.path}")
        )

    def _look_forward(self, name: str, array: Array | None) -> None:
        if self.forward is not None:
            return
        self.place += 1
        if array is not None and not is_finite(array):
            self.forward = name

    def _look_backward(self, now: Pass, name: str, array: Array | None, *, limit: float = math.inf) -> None:
        if self.backward is None and array is not None and not _is_below(array, limit):
            self.backward = name
            from_loss = array is now.given and now.kind == "backward_recorded"  # which shares its sweep
            self._of_penalty = self._double > 0 or not (from_loss or now.kind == "backward")


def _parameters(now: Pass) -> Iterator[tuple[Layer, Parameter]]:
    """The weights of a pass's layers and of the layers inside them."""
    for outer in now.layers:
        for _, layer in outer.walk():
            for parameter in layer.own_parameters:
                yield layer, parameter
