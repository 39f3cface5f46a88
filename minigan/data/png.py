"""Writing PNG with zlib alone, so that samples can be looked at without an image library.

Supports what minigan writes: 8-bit grayscale or RGB. Images are read by Pillow (`minigan[images]`).
Source: W3C, Portable Network Graphics (PNG) Specification, third edition, sections 5 (chunks) and 11.2 (IHDR, IDAT).
"""

import struct
import zlib

import numpy as np

from minigan.errors import ShapeError

_COLOR_TYPE = {1: 0, 3: 2}  # channels -> PNG's code for grayscale, truecolor


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes pixels as the bytes of a PNG file.

    Args:
        pixels: uint8 (H, W, C) with C = 1 or 3.
    Raises:
        ShapeError: they have another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.shape[-1] not in _COLOR_TYPE or pixels.dtype != np.uint8:
        raise ShapeError(
            f"expected uint8 pixels (H, W, 1) or (H, W, 3), got {pixels.dtype} {pixels.shape}. Use to_pixels."
        )
    H, W, C = pixels.shape
    rows = np.zeros((H, 1 + W * C), np.uint8)  # each row starts with its filter's type: 0, none
    rows[:, 1:] = pixels.reshape(H, W * C)
    header = struct.pack(">IIBBBBB", W, H, 8, _COLOR_TYPE[C], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
