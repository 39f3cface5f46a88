"""A pool of earlier fakes, so that D keeps rejecting what G drew before, and G does not return to it."""

import math
from collections.abc import Mapping

import numpy as np

from minigan.backends import Array
from minigan.errors import CheckpointError
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network
from minigan.support.arguments import whole
from minigan.support.memory_limit import expect_room

__all__ = ["FakePool"]


class FakePool:
    """Replaces half of each batch of fakes that D sees by fakes of earlier steps.

    The replaced fakes take the places of those earlier ones in the pool. Of a batch with an odd number one more is
    replaced in every second step on average: a single fake by the toss of a coin, as in CycleGAN.

    Args:
        G: the generator of the fakes; built.
        size: the number of fakes in a full pool.
    Raises:
        ConfigError: G is no built network, or the size is not a positive integer.
        OutOfMemoryError: the pool would not fit into memory.
    Source: Shrivastava et al. 2017, section 2.3; the "image pool" of 50 of pix2pix and CycleGAN.
    """

    def __init__(self, G: Sequential, *, size: int = 50) -> None:
        expect_network(G, "G")
        whole(size, "size", of="FakePool", remedy="Leave the pool out, or try 50.")
        self.kernels = G.kernels
        expect_room(size * math.prod(G.output_shape) * G.dtype.itemsize, what="the pool of fakes")
        self.fakes = G.kernels.xp.zeros((size, *G.output_shape), dtype=G.dtype)
        self.count = 0

    def __repr__(self) -> str:
        return f"FakePool: {self.count} of {len(self.fakes)} fakes {self.fakes.shape[1:]}"

    def mix(self, fakes: Array, rng: np.random.Generator) -> Array:
        """The batch for D in place of these fakes. Until the pool is full it only collects them.

        Args:
            fakes: (N, *G.output_shape); unchanged.
            rng: chooses the earlier fakes.
        Returns:
            (N, *G.output_shape).
        """
        ranks = self.kernels.ranks
        return ranks.own(self._mix(ranks.whole(fakes), rng))

    def _mix(self, fakes: Array, rng: np.random.Generator) -> Array:
        """The same for the whole batch: every rank keeps the whole pool."""
        if self.count < len(self.fakes):
            new = min(len(fakes), len(self.fakes) - self.count)
            with self.kernels.only_if_sound(self.fakes):
                self.fakes[self.count : self.count + new] = fakes[:new]
            self.count += new
            return fakes
        count = (len(fakes) + 1) // 2
        places = self.kernels.feed(lambda: rng.permutation(len(self.fakes))[:count])
        old, new = self.fakes[places], fakes[: len(places)]
        if len(fakes) % 2:  # the last one only if the coin says so
            xp = self.kernels.xp
            replaced = xp.arange(len(places)) < self.kernels.feed(lambda: np.array(count - rng.integers(2)))
            replaced = replaced.reshape(-1, *[1] * (fakes.ndim - 1))
            old, new = xp.where(replaced, old, new), xp.where(replaced, new, old)
        mixed = self.kernels.empty(fakes.shape, fakes.dtype)
        mixed[...] = fakes
        mixed[: len(places)] = old
        with self.kernels.only_if_sound(self.fakes):
            self.fakes[places] = new
        return mixed

    def to_dict(self) -> dict[str, np.ndarray]:
        """The pool in host memory."""
        return {"fakes": np.array(self.kernels.to_numpy(self.fakes)), "count": np.array([self.count], np.int64)}

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Restores the arrays that `to_dict` returned.

        Raises:
            CheckpointError: the arrays hold no pool, or one of another size or shape. Nothing is overwritten.
        """
        expected = {name: (array.shape, array.dtype) for name, array in self.to_dict().items()}
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if found != expected:
            raise CheckpointError(f"{source}: expected a pool of fakes, {expected}, got {found}.")
        self.fakes[...] = self.kernels.asarray(arrays["fakes"])
        self.count = int(arrays["count"][0])
