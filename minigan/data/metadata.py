"""Picture files without their metadata: comments, profiles and texts, which a decoder may stumble over."""

import struct

from minigan.data.headers import PNG_SIGNATURE

__all__ = ["without_metadata"]

# What decides the pixels, or which way is up.
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
JPEG_DROPPED = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # application segments but JFIF's and Adobe's, and comments
EXIF = b"Exif\0\0"
SCAN = 0xDA


def without_metadata(data: bytes) -> bytes | None:
    """A PNG or JPEG without what does not decide its pixels; None if nothing is to be dropped, or for other formats."""
    plain = None
    if data.startswith(PNG_SIGNATURE):
        plain = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        plain = _jpeg(data)
    return None if plain == data else plain


def _png(data: bytes) -> bytes:
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind in PNG_KEPT:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != SCAN:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] not in JPEG_DROPPED or data[at + 4 : at + 10] == EXIF:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])
