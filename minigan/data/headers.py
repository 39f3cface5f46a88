"""Size and kind of a picture from its first bytes.

The headers of all files of a data set are looked at when it is opened. Pillow takes some 100 microseconds for one; for
a plain PNG or JPEG the few fields that matter are found here in a tenth of that. All others are left to Pillow.
"""

import struct
from typing import NamedTuple

__all__ = ["HEAD", "PNG_SIGNATURE", "Probe", "is_picture", "quick_probe"]

HEAD = 4096  # bytes of a file that are looked at
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KINDS = {  # by color type: bits a channel
    0: (1, 2, 4, 8, 16),
    2: (8, 16),
    3: (1, 2, 4, 8),
    4: (8, 16),
    6: (8, 16),
}
PALETTE = 3
QUICK_PIXELS = 2**25  # Pillow judges larger claims
# Cameras' raw files begin like TIFF and hold no more than a preview that could be shown.
RAW = (".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2", ".pef", ".srw", ".svs", ".ndpi")


class Probe(NamedTuple):
    """Size and kind of a picture, as its header states.

    Attributes:
        height, width: of the upright picture.
        gray: it has no colors.
        deep: its values have more than 8 bits, or are floats.
        moving: it has several frames or pages.
    """

    height: int
    width: int
    gray: bool
    deep: bool = False
    moving: bool = False


def is_picture(head: bytes, *, ending: str) -> bool:
    """Whether a file that begins so is a picture.

    Args:
        ending: of its name, in lower case; it tells raw photographs from TIFF.
    """
    if head.startswith((PNG_SIGNATURE, b"\xff\xd8\xff", b"GIF87a", b"GIF89a")):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return ending not in RAW
    if head[:2] == b"BM":  # two letters are little: the reserved bytes and the header's length count, too
        return head[6:10] == bytes(4) and head[14:18] in (
            struct.pack("<I", size) for size in (12, 40, 52, 56, 108, 124)
        )
    return len(head) > 4 and head[:2] in (b"P4", b"P5", b"P6") and head[2:3].isspace() and head[3:4].isdigit()


def quick_probe(head: bytes) -> Probe | None:
    """Reads a plain header; None if Pillow has to look at the file.

    Args:
        head: the first bytes of the file, at most HEAD.
    """
    if head.startswith(PNG_SIGNATURE):
        return _png(head)
    return _jpeg(head) if head.startswith(b"\xff\xd8\xff") else None


def _png(head: bytes) -> Probe | None:
    if head[8:16] != b"\0\0\0\x0dIHDR" or len(head) < 33:
        return None
    width, height, depth, color = struct.unpack(">IIBB", head[16:26])
    if not 1 <= width * height <= QUICK_PIXELS or depth not in PNG_KINDS.get(color, ()):
        return None
    gray, moving, at = color in (0, 4), False, 33
    while at + 8 <= len(head):
        length, kind = struct.unpack(">I4s", head[at : at + 8])
        content = head[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            return Probe(height, width, gray, deep=color == 0 and depth == 16, moving=moving)
        if kind == b"PLTE":
            if len(content) < length or length % 3:
                return None
            gray = content[0::3] == content[1::3] == content[2::3] if color == PALETTE else gray
        elif kind == b"acTL":
            moving = True
        elif kind == b"eXIf" or (kind[1:] in (b"EXt", b"TXt") and content.startswith((b"Raw profile", b"XML:com"))):
            return None  # they may say that the picture is to be turned
        at += 12 + length
    return None


def _jpeg(head: bytes) -> Probe | None:
    at = 2
    while at + 4 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _frame(head[at + 4 : at + 10])
        if marker in (0xE1, 0xD8, 0xD9, 0xDA):  # EXIF and XMP may say that the picture is to be turned
            return None
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _frame(content: bytes) -> Probe | None:
    if len(content) < 6:
        return None
    bits, height, width, components = struct.unpack(">BHHB", content)
    if bits != 8 or components not in (1, 3, 4) or not 1 <= width * height <= QUICK_PIXELS:
        return None
    return Probe(height, width, gray=components == 1)
