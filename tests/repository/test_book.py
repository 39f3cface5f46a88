"""The book that Sphinx builds of docs/, looked at without Sphinx: its contents and its links."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from markdown_blocks import FENCE, ROOT, pages

DOCS = ROOT / "docs"
PAGES = [page for page in pages() if page.is_relative_to(DOCS)]
CONTENTS = tomllib.loads((DOCS / "contents.toml").read_text(encoding="utf-8"))
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]*)(?:#([^)\s]+))?\)")


def load(name):
    """A module of docs/, which is no package of the tests."""
    sys.path.insert(0, str(DOCS))
    try:
        return __import__(name, fromlist=["*"])
    finally:
        sys.path.remove(str(DOCS))


def anchors(text: str) -> set[str]:
    """The places of headings, as GitHub names them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = sum(1 for other in found if re.fullmatch(rf"{re.escape(name)}(-\d+)?", other))
        found.add(f"{name}-{count}" if name in found else name)
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def broken_links(page: Path) -> list[str]:
    """The page's relative links that lead to no file or no heading."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = []
    for name, place in LINK.findall(re.sub(r"`[^`\n]*`", "", text)):
        target = Path(os.path.normpath(page.parent / name)) if name else page
        if not target.exists():
            found.append(f"{page.name}: {name}: no such file")
        elif place and target.suffix == ".md" and place not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{page.name}: {name}#{place}: no such heading")
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_and_anchors_resolve(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n\n[x](#a-b-c) [y](#a) [z](none.md) [w](page.md#d)\n\n`[v](v.md)`\n", encoding="utf-8")
    assert broken_links(page) == [
        "page.md: #a: no such heading",
        "page.md: none.md: no such file",
        "page.md: page.md#d: no such heading",
    ]


def listed() -> set[str]:
    """The pages of the table of contents."""
    tables = load("extensions.contents").tables()
    return {"index", *(page for parts in tables.values() for _, names in parts for page in names)}


def test_every_page_is_in_the_table_of_contents():
    written = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES}
    assert written - listed() == set()
    made = set(CONTENTS["project"]) | {page for page in listed() if page.startswith("reference/minigan")}
    assert listed() - written - made == set()


def test_no_page_is_listed_twice():
    tables = load("extensions.contents").tables()
    names = [page for parts in tables.values() for _, pages in parts for page in pages]
    assert sorted(names) == sorted(set(names))


def test_a_notebook_is_a_page_with_its_cells_and_its_figure():
    notebooks, path = load("extensions.notebooks"), ROOT / "notebooks" / "lost_modes.ipynb"
    page = notebooks.as_markdown(path, DOCS / "project" / "page.md")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert page.startswith("# Lost modes, and what helps\n\nThis page is the notebook `notebooks/lost_modes.ipynb`")
    assert page.count("```python\n") == sum(cell["cell_type"] == "code" for cell in cells)
    assert all("".join(cell["source"]) in page for cell in cells if cell["cell_type"] == "code")
    assert "```\n\n![The picture of the cell above](lost_modes.png)\n\n" in page
    assert "(../../notebooks/second_order.ipynb)" in page and "(../systems.md#modes)" in page
    assert notebooks.figure(path).startswith(b"\x89PNG")


def test_files_that_become_pages_are_there():
    assert [file for file in CONTENTS["project"].values() if not (ROOT / file).is_file()] == []


def test_every_how_to_is_found_by_its_task():
    """A page of the parts between "Use" and "Look up" has a line in docs/howto.md."""
    linked = {name.removesuffix(".md") for name, _ in LINK.findall((DOCS / "howto.md").read_text(encoding="utf-8"))}
    parts = [part for part in CONTENTS["part"] if part["caption"] not in ("Learn", "Look up")]
    assert {page for part in parts for page in part["pages"]} - linked == {"howto"}


def test_the_reference_lists_every_room():
    import minigan

    table = (minigan.__doc__ or "").partition("The rooms, each built on those above it:\n\n")[2].partition("\n\n")[0]
    rooms = {f"minigan.{line.split()[0]}" for line in table.splitlines()}
    text = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    assert {room for room in rooms if f"| `{room}` |" not in text} == set()


def test_the_built_book_is_checked(tmp_path):
    """A small site, with one of each fault that `docs/check_site.py` finds."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.html").write_text(
        '<h1 id="top"><a name="L1"></a></h1><a href="../two.html#there">x</a><a href="#L1">y</a><a href="#L2">z</a>'
        '<img src="none.png"><script src="https://cdn.example/x.js"></script><a href="https://example.org">w</a>',
        encoding="utf-8",
    )
    (tmp_path / "two.html").write_text('<p id="here"><a href="a/one.html#top">x</a></p>', encoding="utf-8")
    (tmp_path / "book.css").write_text("@import 'https://fonts.example/f.css'; p { background: url(data:x) }", "utf-8")
    one = Path("a", "one.html")
    assert sorted(load("check_site").problems(tmp_path)) == sorted(
        [
            f"{one}: fetches https://cdn.example/x.js",
            f"{one}: ../two.html#there: no such anchor",
            f"{one}: #L2: no such anchor",
            f"{one}: none.png: no such file",
            "book.css: fetches https://fonts.example/f.css",
        ]
    )


def test_links_out_of_docs_become_pages_of_the_book():
    links = load("extensions.links")
    text = "[a](../CHANGELOG.md#new) [b](../examples/dcgan.py) [c](live.md) [d](https://x.org/y) [e](../none.md)"
    assert links.to_pages(text, DOCS / "page.md", {"CHANGELOG.md": "project/changelog"}) == (
        "[a](project/changelog.md#new) [b](source:examples/dcgan.py) [c](live.md) [d](https://x.org/y) [e](../none.md)"
    )
    moved = links.moved_links("[a](docs/live.md#b) [c](#d)", ROOT / "CONTRIBUTING.md", DOCS / "project" / "c.md")
    assert moved == "[a](../live.md#b) [c](#d)"
