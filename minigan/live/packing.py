"""Arrays in a frame: few bits a number, as text."""

import base64
from typing import Any

import numpy as np

__all__ = ["packed_field", "packed_pixels", "packed_points", "rounded"]


def packed_field(values: np.ndarray, *, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Numbers in 8 bits, from `low` (0) to `high` (255); without these, the least and the greatest of them.

    Args:
        values: of any shape, finite or not; what is not finite becomes 0.
    """
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, posinf=0, neginf=0)
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    levels = np.rint((values - low) * (255 / max(high - low, 1e-30))).clip(0, 255).astype(np.uint8)
    return {"shape": list(levels.shape), "low": rounded(low), "high": rounded(high), "data": _text(levels)}


def packed_pixels(pixels: np.ndarray) -> dict[str, Any]:
    """Bytes (N, H, W, C) or (N, H, W), as they are."""
    return {"shape": list(pixels.shape), "data": _text(np.ascontiguousarray(pixels, np.uint8))}


def packed_points(points: np.ndarray, *, unit: float) -> dict[str, Any]:
    """Vectors (N, 2) in two times 16 bits; those beyond four units are moved to that border.

    Args:
        unit: 8192 in the numbers.
    """
    levels = np.rint(points * (8192 / unit)).clip(-32767, 32767).astype("<i2")
    return {"unit": rounded(unit), "data": _text(levels)}


def rounded(value: float) -> float | None:
    """A number in five digits; None if it is not finite."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
