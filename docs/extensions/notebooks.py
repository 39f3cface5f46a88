"""Notebooks as Markdown: text, cells of Python and the figure that a notebook stores."""

import base64
import json
from pathlib import Path
from typing import Any


def as_markdown(text: str, name: str) -> str:
    """A page of a notebook.

    Args:
        text: the notebook's JSON.
        name: of its file, which the page tells to open.
    """
    first, *others = [part(cell, name) for cell in json.loads(text)["cells"]]
    title, _, rest = first.partition("\n")
    run = f"This page is the notebook `notebooks/{name}`: run it with `jupyter notebook notebooks` in a clone."
    return "\n\n".join([title, run, rest.strip(), *others]) + "\n"


def part(cell: dict[str, Any], name: str) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    shown = f"\n\n![The last cell's picture]({figure_name(name)})" if figures(cell) else ""
    return f"```python\n{text}\n```{shown}"


def figures(cell: dict[str, Any]) -> list[bytes]:
    """The PNGs that a cell has stored."""
    stored = [output.get("data", {}).get("image/png") for output in cell.get("outputs", [])]
    return [base64.b64decode("".join(png)) for png in stored if png]


def figure(text: str) -> bytes | None:
    """The figure that a notebook stores, a PNG, if it stores one."""
    found = [png for cell in json.loads(text)["cells"] for png in figures(cell)]
    return found[-1] if found else None


def figure_name(name: str) -> str:
    return f"{Path(name).stem}.png"
