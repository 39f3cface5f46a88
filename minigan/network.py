"""Networks: layers in sequence, side by side and around a shortcut; and the tape between forward and backward."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import DTypeError, ShapeError, StaleTapeError
from minigan.layers.base import Cache, Layer, Shape
from minigan.layers.fused import steps
from minigan.parameters import Arena, Gradients

__all__ = ["Parallel", "Residual", "Sequential", "SkipConcat", "Tape"]


class Tape:
    """What one forward pass left for the backward pass: a cache for each layer.

    A network can have several tapes alive at once. A tape remembers the version of the weights it saw; used after
    an update it raises `StaleTapeError`, because its gradients would be those of weights that are gone.

    Attributes:
        inputs, outputs: how many examples went in and came out; `Pack` makes one of several.
    """

    def __init__(self, caches: list[Cache], arena: Arena, *, inputs: int, outputs: int) -> None:
        self._caches: list[Cache] | None = caches
        self._arena = arena
        self._version = arena.version
        self.inputs, self.outputs = inputs, outputs

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that the tape keeps alive; memory that two layers share counts once."""
        sizes: dict[int, int] = {}
        for array in _arrays(self._caches, self._arena.backend.xp.ndarray):
            memory = _owner(array)
            # By the largest array on it: a backend may hand out less than all of the memory that it took.
            sizes[memory] = max(sizes.get(memory, 0), array.nbytes)
        return sum(sizes.values())

    def release(self) -> None:
        """Lets go of the activations; the tape cannot be used afterwards."""
        self._caches = None

    def caches(self, network: Layer) -> list[Cache]:
        """The caches, if they are still those of the network's current weights."""
        path = network.path
        if self._caches is None:
            raise StaleTapeError(f"{path}: this tape was released. Run forward again.")
        if self._arena is not network.arena:
            raise StaleTapeError(
                f"{path}: this tape is of another network, or from before this one was built again. Use the tape that "
                f"{path}.forward returned."
            )
        if self._version != self._arena.version:
            raise StaleTapeError(
                f"{path}: this tape was made with version {self._version} of the weights, which are now at version "
                f"{self._arena.version}. Run backward before the optimizer's step, or forward again."
            )
        return self._caches


def _arrays(cache: Any, ndarray: type) -> Iterator[Array]:
    """The arrays in a cache, however nested."""
    if isinstance(cache, Tape):
        cache = cache._caches
    if isinstance(cache, tuple | list):
        for item in cache:
            yield from _arrays(item, ndarray)
    elif isinstance(cache, ndarray):
        yield cache


def _owner(array: Array) -> int:
    """The identity of what owns an array's memory: another array, or a file's or a message's bytes."""
    base = getattr(array, "base", None)
    return id(array if base is None else base)


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

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Tape]:
        """The output, and the tape that `backward` needs.

        Raises:
            ShapeError, DTypeError: x is not what the network was built for.
        """
        self._check("x", x, None, self.input_shape)
        caches: list[Cache] = []
        y = x
        for step in self._steps:
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
        for step in reversed(self._steps):
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
        for layer, layer_cache in zip(reversed(self.layers), reversed(caches), strict=True):
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
        for layer, layer_record, layer_cache in zip(self.layers, record, caches, strict=True):
            v, ddx = layer.double_backward(v, layer_record, layer_cache, grads=grads)
            injected.append(ddx)

        down: Array | None = None
        for layer, layer_cache, ddx in reversed(list(zip(self.layers, caches, injected, strict=True))):
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

        On a backend that has several ways to compute a convolution also which one each layer got: one name, or three
        for the layer's forward pass, dx and dw.

        Args:
            batch_size: the choice depends on it; stands in the table's title.
        """
        rows: list[tuple[str, ...]] = [("layer", "output shape", "parameters", "MFLOP", "algorithm (or y | dx | dw)")]
        for prefix, layer in self.walk():
            if isinstance(layer, Sequential):
                continue
            count = sum(p.size for p in layer.own_parameters)
            label = f"{prefix[:-1]} {layer.describe()}"
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


class BranchCache(NamedTuple):
    inner: Tape
    shortcut: Tape | None


class Residual(Layer):
    """y = f(x) + g(x), with f the given layers and g the identity or the layers of a shortcut.

    Source: He et al. 2016, equations 1 and 2.

    Args:
        layers: f.
        shortcut: g, where f changes the shape; None is the identity.
    """

    def __init__(self, layers: Sequence[Layer], *, shortcut: Sequence[Layer] | None = None) -> None:
        super().__init__()
        self.inner = Sequential(layers)
        self.shortcut = Sequential(shortcut) if shortcut is not None else None

    def infer(self, input_shape: Shape) -> Shape:
        shape = self.inner.setup(input_shape, f"{self.path}.inner")
        beside = self.shortcut.setup(input_shape, f"{self.path}.shortcut") if self.shortcut else input_shape
        if shape != beside:
            raise ShapeError(
                f"{self.path}: cannot add the inner layers' {shape} to the shortcut's {beside}. "
                "Keep the shape, or give a shortcut that changes it in the same way."
            )
        return shape

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner
        if self.shortcut:
            yield "shortcut", self.shortcut

    def given(self, condition: Array | None) -> Self:
        bound = copy(self)
        bound.inner = self.inner.given(condition)
        bound.shortcut = self.shortcut.given(condition) if self.shortcut else None
        return self if bound.inner is self.inner and bound.shortcut is self.shortcut else bound

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, BranchCache]:
        y, inner = self.inner.forward(x, train=train, rng=rng)
        if self.shortcut is None:
            return self._sum(y, x), BranchCache(inner, None)
        beside, shortcut = self.shortcut.forward(x, train=train, rng=rng)
        return self._sum(y, beside), BranchCache(inner, shortcut)

    def backward(self, dy: Array, cache: BranchCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        dx = self.inner.backward(dy, cache.inner, grads=grads, need_dx=need_dx)
        beside = dy
        if self.shortcut and cache.shortcut:
            beside = self.shortcut.backward(dy, cache.shortcut, grads=grads, need_dx=need_dx)
        return self._sum(dx, beside) if need_dx else None

    def backward_recorded(self, dy: Array, cache: BranchCache) -> tuple[Array, tuple[Any, Any]]:
        dx, inner = self.inner.backward_recorded(dy, cache.inner)
        beside, shortcut = dy, None
        if self.shortcut and cache.shortcut:
            beside, shortcut = self.shortcut.backward_recorded(dy, cache.shortcut)
        return dx + beside, (inner, shortcut)

    def double_backward(
        self, v: Array, record: tuple[Any, Any], cache: BranchCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        ddy, ddx = self.inner.double_backward(v, record[0], cache.inner, grads=grads)
        if not (self.shortcut and cache.shortcut):
            return ddy + v, ddx
        beside, beside_ddx = self.shortcut.double_backward(v, record[1], cache.shortcut, grads=grads)
        if ddx is not None and beside_ddx is not None:
            ddx = ddx + beside_ddx
        return ddy + beside, ddx if ddx is not None else beside_ddx

    def commit_statistics(self, cache: BranchCache) -> None:
        self.inner.commit_statistics(cache.inner)
        if self.shortcut and cache.shortcut:
            self.shortcut.commit_statistics(cache.shortcut)

    def _sum(self, a: Array, b: Array) -> Array:
        return self.kernels.xp.add(a, b, out=self.kernels.empty(a.shape, a.dtype))


class SkipConcat(Layer):
    """y = [x, f(x)], joined along the channels: one level of a U-Net.

    Source: Ronneberger et al. 2015, figure 1; pix2pix (Isola et al. 2017), section 3.2.

    Args:
        layers: f; keeps the image's size, chooses its own channels.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.inner = Sequential(layers)

    def infer(self, input_shape: Shape) -> Shape:
        shape = self.inner.setup(input_shape, f"{self.path}.inner")
        if shape[:-1] != input_shape[:-1]:
            raise ShapeError(
                f"{self.path}: cannot join the inner layers' {shape} to the input's {input_shape} along "
                "the channels. Make the inner layers end with the input's size."
            )
        return *shape[:-1], input_shape[-1] + shape[-1]

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner

    def given(self, condition: Array | None) -> Self:
        bound = copy(self)
        bound.inner = self.inner.given(condition)
        return self if bound.inner is self.inner else bound

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Tape]:
        y, tape = self.inner.forward(x, train=train, rng=rng)
        return self._join(x, y), tape

    def backward(self, dy: Array, cache: Tape, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        dskip, dinner = self._split(dy)
        dx = self.inner.backward(dinner, cache, grads=grads, need_dx=need_dx)
        return self.kernels.xp.add(dx, dskip, out=dskip) if need_dx else None

    def backward_recorded(self, dy: Array, cache: Tape) -> tuple[Array, Any]:
        dskip, dinner = self._split(dy)
        dx, record = self.inner.backward_recorded(dinner, cache)
        return dx + dskip, record

    def double_backward(
        self, v: Array, record: Any, cache: Tape, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        ddinner, ddx = self.inner.double_backward(v, record, cache, grads=grads)
        return self._join(v, ddinner), ddx

    def commit_statistics(self, cache: Tape) -> None:
        self.inner.commit_statistics(cache)

    def _join(self, x: Array, y: Array) -> Array:
        joined = self.kernels.empty((len(x), *self.output_shape), x.dtype)
        channels = self.input_shape[-1]
        joined[..., :channels], joined[..., channels:] = x, y
        return joined

    def _split(self, dy: Array) -> tuple[Array, Array]:
        channels = self.input_shape[-1]
        return self._copy(dy[..., :channels]), self._copy(dy[..., channels:])

    def _copy(self, view: Array) -> Array:
        copy = self.kernels.empty(view.shape, view.dtype)
        copy[...] = view
        return copy


class Parallel(Layer):
    """y = [f_1(x), ..., f_K(x)], joined along the last axis: several networks that look at one and the same input.

    K discriminators that each end in one logit are together one discriminator with K logits. A loss that takes the
    mean over all logits is then the mean of the K losses.

    Args:
        branches: the layers of f_1, ..., f_K; their outputs agree in all but the last axis.
    """

    def __init__(self, branches: Sequence[Sequence[Layer]]) -> None:
        super().__init__()
        self.branches = [Sequential(layers) for layers in branches]
        if not self.branches:
            raise ShapeError(f"{self.path}: expected at least one branch, got none.")

    def infer(self, input_shape: Shape) -> Shape:
        shapes = [branch.setup(input_shape, f"{self.path}.{k}") for k, branch in enumerate(self.branches)]
        if len({shape[:-1] for shape in shapes}) > 1:
            raise ShapeError(
                f"{self.path}: cannot join the branches' {', '.join(map(str, shapes))} along the last axis. "
                "Let all end with one size of image, or with vectors."
            )
        self.ends = [int(end) for end in np.cumsum([shape[-1] for shape in shapes])]
        return *shapes[0][:-1], self.ends[-1]

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(k), branch) for k, branch in enumerate(self.branches))

    def given(self, condition: Array | None) -> Self:
        bound = copy(self)
        bound.branches = [branch.given(condition) for branch in self.branches]
        same = all(one is other for one, other in zip(bound.branches, self.branches, strict=True))
        return self if same else bound

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, list[Tape]]:
        results = [branch.forward(x, train=train, rng=rng) for branch in self.branches]
        return self._join([y for y, _ in results]), [tape for _, tape in results]

    def backward(self, dy: Array, cache: list[Tape], *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        dx: Array | None = None
        for branch, part, tape in zip(self.branches, self._split(dy), cache, strict=True):
            branch_dx = branch.backward(part, tape, grads=grads, need_dx=need_dx)
            dx = branch_dx if dx is None else dx + branch_dx
        return dx

    def backward_recorded(self, dy: Array, cache: list[Tape]) -> tuple[Array, list[Any]]:
        results = [
            branch.backward_recorded(part, tape)
            for branch, part, tape in zip(self.branches, self._split(dy), cache, strict=True)
        ]
        return sum(dx for dx, _ in results), [record for _, record in results]

    def double_backward(
        self, v: Array, record: list[Any], cache: list[Tape], *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        results = [
            branch.double_backward(v, branch_record, tape, grads=grads)
            for branch, branch_record, tape in zip(self.branches, record, cache, strict=True)
        ]
        curved = [ddx for _, ddx in results if ddx is not None]
        return self._join([ddy for ddy, _ in results]), sum(curved[1:], curved[0]) if curved else None

    def commit_statistics(self, cache: list[Tape]) -> None:
        for branch, tape in zip(self.branches, cache, strict=True):
            branch.commit_statistics(tape)

    @property
    def flops(self) -> int:
        return 0  # the branches' layers count their own

    def _join(self, parts: list[Array]) -> Array:
        joined = self.kernels.empty((*parts[0].shape[:-1], self.ends[-1]), parts[0].dtype)
        return self.kernels.xp.concatenate(parts, axis=-1, out=joined)

    def _split(self, y: Array) -> list[Array]:
        starts = [0, *self.ends[:-1]]
        return [self.kernels.xp.ascontiguousarray(y[..., a:b]) for a, b in zip(starts, self.ends, strict=True)]
