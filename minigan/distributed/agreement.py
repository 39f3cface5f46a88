"""Agreement among ranks: what must be the same everywhere, bit for bit."""

import hashlib
from collections.abc import Mapping

import numpy as np

from minigan.distributed.ranks import Ranks
from minigan.errors import ConfigError

__all__ = ["same_everywhere"]


def same_everywhere(ranks: Ranks, arrays: Mapping[str, np.ndarray]) -> None:
    """Compares arrays among all ranks, by hashes of their bytes; all ranks call it.

    Args:
        arrays: in host memory, by name: weights and what else training has changed. The same names on each rank.
    Raises:
        ConfigError: they differ, on every rank with the same line: it names the first array and the ranks.
    """
    if ranks.size == 1:
        return
    own = {name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for name, array in arrays.items()}
    first, *others = ranks.gather(own)
    for name in first:
        differing = [str(rank) for rank, found in enumerate(others, 1) if found.get(name) != first[name]]
        if differing:
            raise ConfigError(
                f"{name} is no longer the same on all ranks: rank {', '.join(differing)} "
                f"{'differs' if len(differing) == 1 else 'differ'} from rank 0. Their processors or libraries compute "
                "differently: run all ranks on machines of one kind, with one version of each library."
            )
