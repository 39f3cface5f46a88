"""The input of a step that needs more than real examples."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.support.arguments import kind_of
from minigan.support.representation import fields

__all__ = ["Batch", "expect_rng", "next_batch"]

T = TypeVar("T")


class Batch(NamedTuple):
    """Real examples with a condition or a source. Arrays in host memory or the backend's.

    Attributes:
        real: (N, *D.input_shape).
        condition: given to G and D with each example: one-hot classes (N, classes), or images (N, H, W, C); see
            `minigan.nn.layers.condition`.
        source: G's input in place of noise, (N, *G.input_shape): a photograph to be translated.
    """

    real: Array
    condition: Array | None = None
    source: Array | None = None

    def __repr__(self) -> str:
        return fields(self)


def next_batch(batches: Iterator[T]) -> T:
    """The next batch of a step. Nothing is checked before it fails, so that a step pays nothing for it.

    Raises:
        ConfigError: there are no more batches, or they come from no iterator.
    """
    try:
        return next(batches)
    except StopIteration:
        raise ConfigError("batches are used up. Write Loader(dataset, ...), which never ends.") from None
    except TypeError:
        if hasattr(type(batches), "__next__"):
            raise  # of a generator of the user's own
    alone = isinstance(batches, list | tuple) or hasattr(batches, "dtype")
    remedy = "iter([x]), or Loader(dataset, ...)" if alone else "Loader(dataset, ...)"
    raise ConfigError(f"batches must be an iterator, got {kind_of(batches)}. Write {remedy}.")


def expect_rng(rng: np.random.Generator) -> np.random.Generator:
    """The generator of a step's random numbers.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    raise ConfigError(f"rng must be a generator, got {kind_of(rng)}. Write rng = np.random.default_rng(0) once.")
