"""The tape between forward and backward."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.errors import StaleTapeError
from minigan.nn.layers.base import Cache, Layer
from minigan.nn.network.tape_table import tape_table
from minigan.nn.parameters import Arena
from minigan.support.representation import memory_size


class Tape:
    """A cache for each layer, left by one forward pass for the backward pass.

    A network can have several tapes alive at once. A tape remembers the version of the weights it saw; used after
    an update it raises `StaleTapeError`, because its gradients would be those of weights that are gone.

    Attributes:
        inputs, outputs: the numbers of examples that went in and came out; `Pack` makes one of several.
        dtype: of the forward pass's x, and so of its y and of their gradients.
    """

    def __init__(
        self,
        caches: list[Cache],
        arena: Arena,
        *,
        layers: Sequence[Layer],
        inputs: int,
        outputs: int,
        dtype: np.dtype[Any],
    ) -> None:
        self._caches: list[Cache] | None = caches
        self._layers = layers
        self._arena = arena
        self._version = arena.version
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype

    def __repr__(self) -> str:
        if self._caches is None:
            return "Tape, released"
        stale = "" if self._version == self._arena.version else ", stale: the weights were updated"
        examples = "1 example" if self.inputs == 1 else f"{self.inputs} examples"
        layers = "1 layer" if len(self._caches) == 1 else f"{len(self._caches)} layers"
        return f"Tape of {layers} for {examples}, {memory_size(self.nbytes)}{stale}"

    def _repr_html_(self) -> str:
        """For notebooks: what each layer keeps."""
        if self._caches is None:
            return html.escape(repr(self))
        return tape_table(repr(self), self._layers, self._caches, self._memory)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that the tape keeps alive; memory that two layers share counts once."""
        return self._memory(self._caches)

    def _memory(self, caches: Any) -> int:
        sizes: dict[int, int] = {}
        for array in arrays_in(caches, self._arena.backend.xp.ndarray):
            memory = owner_of(array)
            # By the largest array on it: a backend may hand out less than all of the memory that it took.
            sizes[memory] = max(sizes.get(memory, 0), array.nbytes)
        return sum(sizes.values())

    def release(self) -> None:
        """Frees the activations; the tape cannot be used afterwards."""
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


def arrays_in(cache: Any, ndarray: type) -> Iterator[Array]:
    """All arrays in a cache, however nested."""
    if isinstance(cache, Tape):
        cache = cache._caches
    if isinstance(cache, tuple | list):
        for item in cache:
            yield from arrays_in(item, ndarray)
    elif isinstance(cache, ndarray):
        yield cache


def owner_of(array: Array) -> int:
    """The identity of the owner of an array's memory: another array, or the bytes of a file or message."""
    base = getattr(array, "base", None)
    return id(array if base is None else base)
