"""Walks: inputs of G on a path from point to point, for pictures that change by little from one to the next."""

import numpy as np

from minigan.errors import ConfigError
from minigan.latent.sources import Sources
from minigan.training.priors import Prior

__all__ = ["walk_between", "walk_length"]


def walk_length(points: int, *, frames: int, loop: bool) -> int:
    """The number of pictures of a walk."""
    return points * (frames + 1) if loop else (points - 1) * (frames + 1) + 1


def walk_between(points: Sources, *, prior: Prior, frames: int, loop: bool) -> Sources:
    """Inputs on a path through all points, in their order.

    z takes the prior's path: an arc for a normal one, a straight line for a uniform one. A condition changes evenly,
    from class to class through mixtures of both.

    Args:
        points: at least two, which are inputs of the walk, too, bit for bit.
        frames: number of inputs between neighboring points, without these.
        loop: whether the path returns from the last point to the first, which is not repeated at the end.
    Raises:
        ConfigError: there are fewer than two points, or they are all the same.
    """
    z, c = points
    if len(z) < 2:
        raise ConfigError(f"a walk needs at least two seeds or classes, got {len(z)}. Write `seeds=[1, 2, 3, 4]`.")
    if (z == z[0]).all() and (c is None or (c == c[0]).all()):
        raise ConfigError(
            "a walk needs seeds or classes that differ, got one and the same. Write `seeds=[1, 2, 3, 4]`."
        )
    ends = [(k, (k + 1) % len(z)) for k in range(len(z) if loop else len(z) - 1)]
    steps = [(a, b, frame / (frames + 1)) for a, b in ends for frame in range(frames + 1)]
    steps += [] if loop else [(len(z) - 1, len(z) - 1, 0.0)]
    path = np.stack([prior.between(z[a], z[b], t) for a, b, t in steps])
    mixed = None if c is None else np.stack([(1 - t) * c[a] + t * c[b] for a, b, t in steps]).astype(c.dtype)
    return Sources(path, mixed)
