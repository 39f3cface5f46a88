"""Ranks: several processes that share each batch and compute one training together."""

from minigan.distributed.agreement import same_everywhere
from minigan.distributed.dealt import dealt
from minigan.distributed.launcher import find_ranks
from minigan.distributed.ranks import ALONE, Ranks
from minigan.distributed.same_start import expect_same_start

__all__ = ["ALONE", "Ranks", "dealt", "expect_same_start", "find_ranks", "same_everywhere"]


def __dir__() -> list[str]:
    return sorted(__all__)
