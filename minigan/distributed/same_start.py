"""Agreement before the first step: versions, settings and data that all ranks must have alike."""

from collections.abc import Mapping

from minigan.distributed.ranks import Ranks
from minigan.errors import ConfigError

__all__ = ["expect_same_start"]

LONGEST = 100  # letters of a value that are shown


def expect_same_start(ranks: Ranks, facts: Mapping[str, str]) -> None:
    """Compares what each rank is about to do; all ranks call it.

    Args:
        facts: by name, in the order in which differences are told; a fact that only one rank has differs, too.
    Raises:
        ConfigError: they differ, on every rank with the same line: it names the first difference and the ranks.
    """
    if ranks.size == 1:
        return
    first, *others = ranks.gather(dict(facts))
    for name in dict.fromkeys([*first, *(name for found in others for name in found)]):
        expected = first.get(name)
        differing = [rank for rank, found in enumerate(others, 1) if found.get(name) != expected]
        if differing:
            found = others[differing[0] - 1].get(name)
            raise ConfigError(
                f"all ranks must train alike, but {name} is {_shown(expected)} on rank 0 and {_shown(found)} on rank "
                f"{', '.join(map(str, differing))}. Start them with the same command and the same versions, or each by "
                "itself: MINIGAN_RANKS=off."
            )


def _shown(value: str | None) -> str:
    if value is None:
        return "not there"
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
