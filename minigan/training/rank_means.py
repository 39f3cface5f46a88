"""The one exchange of an update: gradients and measured values become the means over all ranks."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from minigan.backends import Backend
from minigan.errors import ConfigError
from minigan.nn.parameters import Gradients

__all__ = ["mean_over_ranks"]

V = TypeVar("V")


def mean_over_ranks(kernels: Backend, grads: Sequence[Gradients], values: V) -> V:
    """Overwrites gradients of each rank's rows by those of the whole batch: one all-reduce a network.

    The values travel behind the last network's gradients, and with them, on a device, whether all was sound.

    Args:
        grads: of the networks that are updated together.
        values: a NamedTuple of scalar arrays, each the mean over the rank's rows.
    Returns:
        The values' means; on one rank the values themselves.
    Raises:
        ConfigError: the values are something else, or too many.
    """
    ranks, guard = kernels.ranks, kernels.guard
    if ranks.size == 1:
        return values
    *others, last = grads
    for each in others:
        ranks.mean(each.flat)
    numbers = list(values) if isinstance(values, tuple) else []
    if not 0 < len(numbers) < last.room.size:
        raise ConfigError(
            f"{ranks.size} ranks share the values of a step as a NamedTuple of up to {last.room.size - 1} scalar "
            f"arrays, got {type(values).__name__}. Return one from `gradients`."
        )
    for index, number in enumerate(numbers):
        last.room[index] = number
    last.room[-1] = 0 if guard is None else kernels.xp.where(guard.sound, 0, float("nan"))
    ranks.mean(last.with_room)
    if guard is not None:
        guard.demand(last.room[-1] == 0)
    return cast(V, type(cast(Any, values))(*(last.room[index].copy() for index in range(len(numbers)))))
