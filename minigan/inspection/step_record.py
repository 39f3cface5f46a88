"""A record of one real step: the passes through each layer, the kernels they called, and what they left on the tape.

The learner runs a step on few examples of random numbers, on the reference backend, and it is thrown away. What is
computed and what is not is so by observation, not by assumption. Only the arithmetic of matrix products is left out,
since no number is of interest. Bytes are measured at two batch sizes; being linear in it, they are known for any.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.inspection.noted_backend import DryBackend, NotedBackend
from minigan.nn.layers import Layer, MinibatchStdDev
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Observer, Pass, Sequential
from minigan.nn.network.observer import PassKind
from minigan.nn.network.styled import conditional_layers
from minigan.nn.network.tape import arrays_in, owner_of
from minigan.recipes import Recipe
from minigan.support.memory_limit import expect_room
from minigan.support.representation import constructor_call
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.learner import Learner
from minigan.training.supervised import Supervised

ALIVE = 3  # arrays of a layer's size at a time: two tapes of D, and the gradients on their way

__all__ = ["Kept", "LayerRecord", "StepRecord", "record_step"]


class Kept(NamedTuple):
    """Arrays that a forward pass leaves for backward.

    Attributes:
        names: of the arrays, as the layer's cache has them.
        nbytes: bytes that no layer before has left already.
        shared: whether some of them are arrays that a layer before has left.
    """

    names: tuple[str, ...]
    nbytes: int
    shared: bool


class PassRecord(NamedTuple):
    """One pass through one layer.

    Attributes:
        kind: see `minigan.nn.network.Pass`.
        with_grads: whether the gradients of its weights were computed.
        with_result: whether dx was.
        kernels: called, in order.
        paths: of all layers of the pass, itself among them: two layers may run as one.
        curved: whether a double backward gave a dP/dx.
    """

    kind: PassKind
    with_grads: bool
    with_result: bool
    kernels: tuple[str, ...]
    paths: tuple[str, ...]
    curved: bool


class LayerRecord(NamedTuple):
    """All that a step did with one layer.

    Attributes:
        examples: that go in for each example of the batch; 1 but behind a `Pack`.
        kept: after its first forward pass.
        passes: in order.
        joined: paths of the layers that run as one with it.
        after: the path of the one before it, if it is the second of them.
    """

    examples: Fraction
    kept: Kept
    passes: tuple[PassRecord, ...]
    joined: tuple[str, ...]
    after: str | None

    def ran(self, *kinds: PassKind) -> list[PassRecord]:
        """The passes of these kinds."""
        return [record for record in self.passes if record.kind in kinds]


class StepRecord(NamedTuple):
    """A step.

    Attributes:
        learner: that did it, on the reference backend.
        optimizers: as they were before it, by the learner's names for them.
        layers: records by path of layer. A layer that no pass reached, for want of need, has those that did.
    """

    learner: Learner
    optimizers: dict[str, str]
    layers: dict[str, LayerRecord]


class _Recorder(Observer):
    """Keeps what happens; arrays are kept alive, so that each has an identity of its own."""

    def __init__(self, backend: NotedBackend, batch_size: int) -> None:
        self.backend, self.batch_size = backend, batch_size
        self.passes: dict[str, list[PassRecord]] = {}
        self.examples: dict[str, Fraction] = {}
        self.kept: dict[str, Kept] = {}
        self._memory: dict[int, int] = {}
        self._alive: list[Array] = []
        self._open: list[tuple[int, list[str]]] = []  # where a pass's notes begin, and those of passes inside it

    def before(self, now: Pass) -> None:  # noqa: ARG002
        self._open.append((len(self.backend.noted), []))

    def after(self, now: Pass) -> None:
        first, inside = self._open.pop()
        noted = self.backend.noted[first:]
        own = noted[len(inside) :] if noted[: len(inside)] == inside else noted
        if self._open:
            self._open[-1][1].extend(noted)
        paths = tuple(layer.path for layer in now.layers)
        for index, layer in enumerate(now.layers):
            kernels = tuple(dict.fromkeys(own))
            # Behind the first of two layers that run as one, dx is what the first one's weights need.
            with_result = now.result is not None or (index > 0 and now.grads is not None)
            record = PassRecord(now.kind, now.grads is not None, with_result, kernels, paths, now.curvature is not None)
            self.passes.setdefault(layer.path, []).append(record)
            if now.kind == "forward" and layer.path not in self.kept:
                self.examples[layer.path] = Fraction(len(now.given), self.batch_size)
                self.kept[layer.path] = self._keep(now.cache[index])

    def _keep(self, cache: Any) -> Kept:
        """Accounts for a cache: memory that two layers share belongs to the first."""
        nbytes, shared = 0, False
        for array in arrays_in(cache, np.ndarray):
            self._alive.append(array)
            memory = owner_of(array)
            shared |= memory in self._memory
            nbytes += max(0, array.nbytes - self._memory.get(memory, 0))
            self._memory[memory] = max(array.nbytes, self._memory.get(memory, 0))
        return Kept(_names(cache), nbytes, shared)


def _names(cache: Any) -> tuple[str, ...]:
    """The names of the fields of a layer's cache that hold arrays."""
    if cache is None or not hasattr(cache, "_fields"):
        return ()
    return tuple(name for name in cache._fields if any(True for _ in arrays_in([getattr(cache, name)], np.ndarray)))


def record_step(recipe: Recipe, image_shape: tuple[int, ...], batch_size: int, *, dtype: str = "float32") -> StepRecord:
    """Runs a step of a recipe and records it, as it would be for that batch size.

    Args:
        recipe: its networks, loss, penalty and optimizers.
        image_shape: of what G draws.
        batch_size: of the step that is described; the one that runs is smaller.
        dtype: of the networks.
    Raises:
        ConfigError, ShapeError: the recipe cannot draw such images.
        OutOfMemoryError: even a step on few examples of them does not fit.
    """
    backend = DryBackend()
    learner = recipe.assemble(image_shape, backend=backend, dtype=dtype, rng=np.random.default_rng(0))
    learner.n_critic = learner.accumulate = 1  # of several equal steps of D, or batches, one is enough
    optimizers = {name: constructor_call(item, leave_out=("arena",)) for name, item in learner.optimizers.items()}
    layers = [layer for net in learner.networks.values() for _, layer in net.walk()]
    unit = math.lcm(*map(_least, layers))
    numbers = min(batch_size, 2 * unit) * sum(math.prod(layer.output_shape) for layer in layers)
    expect_room(4 * ALIVE * numbers, what="a small step", remedy="Choose smaller images.")
    if batch_size <= 2 * unit or batch_size % unit:
        return StepRecord(learner, optimizers, _run(learner, backend, batch_size))
    small, large = _run(learner, backend, unit), _run(learner, backend, 2 * unit)
    grown = {
        path: record._replace(kept=record.kept._replace(nbytes=_line(record, large[path], unit, batch_size)))
        for path, record in small.items()
    }
    return StepRecord(learner, optimizers, grown)


def _least(layer: Layer) -> int:
    """The batch sizes that a layer works with are multiples of this one."""
    if isinstance(layer, Pack):
        return layer.count
    return layer.group if isinstance(layer, MinibatchStdDev) else 2  # BatchNorm needs two values of a vector


def _line(small: LayerRecord, large: LayerRecord, unit: int, batch_size: int) -> int:
    """Bytes at a batch size, from those at one and two units: a + b n."""
    slope = (large.kept.nbytes - small.kept.nbytes) // unit
    return small.kept.nbytes + slope * (batch_size - unit)


def _run(learner: Learner, backend: NotedBackend, batch_size: int) -> dict[str, LayerRecord]:
    recorder = _Recorder(backend, batch_size)
    rng = np.random.default_rng(0)
    with learner.observed(recorder):
        learner.step(_batches(learner, batch_size, rng), rng)
    records = {}
    for path, passes in recorder.passes.items():
        paths = passes[0].paths
        others, place = tuple(other for other in paths if other != path), paths.index(path)
        after = paths[place - 1] if place else None
        records[path] = LayerRecord(recorder.examples[path], recorder.kept[path], tuple(passes), others, after)
    return records


def _batches(learner: Learner, n: int, rng: np.random.Generator) -> Iterator[Any]:
    """Endless batches of random numbers in the form that the learner takes."""
    networks = list(learner.networks.values())
    while True:
        real = learner.random_batch(n, rng)
        if not isinstance(learner, AlternatingOptimizer | Supervised):
            yield real
            continue
        without_noise = isinstance(learner, Supervised) or learner.noise is None
        source = rng.uniform(-1, 1, (n, *learner.G.input_shape)).astype(np.float32) if without_noise else None
        yield Batch(real, condition=_condition(networks, n, rng), source=source)


def _condition(networks: list[Sequential], n: int, rng: np.random.Generator) -> np.ndarray | None:
    """A condition for the networks' conditional layers, which share it; None if there are none."""
    for network in networks:
        for layer in conditional_layers(network):
            if len(layer.shape) == 1:
                return np.eye(layer.shape[0], dtype=np.float32)[rng.integers(layer.shape[0], size=n)]
            return rng.uniform(-1, 1, (n, *layer.shape)).astype(np.float32)
    return None
