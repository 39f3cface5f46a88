"""Random numbers of a batch that several ranks share: each rank draws them all, and keeps its own rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.distributed.ranks import Ranks
from minigan.errors import ConfigError

__all__ = ["DealtGenerator", "dealt"]

Size = Any  # an int, a tuple of ints, or None
Numbers = Any  # what NumPy broadcasts


class DealtGenerator(np.random.Generator):
    """Draws for the whole batch, and gives this rank's rows of it: what one process would have drawn for them.

    The first axis of a size is the rank's rows of the batch. Without a size, and in `permutation` and `shuffle`, all
    ranks draw the same. All generators stay in step, as each draws everything.

    Args:
        rng: whose numbers are drawn; the two share one state.
        ranks: that share the batch.
    """

    def __init__(self, rng: np.random.Generator, ranks: Ranks) -> None:
        super().__init__(rng.bit_generator)
        self.rng, self.ranks = rng, ranks

    def standard_normal(self, size: Size = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return self._into(out, lambda whole: self.rng.standard_normal(whole, dtype=dtype), size)

    def random(self, size: Size = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return self._into(out, lambda whole: self.rng.random(whole, dtype=dtype), size)

    def normal(self, loc: Numbers = 0.0, scale: Numbers = 1.0, size: Size = None) -> Any:
        return self._dealt(lambda whole: self.rng.normal(loc, scale, whole), size)

    def uniform(self, low: Numbers = 0.0, high: Numbers = 1.0, size: Size = None) -> Any:
        return self._dealt(lambda whole: self.rng.uniform(low, high, whole), size)

    def integers(
        self, low: Numbers, high: Numbers = None, size: Size = None, dtype: Any = np.int64, endpoint: bool = False
    ) -> Any:
        return self._dealt(lambda whole: self.rng.integers(low, high, whole, dtype=dtype, endpoint=endpoint), size)

    def choice(
        self, a: Any, size: Size = None, replace: bool = True, p: Any = None, axis: int = 0, shuffle: bool = True
    ) -> Any:
        return self._dealt(lambda whole: self.rng.choice(a, whole, replace, p, axis, shuffle), size)

    def _into(self, out: Any, draw: Callable[[Size], Any], size: Size) -> Any:
        if out is None:
            return self._dealt(draw, size)
        out[...] = self._dealt(draw, out.shape)
        return out

    def _dealt(self, draw: Callable[[Size], Any], size: Size) -> Any:
        if size is None:
            return draw(None)
        rows, *rest = (size,) if isinstance(size, int | np.integer) else size
        return self.ranks.own(draw((rows * self.ranks.size, *rest)))


def _refused(name: str) -> Callable[..., Any]:
    def refuse(self: DealtGenerator, *_: Any) -> Any:
        raise ConfigError(
            f"rng.{name} cannot be shared among {self.ranks.size} ranks: draw by random, uniform, normal, integers or "
            "choice, with the batch as the first axis."
        )

    return refuse


_SAME_EVERYWHERE = {"bit_generator", "bytes", "permutation", "permuted", "shuffle", "spawn"}
for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in {*_SAME_EVERYWHERE, *vars(DealtGenerator)}:
        setattr(DealtGenerator, _name, _refused(_name))


def dealt(rng: np.random.Generator, ranks: Ranks) -> np.random.Generator:
    """The generator of a step's random numbers on this rank; one process alone takes `rng` itself."""
    return rng if ranks.size == 1 else DealtGenerator(rng, ranks)
