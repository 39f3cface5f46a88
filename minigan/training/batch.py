"""The input of a step that needs more than real examples."""

from typing import NamedTuple

from minigan.backends import Array
from minigan.support.representation import fields

__all__ = ["Batch"]


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
