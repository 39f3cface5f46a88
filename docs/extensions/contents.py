"""The table of contents, read from `contents.toml`: pages stay plain Markdown, without Sphinx's directives."""

import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]


def read_contents() -> dict[str, Any]:
    return tomllib.loads((DOCS / "contents.toml").read_text(encoding="utf-8"))


def pages_of(patterns: list[str], *, named: set[str]) -> list[str]:
    """The pages that these patterns stand for, in order."""
    pages: list[str] = []
    for pattern in patterns:
        if "*" not in pattern:
            pages.append(pattern)
            continue
        found = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob(pattern)}
        files = {page for page in found if any((DOCS / f"{page}{end}").is_file() for end in (".md", ".rst"))}
        pages += sorted(files - named - set(pages))
    return pages


def named_pages(contents: dict[str, Any]) -> set[str]:
    """All pages that are named outright."""
    lists = [part["pages"] for part in contents["part"]] + list(contents["below"].values())
    return {"index", *(page for pages in lists for page in pages if "*" not in page)}


def tables() -> dict[str, list[tuple[str, list[str]]]]:
    """The captions and pages that stand below each page."""
    contents = read_contents()
    named = named_pages(contents)
    below = {page: [("", pages_of(patterns, named=named))] for page, patterns in contents["below"].items()}
    return {"index": [(part["caption"], pages_of(part["pages"], named=named)) for part in contents["part"]], **below}


def entry(page: str, titles: dict[str, str]) -> str:
    return f"{titles[page]} </{page}>" if page in titles else f"/{page}"


def add_table(app: Any, page: str, source: list[str]) -> None:
    titles = app.config.minigan_titles
    for caption, pages in app.config.minigan_tables.get(page, []):
        lines = [
            ":hidden:",
            *([f":caption: {caption}"] if caption else []),
            "",
            *(entry(name, titles) for name in pages),
        ]
        source[0] += "\n\n```{toctree}\n" + "\n".join(lines) + "\n```\n"


def setup(app: Any) -> dict[str, Any]:
    app.add_config_value("minigan_tables", {}, "env", [dict])
    app.add_config_value("minigan_titles", read_contents()["titles"], "env", [dict])
    app.connect("config-inited", lambda _, config: config.__setattr__("minigan_tables", tables()), priority=900)
    app.connect("source-read", add_table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
