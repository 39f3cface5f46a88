"""Ranks: the processes that share a batch, each a part of it, and together compute what one process would.

A batch is dealt like cards: of N ranks, rank r has rows r, r + N, r + 2N, ... So a rank's first half is its part of the
batch's first half, and examples that are a quarter of the batch apart are so in each part.

**One rule.** A rank's loss is the mean over its own rows, so its gradients are N times its share of the whole. Each sum
over the batch becomes the mean over ranks of their sums; formulas and counts stay those of one process.
"""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NoReturn, Self

from minigan.errors import ConfigError, DivergenceError

__all__ = ["ALONE", "Ranks"]

Array = Any  # numpy.ndarray or cupy.ndarray


class Ranks:
    """One process alone: the batch is its own. Another transport overrides what talks to others.

    Each call that talks is made by all ranks, in the same order, and gives the same bits on each of them.

    Attributes:
        rank: from 0 to size - 1.
        size: the number of ranks.
        local_rank: the rank among those of this host.
        capturable: whether a device's captured step may hold the exchanges of numbers.
        warning: a line for the user, if some ranks cannot be watched.
        units: what a batch is dealt in, its examples or the packs that are judged together; None until `deal`.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    capturable: bool = False
    warning: str = ""
    units: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and speaks."""
        return self.rank == 0

    # ------------------------------------------------------------------------------------------ numbers

    def sum(self, array: Array) -> Array:
        """The sum over all ranks: in place if it is an array, and returned; of a scalar a new one."""
        return array

    def mean(self, array: Array) -> Array:
        """The mean over all ranks: in place if it is an array, and returned; of a scalar a new one."""
        total = self.sum(array)
        if self.size > 1:
            total *= total.dtype.type(1 / self.size)
        return total

    def whole(self, rows: Array) -> Array:
        """All ranks' rows of a batch, in the order of the batch; each rank gives as many as the others."""
        return rows

    # ------------------------------------------------------------------------------------------ anything else

    def any(self, flag: bool) -> bool:
        """Whether it is so on one of the ranks."""
        return flag

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, on each of them: numbers, texts, or a dictionary of such."""
        return [value]

    def from_first(self, value: Any) -> Any:
        """The first rank's value, on each of them. The others' are ignored."""
        return value

    def barrier(self) -> None:
        """Returns when all ranks are here."""

    @contextlib.contextmanager
    def ending_together(self) -> Iterator[None]:
        """A context of work that either goes well on all ranks, or ends with an error on each of them.

        A divergence is met by all of them in the same step, and need not be told: a script may catch it, and try
        another rate.
        """
        try:
            yield
        except DivergenceError:
            raise
        except BaseException as error:
            self.tell(error)
            raise

    def tell(self, error: BaseException) -> None:
        """Tells the others of an error that ends this rank, so that none waits for it; they raise it, too."""

    def can_resume(self, text: str) -> None:
        """The first rank says how to go on from what is saved, for the line about its own death."""

    def abort(self, code: int) -> NoReturn:
        """Ends all ranks at once, wherever they are, with this exit code."""
        raise SystemExit(code)

    # ------------------------------------------------------------------------------------------ dealing

    def dealing(self, batch_size: int, *, together: int = 1) -> Self:
        """Deals batches for one training: a copy of these ranks, so that another training's batches stay as they are.

        Raises:
            ConfigError: see `deal`.
        """
        if self.size == 1:
            return self
        own = copy.copy(self)
        own.deal(batch_size, together=together)
        return own

    def deal(self, batch_size: int, *, together: int = 1) -> int:
        """Says how batches are dealt from now on.

        Args:
            batch_size: examples of the whole batch.
            together: neighbors that stay on one rank: the examples of a pack.
        Returns:
            Examples of a rank.
        Raises:
            ConfigError: the ranks cannot have equal parts.
        """
        if self.size == 1:
            return batch_size
        if batch_size % (self.size * together):
            each = f" of packs of {together}" if together > 1 else ""
            raise ConfigError(
                f"{self.size} ranks need equal parts{each}, got `batch_size={batch_size}`. Choose a multiple of "
                f"{self.size * together}, or start another number of ranks."
            )
        self.units = batch_size // together
        return batch_size // self.size

    def own(self, rows: Array) -> Array:
        """This rank's rows of a whole batch, or of what is drawn for one."""
        if self.size == 1:
            return rows
        together = self._together(len(rows))
        units = rows.reshape(len(rows) // together, together, *rows.shape[1:])
        return units[self.rank :: self.size].copy().reshape(-1, *rows.shape[1:])

    def in_order(self, parts: Array) -> Array:
        """All rows of a batch, from the ranks' parts (size, rows of a part, ...)."""
        size, rows = parts.shape[:2]
        together = self._together(size * rows)
        units = parts.reshape(size, rows // together, together, *parts.shape[2:])
        return units.swapaxes(0, 1).reshape(size * rows, *parts.shape[2:])

    def _together(self, rows: int) -> int:
        """How many of so many rows are dealt together: a pack's, until its examples are joined into one."""
        return rows // self.units if self.units and rows % self.units == 0 else 1


ALONE = Ranks()
