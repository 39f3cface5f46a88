"""The range of values that are not 8-bit: integers of 16 and 32 bits, and floats.

One range serves a whole data set. That of a single picture would make each as bright as the others.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.errors import DataError

__all__ = ["DARK", "HALF_STEP", "SIXTEEN_BITS", "Tones", "common_tones", "dark_remarks", "float_tones", "integer_tones"]

DEPTHS = (1, 8, 10, 12, 16)  # bits of masks, pictures, cameras and scanners
# Half of the step between two of 256 tones in [0, 1]. A value that lies no further outside of its range is a rounding
# error: clipping it does not change the 8-bit pixel.
HALF_STEP = 0.5 / 255

DARK = 16 / 255  # share of white; data that stay below are noted


class Tones(NamedTuple):
    """Ends of a range, which become 0 and 255.

    Attributes:
        low, high: the ends.
        lowest, highest: the values that were found.
        floats: the values are floats.
    """

    low: float
    high: float
    lowest: float
    highest: float
    floats: bool = False

    def remarks(self) -> list[str]:
        """A line on a range that was found in the values."""
        kind = "floats" if self.floats else "values"
        ends = f"{self.low:g} (black) to {self.high:g} (white)"
        range_note = f"{kind} from {self.lowest:g} to {self.highest:g} are taken as tones from {ends}"
        return [range_note, *dark_remarks(self.highest, white=self.high)]

    def pixels(self, values: npt.NDArray[Any], *, where: str) -> npt.NDArray[np.uint8]:
        """Values as 8-bit pixels, of the same shape.

        Raises:
            DataError: a value is out of the range.
        """
        low, high = self.low, self.high
        spare = HALF_STEP if self.floats else 0
        fits = self.floats or values.dtype.kind != "f"
        if not (fits and values.min() >= low - spare and values.max() <= high + spare):  # NaN fails as well
            kind = "values" if fits else "integers"
            raise DataError(
                f"{where}: expected {kind} from {low:g} to {high:g}, found {values.dtype} from {values.min():g} to "
                f"{values.max():g}. Save it with 8 or 16 bits."
            )
        if self.floats:
            scaled = (np.clip(values, low, high) - low) * (255 / (high - low))
        else:
            scaled = (values.astype(np.int64) * 255 + int(high) // 2) // int(high)
        pixels: npt.NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
        return pixels


SIXTEEN_BITS = Tones(0, 0xFFFF, 0, 0xFFFF)


def common_tones(pictures: Iterator[tuple[str, npt.NDArray[Any]]], *, where: str) -> Tones:
    """The range of grayscale pictures of more than 8 bits.

    Args:
        pictures: the name and the values of each.
        where: names all of them in errors.
    Raises:
        DataError: the values are of no range that tones have.
    """
    lowest, highest, floats, named = np.inf, -np.inf, False, where
    for name, values in pictures:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(f"{name}: expected numbers, found NaN or infinity. Remove the picture.")
        named = name if high > highest or low < lowest else named
        lowest, highest, floats = min(low, lowest), max(high, highest), floats or values.dtype.kind == "f"
    if lowest > highest:  # none could be read
        return SIXTEEN_BITS
    if floats:
        return float_tones(lowest, highest, where=named)
    return integer_tones(int(lowest), int(highest), where=named)


def integer_tones(lowest: int, highest: int, *, where: str, signed: bool = False) -> Tones:
    """The range of integers: the smallest of 1, 8, 10, 12 and 16 bits that holds the largest.

    Args:
        signed: they are of a kind of 16 bits of which one is the sign.
    Raises:
        DataError: a value is negative or has more bits, or all are 0.
    """
    if lowest < 0 or highest > 0xFFFF or highest == 0:
        raise DataError(
            f"{where}: expected at most 16 bits a channel, found values from {lowest} to {highest}. "
            "Save it with 8 or 16 bits."
        )
    high = next(2**bits - 1 for bits in DEPTHS if highest < 2**bits)
    return Tones(0, min(high, 0x7FFF) if signed else high, lowest, highest)


def dark_remarks(highest: float, *, white: float) -> list[str]:
    """A line on images that are nearly black, such as maps of class numbers."""
    if highest > DARK * white:
        return []
    return [f"no value is above {highest:g} where white is {white:g}: the images are nearly black"]


def float_tones(lowest: float, highest: float, *, where: str) -> Tones:
    """The range of floats: [0, 1], or [-1, 1] if there are negative ones.

    Raises:
        DataError: a value is in neither.
    """
    low = -1.0 if lowest < -HALF_STEP else 0.0
    if lowest < low - HALF_STEP or highest > 1 + HALF_STEP:
        raise DataError(
            f"{where}: expected at most 16 bits a channel, or floats in [0, 1] or [-1, 1]; found 32-bit values from "
            f"{lowest:g} to {highest:g}. Save it with 8 or 16 bits."
        )
    return Tones(low, 1, lowest, highest, floats=True)
