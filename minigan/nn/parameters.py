"""Weights and their gradients: one flat array each, with named views.

A network's numbers are one contiguous block, so zeroing, clipping, an optimizer's step, a checkpoint or an all-reduce
is one pass over one array.
"""

import math
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, Self

import numpy as np

from minigan.backends import Array, Backend
from minigan.errors import CheckpointError, DTypeError, ShapeError
from minigan.nn.initializers import Initializer
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
        return self._views[parameter]


class Gradients(Views):
    """The destination of `backward`, which adds to it: `grads[layer.w]` is a view of `grads.flat`.

    Attributes:
        flat: like the arena's.
        arena: the parameters that these are the gradients of.
    """

    def __init__(self, arena: "Arena", offsets: Mapping[Parameter, int]) -> None:
        super().__init__(offsets, arena.zeros_like())
        self.arena = arena

    def __repr__(self) -> str:
        return f"Gradients of {self.arena.contents()}"

    def with_destination(self, parameter: Parameter, array: Array) -> Self:
        """The same destination, but the gradient of that parameter goes to the array; it need not be the arena's."""
        other = copy(self)
        other._views = {**self._views, parameter: array}
        return other

    def zero(self) -> None:
        """Sets all gradients to zero, in one pass."""
        self.flat.fill(0)


class Arena:
    """All parameters of one network in one contiguous block, initialized.

    Attributes:
        flat: the block, (size,); each parameter starts at a multiple of 16 numbers, the gaps stay zero.
        version: counts the updates. A tape remembers the version it saw, so that a stale one is caught.
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], *, backend: Backend, dtype: np.dtype[Any], rng: np.random.Generator
    ) -> None:
        self._named = dict(parameters)
        self._offsets: dict[Parameter, int] = {}
        size = 0
        for parameter in self._named.values():
            self._offsets[parameter] = size
            size += -(-parameter.size // _ALIGNMENT) * _ALIGNMENT
        self.backend = backend
        self.version = 0
        expect_room(size * dtype.itemsize, what="a network's weights")
        host = np.zeros(size, dtype)
        for parameter, offset in self._offsets.items():
            host[offset : offset + parameter.size] = parameter.initializer(rng, parameter.shape).ravel()
        self.flat = backend.asarray(host)
        views = Views(self._offsets, self.flat)
        for parameter in self._offsets:
            parameter.value = views[parameter]

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
        return self.backend.xp.zeros_like(self.flat)

    def gradients(self) -> Gradients:
        """A new block of zero gradients."""
        return Gradients(self, self._offsets)

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
