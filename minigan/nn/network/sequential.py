"""Layers one after the other."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError, DTypeError, NotBuiltError, ShapeError
from minigan.nn.layers.base import Cache, Layer, Shape
from minigan.nn.layers.condition import Condition, Conditional
from minigan.nn.layers.fused import steps
from minigan.nn.network.conversion import Converted, dtypes_of_walk
from minigan.nn.network.observer import Observer, Watch, told
from minigan.nn.network.summary import engine_of, html_table, outline, text_table
from minigan.nn.network.tape import Tape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import call_of_class, flag, instance, is_whole, kind_of, whole

Inner = TypeVar("Inner", bound=Layer)


class Sequential(Layer):
    """Layers one after the other; itself a layer, so sequences nest.

    `len(net)`, `net[3]`, `net[:-1]` and iteration work as for a list of the layers.

    Args:
        layers: in the order of the forward pass.
        name: for error messages and summaries: `"G"`, `"D"`.
    Raises:
        ConfigError: something in the list is no layer.
        ShapeError: there is no layer.
    """

    narrow: ClassVar[bool] = True

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True
    transparent: ClassVar[bool] = True
    is_conditioned = False  # whether its layers hold a condition, see `given`

    def __init__(self, layers: Iterable[Layer], *, name: str = "net") -> None:
        super().__init__()
        if not isinstance(name, str) or not name:
            raise ConfigError(f'a network\'s name must be text, got {kind_of(name)}. Write name="G", or leave it out.')
        self.layers = layer_list(layers, of=name)
        self.path = name
        self._watch = Watch()

    def __len__(self) -> int:
        """The number of layers."""
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...

    def __getitem__(self, index: int | slice) -> "Layer | Sequential":
        """A layer, or a network of neighboring layers.

        `D[:-1]` shares layers and weights with D, and is built if D is: the features that D's last layer sees.
        """
        if not isinstance(index, slice):
            return item(self.layers, index, of=self.path, a="a layer")
        part = copy(self)
        part.path = f"{self.path}[{_slice_text(index)}]"
        part.layers = layer_list(self.layers[index], of=part.path)
        if self.is_built:
            if index.step not in (None, 1):
                raise ShapeError(f"{self.path}: a built network has slices of neighboring layers only.")
            part.input_shape, part.output_shape = part.layers[0].input_shape, part.layers[-1].output_shape
            part.plan(fuse=self._fuse)
        return part

    def title(self) -> str:
        if not self.is_built:
            return f"{type(self).__name__} {self.path!r}: not built"
        return f"{super().title()}, {self.dtype} on {engine_of(self)}"

    def call_text(self) -> str:
        return f"{type(self).__name__} {self.path!r}"

    def __repr__(self) -> str:
        return outline(self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        return html_table(self)

    def infer(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for index, layer in enumerate(self.layers):
            shape = layer.setup(shape, f"{self.path}.{index}.{type(layer).__name__}")
        return shape

    def plan(self, *, fuse: bool) -> None:
        self._fuse = fuse
        self._steps = steps(self.layers, fuse=fuse)
        self._narrow = self.kernels.activation_dtype(self.dtype)
        self._dtypes = {
            given: dtypes_of_walk(self._steps, self.dtype, self._narrow, given=given)
            for given in {self.dtype, self._narrow}
        }

    def note_activations(self, given: np.dtype[Any]) -> None:
        self.activations = given
        for step, dtype in zip(self._steps, self._dtypes[given], strict=True):
            for layer in step:
                layer.note_activations(dtype)

    def given(self, condition: Array | None) -> Self:
        if condition is not None and not isinstance(condition, Condition) and not hasattr(condition, "shape"):
            raise ConfigError(
                f"{self.path}: expected a condition as an array with a row for each example, or None, got "
                f"{kind_of(condition)}. Write one-hot classes: np.eye(10, dtype='float32')[labels]."
            )
        layers = [layer.given(condition) for layer in self.layers]
        if all(one is other for one, other in zip(layers, self.layers, strict=True)):
            return self
        network = self.with_layers(layers)
        network.is_conditioned = condition is not None
        return network

    def with_layers(self, layers: Sequence[Layer]) -> Self:
        """This built network with other layers, which have the same parameters: copies that differ in a setting."""
        network = copy(self)
        network.layers = list(layers)
        network.plan(fuse=self._fuse)
        return network

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Within this context the observer sees each pass of this network and of the networks inside it.

        It also sees the passes of their conditioned copies (`given`), whenever they were made. One observer at a time:
        the observer of an outer `with` sees nothing in the meantime.
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
        """Whether an observer sees its passes."""
        return self._watch.observer is not None

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def behind(self, front: Sequence[Layer]) -> "Sequential":
        """A new network of these layers followed by this one's, with its name; not built yet."""
        return Sequential([*front, *self.layers], name=self.path) if front else self

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Tape]:
        """Computes the output, and the tape that `backward` needs.

        Raises:
            ShapeError, DTypeError: the network was built for another shape, dtype or backend.
        """
        self._check("x", x, None, self.input_shape)
        flag(train, "train", of=self.path)
        if self.layers[0].arena is not self.arena:  # a slice of a network that was built again
            raise NotBuiltError(f"{self.path}: its layers were built again by another network. Take the slice anew.")
        caches: list[Cache] = []
        y = x
        for step in self._walk(self._steps, x.dtype):
            y, step_caches = step.forward(y, train=train, rng=rng)
            caches += step_caches
        y = self.kernels.cast(y, x.dtype)
        return y, Tape(caches, self.arena, layers=self.layers, inputs=len(x), outputs=len(y), dtype=x.dtype)

    def backward(
        self, dy: Array, tape: Tape, *, grads: Gradients | None, need_dx: bool = True, release: bool = False
    ) -> Array | None:
        """The gradient of the input; see `Layer.backward`.

        With `need_dx=False` the walk ends at the first layer that has parameters, or a condition that gets gradients,
        without its dx.

        Args:
            release: release the tape, and free each layer's activations as soon as its gradients are there, so that
                the layers below can use their memory.
        Raises:
            StaleTapeError: the weights changed since the tape was made, or it was released.
        """
        caches = self._caches(tape, grads)
        self._check("dy", dy, tape.outputs, self.output_shape, tape.dtype)
        if release:
            tape.release()
        last = 0 if need_dx else self._first_trained()
        end = len(self.layers)
        for step in reversed(self._walk(self._steps, tape.dtype)):
            first = end - len(step)  # a step is the tuple of its layers
            if end > last:
                dy = step.backward(dy, caches[first:end], grads=grads, need_dx=need_dx or first > last)
            if release:
                del caches[first:]
            end = first
        return self.kernels.cast(dy, tape.dtype) if need_dx else None

    def backward_recorded(self, dy: Array, cache: Tape) -> tuple[Array, list[Any]]:
        """Backward to the input, which keeps each layer's cotangent: the first sweep of a double backward."""
        caches = self._caches(cache)
        self._check("dy", dy, cache.outputs, self.output_shape, cache.dtype)
        records: list[Any] = []
        layers = self._walk(self.layers, cache.dtype)
        for layer, layer_cache in zip(reversed(layers), reversed(caches), strict=True):
            dy, record = layer.backward_recorded(dy, layer_cache)
            records.append(record)
        return self.kernels.cast(dy, cache.dtype), records[::-1]

    def double_backward(
        self, v: Array, record: list[Any], cache: Tape, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        """The gradient of `backward_recorded`, of a P with v = dP/d(dx).

        The up-sweep carries v from the input to the output. Each layer whose backward depends on its own input x
        also hands back dP/dx; the down-sweep then is an ordinary backward that starts from the last of these and
        picks up the others on its way. Piecewise-linear layers hand back None, and without any the sweep is skipped.
        """
        caches = self._caches(cache, grads)
        self._check("v", v, cache.inputs, self.input_shape, cache.dtype)
        injected: list[Array | None] = []
        up, below = (self._walk(self.layers, cache.dtype, down=down) for down in (False, True))
        for layer, layer_record, layer_cache in zip(up, record, caches, strict=True):
            v, ddx = layer.double_backward(v, layer_record, layer_cache, grads=grads)
            injected.append(ddx)

        down: Array | None = None
        for layer, layer_cache, ddx in reversed(list(zip(below, caches, injected, strict=True))):
            if down is not None:
                down = layer.backward(down, layer_cache, grads=grads)
            if ddx is not None:
                down = ddx if down is None else self.kernels.add(down, ddx)
        return self.kernels.cast(v, cache.dtype), None if down is None else self.kernels.cast(down, cache.dtype)

    def extend(self, u: Array, record: list[Any], cache: Tape, *, grads: Gradients | None) -> Array:
        caches = self._caches(cache, grads)
        self._check("u", u, cache.inputs, self.input_shape, cache.dtype)
        layers = self._walk(self.layers, cache.dtype)
        for layer, layer_record, layer_cache in zip(layers, record, caches, strict=True):
            u = layer.extend(u, layer_record, layer_cache, grads=grads)
        return self.kernels.cast(u, cache.dtype)

    def commit_statistics(self, cache: Tape) -> None:
        """Folds the tape's batch statistics into the running ones."""
        for layer, layer_cache in zip(self.layers, self._caches(cache), strict=True):
            layer.commit_statistics(layer_cache)

    @property
    def own_flops(self) -> int:
        return 0  # its layers count their own

    def _walk(self, parts: Sequence[Any], given: np.dtype[Any], *, down: bool = False) -> Sequence[Any]:
        """The steps or layers of a walk, told to an observer, and given arrays of the dtype that they take.

        Args:
            given: dtype of the forward walk's x.
            down: see `told`.
        """
        walk = told(parts, self, self._watch, down=down)
        if self._narrow == self.dtype:
            return walk
        dtypes: Sequence[np.dtype[Any]] = self._dtypes[given]
        if parts is not self._steps:  # single layers, of a pass that leaves steps aside
            dtypes = [dtype for dtype, step in zip(dtypes, self._steps, strict=True) for _ in step]
        return [Converted(part, dtype, self.kernels) for part, dtype in zip(walk, dtypes, strict=True)]

    def _first_trained(self) -> int:
        """The index of the first layer with gradients besides dx; below it no gradient is needed."""
        for index, layer in enumerate(self.layers):
            if any(inner.own_parameters or _goes_to_condition(inner) for _, inner in layer.walk()):
                return index
        return len(self.layers)

    def _caches(self, tape: Tape, grads: Gradients | None = None) -> list[Cache]:
        """The tape's caches, if it is one of this network's, and the gradients are.

        Raises:
            ConfigError: something else stands in the place of a tape or of gradients, or they are of another network.
            StaleTapeError: see `Tape.caches`.
        """
        arena = self.arena
        if not isinstance(tape, Tape):
            raise ConfigError(
                f"{self.path}: expected the tape of its forward pass, got {kind_of(tape)}. "
                f"Write y, tape = {self.path}.forward(x, train=True)."
            )
        if grads is None or (isinstance(grads, Gradients) and grads.arena is arena):
            return tape.caches(self)
        if not isinstance(grads, Gradients):
            raise ConfigError(
                f"{self.path}: expected gradients or None, got {kind_of(grads)}. Write grads={self.path}.gradients()."
            )
        raise ConfigError(
            f"{self.path}: these gradients are of another network, or from before {self.path} was built again. "
            f"Write grads={self.path}.gradients(), and make its optimizer anew."
        )

    def _check(
        self, name: str, array: Array, batch_size: int | None, shape: Shape, dtype: np.dtype[Any] | None = None
    ) -> None:
        """Refuses an array that is not (N, *shape) of the network's backend and dtype.

        Args:
            batch_size: None is any N.
            dtype: None is the network's, or that of its activations.
        """
        if not isinstance(array, self.kernels.xp.ndarray):
            raise DTypeError(
                f"{self.path}: expected {name} as an array of {self.kernels.xp.__name__}, got {kind_of(array)}. "
                f"Write {name} = {self.path}.kernels.asarray({name}, dtype='{self.dtype}')."
            )
        if array.ndim == 0 or array.shape[1:] != shape or batch_size not in (None, len(array)) or not len(array):
            expected = f"(N, {', '.join(map(str, shape))})" + ("" if batch_size is None else f" with N = {batch_size}")
            raise ShapeError(
                f"{self.path}: expected {name} of shape {expected}, got {array.shape}. "
                "Build the network with the shape of the data, or resize the data."
            )
        if array.dtype not in ((self.dtype, self._narrow) if dtype is None else (dtype,)):
            wanted = self.dtype if dtype is None else dtype
            raise DTypeError(
                f"{self.path}: expected {name} of dtype {wanted}, got {array.dtype}. "
                f"Convert with {name}.astype('{wanted}') or build the network with dtype='{array.dtype}'."
            )

    def summary(self, *, batch_size: int = 64) -> str:
        """A table: layer, output shape, parameters, millions of operations of a forward pass per example.

        The layers inside a layer stand below it, further to the right.

        A backend that has several ways to compute a convolution also shows the one that each layer got: one name, or
        three for the layer's forward pass, dx and dw.

        Args:
            batch_size: the choice depends on it; shown in the table's title.
        Raises:
            NotBuiltError: the network has no shapes yet.
        """
        return text_table(self, batch_size=whole(batch_size, "batch_size", of=self.path))


def expect_network(value: Any, name: str) -> Sequential:
    """The value, if it is a network of built layers.

    Args:
        name: the argument's.
    Raises:
        ConfigError: it is no network.
        NotBuiltError: it is not built.
    """
    example = f"Sequential([...], name={name!r})"
    network: Sequential = instance(value, Sequential, name, a="a network", example=example)
    if not all(layer.is_built for layer in network):
        raise NotBuiltError(f"{network.path}: not built. Call build(input_shape, rng=...) first.")
    return network


def item(items: Sequence[Inner], index: Any, *, of: str, a: str) -> Inner:
    """The layer or branch at a place.

    Args:
        of: the path of the network.
        a: the kind of item: `a layer`.
    Raises:
        IndexError: there are not so many.
        ConfigError: the index is no integer.
    """
    if not is_whole(index):
        raise ConfigError(f"{of}: expected the place of {a}, a whole number, got {kind_of(index)}. Write {of}[0].")
    if not -len(items) <= index < len(items):
        raise IndexError(
            f"{of}: expected the place of {a}, from 0 to {len(items) - 1}, got {index}. Write {of}[-1] for the last."
        )
    return items[int(index)]


def layer_list(layers: Any, *, of: str) -> list[Layer]:
    """The layers, if each is one and there is at least one.

    Args:
        of: the name of the network that they are to make.
    Raises:
        ConfigError: an item of the list is no layer.
        ShapeError: it is empty.
    """
    if isinstance(layers, Layer) and not isinstance(layers, Sequential):
        raise ConfigError(f"{of}: expected a list of layers, got a {type(layers).__name__}. Write [{layers!r}].")
    if not isinstance(layers, Iterable) or isinstance(layers, str):
        raise ConfigError(f"{of}: expected a list of layers, got {kind_of(layers)}. Write [Dense(128), Tanh()].")
    found = list(layers)
    if not found:
        raise ShapeError(f"{of}: a network needs at least one layer, got none.")
    for index, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise ConfigError(f"{of}: expected a layer at {index}, got {kind_of(layer)}. {_layer_remedy(layer)}")
    return found


def _goes_to_condition(layer: Layer) -> bool:
    return isinstance(layer, Conditional) and layer.condition_gradient is not None


def _layer_remedy(found: Any) -> str:
    if isinstance(found, type) and issubclass(found, Layer):
        return f"Write {call_of_class(found)}, an object of the class."
    if isinstance(found, list | tuple):
        return "Write *layers to put a list's layers there, or Sequential(layers) for a network in the network."
    return "Write a layer such as Dense(128), or derive a class of your own from minigan.nn.Layer."


def _slice_text(index: slice) -> str:
    ends = ["" if end is None else str(end) for end in (index.start, index.stop)]
    return ":".join(ends if index.step is None else [*ends, str(index.step)])
