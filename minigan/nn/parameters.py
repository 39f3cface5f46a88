"""Weights and their gradients: one flat array each, with named views.

A network's numbers are one contiguous block, so zeroing, clipping, an optimizer's step, a checkpoint or an all-reduce
is one pass over one array.
"""

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Any, NoReturn, Self

import numpy as np

from minigan.backends import Array, Backend
from minigan.errors import CheckpointError, ConfigError, DTypeError, ShapeError
from minigan.nn.initializers import Initializer
from minigan.support.arguments import kind_of
from minigan.support.copying import refuse_pickle
from minigan.support.memory_limit import expect_room

__all__ = ["Arena", "Gradients", "Parameter", "expect_shapes"]

_ALIGNMENT = 16  # numbers, a cache line of float32: no two parameters share one, and vectors load alike from each


class Parameter:
    """A named array of a layer: its shape, its initializer and, once its network is built, its `value`.

    State that is not trained, such as BatchNorm's running mean, is kept in one, too.

    Attributes:
        value: a view into the arena of the network, set by its `build`.
    """

    value: Array

    def __init__(self, name: str, shape: tuple[int, ...], initializer: Initializer) -> None:
        self.name = name
        self.shape = shape
        self.initializer = initializer

    @property
    def size(self) -> int:
        """The count of its numbers."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        built = "" if hasattr(self, "value") else ", not built"
        return f"Parameter {self.name} {self.shape}, {self.size:,} numbers{built}"


class Views:
    """One flat array and a view of it for each parameter."""

    def __init__(self, offsets: Mapping[Parameter, int], flat: Array) -> None:
        self.flat = flat
        self._views = {p: flat[offset : offset + p.size].reshape(p.shape) for p, offset in offsets.items()}

    def __getitem__(self, parameter: Parameter) -> Array:
        try:
            return self._views[parameter]
        except (KeyError, TypeError):  # a TypeError: it cannot be a key, so it is no parameter
            raise self._unknown(parameter) from None

    def _unknown(self, parameter: Any) -> ConfigError:
        """The error for a parameter that has no view here."""
        if not isinstance(parameter, Parameter):
            return ConfigError(
                f"gradients: expected a parameter in brackets, got {kind_of(parameter)}. Write grads[layer.w]."
            )
        return ConfigError(
            f"gradients: no {parameter.name} {parameter.shape} here: they are of another network, or from before it "
            "was built again. Make new ones: grads = net.gradients()."
        )


class Gradients(Views):
    """The destination of `backward`, which adds to it: `grads[layer.w]` is a view of `grads.flat`.

    Attributes:
        flat: like the arena's.
        room: a few numbers right behind it, which travel with the gradients from rank to rank; none in one process.
        with_room: both.
        arena: the parameters that these are the gradients of.
    """

    def __init__(self, arena: "Arena") -> None:
        self._hold(arena, arena.backend.zeros(arena.flat.size + _room(arena), arena.flat.dtype))

    def _hold(self, arena: "Arena", memory: Array) -> None:
        self.arena, self.with_room = arena, memory
        size = arena.flat.size
        super().__init__(arena.offsets, memory[:size] if len(memory) > size else memory)
        self.room = memory[size:]

    def __repr__(self) -> str:
        return f"Gradients of {self.arena.contents()}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same gradients in memory of their own, of the arena's copy."""
        other = copy(self)
        memo[id(self)] = other
        other.arena = deepcopy(self.arena, memo)
        other._hold(other.arena, self.arena.copy_of(self.with_room))
        memory = self.flat if self.flat.base is None else self.flat.base
        elsewhere = {p: view for p, view in self._views.items() if view.base is not memory}  # with_destination
        other._views = other._views | deepcopy(elsewhere, memo)
        return other

    def with_destination(self, parameter: Parameter, array: Array) -> Self:
        """The same destination, but the gradient of that parameter goes to the array; it need not be the arena's."""
        other = copy(self)
        other._views = {**self._views, parameter: array}
        return other

    def zero(self) -> None:
        """Sets all gradients to zero, in one pass."""
        self.arena.backend.erase(self.flat)


def _room(arena: "Arena") -> int:
    return _ALIGNMENT if arena.backend.ranks.size > 1 else 0


class Arena:
    """All parameters of one network in one contiguous block, initialized.

    Attributes:
        flat: the block, (size,); each parameter starts at a multiple of 16 numbers, the gaps stay zero.
        offsets: the place of each parameter's first number in the block.
        version: counts the updates. A tape remembers the version it saw, so that a stale one is caught.
        owner: returns the network whose build made the arena, or None if that is gone.
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], *, backend: Backend, dtype: np.dtype[Any], rng: np.random.Generator
    ) -> None:
        self._named = dict(parameters)
        self.offsets: dict[Parameter, int] = {}
        size = 0
        for parameter in self._named.values():
            self.offsets[parameter] = size
            size += -(-parameter.size // _ALIGNMENT) * _ALIGNMENT
        self.backend = backend
        self.version = 0
        self.owner: Callable[[], object] = _nobody
        expect_room(size * dtype.itemsize, what="a network's weights")
        host = np.zeros(size, dtype)
        for parameter, offset in self.offsets.items():
            host[offset : offset + parameter.size] = parameter.initializer(rng, parameter.shape).ravel()
        self.flat = self.copy_of(backend.asarray(host))
        self._bind()

    def _bind(self) -> None:
        """Makes each parameter's value a view of the block."""
        views = Views(self.offsets, self.flat)
        for parameter in self.offsets:
            parameter.value = views[parameter]

    @contextmanager
    def seen_as(self, view: Callable[[Array], Array]) -> Iterator[None]:
        """Within this context the parameters' values are other views of the same numbers."""
        values = {parameter: parameter.value for parameter in self.offsets}
        for parameter, value in values.items():
            parameter.value = view(value)
        try:
            yield
        finally:
            for parameter, value in values.items():
                parameter.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same numbers in memory of their own; the copies of the parameters are views of it. The backend is shared.

        NumPy would copy each view by itself, and an optimizer's step would then change numbers that nobody reads.
        """
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        vars(other).update(vars(self))
        other._named, other.offsets = deepcopy(self._named, memo), deepcopy(self.offsets, memo)
        other.flat = self.copy_of(self.flat)
        other._bind()
        other.belong_to(deepcopy(self.owner(), memo))
        return other

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)

    def belong_to(self, owner: object) -> None:
        """Notes the owner without keeping it alive."""
        self.owner = _nobody if owner is None else weakref.ref(owner)

    def __len__(self) -> int:
        """The count of numbers in the parameters, without the gaps."""
        return sum(p.size for p in self._named.values())

    def __repr__(self) -> str:
        return f"Arena of {self.contents()}, version {self.version}"

    def contents(self) -> str:
        """One line for people: the numbers, the parameters, where they are."""
        return f"{len(self):,} numbers in {len(self._named)} parameters, {self.flat.dtype} on {self.backend.name}"

    def items(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their names: `"3.w"` is the w of layer 3."""
        yield from self._named.items()

    def zeros_like(self) -> Array:
        """A flat array of zeros like the arena's: an optimizer's moments."""
        return self.backend.zeros(self.flat.size, self.flat.dtype)

    def copy_of(self, flat: Array) -> Array:
        """The same numbers in memory of their own, which the backend has chosen for numbers that stay."""
        copied = self.backend.zeros(flat.size, flat.dtype)
        copied[...] = flat
        return copied

    def gradients(self) -> Gradients:
        """A new block of zero gradients."""
        return Gradients(self)

    def updated(self) -> None:
        """Marks all tapes made so far as stale; to be called after each change of the values."""
        self.version += 1

    def to_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters in host memory, by name."""
        return {name: np.array(self.backend.to_numpy(p.value)) for name, p in self._named.items()}

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Overwrites all parameters.

        Args:
            arrays: exactly this arena's names, each with its parameter's shape and the arena's dtype.
            source: the arrays' name in error messages.
        Raises:
            CheckpointError: a name is missing or unknown. Nothing is overwritten.
            ShapeError, DTypeError: an array does not fit. Nothing is overwritten.
        """
        expect_shapes(self._named, arrays, source=source)
        for name in self._named:
            if arrays[name].dtype != self.flat.dtype:
                raise DTypeError(
                    f"{source}: {name} is {arrays[name].dtype}, the network is {self.flat.dtype}. "
                    "Build the network with that dtype or convert the array."
                )
        for name, p in self._named.items():
            p.value[...] = self.backend.asarray(arrays[name])
        self.updated()


def _nobody() -> None:
    """The owner of an arena that no network has."""


def expect_shapes(parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], *, source: str) -> None:
    """Refuses arrays of other names or shapes than the parameters, which need not have memory yet.

    Raises:
        CheckpointError: a name is missing or unknown.
        ShapeError: an array has another shape.
    """
    missing, unknown = parameters.keys() - arrays.keys(), arrays.keys() - parameters.keys()
    if missing or unknown:
        raise CheckpointError(
            f"{source} is of another network: missing {sorted(missing) or 'none'}, "
            f"unknown {sorted(unknown) or 'none'}. Use the recipe and settings it was made with."
        )
    for name, p in parameters.items():
        if arrays[name].shape != p.shape:
            raise ShapeError(
                f"{source}: {name} has shape {arrays[name].shape}, the network expects {p.shape}. "
                "Use the recipe and settings it was made with."
            )
