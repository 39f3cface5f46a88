"""Blocks of code in the documentation: what they are, and the commands in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<mark>`{3,}|~{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=mark)[ ]*$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]+) -->\s*\Z")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: its file, from the project's root.
        line: that of its fence.
        language: the word after the fence, "" if there is none.
        reason: why it is not run, "" if it is.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str


def pages() -> list[Path]:
    """All pages that people wrote: of docs/ and beside it, not those that a build of the book makes."""
    docs = [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "project"]
    return [*sorted(ROOT.glob("*.md")), *sorted(docs)]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        reason = NOT_RUN.search(before)
        language = match["info"].strip().split(" ")[0]
        found.append(Block(name, before.count("\n") + 1, language, match["text"], reason["reason"] if reason else ""))
    return found


def commands_of(text: str) -> list[list[str]]:
    """The words of each command of a shell block, without comments; what a pipe or && joins are several commands."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        command: list[str] = []
        for word in [*words, "&&"]:
            if word not in ("&&", "|", ">"):
                command.append(word)
                continue
            found += [command] if command else []
            command = []
            if word == ">":  # a file, not a command
                break
    return found
