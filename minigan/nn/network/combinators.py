"""Layers around a shortcut, joined to their input, and side by side."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import reduce
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.network.sequential import Sequential, item
from minigan.nn.network.summary import html_table, outline
from minigan.nn.network.tape import Tape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import kind_of


class BranchCache(NamedTuple):
    inner: Tape
    shortcut: Tape | None


class Block(Layer):
    """A layer around other layers, which it shows."""

    def __repr__(self) -> str:
        return outline(self)

    def _repr_html_(self) -> str:
        return html_table(self)


class Residual(Block):
    """Residual block: y = f(x) + g(x), with f the given layers and g the identity or the layers of a shortcut.

    Source: He et al. 2016, equations 1 and 2.

    Args:
        layers: the layers of f.
        shortcut: the layers of g, needed where f changes the shape; None is the identity.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self, layers: Sequence[Layer], *, shortcut: Sequence[Layer] | None = None) -> None:
        super().__init__()
        self.inner = Sequential(layers, name=f"{self.path}.inner")
        self.shortcut = Sequential(shortcut, name=f"{self.path}.shortcut") if shortcut is not None else None

    def infer(self, input_shape: Shape) -> Shape:
        shape = self.inner.setup(input_shape, f"{self.path}.inner")
        bypass = self.shortcut.setup(input_shape, f"{self.path}.shortcut") if self.shortcut else input_shape
        if shape != bypass:
            raise ShapeError(
                f"{self.path}: cannot add the inner layers' {shape} to the shortcut's {bypass}. "
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
            return self.kernels.add(y, x), BranchCache(inner, None)
        bypass, shortcut = self.shortcut.forward(x, train=train, rng=rng)
        return self.kernels.add(y, bypass), BranchCache(inner, shortcut)

    def backward(self, dy: Array, cache: BranchCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        dx = self.inner.backward(dy, cache.inner, grads=grads, need_dx=need_dx)
        bypass = dy
        if self.shortcut and cache.shortcut:
            bypass = self.shortcut.backward(dy, cache.shortcut, grads=grads, need_dx=need_dx)
        return self.kernels.add(dx, bypass) if need_dx else None

    def backward_recorded(self, dy: Array, cache: BranchCache) -> tuple[Array, tuple[Any, Any]]:
        dx, inner = self.inner.backward_recorded(dy, cache.inner)
        bypass, shortcut = dy, None
        if self.shortcut and cache.shortcut:
            bypass, shortcut = self.shortcut.backward_recorded(dy, cache.shortcut)
        return self.kernels.add(dx, bypass), (inner, shortcut)

    def double_backward(
        self, v: Array, record: tuple[Any, Any], cache: BranchCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        ddy, ddx = self.inner.double_backward(v, record[0], cache.inner, grads=grads)
        if not (self.shortcut and cache.shortcut):
            return self.kernels.add(ddy, v), ddx
        bypass, bypass_ddx = self.shortcut.double_backward(v, record[1], cache.shortcut, grads=grads)
        if ddx is not None and bypass_ddx is not None:
            ddx = self.kernels.add(ddx, bypass_ddx)
        return self.kernels.add(ddy, bypass), ddx if ddx is not None else bypass_ddx

    def extend(self, u: Array, record: tuple[Any, Any], cache: BranchCache, *, grads: Gradients | None) -> Array:
        y = self.inner.extend(u, record[0], cache.inner, grads=grads)
        if not (self.shortcut and cache.shortcut):
            return self.kernels.add(y, u)
        return self.kernels.add(y, self.shortcut.extend(u, record[1], cache.shortcut, grads=grads))

    def commit_statistics(self, cache: BranchCache) -> None:
        self.inner.commit_statistics(cache.inner)
        if self.shortcut and cache.shortcut:
            self.shortcut.commit_statistics(cache.shortcut)


class SkipConcat(Block):
    """Skip connection: y = [x, f(x)], joined along the channels. One level of a U-Net.

    Source: Ronneberger et al. 2015, figure 1; pix2pix (Isola et al. 2017), section 3.2.

    Args:
        layers: the layers of f, which keeps the image's size and may change its channels.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.inner = Sequential(layers, name=f"{self.path}.inner")

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
        return self.kernels.add(dx, dskip, out=dskip) if need_dx else None

    def backward_recorded(self, dy: Array, cache: Tape) -> tuple[Array, Any]:
        dskip, dinner = self._split(dy)
        dx, record = self.inner.backward_recorded(dinner, cache)
        return self.kernels.add(dx, dskip), record

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


class Parallel(Block):
    """Networks side by side: y = [f_1(x), ..., f_K(x)], joined along the last axis; all see the same input.

    K discriminators that each end in one logit are together one discriminator with K logits. A loss that takes the
    mean over all logits is then the mean of the K losses. `len(parallel)`, `parallel[0]` and iteration give the
    branches.

    Args:
        branches: the layers of f_1, ..., f_K; their outputs agree in all but the last axis.
    """

    narrow: ClassVar[bool] = True

    separable: ClassVar[bool] = True
    ends: list[int]  # the branches' last channels in the output, exclusive

    def __init__(self, branches: Sequence[Sequence[Layer]]) -> None:
        super().__init__()
        if isinstance(branches, Layer) or not isinstance(branches, Iterable):
            raise ConfigError(
                f"{self.path}: expected a list of branches, got {kind_of(branches)}. Write Parallel([[...], [...]])."
            )
        self.branches = [Sequential(layers, name=f"{self.path}.{k}") for k, layers in enumerate(branches)]
        if not self.branches:
            raise ShapeError(f"{self.path}: expected at least one branch, got none.")

    def __len__(self) -> int:
        """The number of branches."""
        return len(self.branches)

    def __iter__(self) -> Iterator[Sequential]:
        return iter(self.branches)

    def __getitem__(self, index: int) -> Sequential:
        return item(self.branches, index, of=self.path, a="a branch")

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
            dx = branch_dx if dx is None else self.kernels.add(dx, branch_dx)
        return dx

    def backward_recorded(self, dy: Array, cache: list[Tape]) -> tuple[Array, list[Any]]:
        results = [
            branch.backward_recorded(part, tape)
            for branch, part, tape in zip(self.branches, self._split(dy), cache, strict=True)
        ]
        return reduce(self.kernels.add, (dx for dx, _ in results)), [record for _, record in results]

    def double_backward(
        self, v: Array, record: list[Any], cache: list[Tape], *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        results = [
            branch.double_backward(v, branch_record, tape, grads=grads)
            for branch, branch_record, tape in zip(self.branches, record, cache, strict=True)
        ]
        curved = [ddx for _, ddx in results if ddx is not None]
        return self._join([ddy for ddy, _ in results]), reduce(self.kernels.add, curved) if curved else None

    def commit_statistics(self, cache: list[Tape]) -> None:
        for branch, tape in zip(self.branches, cache, strict=True):
            branch.commit_statistics(tape)

    @property
    def own_flops(self) -> int:
        return 0  # the branches' layers count their own

    def _join(self, parts: list[Array]) -> Array:
        joined = self.kernels.empty((*parts[0].shape[:-1], self.ends[-1]), parts[0].dtype)
        for part, span in zip(parts, self._spans(), strict=True):
            joined[..., span] = part
        return joined

    def _split(self, y: Array) -> list[Array]:
        return [self.kernels.xp.ascontiguousarray(y[..., span]) for span in self._spans()]

    def _spans(self) -> list[slice]:
        """The channels of the output that belong to each branch."""
        return [slice(a, b) for a, b in zip([0, *self.ends[:-1]], self.ends, strict=True)]
