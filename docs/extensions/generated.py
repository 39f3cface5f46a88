"""Pages that are written before a build: the reference, a page for each room, and the project's own files.

They lie in docs/reference/ and docs/project/, where git ignores them. A page is written only if it has changed.
"""

import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from extensions.contents import DOCS, read_contents
from extensions.docstrings import escaped
from extensions.lines import first_line
from extensions.links import ROOT, moved_links
from extensions.notebooks import as_markdown, figure, figure_name


def rooms() -> list[str]:
    """The rooms that `help(minigan)` lists, from the ground up, and the rooms within them."""
    text = importlib.import_module("minigan").__doc__ or ""
    table = text.partition("The rooms, each built on those above it:\n\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in table.splitlines()]
    return sorted({"minigan", *(f"minigan.{n}" for n in [*names, *re.findall(r"\b\w+\.\w+\b", table)])})


def first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.:])\s", " ".join((text or "").split()))[0].rstrip(".:")


def home(room: ModuleType, name: str) -> str:
    """The module in which a public name is written, or "" for a constant."""
    value = getattr(room, name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return ""
    return str(value.__module__)


def entry(room: ModuleType, name: str) -> list[str]:
    value = getattr(room, name)
    if inspect.isclass(value):
        bases = ["   :show-inheritance:"] if any(b.__module__.startswith("minigan") for b in value.__bases__) else []
        return [f".. autoclass:: {room.__name__}.{name}", "   :members:", *bases, ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {room.__name__}.{name}", ""]
    return [f".. autodata:: {room.__name__}.{name}", "   :no-value:", ""]


def headed(title: str, line: str) -> list[str]:
    return [title, line * len(title), ""]


def table(room: ModuleType, names: list[str]) -> list[str]:
    """All names with the first sentence of what each is."""
    lines = [".. list-table::", "   :class: names", "   :widths: auto", ""]
    for name in sorted(names, key=str.lower):
        value = getattr(room, name)
        own = inspect.isclass(value) or inspect.isroutine(value)
        lines += [f"   * - `{name}`", f"     - {escaped(first_sentence(inspect.getdoc(value))) if own else ''}"]
    return [*lines, ""]


def room_page(name: str) -> str:
    """A room: what it is for, all its names, then each of them below the file in which it is written."""
    room = importlib.import_module(name)
    names = [public for public in room.__all__ if public != "__version__"]
    lines = [*headed(name, "="), f".. automodule:: {name}", "", f".. currentmodule:: {name}", "", *table(room, names)]
    if name == "minigan":  # its names are those of its rooms
        return "\n".join(lines) + "\n"
    homes: dict[str, list[str]] = {}
    for public in sorted(names, key=lambda public: (home(room, public) == "", *place(room, public))):
        homes.setdefault(home(room, public), []).append(public)
    for module, written in homes.items():
        title = first_sentence(importlib.import_module(module).__doc__) if module else "Constants and types"
        lines += headed(title.replace("`", "").replace("*", "\\*"), "-")
        lines += [f"`{module.replace('.', '/')}.py`", ""] if module and is_file(module) else []
        for public in written:
            lines += entry(room, public)
    return "\n".join(lines) + "\n"


def is_file(module: str) -> bool:
    return (ROOT / (module.replace(".", "/") + ".py")).is_file()


def place(room: ModuleType, name: str) -> tuple[str, int]:
    """The module and line in which a name is written: the book is in the order of the source."""
    return home(room, name), first_line(home(room, name), name) or 0


def pages() -> Iterable[tuple[Path, bytes]]:
    for name in rooms():
        yield DOCS / "reference" / f"{name}.rst", room_page(name).encode()
    for page, source in read_contents()["project"].items():
        path, file = DOCS / f"{page}.md", ROOT / source
        if file.suffix != ".ipynb":
            yield path, moved_links(one_title(file.read_text(encoding="utf-8")), file, path).encode()
            continue
        yield path, as_markdown(file, path).encode()
        if (picture := figure(file)) is not None:
            yield path.with_name(figure_name(file)), picture


def one_title(text: str) -> str:
    """The text with its first title alone: a page has one place in the table of contents."""
    first, line, rest = text.partition("\n")
    return first + line + re.sub(r"^# ", "## ", rest, flags=re.MULTILINE)


def write(*_: Any) -> None:
    written = dict(pages())
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != text:
            path.write_bytes(text)
    for path in [*(DOCS / "reference").glob("*.rst"), *(DOCS / "project").iterdir()]:
        if path not in written:
            path.unlink()


def setup(app: Any) -> dict[str, Any]:
    app.connect("config-inited", write, priority=100)  # before the table of contents looks for them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
