"""Endless shuffled batches, read ahead in the background, that can be resumed bit for bit."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Collection, IndexArray
from minigan.distributed.ranks import ALONE, Ranks
from minigan.errors import ConfigError
from minigan.support.arguments import flag, kind_of, whole
from minigan.support.threads import warn_fewer_threads

__all__ = ["Loader"]

FLIPS = 1  # the stream of random numbers that choose which images are flipped

Items = TypeVar("Items")
ItemsRead = TypeVar("ItemsRead", covariant=True)
Flips = npt.NDArray[np.bool_] | None


class Readable(Protocol[ItemsRead]):
    """A dataset as type checkers see it: `read` decides what a batch is."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def describe(self) -> str: ...

    def read(self, indices: npt.ArrayLike) -> ItemsRead: ...


class Position(NamedTuple):
    """Place of a batch: an epoch, and the number of items of it that come before."""

    epoch: int
    offset: int


class Loader(Generic[Items]):
    """An endless iterator over the batches of a dataset.

    A batch is what the dataset's `read` returns: an array of images or points, (images, labels) of
    `dataset.with_labels()`, or (a, b) of a PairDataset. Epoch e goes through the items in the order
    `default_rng([seed, e]).permutation(n)`, so a position is just an epoch and an offset: `state()` returns it and
    `restore()` returns to it.

    Args:
        dataset: a Dataset or PairDataset.
        batch_size: items in a batch, at most as many as the dataset has.
        seed: of the order.
        prefetch: number of batches that are read ahead; 0 reads each batch when it is asked for.
        workers: number of threads that read ahead; several pay off if large pictures are decoded.
        shuffle: False keeps the dataset's order.
        drop_last: leave out the last, smaller batch of each epoch.
        mirror: flip each image left to right with probability 1/2, all pictures of an item together. The choice of each
            place in an epoch depends on the seed and the epoch alone, as the order does.
        state: where to start, see `state`.
    Raises:
        ConfigError: an argument is out of range, or the state does not fit.

    An error in a thread is raised by `next()`. Where the system starts no threads, `next()` reads. A loader is a
    context manager that closes itself.
    """

    def __init__(
        self,
        dataset: Readable[Items],
        *,
        batch_size: int,
        seed: int,
        prefetch: int = 2,
        workers: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
        mirror: bool = False,
        state: dict[str, int] | None = None,
    ) -> None:
        if not isinstance(dataset, Collection):
            raise ConfigError(
                f"a Loader reads a dataset, got {kind_of(dataset)}. Write Loader(open_dataset(source), ...), with a "
                "name, a path or an array as the source."
            )
        self.batch_size = whole(batch_size, "batch_size")
        self._seed = whole(seed, "seed", least=0)
        self._prefetch = whole(prefetch, "prefetch", least=0)
        self._workers = min(whole(workers, "workers"), self._prefetch)
        if batch_size > len(dataset):
            raise ConfigError(
                f"batch_size is {batch_size:,}, but {dataset.name} holds {len(dataset):,} items. "
                "Lower batch_size, or use more data."
            )
        self.dataset: Readable[Items] = dataset
        self._shuffle = flag(shuffle, "shuffle", of="Loader")
        self._drop_last = flag(drop_last, "drop_last", of="Loader")
        self._mirror = flag(mirror, "mirror", of="Loader")
        if self._mirror and len(getattr(dataset, "shape", ())) == 1:
            raise ConfigError(f"mirror flips images, but {dataset.name} holds points. Leave mirror=True out.")
        self._threads: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[Position, Future[Items]]] = deque()
        self._next = Position(0, 0)  # the next batch to be read, ahead of the consumer
        self._order: tuple[int, IndexArray, Flips] | None = None
        self._closed = False
        self._ranks = ALONE
        if state is not None:
            self.restore(state)

    def __repr__(self) -> str:
        state = self.state()
        place = f"epoch {state['epoch']}, batch {state['offset'] // self.batch_size} of {self.steps_per_epoch:,}"
        return f"Loader of {self.dataset.describe()}; batches of {self.batch_size}, seed {self._seed}; " + (
            "closed" if self._closed else f"next: {place}"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the threads and what they read ahead: a copy reads that again."""
        place = self._ahead[0][0] if self._ahead else self._next
        return {**vars(self), "_threads": None, "_ahead": deque(), "_next": place}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A loader at the same place, over the same dataset, which nobody changes."""
        return copy(self)

    def share(self, ranks: Ranks) -> None:
        """Gives only this rank's rows of each batch from here on. The position is that of the whole batch.

        Raises:
            ConfigError: a batch does not deal out evenly; that includes a smaller last one.
        """
        if ranks.size > 1 and not self._drop_last and len(self.dataset) % self.batch_size:
            raise ConfigError(
                f"{ranks.size} ranks need batches of one size, got `drop_last=False` and {len(self.dataset):,} items. "
                "Write `drop_last=True`."
            )
        self._drop_pending_to_front()
        self._ranks = ranks.dealing(self.batch_size) if ranks.units is None else ranks

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self._drop_last)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Items:
        if self._closed:
            raise ConfigError("the loader is closed. Make a new one; with state=loader.state() it continues from here.")
        self._read_ahead()
        if not self._ahead:
            batch = self._read(self._rows(self._next))
            self._next = self._after(self._next)
            return batch
        batch = self._ahead[0][1].result()  # an error stays in front: the next call meets it again
        self._ahead.popleft()
        self._read_ahead()
        return batch

    def state(self) -> dict[str, int]:
        """The position of the next batch, with the settings for which it is valid."""
        position = self._ahead[0][0] if self._ahead else self._next
        return {**position._asdict(), **self._identity()}

    def restore(self, state: dict[str, int], *, same_items: bool = True) -> None:
        """Resumes from the `state()` of a loader over the same data with the same batch size and seed.

        Args:
            state: as `state()` returned it.
            same_items: False accepts data whose number of items has changed; the loader then resumes at the
                beginning of the next epoch.
        Raises:
            ConfigError: the state is of another loader, or damaged. This loader is left as it was.
        """
        expected, state = self._identity(), {"mirror": 0, **state}  # earlier states do not tell
        missing = [key for key in (*Position._fields, *expected) if key not in state]
        if missing:
            raise ConfigError(f"the loader's state lacks {', '.join(missing)}. Use one that Loader.state() returned.")
        odd = [key for key in (*Position._fields, *expected) if type(state[key]) is not int]
        if odd:
            raise ConfigError(
                f"the loader's state: expected a whole number, got {odd[0]}={state[odd[0]]!r}. Use another."
            )
        if not same_items and state["items"] != expected["items"]:
            state = {**state, "items": expected["items"], "epoch": state["epoch"] + 1, "offset": 0}
        for key, value in expected.items():
            if state[key] != value:
                raise ConfigError(
                    f"the loader's state is of {key}={state[key]}, but this loader has {key}={value}. "
                    "Resume with the same data and settings."
                )
        position = Position(state["epoch"], state["offset"])
        fits = 0 <= position.offset < self.steps_per_epoch * self.batch_size
        if position.epoch < 0 or position.offset % self.batch_size or not fits:
            raise ConfigError(
                f"the loader's state has no batch at {dict(position._asdict())}: it is damaged. Use another."
            )
        self._drop_pending()
        self._next = position

    def close(self) -> None:
        """Stops the threads and waits for them. `state()` still works."""
        self._drop_pending_to_front()
        self._closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=True)
            self._threads = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _identity(self) -> dict[str, int]:
        return {
            "items": len(self.dataset),
            "batch_size": self.batch_size,
            "seed": self._seed,
            "shuffle": int(self._shuffle),
            "drop_last": int(self._drop_last),
            "mirror": int(self._mirror),
        }

    def _read_ahead(self) -> None:
        while len(self._ahead) < self._prefetch and (future := self._submitted(self._rows(self._next))) is not None:
            self._ahead.append((self._next, future))
            self._next = self._after(self._next)

    def _read(self, rows: Any) -> Items:
        """A batch, of what `_rows` returns."""
        indices, flips = rows
        items: Items = mirrored(self.dataset.read(indices), flips)
        return items

    def _submitted(self, rows: Any) -> Future[Items] | None:
        """A batch that a thread reads; None if there is no thread, and none can be started."""
        while self._workers:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="minigan-loader")
            try:
                return self._threads.submit(self._read, rows)
            except RuntimeError:  # no more threads: with one less, until there are none
                self._threads.shutdown(wait=True)  # what was submitted before is read
                self._threads = None
                self._workers -= 1
                warn_fewer_threads()
        return None

    def _rows(self, position: Position) -> Any:
        """The items of a batch, and which of them are flipped."""
        epoch, offset = position
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._permutation(epoch), self._flips(len(self.dataset), epoch))
        part = slice(offset, offset + self.batch_size)
        return self._dealt(*self._order[1:], part)

    def _dealt(self, order: IndexArray, flips: Flips, part: slice) -> tuple[IndexArray, Flips]:
        """This rank's rows of a part of an epoch."""
        own = self._ranks.own
        return own(order[part]), None if flips is None else own(flips[part])

    def _flips(self, count: int, epoch: int, *side: int) -> Flips:
        """Whether the item at each place of an epoch is flipped; a stream of its own, so that the order stays."""
        if not self._mirror:
            return None
        return np.random.default_rng([self._seed, epoch, *side, FLIPS]).random(count) < 0.5

    def _permutation(self, epoch: int) -> IndexArray:
        count = len(self.dataset)
        if not self._shuffle:
            return np.arange(count, dtype=np.intp)
        return np.random.default_rng([self._seed, epoch]).permutation(count).astype(np.intp, copy=False)

    def _after(self, position: Position) -> Position:
        offset = position.offset + self.batch_size
        if offset < self.steps_per_epoch * self.batch_size:
            return Position(position.epoch, offset)
        return Position(position.epoch + 1, 0)

    def _drop_pending_to_front(self) -> None:
        """Forgets what was read ahead; it is read again."""
        if self._ahead:
            self._next = self._ahead[0][0]
        self._drop_pending()

    def _drop_pending(self) -> None:
        for _, future in self._ahead:
            future.cancel()
        self._ahead.clear()


def mirrored(items: Any, flips: Flips) -> Any:
    """A batch in which the marked items' images are flipped left to right; labels stay.

    Args:
        items: what a dataset's `read` returns: images (N, H, W, C), or a tuple with such in it.
        flips: (N,); None flips nothing.
    """
    if flips is None:
        return items
    if isinstance(items, tuple):
        return tuple(mirrored(part, flips) for part in items)
    return np.where(flips[:, None, None, None], items[:, :, ::-1], items) if items.ndim == 4 else items
