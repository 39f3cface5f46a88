"""The inputs of a captured step, in one block of bytes, which goes to the device in one copy.

The block's layout is noted while the step runs for the first time, see `Survey`. The step that is captured reads from
the block, see `Recording`; each replay fills it anew, in the step's own order.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from minigan.backends.base import Array, Shape
from minigan.errors import BackendError, ShapeError

ALIGNMENT = 256  # bytes, as of CUDA's own allocations: kernels may load vectors of any width

T = TypeVar("T")
Draw = Callable[[], Any]
Action = Callable[[np.ndarray], None]  # what the host does in a step, given the bytes that it fills


class Place(NamedTuple):
    """The place of an array in a block of bytes."""

    offset: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def view(self, block: Array) -> Array:
        return block[self.offset : self.end].view(self.dtype).reshape(self.shape)


class Feed(NamedTuple):
    """The places of the arrays that one call of `Backend.feed` returns; None where it returns None."""

    places: tuple[Place | None, ...]
    is_tuple: bool

    def views(self, block: Array) -> Any:
        """The arrays that the call returns."""
        views = tuple(None if place is None else place.view(block) for place in self.places)
        return views if self.is_tuple else views[0]

    def fill(self, block: np.ndarray, drawn: Any) -> None:
        """Copies what was drawn to its places.

        Raises:
            ShapeError: it has another shape than when the step was captured.
        """
        for place, array in zip(self.places, drawn if self.is_tuple else (drawn,), strict=True):
            if place is None:
                continue
            if array.shape != place.shape:
                raise ShapeError(
                    f"the captured training step is fed arrays of shape {place.shape}, got {array.shape}. Keep the "
                    "batch size, or train without capturing: MINIGAN_GRAPHS=0."
                )
            place.view(block)[...] = array


class Mode(Protocol):
    """The behavior of `Backend.feed` and `Backend.each_step` while a step runs."""

    def feed(self, draw: Draw, dtype: np.dtype[Any] | None) -> Any: ...

    def each_step(self, action: Callable[[], None]) -> None: ...


class Survey:
    """The first run of a step, which computes as ever: notes what it is fed.

    Args:
        feed: what it is fed by.
        ndarray: the device's kind of array.
    Attributes:
        feeds: in their order.
        given: what each call returned.
        nbytes: of the block for all of them.
        capturable: False if an array was on the device already: it may be another one in the next step.
    """

    def __init__(self, feed: Callable[..., Any], ndarray: type) -> None:
        self._feed = feed
        self._ndarray = ndarray
        self.feeds: list[Feed] = []
        self.given: list[Any] = []
        self.nbytes = ALIGNMENT  # not 0, whatever follows
        self.capturable = True

    def feed(self, draw: Draw, dtype: np.dtype[Any] | None) -> Any:
        drawn = draw()
        is_tuple = isinstance(drawn, tuple)
        self.feeds.append(Feed(tuple(self._place(a, dtype) for a in (drawn if is_tuple else (drawn,))), is_tuple))
        self.given.append(self._feed(lambda: drawn, dtype=dtype))
        return self.given[-1]

    def each_step(self, action: Callable[[], None]) -> None:
        action()

    def _place(self, array: Any, dtype: np.dtype[Any] | None) -> Place | None:
        if array is None:
            return None
        self.capturable &= not isinstance(array, self._ndarray)
        place = Place(self.nbytes, array.shape, np.dtype(array.dtype if dtype is None else dtype))
        self.nbytes = -(-place.end // ALIGNMENT) * ALIGNMENT
        return place


class Recording:
    """The run of a step that is captured: it is fed views of the block, and what the host does is remembered.

    Args:
        feeds: as surveyed.
        block: on the device.
        host: bytes of the same size, which are filled for the first replay.
    Attributes:
        given: what each call returned.
        actions: to be done before each further replay.
    """

    def __init__(self, feeds: list[Feed], block: Array, host: np.ndarray) -> None:
        self._feeds = iter(feeds)
        self._block, self._host = block, host
        self.given: list[Any] = []
        self.actions: list[Action] = []

    def feed(self, draw: Draw, dtype: np.dtype[Any] | None) -> Any:
        feed = following(self._feeds)
        feed.fill(self._host, draw())
        self.actions.append(lambda host: feed.fill(host, draw()))
        self.given.append(feed.views(self._block))
        return self.given[-1]

    def each_step(self, action: Callable[[], None]) -> None:
        action()
        self.actions.append(lambda _: action())


class Again:
    """A repetition of a step on its former inputs; nothing is drawn."""

    def __init__(self, given: Iterable[Any]) -> None:
        self._given = iter(given)

    def feed(self, draw: Draw, dtype: np.dtype[Any] | None) -> Any:
        return following(self._given)

    def each_step(self, action: Callable[[], None]) -> None:
        action()


def following(feeds: Iterator[T]) -> T:
    try:
        return next(feeds)
    except StopIteration:
        raise BackendError(
            "a training step is fed more than in its first run, so it cannot be captured. Train with MINIGAN_GRAPHS=0."
        ) from None
