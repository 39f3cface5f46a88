"""Endless shuffled batches, read ahead in the background, that can be resumed bit for bit."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, overload

import numpy as np

from minigan.data.dataset import Collection, Dataset, FloatArray, IndexArray, LabelArray, PairDataset
from minigan.errors import ConfigError
from minigan.support.arguments import kind_of, whole

__all__ = ["Loader"]

Batch = TypeVar("Batch")


class Position(NamedTuple):
    epoch: int
    offset: int  # items of the epoch already handed out


class Loader(Generic[Batch]):
    """An endless iterator over the batches of a dataset.

    A batch is an array of images or points; with `with_labels=True` it is (images, labels); of a PairDataset it is
    (a, b). Epoch e goes through the items in the order `default_rng([seed, e]).permutation(n)`, so a position is no
    more than an epoch and an offset: `state()` tells it, `restore()` goes back to it.

    `prefetch` batches are read ahead by `workers` threads (more than one pays where large pictures are decoded);
    prefetch=0 reads each batch when it is asked for. What goes wrong in a thread is raised by `next()`.
    """

    @overload
    def __init__(
        self: "Loader[FloatArray]",
        dataset: Dataset,
        *,
        batch_size: int,
        seed: int,
        prefetch: int = 2,
        workers: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
        with_labels: Literal[False] = False,
        state: dict[str, int] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: "Loader[tuple[FloatArray, LabelArray]]",
        dataset: Dataset,
        *,
        batch_size: int,
        seed: int,
        prefetch: int = 2,
        workers: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
        with_labels: Literal[True],
        state: dict[str, int] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: "Loader[tuple[FloatArray, FloatArray]]",
        dataset: PairDataset,
        *,
        batch_size: int,
        seed: int,
        prefetch: int = 2,
        workers: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
        with_labels: Literal[False] = False,
        state: dict[str, int] | None = None,
    ) -> None: ...

    def __init__(
        self,
        dataset: Collection,
        *,
        batch_size: int,
        seed: int,
        prefetch: int = 2,
        workers: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
        with_labels: bool = False,
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
        self.dataset = dataset
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._fetch: Callable[[IndexArray], Batch] = _reader(dataset, with_labels=with_labels)
        self._threads: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[Position, Future[Batch]]] = deque()
        self._next = Position(0, 0)  # the next batch to be read, ahead of the consumer
        self._order: tuple[int, IndexArray] | None = None
        self._closed = False
        if state is not None:
            self.restore(state)

    def __repr__(self) -> str:
        state = self.state()
        place = f"epoch {state['epoch']}, batch {state['offset'] // self.batch_size} of {self.steps_per_epoch:,}"
        return f"Loader of {self.dataset.describe()}; batches of {self.batch_size}, seed {self._seed}; " + (
            "closed" if self._closed else f"next: {place}"
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self._drop_last)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise ConfigError("the loader is closed. Make a new one, with state=loader.state() to go on from here.")
        if self._prefetch == 0:
            batch = self._fetch(self._indices(self._next))
            self._next = self._after(self._next)
            return batch
        self._read_ahead()
        batch = self._ahead[0][1].result()  # an error stays in front: the next call meets it again
        self._ahead.popleft()
        self._read_ahead()
        return batch

    def state(self) -> dict[str, int]:
        """The position of the batch that `next()` returns next, and what it is valid for."""
        position = self._ahead[0][0] if self._ahead else self._next
        return {**position._asdict(), **self._identity()}

    def restore(self, state: dict[str, int], *, same_items: bool = True) -> None:
        """Goes on from a `state()` of a loader over the same data with the same batch size and seed.

        With `same_items=False` the data may have another number of items now: then it goes on at the beginning of
        the next epoch.

        Raises:
            ConfigError: the state is of another loader, or damaged. This one is as it was.
        """
        expected = self._identity()
        missing = [key for key in (*Position._fields, *expected) if key not in state]
        if missing:
            raise ConfigError(f"the loader's state lacks {', '.join(missing)}: it is not one that Loader.state() made.")
        odd = [key for key in (*Position._fields, *expected) if type(state[key]) is not int]
        if odd:
            raise ConfigError(f"the loader's state has {odd[0]}={state[odd[0]]!r}, which is no whole number.")
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
            raise ConfigError(f"the loader's state has no batch at {dict(position._asdict())}: it is damaged.")
        self._drop_pending()
        self._next = position

    def close(self) -> None:
        """Stops and joins the threads. `state()` still works."""
        if self._ahead:
            self._next = self._ahead[0][0]
        self._closed = True
        self._drop_pending()
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
        }

    def _read_ahead(self) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="minigan-loader")
        while len(self._ahead) < self._prefetch:
            future = self._threads.submit(self._fetch, self._indices(self._next))
            self._ahead.append((self._next, future))
            self._next = self._after(self._next)

    def _indices(self, position: Position) -> IndexArray:
        epoch, offset = position
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._permutation(epoch))
        return self._order[1][offset : offset + self.batch_size]

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

    def _drop_pending(self) -> None:
        for _, future in self._ahead:
            future.cancel()
        self._ahead.clear()


def _reader(dataset: Collection, *, with_labels: bool) -> Callable[[IndexArray], Any]:
    """The function that makes a batch; which kind it is, the overloads of Loader.__init__ promise."""
    if isinstance(dataset, PairDataset):
        if with_labels:
            raise ConfigError(f"{dataset.name}: pairs have no labels. Leave with_labels out.")
        return dataset.read_pairs
    if not isinstance(dataset, Dataset):
        raise ConfigError(f"a Loader reads a Dataset or a PairDataset, got {kind_of(dataset)}.")
    if not with_labels:
        return dataset.read
    labels = dataset.labels
    if labels is None:
        raise ConfigError(f"{dataset.name}: has no labels. Leave with_labels out, or sort the images into folders.")
    return lambda rows: (dataset.read(rows), labels[rows])
