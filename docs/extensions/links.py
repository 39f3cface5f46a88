"""Relative links out of docs/: to a page of the book that is made of the file, or to the file's source page."""

import os
import re
from pathlib import Path
from typing import Any

from extensions.contents import DOCS, read_contents

ROOT = DOCS.parent
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")


def moved_links(text: str, old: Path, new: Path) -> str:
    """The text of a Markdown file whose relative links start at its new place."""

    def moved(match: re.Match[str]) -> str:
        return os.path.relpath(old.parent / match[1], new.parent) + (match[2] or "")

    return LINK.sub(moved, text)


def to_pages(text: str, page: Path, project: dict[str, str]) -> str:
    """The text of a page whose links out of docs/ go to pages of the book, or have the scheme `source:`.

    Args:
        project: pages of the book, by the file outside docs/ that they are made of.
    """

    def target(match: re.Match[str]) -> str:
        path = (page.parent / match[1]).resolve()
        if not path.exists() or (path.is_relative_to(DOCS) and path.suffix != ".py"):
            return match[0]
        inside = path.relative_to(ROOT).as_posix()
        if inside in project:
            return os.path.relpath(DOCS / f"{project[inside]}.md", page.parent) + (match[2] or "")
        return f"source:{inside}{match[2] or ''}"

    return LINK.sub(target, text)


def rewrite(app: Any, page: str, source: list[str]) -> None:
    path = DOCS / f"{page}.md"
    if path.is_file():
        project = {file: name for name, file in app.config.minigan_project.items()}
        source[0] = to_pages(source[0], path, {"README.md": "index", **project})


def setup(app: Any) -> dict[str, Any]:
    app.add_config_value("minigan_project", read_contents()["project"], "env", [dict])
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
