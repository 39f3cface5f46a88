"""Unpaired data: images of A and images of B, none of which belong together, and their loader."""

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import Collection, Dataset, FloatArray, IndexArray, Look
from minigan.data.loader import Flips, Loader, Position, mirrored
from minigan.errors import ConfigError

SideRows = tuple[IndexArray, Flips]

__all__ = ["UnpairedDataset", "UnpairedLoader"]


class UnpairedDataset(Collection):
    """Two datasets of images, A and B, that need not be of one length. `close` closes both.

    As a collection it has as many items as the longer one, each an image of A and one of B; the shorter one begins
    again at its end. `UnpairedLoader` draws the two independently.

    Args:
        a, b: images, (H, W, C) each.
        a_truth, b_truth: what a perfect translation would make of each item of `a`, and of `b`; None if nobody knows.
    Attributes:
        a_shape, b_shape: shapes of their images.
    """

    def __init__(
        self, a: Dataset, b: Dataset, *, a_truth: Dataset | None = None, b_truth: Dataset | None = None
    ) -> None:
        super().__init__(name=f"{a.name} and {b.name}", count=max(len(a), len(b)))
        self.a, self.b, self.a_truth, self.b_truth = a, b, a_truth, b_truth
        self.a_shape, self.b_shape = a.shape, b.shape
        self.note(*(f"A: {line}" for line in a.notes), *(f"B: {line}" for line in b.notes))

    def close(self) -> None:
        self.a.close()
        self.b.close()

    def read(self, indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        rows = self.checked(indices)
        return self.read_sides(rows % len(self.a), rows % len(self.b))

    def read_sides(self, a_rows: IndexArray, b_rows: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Images of A (n, *a_shape) and of B (m, *b_shape), each by its own indices."""
        return self.a.read(a_rows), self.b.read(b_rows)

    def look(self, index: int) -> Look:
        """Size and tone of an item of A."""
        return self.a.look(index % len(self.a))

    def describe(self) -> str:
        return f"A {self.a.describe()}; B {self.b.describe()}"


class UnpairedLoader(Loader[tuple[FloatArray, FloatArray]]):
    """An endless iterator over batches of A and of B, in orders that have nothing to do with each other.

    Each side goes through its own epochs: its epoch e has the order `default_rng([seed, e, side]).permutation(n)`, with
    0 for A and 1 for B. Both follow from the number of the batch, which the position tells in epochs of the longer one.

    Args:
        dataset, batch_size, seed, prefetch, workers, shuffle, mirror, state: see `Loader`. Each side gives `batch_size`
            images, and flips its own.
    Raises:
        ConfigError: a side has fewer images than a batch; or see `Loader`.
    """

    dataset: UnpairedDataset

    def __init__(
        self,
        dataset: UnpairedDataset,
        *,
        batch_size: int,
        seed: int,
        prefetch: int = 2,
        workers: int = 1,
        shuffle: bool = True,
        mirror: bool = False,
        state: dict[str, int] | None = None,
    ) -> None:
        self._orders: dict[int, tuple[int, IndexArray, Flips]] = {}
        super().__init__(
            dataset,
            batch_size=batch_size,
            seed=seed,
            prefetch=prefetch,
            workers=workers,
            shuffle=shuffle,
            mirror=mirror,
            state=state,
        )
        for letter, side in (("A", dataset.a), ("B", dataset.b)):
            if batch_size > len(side):
                raise ConfigError(
                    f"`batch_size` is {batch_size:,}, but {letter}, {side.name}, holds {len(side):,} "
                    f"image{'s' * (len(side) != 1)} to train on. Lower it, or use more data."
                )

    def restore(self, state: dict[str, int], *, same_items: bool = True) -> None:
        counts = self._counts()
        if not same_items and any(state.get(name, count) != count for name, count in counts.items()):
            # Loader goes on to its next epoch if the number of items differs
            state = {**state, **counts, "items": len(self.dataset) + 1}
        super().restore(state, same_items=same_items)

    def _counts(self) -> dict[str, int]:
        return {"a_items": len(self.dataset.a), "b_items": len(self.dataset.b)}

    def _identity(self) -> dict[str, int]:
        return {**super()._identity(), **self._counts()}

    def _read(self, rows: tuple[SideRows, SideRows]) -> tuple[FloatArray, FloatArray]:
        (a_rows, a_flips), (b_rows, b_flips) = rows
        a, b = self.dataset.read_sides(a_rows, b_rows)
        return mirrored(a, a_flips), mirrored(b, b_flips)

    def _rows(self, position: Position) -> tuple[SideRows, SideRows]:
        number = position.epoch * self.steps_per_epoch + position.offset // self.batch_size
        return self._side_rows(0, self.dataset.a, number), self._side_rows(1, self.dataset.b, number)

    def _side_rows(self, side: int, images: Dataset, number: int) -> SideRows:
        """Indices of a side's images in the batch of that number, and which of them are flipped."""
        epoch, batch = divmod(number, len(images) // self.batch_size)
        if side not in self._orders or self._orders[side][0] != epoch:
            order, flips = self._side_order(side, len(images), epoch), self._flips(len(images), epoch, side)
            self._orders[side] = epoch, order, flips
        _, order, flips = self._orders[side]
        return self._dealt(order, flips, slice(batch * self.batch_size, (batch + 1) * self.batch_size))

    def _side_order(self, side: int, count: int, epoch: int) -> IndexArray:
        if not self._shuffle:
            return np.arange(count, dtype=np.intp)
        return np.random.default_rng([self._seed, epoch, side]).permutation(count).astype(np.intp, copy=False)
