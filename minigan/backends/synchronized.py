"""Statistics of a batch that several ranks share, from those of each rank's part."""

from types import ModuleType

from minigan.backends.base import Array
from minigan.distributed.ranks import Ranks


def moments_of_all_ranks(ranks: Ranks, mean: Array, var: Array, xp: ModuleType) -> tuple[Array, Array]:
    """Mean and variance over all ranks' numbers, of which each rank has equally many.

    Var[x] = E[Var of a part] + Var[mean of a part]; in double precision, in which E[mean²] - E[mean]² loses nothing
    that single precision has.

    Args:
        mean, var: of this rank's numbers, (C,).
    Returns:
        Both of all: float64 (C,), or the arguments themselves if there is one rank.
    """
    if ranks.size == 1:
        return mean, var
    both = xp.empty((2, *mean.shape), dtype="float64")
    both[0], both[1] = mean, var
    both[1] += both[0] ** 2
    whole, squares = ranks.mean(both)
    return whole, xp.maximum(squares - whole**2, 0)
