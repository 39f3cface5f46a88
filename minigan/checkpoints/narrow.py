"""Weights stored in fewer bits, for generators that are handed on: float16, or int8 with a scale for each channel.

Only arrays of two or more axes are narrowed: the rest, of one number a channel, hardly take space. An int8 array q has
beside it the float32 array `NAME:scale` of one number for each index of the last axis, and stands for q * scale. The
scale is the largest absolute value of those numbers by 127, or 1 where all are 0, so that each is off by half a scale
at most.
"""

from collections.abc import Mapping

import numpy as np

from minigan.checkpoints.quantized import LARGEST_HALF, quantize
from minigan.errors import CheckpointError

__all__ = ["STORED", "narrowed", "widened"]

Arrays = dict[str, np.ndarray]

STORED = ("float16", "int8")
SCALE = ":scale"


def narrowed(arrays: Mapping[str, np.ndarray], stored: str) -> Arrays:
    """Arrays as a file keeps them in fewer bits.

    Args:
        arrays: float32 or float64, finite, by name.
        stored: float16 or int8.
    """
    found: Arrays = {}
    for name, array in arrays.items():
        if array.ndim < 2:
            found[name] = array
        elif stored == "float16":
            found[name] = quantize(np.clip(array, -LARGEST_HALF, LARGEST_HALF), weights="fp16").values
        else:
            kept = quantize(array, weights="int8")
            found[name] = kept.values
            if kept.scale is not None:
                found[name + SCALE] = kept.scale
    return found


def widened(arrays: Mapping[str, np.ndarray], dtype: str, *, source: str) -> Arrays:
    """The arrays that `narrowed` arrays stand for, in the networks' dtype.

    Raises:
        CheckpointError: an int8 array has no scale, or one of another shape.
    """
    found: Arrays = {}
    for name, array in arrays.items():
        if array.dtype == np.int8:
            scale = arrays.get(name + SCALE)
            if scale is None or scale.shape != array.shape[-1:] or scale.dtype != np.float32:
                raise CheckpointError(
                    f"{source}: expected a scale for each channel of {name} in {name + SCALE}. It is damaged: choose "
                    "another."
                )
            found[name] = array.astype(dtype) * scale.astype(dtype)
        elif array.dtype == np.float16:
            found[name] = array.astype(dtype)
        elif not name.endswith(SCALE):
            found[name] = array
    return found
