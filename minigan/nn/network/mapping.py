"""StyleGAN's mapping network, which makes styles w of noise z; and networks that are told a mapped condition."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.initializers import Constant
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.layers.condition import Condition, Conditional
from minigan.nn.network.combinators import Block
from minigan.nn.network.sequential import Sequential
from minigan.nn.network.tape import Tape
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import number, whole

__all__ = ["MappedCondition", "MappingNetwork"]


class MappingCache(NamedTuple):
    w: Array  # (N, F)
    inner: Tape
    truncation: float
    own: Array | None = None  # (N, rows, 1): 1 where a row is w, 0 where it is the second style
    other: Tape | None = None  # of the second style


class MappingNetwork(Block):
    """Mapping network: noise z (Z,) becomes a style w (F,), which stands in each of the rows of the output (rows, F).

    Each layer of the synthesis reads a row of its own. What is done to styles between the two networks is done here:

    - **Style mixing**, in training. With that probability an example's rows from a random one on are the style of a
      second z, drawn on the spot, so that neighboring layers cannot rely on the same style.
    - **The mean style**: the state `w_avg` follows the mean of w, by `decay` a step.
    - **Truncation**, in evaluation: w_avg + truncation (w - w_avg). Styles nearer to the mean make pictures that vary
      less and mostly look better. 1 leaves w as it is.

    The state `path_length` belongs to `minigan.losses.path_length`.

    Source: Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", sections 2
    and 3.1, appendix B; in the order of StyleGAN2-ADA (Karras et al. 2020a).

    Args:
        layers: the layers from z to w.
        rows: the number of rows, one for each layer of the synthesis.
        mixing: the probability of mixing, .9 in the source.
        decay: of the mean style, .995 in the source.
    Attributes:
        truncation: see above; set by `truncated`.
    """

    truncation: float = 1.0
    w_avg: Parameter
    path_length: Parameter

    def __init__(self, layers: Sequence[Layer], *, rows: int, mixing: float = 0.0, decay: float = 0.995) -> None:
        super().__init__()
        self.inner = Sequential(layers, name=f"{self.path}.inner")
        self.rows = whole(rows, "rows", of=self.path)
        self.mixing = number(mixing, "mixing", of=self.path, least=0, most=1)
        self.decay = number(decay, "decay", of=self.path, least=0, below=1)
        if mixing and rows < 2:
            raise ConfigError(f"{self.path}: one row has nothing to mix, got mixing={mixing}. Leave it out.")

    def infer(self, input_shape: Shape) -> Shape:
        features = self.expect_vector(self.inner.setup(input_shape, f"{self.path}.inner"))
        self.w_avg = self.add_state("w_avg", (features,), Constant(0))
        self.path_length = self.add_state("path_length", (1,), Constant(0))
        return self.rows, features

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner

    def given(self, condition: Array | None) -> Self:
        return self._with(inner=self.inner.given(condition))

    def truncated(self, truncation: float) -> Self:
        """This layer with another truncation, and the same parameters."""
        return self._with(truncation=number(truncation, "truncation", of=self.path, least=0))

    def _with(self, *, inner: Sequential | None = None, truncation: float | None = None) -> Self:
        inner = self.inner if inner is None else inner
        truncation = self.truncation if truncation is None else float(truncation)
        if inner is self.inner and truncation == self.truncation:
            return self
        bound = type(self).__new__(type(self))
        vars(bound).update(vars(self))
        bound.inner, bound.truncation = inner, truncation
        return bound

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, MappingCache]:
        w, tape = self.inner.forward(x, train=train, rng=rng)
        if train and self.mixing:
            return self._mixed(x, w, tape, rng)
        truncation = 1.0 if train else self.truncation
        if truncation == 1:
            return self._repeated(w), MappingCache(w, tape, truncation)
        mean = self.w_avg.value
        return self._repeated(mean + w.dtype.type(truncation) * (w - mean)), MappingCache(w, tape, truncation)

    def _mixed(self, x: Array, w: Array, tape: Tape, rng: np.random.Generator | None) -> tuple[Array, MappingCache]:
        """The rows of w, the last of them of a second style."""
        if rng is None:
            raise ConfigError(f"{self.path}: expected an rng in training, got none. Pass forward(..., rng=generator).")
        z, own = self.kernels.feed(
            lambda: (rng.standard_normal(x.shape), self._own_rows(rng, len(x))), dtype=self.dtype
        )
        other, other_tape = self.inner.forward(z, train=True, rng=rng)
        y = self._repeated(w)
        y *= own
        y += (1 - own) * other[:, None]
        return y, MappingCache(w, tape, 1.0, own, other_tape)

    def _own_rows(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The mask of the rows that keep w: (n, rows, 1)."""
        mixed, crossover = rng.random(n) < self.mixing, rng.integers(1, self.rows, n)
        last = np.where(mixed, crossover, self.rows)
        return (np.arange(self.rows) < last[:, None])[..., None].astype(np.float64)

    def backward(
        self, dy: Array, cache: MappingCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        if cache.own is not None and cache.other is not None and grads is not None:
            self.inner.backward(((1 - cache.own) * dy).sum(axis=1), cache.other, grads=grads, need_dx=False)
        return self.inner.backward(self._dw(dy, cache), cache.inner, grads=grads, need_dx=need_dx)

    def backward_recorded(self, dy: Array, cache: MappingCache) -> tuple[Array, Any]:
        return self.inner.backward_recorded(self._dw(dy, cache), cache.inner)

    def double_backward(
        self, v: Array, record: Any, cache: MappingCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        """The second style depends on no input: dx is that of w alone."""
        ddw, ddx = self.inner.double_backward(v, record, cache.inner, grads=grads)
        ddy = self._repeated(ddw)
        if cache.truncation != 1:
            ddy *= cache.truncation
        if cache.own is not None:
            ddy *= cache.own
        return ddy, ddx

    def _dw(self, dy: Array, cache: MappingCache) -> Array:
        """The gradient of w."""
        dw = (dy if cache.own is None else cache.own * dy).sum(axis=1)
        if cache.truncation != 1:
            dw *= cache.truncation
        return dw

    def commit_statistics(self, cache: MappingCache) -> None:
        """Moves the mean style to that of a batch of training, on all ranks."""
        self.inner.commit_statistics(cache.inner)
        ranks, mean = self.kernels.ranks, self.w_avg.value
        mean += (1 - self.decay) * (ranks.sum(cache.w.mean(axis=0)) / ranks.size - mean)

    def _repeated(self, w: Array) -> Array:
        y = self.kernels.empty((len(w), *self.output_shape), w.dtype)
        y[...] = w[:, None]
        return y

    @property
    def own_flops(self) -> int:
        return 0  # its layers count their own


class MappedCache(NamedTuple):
    e: Array  # f(c)
    mapping: Tape
    inner: Tape


class MappedCondition(Conditional, Block):
    """Layers that are given a function of the condition: y = g(x | f(c)).

    In StyleGAN2 f embeds the class, and g joins it to z, or is D's inner product with it.

    Source: Karras et al. 2020a ("Training Generative Adversarial Networks with Limited Data"), the authors' networks;
        the inner product Miyato & Koyama 2018, equation 3.

    Args:
        shape: the shape of c.
        mapping: the layers of f.
        layers: the layers of g, among them one with a condition of f's shape.
    """

    separable: ClassVar[bool] = True

    def __init__(self, shape: Shape, mapping: Sequence[Layer], layers: Sequence[Layer]) -> None:
        super().__init__(shape)
        self.mapping = Sequential(mapping, name=f"{self.path}.mapping")
        self.inner = Sequential(layers, name=f"{self.path}.inner")

    def infer(self, input_shape: Shape) -> Shape:
        self.mapping.setup(self.shape, f"{self.path}.mapping")
        return self.inner.setup(input_shape, f"{self.path}.inner")

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "mapping", self.mapping
        yield "inner", self.inner

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, MappedCache]:
        e, mapping = self.mapping.forward(self.condition_of(x), train=train, rng=rng)
        y, inner = self.inner.given(e).forward(x, train=train, rng=rng)
        return y, MappedCache(e, mapping, inner)

    def backward(self, dy: Array, cache: MappedCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        de = self._destination(cache, wanted=grads is not None)
        network = self.inner.given(Condition(cache.e, de))
        dx = network.backward(dy, cache.inner, grads=grads, need_dx=need_dx)
        self._to_condition(de, cache, grads)
        return dx

    def backward_recorded(self, dy: Array, cache: MappedCache) -> tuple[Array, Any]:
        de, record = self._destination(cache, wanted=False), None
        dx, inner = self.inner.given(Condition(cache.e, de)).backward_recorded(dy, cache.inner)
        dc = self.condition_gradient
        if de is not None and dc is not None:
            more, record = self.mapping.backward_recorded(de, cache.mapping)
            dc += more
        return dx, (inner, record)

    def double_backward(
        self, v: Array, record: Any, cache: MappedCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        u, tangent = self.condition_tangent, None
        if u is not None:
            tangent, bent = self.mapping.double_backward(u, record[1], cache.mapping, grads=grads)
            if bent is not None and self.condition_gradient is not None:
                self.condition_gradient += bent
        de = self._destination(cache, wanted=grads is not None)
        network = self.inner.given(Condition(cache.e, de, tangent))
        result = network.double_backward(v, record[0], cache.inner, grads=grads)
        self._to_condition(de, cache, grads)
        return result

    def commit_statistics(self, cache: MappedCache) -> None:
        self.mapping.commit_statistics(cache.mapping)
        self.inner.commit_statistics(cache.inner)

    def _destination(self, cache: MappedCache, *, wanted: bool) -> Array | None:
        """Zeros for the gradient of e, if that of the mapping's weights is wanted, or that of the condition."""
        if not wanted and self.condition_gradient is None:
            return None
        de = self.kernels.empty(cache.e.shape, cache.e.dtype)
        de.fill(0)
        return de

    def _to_condition(self, de: Array | None, cache: MappedCache, grads: Gradients | None) -> None:
        """Adds the gradients of the mapping's weights, and of c."""
        if de is None:
            return
        gradient = self.condition_gradient
        dc = self.mapping.backward(de, cache.mapping, grads=grads, need_dx=gradient is not None)
        if gradient is not None and dc is not None:
            gradient += dc

    @property
    def own_flops(self) -> int:
        return 0  # the layers inside count their own
