"""Samples of a generator."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from minigan.backends.constants import Constants
from minigan.data.pictures import ImageBatch
from minigan.distributed import Ranks
from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.nn.layers import BatchNorm, Layer
from minigan.nn.network import Sequential
from minigan.nn.parameters import Arena
from minigan.support.arguments import flag, kind_of, whole

Noise = Callable[[np.random.Generator, int], np.ndarray]  # (rng, n) -> z, (n, *latent shape)

# From so many batches on, packing the weights once pays: it takes as long as drawing two or three images.
MANY_BATCHES = 8

__all__ = ["LastingConstants", "Noise", "constants_of", "generate", "rows_of_rank", "standing_statistics"]


def generate(
    G: Sequential,
    z: np.ndarray,
    condition: np.ndarray | None = None,
    *,
    batch_size: int = 64,
    batch_statistics: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The generator's outputs for latent vectors.

    Args:
        G: a built network.
        z: (N, *G.input_shape), any float dtype.
        condition: a row for each z, if G takes a condition: one-hot classes.
        batch_size: the most samples drawn at a time; bounds the memory.
        batch_statistics: draw as in training: BatchNorm uses the statistics of each batch, and Dropout is active (as in
            pix2pix: Isola et al. 2017, section 3.3). Otherwise no sample depends on the others.
        rng: of Dropout, with batch statistics.
    Returns:
        (N, *G.output_shape) in host memory. Images are an `ImageBatch`, which a notebook shows.
    Raises:
        NotBuiltError, ConfigError, ShapeError: G is no built network, or the shape of z or of the condition is wrong.
    """
    _expect_noise(G, z, condition)
    whole(batch_size, "batch_size", of="generate")
    flag(batch_statistics, "batch_statistics", of="generate")
    outputs: list[Any] = []
    batches = _batches(len(z), batch_size)
    holding = G.kernels.holding(constants_of(G)) if len(batches) >= MANY_BATCHES else nullcontext()
    with G.kernels.alone(), holding:
        for rows in batches:
            c = None if condition is None else G.kernels.asarray(condition[rows], dtype=G.dtype)
            y, _ = G.given(c).forward(G.kernels.asarray(z[rows], dtype=G.dtype), train=batch_statistics, rng=rng)
            outputs.append(G.kernels.to_numpy(y))
    drawn: np.ndarray = np.concatenate(outputs)
    return drawn.view(ImageBatch) if len(G.output_shape) == 3 else drawn


def _batches(count: int, batch_size: int) -> list[np.ndarray]:
    """Rows of batches of about one size: a small last one would have poor statistics."""
    return np.array_split(np.arange(count), -(-count // batch_size))


def rows_of_rank(count: int, ranks: Ranks, *, batch_size: int = 64) -> slice:
    """This rank's part of what `generate` is to draw on all ranks: whole batches, so that they are those of one rank.

    Args:
        count: samples on all ranks.
        batch_size: as in `generate`.
    """
    own = np.array_split(np.array([rows[[0, -1]] for rows in _batches(count, batch_size)]), ranks.size)[ranks.rank]
    return slice(int(own[0, 0]), int(own[-1, 1]) + 1) if len(own) else slice(0)


def constants_of(G: Sequential) -> Constants:
    """G's weights as constants, to draw with until they change."""
    return Constants(parameter.value for _, parameter in G.arena.items())


class LastingConstants:
    """A network's constants from call to call, for who draws often; made anew when its arena says that they changed."""

    def __init__(self, G: Sequential) -> None:
        self.G = G
        self._seen: tuple[Arena, int, Constants] | None = None

    def now(self) -> Constants:
        """The constants for the weights as they are."""
        arena, seen = self.G.arena, self._seen
        if seen is None or seen[0] is not arena or seen[1] != arena.version:
            seen = self._seen = arena, arena.version, constants_of(self.G)
        return seen[2]

    def held(self) -> AbstractContextManager[None]:
        """Within this context kernels use them, in `generate` too."""
        return self.G.kernels.holding(self.now())


def _expect_noise(G: Sequential, z: np.ndarray, condition: np.ndarray | None) -> None:
    """Refuses arguments that `generate` cannot use.

    Raises:
        NotBuiltError, ConfigError, ShapeError: see `generate`.
    """
    if not isinstance(G, Layer):
        raise ConfigError(f"generate: expected a network first, got {kind_of(G)}. Write generate(G, z).")
    expected = f"z of shape ({', '.join(map(str, ('N', *G.input_shape)))})"
    example = f"z = np.random.default_rng(0).standard_normal({(4, *G.input_shape)})"
    if not hasattr(z, "shape"):
        raise ConfigError(f"generate: {G.path} expects {expected}, got {kind_of(z)}. Write {example}.")
    if z.shape[1:] != G.input_shape or not z.shape or not len(z):
        raise ShapeError(f"generate: {G.path} expects {expected}, got {z.shape}. Write {example}.")
    if not hasattr(z, "dtype") or z.dtype.kind not in "fiu":
        raise DTypeError(f"generate: {G.path} expects real numbers, got {kind_of(z)}. Write {example}.")
    if condition is None:
        return
    if not hasattr(condition, "shape"):
        raise ConfigError(f"generate: expected a condition as an array, got {kind_of(condition)}. Give one-hot rows.")
    if len(condition) != len(z):
        raise ShapeError(
            f"generate: expected a condition for each of {len(z)} examples, got {len(condition)}. Give one row each."
        )
    if G.given(condition) is G:
        raise ConfigError(f"generate: {G.path} takes no condition, got {kind_of(condition)}. Leave it out.")


def standing_statistics(
    G: Sequential,
    sources: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray | None]],
    *,
    rng: np.random.Generator,
    batches: int = 100,
    batch_size: int = 64,
) -> None:
    """Replaces BatchNorm's running statistics by their mean over many batches, drawn with the present weights.

    Running statistics lag behind weights that change, and fit averaged weights badly.

    Args:
        sources: (rng, n) -> z (n, *latent shape), and a condition with a row for each z, or None.
        rng: draws them.
        batches, batch_size: number of batches, and of samples in each.
    Source: Brock et al. 2019 (BigGAN), appendix C.
    """
    norms = [layer for _, layer in G.walk() if isinstance(layer, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        with G.kernels.alone():
            for k in range(batches):
                for norm in norms:
                    norm.momentum = k / (k + 1)  # so that all batches count alike
                z, condition = sources(rng, batch_size)
                c = None if condition is None else G.kernels.asarray(condition, dtype=G.dtype)
                network = G.given(c)
                _, tape = network.forward(G.kernels.asarray(z, dtype=G.dtype), train=True, rng=rng)
                network.commit_statistics(tape)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
