"""Measures of each layer in one step: what it gives, what it learns, and how far its weights move."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Layer, LeakyReLU, Maxout, Sigmoid, SpectralNorm, Tanh
from minigan.nn.network import Observer, Pass, Sequential
from minigan.nn.parameters import Parameter
from minigan.training.lazily_regularized import LazilyRegularized
from minigan.training.learner import Learner

__all__ = ["LayerHealth", "StepObserver", "layer_rows"]

ACTIVATIONS = (LeakyReLU, Tanh, Sigmoid, Maxout)
SATURATING = (Tanh, Sigmoid)
FLAT = 1e-3  # a derivative of tanh or sigmoid, of at most 1 or 1/4, below which an output counts as saturated
CONSTANT = 1e-6  # of the largest output: a channel that varies less is constant but for rounding
FEWEST = 16  # values of a channel from which one can tell that it is constant


class LayerHealth(NamedTuple):
    """One layer, or two that run as one, in one step. A number that does not apply is None.

    Attributes:
        path: of the layer that has the weights: `"D.2.BatchNorm"`.
        label: its place and kind.
        network: the name of its network.
        rms: root of the mean square of its outputs, over all batches that the update learns from.
        dead, channels: channels that give one number for every example and place, and all channels.
        closed: channels of a (Leaky)ReLU that are above zero for no example and no place.
        saturated: share of the outputs of a tanh or sigmoid whose derivative is below a thousandth.
        passed: rms of the gradient behind a tanh or sigmoid over that before it.
        gradient, largest: rms and largest absolute value of the gradient of its weights, as the optimizer used it.
        update: norm of the change of its weights over the norm of the weights, as the optimizer did it.
        apart: distance of BatchNorm's running statistics from the batch's: the mean over channels of
            |mean - mean'| / std' + |log(std / std')|.
        sigma: spectral norm of its weight; with `SpectralNorm` of the weight that it computes with.
    """

    path: str
    label: str
    network: str
    rms: float
    dead: int | None
    channels: int
    closed: int | None
    saturated: float | None
    passed: float | None
    gradient: float | None
    largest: float | None
    update: float | None
    apart: float | None
    sigma: float | None


@dataclass
class _Seen:
    """Sums over the forward passes of one layer, or of two that run as one."""

    layers: tuple[Layer, ...]
    squares: float = 0.0
    count: int = 0
    low: np.ndarray = field(default_factory=lambda: np.empty(0))
    high: np.ndarray = field(default_factory=lambda: np.empty(0))
    flat: int = 0
    apart: list[float] = field(default_factory=list)
    passed: float | None = None
    sigma: float | None = None

    def add(self, y: np.ndarray) -> None:
        flat = y.reshape(-1, y.shape[-1])
        low, high = flat.min(axis=0), flat.max(axis=0)
        largest = float(max(high.max(), -low.min(), np.finfo(y.dtype).tiny))
        scaled = y.ravel() / largest  # whose squares do not overflow
        self.squares += largest**2 * float(np.dot(scaled, scaled))
        self.low = low if not self.count else np.minimum(self.low, low)
        self.high = high if not self.count else np.maximum(self.high, high)
        self.count += y.size
        last = self.layers[-1]
        if isinstance(last, SATURATING):
            slope = 1 - y * y if isinstance(last, Tanh) else y * (1 - y)
            self.flat += int((slope < FLAT).sum())


class StepObserver(Observer):
    """Gathers a step's passes and updates. Of several updates of a network by the game the last counts.

    An update by a lazy regularization alone, which comes after it, counts for the change of the weights only: it has
    no gradient where there is no slope, such as at a last bias.

    Attributes:
        seen: by network, then by the path of the first layer of a pass.
        pull: sum of the absolute gradients of G's loss at D's logits; None in a step without D.
        dfake: the gradient of G's loss at G's images, as D passes it down; None in a step without D.
        fake: G's last output; None before it.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.seen: dict[str, dict[str, _Seen]] = {name: {} for name in learner.networks}
        self.pull: float | None = None
        self.dfake: np.ndarray | None = None
        self.fake: np.ndarray | None = None
        self.weights_before: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self._regularizing = False
        self._updating: tuple[str, ...] = ()
        self._names = {network.path: name for name, network in learner.networks.items()}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this context it sees the learner's passes and updates."""
        update = self.learner.update

        def watched(*names: str, gradients: Callable[[], Any], rng: np.random.Generator) -> Any:
            if self._regularizing:
                return update(*names, gradients=gradients, rng=rng)
            self._begin(names)
            try:
                values = update(*names, gradients=gradients, rng=rng)
            finally:
                self._updating = ()
            self.gradients |= {name: self._host(self.learner.grads[name].flat).copy() for name in names}
            return values

        self.learner.update = watched  # type: ignore[method-assign]
        try:
            with self.learner.observed(self), self._past_regularizations():
                yield
        finally:
            del self.learner.update

    @contextmanager
    def _past_regularizations(self) -> Iterator[None]:
        """Within this context it looks away while the learner regularizes."""
        learner = self.learner
        if not isinstance(learner, LazilyRegularized):
            yield
            return
        regularize = learner.regularize

        def unwatched(name: str, *, gradients: Callable[[], Any], rng: np.random.Generator) -> Any:
            self._regularizing = True
            try:
                return regularize(name, gradients=gradients, rng=rng)
            finally:
                self._regularizing = False

        learner.regularize = unwatched  # type: ignore[method-assign]
        try:
            yield
        finally:
            del learner.regularize

    def _begin(self, names: tuple[str, ...]) -> None:
        self._updating = names
        for name in names:
            network = self.learner.networks[name]
            self.weights_before[name] = self._host(network.arena.flat).copy()
            if name != "G":  # G's forward pass may precede its update
                self.seen[name] = {}

    def after(self, now: Pass) -> None:
        name = self._names.get(now.network.path.split(".")[0])
        if name is None or self._regularizing:
            return
        if now.kind == "forward":
            self._forward(name, now)
        elif now.kind == "backward":
            self._backward(name, now)

    def _forward(self, name: str, now: Pass) -> None:
        if self._updating and name not in self._updating:  # D judges for G
            return
        if name == "G" and not self._updating:  # G draws for D: of several times the last counts
            self.seen[name].pop(now.path, None)
        seen = self.seen[name].setdefault(now.path, _Seen(now.layers))
        y = self._host(now.result)
        seen.add(y)
        for layer, cache in zip(now.layers, now.cache, strict=True):
            if isinstance(layer, BatchNorm) and cache.train:
                seen.apart.append(self._apart(layer, cache))
            if isinstance(layer, SpectralNorm):
                seen.sigma = _largest_singular(layer.inner, self._host(cache.w_bar))
        if name == "G" and now.network.path == self.learner.G.path and self._is_end(now, -1):
            self.fake = y

    def _backward(self, name: str, now: Pass) -> None:
        if name in self._updating:
            if isinstance(now.layers[-1], SATURATING) and now.result is not None and now.path in self.seen[name]:
                self.seen[name][now.path].passed = _ratio(self._host(now.result), self._host(now.given))
        elif name == "D" and now.grads is None and now.network.path == self.learner.networks["D"].path:
            if self._is_end(now, -1):
                self.pull = float(np.abs(self._host(now.given)).sum(dtype=np.float64))
            if self._is_end(now, 0) and now.result is not None:
                self.dfake = self._host(now.result).copy()

    def _is_end(self, now: Pass, place: int) -> bool:
        """Whether the pass is that of its network's first or last layer."""
        network = now.network
        return isinstance(network, Sequential) and now.layers[place].path == network.layers[place].path

    def _apart(self, layer: BatchNorm, cache: Any) -> float:
        mean, var = self._host(cache.mean), self._host(cache.var)
        running_mean, running_var = self._host(layer.running_mean.value), self._host(layer.running_var.value)
        std = np.sqrt(var + layer.eps)
        ratio = np.sqrt(np.maximum(running_var, 0) + layer.eps) / std
        return float((np.abs(running_mean - mean) / std + np.abs(np.log(ratio))).mean())

    def _host(self, array: Array) -> np.ndarray:
        copied: np.ndarray = self.learner.G.kernels.to_numpy(array)
        return copied


def layer_rows(observer: StepObserver) -> list[LayerHealth]:
    """The rows of all networks, each network's in the order of its forward pass; to be called after the step."""
    rows: list[LayerHealth] = []
    for name, seen in observer.seen.items():
        inner = {path for layers in (item.layers for item in seen.values()) for path in (x.path for x in layers)}
        for path, item in seen.items():
            if not _is_container(item.layers[0], inner) and _is_telling(item.layers):
                rows.append(_row(observer, name, path, f"{_place(path)} {_kinds(item.layers)}".strip(), item))
    return rows


def _is_container(layer: Layer, seen: set[str]) -> bool:
    """Whether the layers inside it have passes of their own."""
    return any(other is not layer and other.path in seen for _, other in layer.walk())


def _is_telling(layers: tuple[Layer, ...]) -> bool:
    """Whether there are weights to learn, or an activation that can die: not a mere change of shape."""
    weights = any(inner.own_parameters for layer in layers for _, inner in layer.walk())
    return weights or isinstance(layers[-1], ACTIVATIONS)


def _place(path: str) -> str:
    """The places in a path: `"D.2.Residual.inner.1.ReLU"` gives `"2.1"`; names other than `inner` stay."""
    return ".".join(part for part in path.split(".")[1:-1] if part.isdigit() or (part.islower() and part != "inner"))


def _kinds(layers: tuple[Layer, ...]) -> str:
    return ", ".join(
        f"{layer.inner.describe()} / sigma" if isinstance(layer, SpectralNorm) else layer.describe() for layer in layers
    )


def _row(observer: StepObserver, name: str, path: str, label: str, seen: _Seen) -> LayerHealth:
    channels = len(seen.low)
    enough = seen.count // channels >= FEWEST and channels > 1
    span = CONSTANT * max(float(np.abs(seen.low).max()), float(np.abs(seen.high).max()))
    rectified = isinstance(seen.layers[-1], LeakyReLU)
    saturating = isinstance(seen.layers[-1], SATURATING)
    gradient, largest, update = _learning(observer, name, seen.layers)
    return LayerHealth(
        path=path,
        label=label,
        network=name,
        rms=math.sqrt(seen.squares / seen.count),
        dead=int((seen.high - seen.low <= span).sum()) if enough else None,
        channels=channels,
        closed=int((seen.high <= 0).sum()) if enough and rectified else None,
        saturated=seen.flat / seen.count if saturating else None,
        passed=seen.passed,
        gradient=gradient,
        largest=largest,
        update=update,
        apart=float(np.mean(seen.apart)) if seen.apart else None,
        sigma=_sigma(observer, name, seen),
    )


def _learning(
    observer: StepObserver, name: str, layers: tuple[Layer, ...]
) -> tuple[float | None, float | None, float | None]:
    """Rms and largest of the gradient of the layers' weights, and the size of their update."""
    learner = observer.learner
    parameters = [p for layer in layers for _, inner in layer.walk() for p in inner.own_parameters]
    if not parameters or name not in observer.gradients:
        return None, None, None
    grads = [np.asarray(_of(observer.gradients, learner, name, p), np.float64) for p in parameters]
    largest = max(float(np.abs(g).max()) for g in grads)
    rms = math.sqrt(sum(float((g * g).sum()) for g in grads) / sum(g.size for g in grads))
    moved = weight = 0.0
    for p in parameters:
        before = np.asarray(_of(observer.weights_before, learner, name, p), np.float64)
        after = np.asarray(observer._host(p.value), np.float64)
        moved += float(((after - before) ** 2).sum())
        weight += float((before * before).sum())
    return rms, largest, math.sqrt(moved / weight) if weight else None


def _of(copies: Mapping[str, np.ndarray], learner: Learner, name: str, parameter: Parameter) -> np.ndarray:
    """The parameter's part of a copy of its network's arena."""
    start = learner.networks[name].arena.offsets[parameter]
    return copies[name][start : start + parameter.size].reshape(parameter.shape)


def _sigma(observer: StepObserver, name: str, seen: _Seen) -> float | None:
    """The spectral norm of the weight that the step computed with."""
    if seen.sigma is not None:
        return seen.sigma
    layer = seen.layers[0]
    if not isinstance(layer, Conv2D | Dense) or name not in observer.weights_before:
        return None
    return _largest_singular(layer, _of(observer.weights_before, observer.learner, name, layer.w))


def _largest_singular(layer: Layer, w: np.ndarray) -> float:
    """The largest singular value of a weight as a matrix (inputs of an output) x (outputs)."""
    axis = SpectralNorm(layer).output_axis if isinstance(layer, Conv2D | Dense) else -1
    W = np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis]).astype(np.float64)
    product = W.T @ W if W.shape[1] <= W.shape[0] else W @ W.T
    return math.sqrt(max(float(np.linalg.eigvalsh(product)[-1]), 0.0))


def _ratio(after: np.ndarray, before: np.ndarray) -> float | None:
    """Norm over norm; None if there was nothing to pass on."""
    below = float(np.linalg.norm(before.astype(np.float64)))
    return float(np.linalg.norm(after.astype(np.float64))) / below if below else None
