"""Packed files, which may come from strangers: what they claim is checked before any memory is taken for it."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minigan.errors import DataError, MiniganError
from minigan.support.memory_limit import expect_room

__all__ = ["DEFLATE_LIMIT", "open_archive", "open_member", "read_at_most"]

DEFLATE_LIMIT = 1032  # a deflated byte unpacks to no more than this
PIECE = 2**20
ENCRYPTED = 1  # of a member's flags
# What zipfile raises of damaged archives; RuntimeError is also NotImplementedError, ValueError also UnicodeDecodeError.
DAMAGE = (OSError, EOFError, ValueError, RuntimeError, KeyError, struct.error, zipfile.BadZipFile, zlib.error)


def open_archive(path: Path) -> zipfile.ZipFile:
    """A zip archive whose members all have names that stay inside it.

    Raises:
        DataError: it is damaged, or has other names.
    """
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise DataError(f"{path}: the zip archive is damaged or cut short ({error}). Fetch it again.") from error
    for name in archive.namelist():
        if _leads_out(name):
            archive.close()
            raise DataError(f"{path}: expected names inside the archive, found {name!r}. Pack it anew.")
    return archive


@contextmanager
def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, where: str) -> Iterator[BinaryIO]:
    """A member, to be read piece by piece; whatever goes wrong meanwhile is a DataError that names it.

    Args:
        where: names the member in errors.
    Raises:
        DataError: it is damaged, encrypted, packed in another way than by deflate, or claims a size that cannot be.
    """
    if info.flag_bits & ENCRYPTED:
        raise DataError(f"{where}: is encrypted. Pack it without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{where}: expected a deflated or stored file, found method {info.compress_type}. Pack it so.")
    # deflate makes nothing more than a little larger
    if info.file_size > info.compress_size * DEFLATE_LIMIT or info.compress_size > 2 * info.file_size + 1024:
        raise DataError(f"{where}: claims {info.file_size:,} bytes, packed in {info.compress_size:,}. It is damaged.")
    try:
        with archive.open(info) as file:
            yield file  # type: ignore[misc]
    except MiniganError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: cannot be unpacked ({error}).") from error


def read_at_most(file: BinaryIO, limit: int, *, where: str, head: bytes = b"") -> bytearray:
    """A file to its end, piece by piece; one of more than `limit` bytes only until that shows.

    Args:
        where: names the file in errors.
        head: what has been read of it; counts.
    Raises:
        OutOfMemoryError: there is no room for that many bytes.
    """
    expect_room(limit, what=where, remedy="Use an unpacked file, or fewer items.")
    content = bytearray(head)
    while len(content) <= limit and (piece := file.read(PIECE)):
        content += piece
    return content


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")
