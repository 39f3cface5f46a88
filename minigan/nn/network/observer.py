"""Observation: a network tells an observer of each pass through its layers.

    with D.observed(observer):
        logits, tape = D.forward(x, train=True)

An observer sees the passes that run. Two layers that run as one (`minigan.nn.layers.fused`) are one pass, so an
observed network computes the same bits as any other, and the time between `before` and `after` is the time that
training takes. A network built with `fuse=False` reports every layer separately.

Passes nest as networks do: first `before` of a `Residual`, then the passes of its inner layers, then its `after`.
Layers inside a layer that is no network (the convolution in a `SpectralNorm`) belong to that layer's pass.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.nn.layers.base import Layer
from minigan.nn.parameters import Gradients

__all__ = ["Observer", "Pass", "PassKind"]

# The fifth is the second sweep of a network's double backward: an ordinary backward pass, from the last layer down.
PassKind = Literal["forward", "backward", "backward_recorded", "double_backward", "double_backward_down", "extended"]


class Pass(NamedTuple):
    """One pass through one layer, or through two that run as one.

    Attributes:
        kind: the method; see `Layer`.
        network: the network whose layers these are.
        layers: one layer, or the two that run as one.
        given: x in a forward pass, dy in a backward pass, v in a double backward, u where a map is extended.
        grads: the destination of the weights' gradients; None if none are computed.
        cache: returned by forward and used by the other passes; of fused steps a tuple with one cache for each layer.
        result: y, dx, dP/d(dy) or J u + b; None before the pass, and if no dx was requested.
        curvature: dP/dx after a double backward; None if backward does not depend on x.
    """

    kind: PassKind
    network: Layer
    layers: tuple[Layer, ...]
    given: Array
    grads: Gradients | None = None
    cache: Any = None
    result: Array | None = None
    curvature: Array | None = None

    @property
    def path(self) -> str:
        """Path of the layer; of two layers the first, which has the weights."""
        return self.layers[0].path


class Observer:
    """Base of observers: a network calls it around each pass. Override one method or both.

    The arrays are the network's own. An observer reads them, and copies those that it keeps. Where activations are
    narrower than the network's dtype (`Backend.activation_dtype`) it is given copies of the network's dtype; `cache`
    alone stays as it is.

    Attributes:
        narrow: whether it wants no copies of narrow arrays, but these.
    """

    narrow: ClassVar[bool] = False

    def before(self, now: Pass) -> None:
        """A pass begins."""

    def after(self, now: Pass) -> None:
        """A pass ended. One that raised an error does not end."""


class Watch:
    """The observer of a network, if there is one. Its conditioned copies (`Layer.given`) share it."""

    observer: Observer | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watch":
        return Watch()  # a copy of the network is another network, which nobody watches yet


class Told:
    """A step or a layer of a network that calls the observer before and after each pass.

    Args:
        part: the step or the layer; a step is the tuple of its layers.
        down: whether the walk is the second sweep of a double backward.
    """

    def __init__(self, part: Any, network: Layer, observer: Observer, *, down: bool) -> None:
        self.part, self.network, self.observer = part, network, observer
        self.layers: tuple[Layer, ...] = tuple(part) if isinstance(part, tuple) else (part,)
        self.backward_kind: PassKind = "double_backward_down" if down else "backward"

    def __len__(self) -> int:
        return len(self.layers)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        now = self._begin("forward", x)
        y, cache = self.part.forward(x, train=train, rng=rng)
        self.observer.after(now._replace(result=self._shown(y), cache=cache))
        return y, cache

    def backward(self, dy: Array, cache: Any, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        now = self._begin(self.backward_kind, dy, grads=grads, cache=cache)
        dx: Array | None = self.part.backward(dy, cache, grads=grads, need_dx=need_dx)
        self.observer.after(now._replace(result=self._shown(dx)))
        return dx

    def backward_recorded(self, dy: Array, cache: Any) -> tuple[Array, Any]:
        now = self._begin("backward_recorded", dy, cache=cache)
        dx, record = self.part.backward_recorded(dy, cache)
        self.observer.after(now._replace(result=self._shown(dx)))
        return dx, record

    def double_backward(
        self, v: Array, record: Any, cache: Any, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        now = self._begin("double_backward", v, grads=grads, cache=cache)
        ddy, ddx = self.part.double_backward(v, record, cache, grads=grads)
        self.observer.after(now._replace(result=self._shown(ddy), curvature=self._shown(ddx)))
        return ddy, ddx

    def extend(self, u: Array, record: Any, cache: Any, *, grads: Gradients | None) -> Array:
        now = self._begin("extended", u, grads=grads, cache=cache)
        y: Array = self.part.extend(u, record, cache, grads=grads)
        self.observer.after(now._replace(result=self._shown(y)))
        return y

    def _begin(self, kind: PassKind, given: Array, *, grads: Gradients | None = None, cache: Any = None) -> Pass:
        now = Pass(kind, self.network, self.layers, self._shown(given), grads, cache)
        self.observer.before(now)
        return now

    def _shown(self, array: Array | None) -> Array | None:
        """The array as the observer sees it."""
        if array is None or self.observer.narrow:
            return array
        return self.network.kernels.cast(array, self.network.dtype)


def told(parts: Sequence[Any], network: Layer, watch: Watch, *, down: bool = False) -> Sequence[Any]:
    """The steps or layers of a walk; with an observer each is wrapped, so that it calls the observer."""
    observer = watch.observer
    return parts if observer is None else [Told(part, network, observer, down=down) for part in parts]
