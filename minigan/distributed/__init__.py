"""Ranks: several processes that share each batch and compute one training together."""

from minigan.distributed.agreement import same_everywhere
from minigan.distributed.dealt import dealt
from minigan.distributed.ranks import ALONE, Ranks

__all__ = ["ALONE", "Ranks", "dealt", "same_everywhere"]


def __dir__() -> list[str]:
    return sorted(__all__)
