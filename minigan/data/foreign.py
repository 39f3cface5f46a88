"""Kinds of file that people download but that are not read: what they are, from their first bytes, and what to do."""

import codecs
import zlib
from typing import NamedTuple

__all__ = ["TEXT", "Foreign", "foreign_kind"]


class Foreign(NamedTuple):
    """A kind of file that is not read.

    Attributes:
        what: in words, with an article.
        remedy: a sentence.
    """

    what: str
    remedy: str


UNPACK = "Unpack it, and give what is inside."
AS_ARRAY = "Save its images with np.save, and give the .npy file."
AS_FOLDER = "Save its pictures in a folder, and give that."
AS_PNG = "Convert it to PNG."
TEXT = Foreign("text", "Give the folder of the pictures.")
TAR, PACKED = Foreign("a tar archive", UNPACK), Foreign("a packed tar archive", UNPACK)
TAR_NAME = slice(257, 262)  # bytes of a tar archive that say so
GZIP_WINDOW = 31  # zlib's number for gzip
MAGICS = (
    (b"\x1f\x8b", Foreign("gzip data without an IDX file inside", "Unpack it first.")),
    (b"BZh", Foreign("packed data (bzip2)", UNPACK)),
    (b"\xfd7zXZ\0", Foreign("packed data (xz)", UNPACK)),
    (b"\x28\xb5\x2f\xfd", Foreign("packed data (zstd)", UNPACK)),
    (b"Rar!\x1a\x07", Foreign("a RAR archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", UNPACK)),
    (b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", AS_ARRAY)),
    (b"MATLAB 5.0", Foreign("a MATLAB file", AS_ARRAY)),
    (b"PAR1", Foreign("a Parquet table", AS_FOLDER)),
    (b"ARROW1", Foreign("an Arrow table", AS_FOLDER)),
    (b"SQLite format 3\0", Foreign("an SQLite database", AS_FOLDER)),
    (b"%PDF", Foreign("a PDF document", AS_FOLDER)),
    (b"8BPS", Foreign("a Photoshop picture", AS_PNG)),
    (b"\0\0\0\x0cjP  ", Foreign("a JPEG 2000 picture", AS_PNG)),
    (b"\0\0\1\0", Foreign("an icon", AS_PNG)),
)
LMDB_MAGIC = b"\xde\xc0\xef\xbe"  # at byte 16
BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"mif1", b"msf1"), "a HEIC picture"
)
BY_ENDING = {
    **dict.fromkeys((".tga", ".svg", ".exr", ".hdr", ".dds", ".dcm", ".jxl"), "a picture of a kind that is not read"),
    **dict.fromkeys((".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2"), "a raw photograph"),
}
TABLES = (".csv", ".tsv")


def foreign_kind(head: bytes, *, name: str) -> Foreign | None:
    """The kind of a file that is not read; None if it is not among those known.

    Args:
        head: its first bytes, 512 or more of them if it has so many.
        name: of the file.
    """
    if head[TAR_NAME] == b"ustar":
        return TAR
    if head.startswith(b"\x1f\x8b") and _unpacked(head)[TAR_NAME] == b"ustar":
        return PACKED
    for magic, kind in MAGICS:
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        picture = BRANDS.get(head[8:12])
        return Foreign(picture, AS_PNG) if picture else Foreign("a video", "Save its frames as pictures in a folder.")
    if head[16:20] == LMDB_MAGIC:
        return Foreign("an LMDB database", AS_FOLDER)
    name = name.lower()
    if "tfrecord" in name:
        return Foreign("a TFRecord file", AS_FOLDER)
    ending = name[name.rfind(".") :]
    return Foreign(BY_ENDING[ending], AS_PNG) if ending in BY_ENDING else _text(head, ending=ending)


def _unpacked(head: bytes) -> bytes:
    """The first bytes of gzip data."""
    try:
        return zlib.decompressobj(wbits=GZIP_WINDOW).decompress(head, TAR_NAME.stop)
    except zlib.error:
        return b""


def _text(head: bytes, *, ending: str) -> Foreign | None:
    """The kind of a text; None if the bytes are none."""
    try:  # the head may end within a letter
        start = codecs.getincrementaldecoder("utf-8-sig")().decode(head).lstrip().lower()
    except UnicodeDecodeError:
        return None
    if not start or not all(letter.isprintable() or letter.isspace() for letter in start):
        return None
    if start.startswith(("<!doctype html", "<html")):
        return Foreign("a web page, as a failed download leaves it", "Download the file again.")
    if start.startswith("version https://git-lfs"):
        return Foreign("a pointer of Git LFS", "Fetch the file itself: git lfs pull.")
    if ending in TABLES:
        return Foreign("a table in text", AS_ARRAY)
    return TEXT
