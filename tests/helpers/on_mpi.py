"""A program for `mpiexec`: what ranks on MPI exchange, and some trainings; the first rank prints what it has found.

mpiexec -n 2 python tests/helpers/on_mpi.py RECIPE [RECIPE ...]
"""

import json
import sys

import numpy as np
from rank_parity import distances, small, trained

from minigan.distributed import same_everywhere
from minigan.distributed.mpi import MpiRanks
from minigan.errors import MiniganError

STEPS = 6


def exchanges(ranks: MpiRanks) -> dict[str, bool]:
    """Whether each exchange gives what it promises."""
    rank, size = ranks.rank, ranks.size
    total = size * (size - 1) / 2
    array = np.full((2, 3), rank, np.float32)
    summed = ranks.sum(array)
    strided = np.full((4, 4), float(rank))[:, ::2]
    ranks.deal(4 * size, together=2)
    rows = np.arange(8.0 * size).reshape(4 * size, 2)
    found = {
        "a sum is in place": summed is array and bool((array == total).all()) and array.dtype == np.float32,
        "of what is not contiguous, too": ranks.sum(strided) is strided and bool((strided == total).all()),
        "a mean is in place": bool((ranks.mean(np.full(5, rank * 1.0)) == total / size).all()),
        "a scalar's mean": ranks.mean(np.float64(rank)) == total / size,
        "a scalar keeps its dtype": ranks.sum(np.float32(1)).dtype == np.float32,
        "dealt and gathered": np.array_equal(ranks.whole(ranks.own(rows)), rows),
        "any": ranks.any(rank == size - 1) and not ranks.any(False),
        "gather": ranks.gather({"rank": rank}) == [{"rank": each} for each in range(size)],
        "the first one's": ranks.from_first(f"of {rank}") == "of 0",
        "local": sorted(ranks.gather(ranks.local_rank)) == list(range(size)),
    }
    ranks.barrier()
    return found


def disagreement(ranks: MpiRanks) -> list[str]:
    """The complaints about an array that differs on one rank."""
    weights = np.zeros(3)
    same_everywhere(ranks, {"G.w": weights})
    weights[1] = ranks.rank == 1
    try:
        same_everywhere(ranks, {"D.w": np.ones(2), "G.w": weights})
    except MiniganError as error:
        return ranks.gather(str(error))
    return ranks.gather("")


def parity(ranks: MpiRanks, name: str) -> tuple[float, float, bool]:
    """Distances from a training in one process, and whether all ranks had the same bits after each step."""
    recipe = small(name)
    found = trained(recipe, ranks, steps=STEPS)
    same = all(digests == found.digests for digests in ranks.gather(found.digests))
    values, arrays = distances(found, trained(recipe, steps=STEPS)) if ranks.is_first else (0, 0)
    return values, arrays, same


def main() -> None:
    ranks = MpiRanks()
    found = {
        "size": ranks.size,
        "exchanges": [name for name, is_so in exchanges(ranks).items() if not is_so],
        "disagreement": disagreement(ranks),
        "parity": {name: parity(ranks, name) for name in sys.argv[1:]},
    }
    wrong = ranks.gather(found["exchanges"])
    if ranks.is_first:
        print(json.dumps(found | {"exchanges": wrong}))


if __name__ == "__main__":
    main()
