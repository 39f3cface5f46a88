"""Weights in fewer bits: half precision, and 8-bit integers with a scale for each output channel."""

from dataclasses import dataclass

import numpy as np

from minigan.errors import ConfigError

__all__ = ["LARGEST_HALF", "WEIGHTS", "Quantized", "quantize"]

WEIGHTS = ("fp32", "fp16", "int8")
LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Quantized:
    """A weight in another type: w is about scale * values.

    Attributes:
        values: float32, float16 or int8, of w's shape.
        scale: float32 (K,), by output channel; None where it is 1 for all.
        axis: of the output channels.
    """

    values: np.ndarray
    scale: np.ndarray | None = None
    axis: int = -1

    def restored(self) -> np.ndarray:
        """The weight that it stands for, float32."""
        values = self.values.astype(np.float32)
        return values if self.scale is None else values * _along(self.scale, self.axis, values.ndim)


def quantize(w: np.ndarray, *, weights: str, axis: int = -1, of: str = "w") -> Quantized:
    """A weight in fewer bits.

    8-bit integers go from -127 to 127, with a channel's largest number at one of the ends.

    Args:
        w: finite, float32 or float64.
        weights: fp32, fp16 or int8.
        axis: of the output channels.
        of: names w in errors.
    Raises:
        ConfigError: a number is too large for half precision.
    """
    if weights == "fp32":
        return Quantized(w.astype(np.float32), axis=axis)
    largest = np.abs(w).max(axis=tuple(a for a in range(w.ndim) if a != axis % w.ndim))
    if weights == "fp16":
        if largest.max(initial=0) > LARGEST_HALF:
            found = f"{largest.max():,.0f}"
            raise ConfigError(
                f"{of}: expected weights up to {LARGEST_HALF:,.0f} for fp16, found {found}. Use fp32 or int8."
            )
        return Quantized(w.astype(np.float16), axis=axis)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    values = np.rint(w / _along(scale, axis, w.ndim)).clip(-127, 127).astype(np.int8)
    return Quantized(values, scale, axis)


def _along(scale: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """A number for each channel, such that it meets a weight along that axis."""
    shape = [1] * ndim
    shape[axis] = -1
    return scale.reshape(shape)
