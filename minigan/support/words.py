"""Names of files in other places than the file system: in a shell, in a file of text, on a terminal.

A name may hold any bytes but NUL. Python reads those that are no text as lone surrogates, which neither UTF-8 nor TOML
has, and a shell takes spaces, quotes and newlines in its own way.
"""

import codecs
import os
import re
import shlex
import urllib.parse

__all__ = ["by_value", "decoded", "from_text", "shell_word", "to_text"]

URL = "file://"
# Longest first: UTF-32's mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(data: bytes, *, errors: str = "strict") -> str:
    r"""The text of a file: UTF-8, or what its byte order mark says, as editors on Windows write; lines end in `\n`.

    Raises:
        UnicodeDecodeError: it is not in that encoding.
    """
    mark, encoding = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", "utf-8"))
    return data[len(mark) :].decode(encoding, errors).replace("\r\n", "\n")


def to_text(path: str) -> str:
    """A path as text that any file can hold: UTF-8 as it is, other bytes as a URL, `file:///a%E4b`."""
    data = os.fsencode(path)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return URL + urllib.parse.quote_from_bytes(data)


def from_text(text: str) -> str:
    """The path that `to_text` wrote."""
    data = urllib.parse.unquote_to_bytes(text.removeprefix(URL)) if text.startswith(f"{URL}/") else text.encode()
    return os.fsdecode(data)


def shell_word(text: str, *, windows: bool = os.name == "nt") -> str:
    r"""A word of a command line that can be pasted into a shell, in one line.

    Quotes are those of POSIX; with characters that cannot be printed, `$'...'` with octal bytes, which bash, zsh, ksh
    and POSIX from 2024 on know. On Windows a word with spaces is in double quotes.
    """
    if windows:
        return f'"{text}"' if re.search(r"[\s&()^,;=]", text) or not text else text
    if text.isprintable():
        return shlex.quote(text)
    escaped = (_escaped(c) for c in text)
    return f"$'{''.join(escaped)}'"


def _escaped(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if character.isprintable():
        return character
    return {"\n": "\\n", "\t": "\\t"}.get(character) or "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def by_value(digits: str) -> tuple[int, str]:
    """Key that sorts ASCII digits by their value, however many: Python converts at most 4,300 to an int."""
    significant = digits.lstrip("0")
    return len(significant), significant
