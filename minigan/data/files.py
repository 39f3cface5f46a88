"""Picture files in a fixed order, below a folder or inside a zip, each read when it is needed."""

import io
import os
import re
import struct
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from minigan.data.archive import open_archive, open_member, read_at_most
from minigan.data.foreign import TEXT, foreign_kind
from minigan.data.headers import HEAD, is_picture
from minigan.errors import DataError
from minigan.support.representation import printable

__all__ = ["FileStore", "FolderStore", "SingleFileStore", "ZipStore", "picture_file"]

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".jfif", ".jpe", ".pbm", ".pnm", ".dib", ".apng"),
)
LITTER = (  # of file managers and systems, in lower case
    *("__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "@eadir", "$recycle.bin", "lost+found"),
    "system volume information",
)
ARCHIVES = (".zip", ".npy", ".npz")  # that are a source of their own
PICKLE = re.compile(rb"\x80[\x02-\x05]")
NO_PICKLES = "Pickles are never loaded: use the dataset's binary version, or save the images as .npy."
MOST_LEVELS = 100  # of folders
LARGEST_FILE = 2**28  # bytes; a larger file is no picture
SHOWN = 6  # endings in a note
LOCAL_HEADER = 30  # bytes of a zip's member before its name
LONGEST_NAME = 1024  # bytes of name and extra field that are read together with a member's head


class FileStore(ABC):
    """Base of the stores of picture files, by index, in the order of their names.

    Files are pictures by their ending or by their first bytes.

    Attributes:
        names: of the pictures, relative to the root, with forward slashes, sorted.
        others: names of the files that are no pictures; a file manager's own are not among them.
        folders: names of all folders, without a slash at their end.
    """

    def __init__(self, root: Path, names: list[str], *, others: list[str], folders: list[str]) -> None:
        self.root = root
        self.names, self.others, self.folders = sorted(names), sorted(others), sorted(folders)
        if not names:
            self.close()
            raise DataError(
                f"{root}: expected image files ({' '.join(SUFFIXES)}), found {_few(others + folders)}. "
                f"{_remedy(root, others)}"
            )

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: it cannot be read.
        """

    @abstractmethod
    def head(self, index: int) -> bytes:
        """The first bytes of a file, at most HEAD; none if they cannot be read."""

    @abstractmethod
    def opened(self, index: int) -> BinaryIO:
        """A file from which a header can be read.

        Raises:
            DataError: it cannot be read.
        """

    @abstractmethod
    def read_other(self, name: str) -> bytes:
        """The bytes of one of `others`.

        Raises:
            DataError: it cannot be read.
        """

    def left_out(self) -> list[str]:
        """A line on the files that are no pictures, by their endings; none if there are no such files."""
        if not self.others:
            return []
        endings = Counter(_ending(name) or PurePosixPath(name).name for name in self.others)
        common = endings.most_common(SHOWN)
        shown = [ending if len(endings) == 1 else f"{count:,} {ending}" for ending, count in common]
        more = ["..."] if len(endings) > SHOWN else []
        plural = "" if len(self.others) == 1 else "s"
        return [f"{len(self.others):,} file{plural} left out: {', '.join(shown + more)}"]

    def check_size(self, where: str, size: int) -> None:
        """Checks a file's size.

        Raises:
            DataError: it has too many bytes for a picture.
        """
        if size > LARGEST_FILE:
            raise DataError(f"{where}: expected an image, found {size:,} bytes. Remove the file.")

    def close(self) -> None:  # noqa: B027 (a folder needs none)
        """Closes what is held open; nothing can be read afterwards."""

    def where(self, index: int) -> str:
        """The file's name for an error message."""
        return f"{self.root}/{self.names[index]}"


class FolderStore(FileStore):
    """The picture files in a folder and all folders below it. Links are followed, but no folder is entered twice."""

    def __init__(self, root: Path) -> None:
        names: list[str] = []
        others: list[str] = []
        folders: list[str] = []
        self._links: list[str] = []
        lists = {"picture": names, "folder": folders, "other": others, "link": self._links}
        for name, kind in _walk(str(root), "", seen=set()):
            lists[kind].append(name)
        super().__init__(root, names, others=others, folders=folders)

    def left_out(self) -> list[str]:
        links = [f"{name} is left out: the link leads nowhere, or where it was before" for name in self._links[:SHOWN]]
        return [*super().left_out(), *links]

    def read(self, index: int) -> bytes:
        return self._content(self.names[index])

    def read_other(self, name: str) -> bytes:
        return self._content(name)

    def head(self, index: int) -> bytes:
        return _head(os.path.join(self.root, self.names[index]))

    def opened(self, index: int) -> BinaryIO:
        path = Path(self.root, self.names[index])
        try:
            self.check_size(self.where(index), path.stat().st_size)
            return path.open("rb")
        except OSError as error:
            raise DataError(f"{self.where(index)}: cannot be read ({error.strerror}).") from error

    def _content(self, name: str) -> bytes:
        where = f"{self.root}/{name}"
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                self.check_size(where, os.fstat(file.fileno()).st_size)
                return file.read()
        except OSError as error:
            raise DataError(f"{where}: cannot be read ({error.strerror}).") from error


class SingleFileStore(FolderStore):
    """One file that is a picture, whatever its name and its first bytes say."""

    def __init__(self, path: Path) -> None:
        self._links = []
        FileStore.__init__(self, path.parent, [path.name], others=[], folders=[])


class ZipStore(FileStore):
    """The picture files in a zip archive. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self._archive = open_archive(root)
        self._lock = threading.Lock()  # the archive is one open file with one position
        # some writers separate folders by backslashes, against the specification
        self._members = {info.filename.replace("\\", "/"): info for info in self._archive.infolist()}
        self._hidden = len(self._archive.infolist()) - len(self._members)
        names: list[str] = []
        others: list[str] = []
        folders: set[str] = set()
        for name, info in self._members.items():
            if _is_litter(name):
                continue
            if name.endswith("/"):
                folders.add(name.rstrip("/"))
            elif _has_picture_ending(name) or is_picture(self._head(info), ending=_ending(name)):
                names.append(name)
            else:
                others.append(name)
        super().__init__(root, names, others=others, folders=list(folders))

    def left_out(self) -> list[str]:
        files = "a file is" if self._hidden == 1 else f"{self._hidden:,} files are"
        hidden = [f"{files} left out, as a later one in the zip has the same name"] if self._hidden else []
        return [*super().left_out(), *hidden]

    def close(self) -> None:
        self._archive.close()

    def read(self, index: int) -> bytes:
        return self._content(self.names[index])

    def read_other(self, name: str) -> bytes:
        return self._content(name)

    def head(self, index: int) -> bytes:
        return self._head(self._members[self.names[index]])

    def opened(self, index: int) -> BinaryIO:
        return io.BytesIO(self.read(index))

    def _content(self, name: str) -> bytes:
        info, where = self._members[name], f"{self.root}/{name}"
        self.check_size(where, info.file_size)
        with self._lock, open_member(self._archive, info, where=where) as file:
            return bytes(read_at_most(file, info.file_size, where=where))

    def _head(self, info: zipfile.ZipInfo) -> bytes:
        """Read without `zipfile`, which takes ten times as long to open a member."""
        file = self._archive.fp
        if file is None or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return b""
        with self._lock:
            try:
                file.seek(info.header_offset)
                block = file.read(LOCAL_HEADER + LONGEST_NAME + HEAD)
            except (OSError, ValueError):
                return b""
        if len(block) < LOCAL_HEADER or not block.startswith(b"PK\x03\x04"):
            return b""
        start = LOCAL_HEADER + sum(struct.unpack("<HH", block[26:LOCAL_HEADER]))
        packed = block[start : start + min(info.compress_size, HEAD)]
        if info.compress_type == zipfile.ZIP_STORED:
            return packed
        try:
            return zlib.decompressobj(wbits=-15).decompress(packed, HEAD)
        except zlib.error:
            return b""


def picture_file(path: Path) -> bool:
    """True if a file is a picture by its ending or by its first bytes."""
    return _has_picture_ending(path.name) or is_picture(_head(str(path)), ending=_ending(path.name))


def _few(names: list[str]) -> str:
    """A few of some names, for an error message."""
    if not names:
        return "nothing"
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"only {', '.join(names[:3])}{more}"


def _remedy(root: Path, others: list[str]) -> str:
    """A sentence or two on what to give instead of a folder or zip without pictures."""
    packed = [name for name in others if name.lower().endswith(ARCHIVES)]
    if packed:
        return f"Give {printable(packed[0])} itself." if root.is_dir() else "Unpack it, and give the file inside."
    if not root.is_dir():
        pickled = any(PurePosixPath(name).name == "data.pkl" for name in others)  # as torch.save writes it
        return NO_PICKLES if pickled else "Choose another file."
    heads = {name: _head(str(root / name)) for name in others[:SHOWN]}
    if any(PICKLE.match(head) for head in heads.values()):
        return NO_PICKLES
    for name, head in heads.items():
        foreign = foreign_kind(head, name=name)
        if foreign not in (None, TEXT):
            return f"{printable(name)} is {foreign.what}. {foreign.remedy}"
    return "Choose another folder."


def _walk(folder: str, prefix: str, *, seen: set[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """Names of what is below `folder`, and their kinds: picture, folder or other."""
    if prefix.count("/") > MOST_LEVELS:
        raise DataError(
            f"{folder[:200]}...: expected at most {MOST_LEVELS} folders inside each other, found more. Flatten it."
        )
    try:
        status = os.stat(folder)
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
    if (status.st_dev, status.st_ino) in seen:
        yield prefix[:-1], "link"
        return
    seen.add((status.st_dev, status.st_ino))
    if prefix:
        yield prefix[:-1], "folder"
    for entry in sorted(entries, key=lambda entry: entry.name):
        name = prefix + entry.name
        if _is_litter(entry.name):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, name + "/", seen=seen)
        elif not entry.is_file():
            yield name, "link" if entry.is_symlink() else "other"
        elif picture_file(Path(entry.path)):
            yield name, "picture"
        else:
            yield name, "other"


def _head(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(HEAD) or b""
    except OSError:
        return b""


def _is_litter(name: str) -> bool:
    """True for hidden files and what file managers leave behind."""
    return any(part.startswith(".") or part.lower() in LITTER for part in name.split("/"))


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _has_picture_ending(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
