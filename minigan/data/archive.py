"""Packed files, which may come from strangers: their claims are checked before memory is allocated for them."""

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

DEFLATE_LIMIT = 1032  # a deflated byte unpacks to at most this many
PIECE = 2**20
ENCRYPTED = 1  # of a member's flags
# Raised by zipfile for damaged archives; RuntimeError is also NotImplementedError, ValueError also UnicodeDecodeError.
DAMAGE = (OSError, EOFError, ValueError, RuntimeError, KeyError, struct.error, zipfile.BadZipFile, zlib.error)


def open_archive(path: Path) -> zipfile.ZipFile:
    """Opens a zip archive whose members all have names that stay inside it.

    Raises:
        DataError: it is damaged, or a name leads out of it.
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
    """Opens a member to be read piece by piece; any failure while it is open is a DataError that names it.

    Args:
        where: names the member in errors.
    Raises:
        DataError: it is damaged, encrypted, neither stored nor deflated, or claims an impossible size.
    """
    if info.flag_bits & ENCRYPTED:
        raise DataError(f"{where}: expected an unencrypted file, found an encrypted one. Pack it without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{where}: expected a deflated or stored file, found method {info.compress_type}. Pack it anew."
        )
    # deflate makes a file that cannot be packed only a little larger
    if info.file_size > info.compress_size * DEFLATE_LIMIT or info.compress_size > 2 * info.file_size + 1024:
        raise DataError(
            f"{where}: claims {info.file_size:,} bytes, packed in {info.compress_size:,}. It is damaged: pack it anew."
        )
    try:
        with archive.open(info) as file:
            yield file  # type: ignore[misc]
    except MiniganError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: cannot be unpacked ({error}). Pack it anew.") from error


def read_at_most(file: BinaryIO, limit: int, *, where: str, head: bytes = b"") -> bytearray:
    """Reads a file to its end, piece by piece, but stops soon after `limit` bytes.

    Args:
        where: names the file in errors.
        head: bytes that have been read of it already; they count.
    Returns:
        The bytes; more than `limit` if the file is longer.
    Raises:
        OutOfMemoryError: the machine has less memory than that.
    """
    expect_room(limit, what=where, remedy="Use an unpacked file, or fewer items.")
    content = bytearray(head)
    while len(content) <= limit and (piece := file.read(PIECE)):
        content += piece
    return content


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")
