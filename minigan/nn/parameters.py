"""Weights and their gradients: one flat array each, with named views.

Because a network's numbers are one contiguous block, zeroing, clipping, an optimiser's step, a checkpoint or an
all-reduce is one pass over one array.
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
    """A named array of a layer: its shape, how it starts, and, once its network is built, its `value`.

    Also used for state that is not trained, such as BatchNorm's running mean.
    """

    value: Array  # a view into the arena of the network that was built

    def __init__(self, name: str, shape: tuple[int, ...], initializer: Initializer) -> None:
        self.name = name
        self.shape = shape
        self.initializer = initializer

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Parameter({self.name}, {self.shape})"


class Views:
    """One flat array and a view of it for each parameter."""

    def __init__(self, offsets: Mapping[Parameter, int], flat: Array) -> None:
        self.flat = flat
        self._views = {p: flat[offset : offset + p.size].reshape(p.shape) for p, offset in offsets.items()}

    def __getitem__(self, parameter: Parameter) -> Array:
        return self._views[parameter]


class Gradients(Views):
    """Where `backward` adds the gradients of an arena's parameters: `grads[layer.w]` is a view of `grads.flat`.

    Attributes:
        flat: (arena.size,), in the arena's dtype.
        arena: whose parameters they are.
    """

    def __init__(self, arena: "Arena", offsets: Mapping[Parameter, int]) -> None:
        super().__init__(offsets, arena.zeros_like())
        self.arena = arena

    def with_destination(self, parameter: Parameter, array: Array) -> Self:
        """The same, but the gradient of that parameter, which need not be the arena's, is added to the array."""
        other = copy(self)
        other._views = {**self._views, parameter: array}
        return other

    def zero(self) -> None:
        """Sets all gradients to zero, in one pass."""
        self.flat.fill(0)


class Arena:
    """All parameters of one network in one contiguous block, initialised.

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
        """How many numbers the parameters hold, without the gaps."""
        return sum(p.size for p in self._named.values())

    def items(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter with its name, `"3.w"` for the w of layer 3."""
        yield from self._named.items()

    def zeros_like(self) -> Array:
        """A flat array of the arena's size: an optimiser's moments."""
        return self.backend.xp.zeros_like(self.flat)

    def gradients(self) -> Gradients:
        """A new block of zero gradients."""
        return Gradients(self, self._offsets)

    def updated(self) -> None:
        """To be called after each change of the values: tapes from before are stale from here on."""
        self.version += 1

    def to_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters in host memory, by name."""
        return {name: np.array(self.backend.to_numpy(p.value)) for name, p in self._named.items()}

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Overwrites all parameters.

        Args:
            arrays: exactly this arena's names, each with its parameter's shape and the arena's dtype.
            source: what the error messages call them.
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
    """Refuses arrays that are not those of these parameters, which need not have memory yet.

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
