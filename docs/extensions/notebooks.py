"""Notebooks as Markdown: text, cells of Python and the figure that a notebook stores."""

import base64
import json
from pathlib import Path
from typing import Any

from extensions.links import moved_links


def as_markdown(file: Path, page: Path) -> str:
    """The text of a page that shows a notebook.

    Args:
        file: the notebook.
        page: where the text will lie, next to its figure.
    """
    first, *others = [part(cell, file, page) for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]]
    title, _, rest = first.partition("\n")
    run = f"This page is the notebook `notebooks/{file.name}`: run it with `jupyter notebook notebooks` in a clone."
    return "\n\n".join([title, run, rest.strip(), *others]) + "\n"


def part(cell: dict[str, Any], file: Path, page: Path) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return moved_links(text, file, page)
    shown = f"\n\n![The picture of the cell above]({figure_name(file)})" if figures(cell) else ""
    return f"```python\n{text}\n```{shown}"


def figures(cell: dict[str, Any]) -> list[bytes]:
    """The PNGs that a cell has stored."""
    stored = [output.get("data", {}).get("image/png") for output in cell.get("outputs", [])]
    return [base64.b64decode("".join(png)) for png in stored if png]


def figure(file: Path) -> bytes | None:
    """The PNG that a notebook stores, if it stores one."""
    found = [png for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] for png in figures(cell)]
    return found[-1] if found else None


def figure_name(file: Path) -> str:
    return f"{file.stem}.png"
