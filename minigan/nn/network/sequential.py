"""Layers one after the other."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import DTypeError, ShapeError
from minigan.nn.layers.base import Cache, Layer, Shape
from minigan.nn.layers.fused import steps
from minigan.nn.network.observer import Observer, Watch, told
from minigan.nn.network.tape import Tape
from minigan.nn.parameters import Gradients


class Sequential(Layer):
    """Layers one after the other; itself a layer, so sequences nest.

    Args:
        layers: in the order of the forward pass.
        name: stands in error messages and summaries; `"G"`, `"D"`.
    """

    def __init__(self, layers: Iterable[Layer], *, name: str = "net") -> None:
        super().__init__()
        self.layers = list(layers)
        self.path = name
        self._watch = Watch()
        if not self.layers:
            raise ShapeError(f"{name}: a network needs at least one layer, got none.")

    def infer(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for index, layer in enumerate(self.layers):
            shape = layer.setup(shape, f"{self.path}.{index}.{type(layer).__name__}")
        return shape

    def plan(self, *, fuse: bool) -> None:
        self._fuse = fuse
        self._steps = steps(self.layers, fuse=fuse)

    def given(self, condition: Array | None) -> Self:
        layers = [layer.given(condition) for layer in self.layers]
        if all(one is other for one, other in zip(layers, self.layers, strict=True)):
            return self
        network = copy(self)
        network.layers = layers
        network.plan(fuse=self._fuse)
        return network

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """While this lasts, the observer is told of each pass of this network and of the networks inside it.

        So it is of their conditioned copies (`given`), whenever they were made. One observer at a time: the one of an
        outer `with` hears nothing meanwhile.
        """
        watches = [layer._watch for _, layer in self.walk() if isinstance(layer, Sequential)]
        before = [watch.observer for watch in watches]
        try:
            for watch in watches:
                watch.observer = observer
            yield
        finally:
            for watch, other in zip(watches, before, strict=True):
                watch.observer = other

    @property
    def is_observed(self) -> bool:
        """Whether somebody is told of its passes."""
        return self._watch.observer is not None

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def behind(self, front: Sequence[Layer]) -> "Sequential":
        """A network, not built, of some more layers and then this one's, under its name."""
        return Sequential([*front, *self.layers], name=self.path) if front else self

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Tape]:
        """The output, and the tape that `backward` needs.

        Raises:
            ShapeError, DTypeError: x is not what the network was built for.
        """
        self._check("x", x, None, self.input_shape)
        caches: list[Cache] = []
        y = x
        for step in told(self._steps, self, self._watch):
            y, step_caches = step.forward(y, train=train, rng=rng)
            caches += step_caches
        return y, Tape(caches, self.arena, inputs=len(x), outputs=len(y))

    def backward(
        self, dy: Array, tape: Tape, *, grads: Gradients | None, need_dx: bool = True, release: bool = False
    ) -> Array | None:
        """The gradient of the input; see `Layer.backward`.

        With `need_dx=False` the walk ends at the first layer that has parameters, without its dx.

        Args:
            release: release the tape, and let go of each layer's activations as soon as its gradients are there, so
                that those of the layers below may have their memory.
        Raises:
            StaleTapeError: the weights changed since the tape was made, or it was released.
        """
        caches = tape.caches(self)
        self._check("dy", dy, tape.outputs, self.output_shape)
        if release:
            tape.release()
        last = 0 if need_dx else self._first_trained()
        end = len(self.layers)
        for step in reversed(told(self._steps, self, self._watch)):
            first = end - len(step)  # a step is the tuple of its layers
            if end > last:
                dy = step.backward(dy, caches[first:end], grads=grads, need_dx=need_dx or first > last)
            if release:
                del caches[first:]
            end = first
        return dy if need_dx else None

    def backward_recorded(self, dy: Array, cache: Tape) -> tuple[Array, list[Any]]:
        """Backward to the input, keeping each layer's cotangent; the first sweep of a double backward."""
        caches = cache.caches(self)
        self._check("dy", dy, cache.outputs, self.output_shape)
        records: list[Any] = []
        layers = told(self.layers, self, self._watch)
        for layer, layer_cache in zip(reversed(layers), reversed(caches), strict=True):
            dy, record = layer.backward_recorded(dy, layer_cache)
            records.append(record)
        return dy, records[::-1]

    def double_backward(
        self, v: Array, record: list[Any], cache: Tape, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        """The gradient of `backward_recorded`, of a P with v = dP/d(dx).

        The up-sweep carries v from the input to the output. Each layer whose backward depends on its own input x
        also hands back dP/dx; the down-sweep then is an ordinary backward that starts from the last of these and
        picks up the others on its way. Piecewise-linear layers hand back None, and without any the sweep is skipped.
        """
        caches = cache.caches(self)
        self._check("v", v, cache.inputs, self.input_shape)
        injected: list[Array | None] = []
        up, below = (told(self.layers, self, self._watch, down=down) for down in (False, True))
        for layer, layer_record, layer_cache in zip(up, record, caches, strict=True):
            v, ddx = layer.double_backward(v, layer_record, layer_cache, grads=grads)
            injected.append(ddx)

        down: Array | None = None
        for layer, layer_cache, ddx in reversed(list(zip(below, caches, injected, strict=True))):
            if down is not None:
                down = layer.backward(down, layer_cache, grads=grads)
            if ddx is not None:
                down = ddx if down is None else down + ddx
        return v, down

    def commit_statistics(self, cache: Tape) -> None:
        """Folds the tape's batch statistics into the running ones."""
        for layer, layer_cache in zip(self.layers, cache.caches(self), strict=True):
            layer.commit_statistics(layer_cache)

    @property
    def flops(self) -> int:
        return 0  # its layers count their own

    def _first_trained(self) -> int:
        """The index of the first layer with parameters; below it no gradient is needed."""
        for index, layer in enumerate(self.layers):
            if any(inner.own_parameters for _, inner in layer.walk()):
                return index
        return len(self.layers)

    def _check(self, name: str, array: Array, batch_size: int | None, shape: Shape) -> None:
        """Refuses what is not an array of this network's backend and dtype, (N, *shape); N may be any but 0 if None."""
        if not isinstance(array, self.kernels.xp.ndarray):
            raise DTypeError(
                f"{self.path}: expected {name} as an array of {self.kernels.xp.__name__}, got {type(array)}. "
                "Move it with backend.asarray(...)."
            )
        if array.ndim == 0 or array.shape[1:] != shape or batch_size not in (None, len(array)) or not len(array):
            expected = f"(N, {', '.join(map(str, shape))})" + ("" if batch_size is None else f" with N = {batch_size}")
            raise ShapeError(
                f"{self.path}: expected {name} of shape {expected}, got {array.shape}. "
                "Build the network with the shape of the data, or resize the data."
            )
        if array.dtype != self.dtype:
            raise DTypeError(
                f"{self.path}: expected {name} of dtype {self.dtype}, got {array.dtype}. "
                f"Convert with {name}.astype('{self.dtype}') or build the network with dtype='{array.dtype}'."
            )

    def summary(self, *, batch_size: int = 64) -> str:
        """A table: layer, output shape, parameters, millions of operations of a forward pass per example.

        What a layer is made of stands below it, further to the right.

        On a backend that has several ways to compute a convolution also which one each layer got: one name, or three
        for the layer's forward pass, dx and dw.

        Args:
            batch_size: the choice depends on it; stands in the table's title.
        """
        rows: list[tuple[str, ...]] = [("layer", "output shape", "parameters", "MFLOP", "algorithm (or y | dx | dw)")]
        around = [""]  # the prefixes of the layers that the present one stands inside of
        for prefix, layer in self.walk():
            if isinstance(layer, Sequential):
                continue
            while not prefix.startswith(around[-1]):
                around.pop()
            count = sum(p.size for p in layer.own_parameters)
            label = "  " * (len(around) - 1) + f"{prefix[len(around[-1]) : -1]} {layer.describe()}"
            around.append(prefix)
            names = layer.algorithms(batch_size)
            algorithm = names[0] if len(set(names)) == 1 else " | ".join(names)
            rows.append((label, str(layer.output_shape), f"{count:,}", f"{layer.flops / 1e6:,.2f}", algorithm))
        rows.append(("total", "", f"{len(self.arena):,}", f"{self.total_flops / 1e6:,.2f}", ""))
        title = f"{self.path}: {self.input_shape} -> {self.output_shape}"
        if any(row[-1] for row in rows[1:]):
            title += f", algorithms for batches of {batch_size}"
        else:
            rows = [row[:-1] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>><", widths, strict=False)).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([title, lines[0], rule, *lines[1:-1], rule, lines[-1]])
