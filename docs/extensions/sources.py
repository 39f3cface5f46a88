"""Source files as pages of the book, with a line's number as its anchor, and links to them.

Each function and class of the reference links to its very lines. In the text, code that is the path of a file or the
name of something public links to it.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

from extensions.lines import first_line, source_file
from extensions.links import ROOT
from extensions.names import public_name

FOLDERS = ("minigan", "examples", "benchmarks", "tests", "docs")
LARGEST = 400_000  # bytes of a file that is shown


def page_of(path: str) -> str:
    """The name of the page of a file or a folder, given its path from the project's root."""
    return f"source/{path.rstrip('/')}"


def resolve(domain: str, info: dict[str, str]) -> str | None:
    """The address of what autodoc describes, from a page of the reference: for `sphinx.ext.linkcode`."""
    if domain != "py" or not info["module"]:
        return None
    value: Any = importlib.import_module(info["module"])
    for name in info["fullname"].split("."):
        value = inspect.getattr_static(value, name, None) if inspect.isclass(value) else getattr(value, name, None)
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    value = inspect.unwrap(value) if callable(value) else value
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not module.startswith("minigan"):
        return None
    path, line = source_file(module), first_line(module, name)
    return f"../{page_of(path.relative_to(ROOT).as_posix())}.html#L{line}" if path and line else None


def shown(path: Path) -> bool:
    inside = path.relative_to(ROOT)
    return inside.parts[0] in FOLDERS and "__pycache__" not in inside.parts and path.stat().st_size < LARGEST


def line_of(text: str, path: Path) -> int:
    """The number of the line on which a text stands in a file, perhaps indented there."""
    own = [line.strip() for line in text.rstrip().splitlines()]
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return next((i + 1 for i in range(len(lines)) if lines[i : i + len(own)] == own), 1)


class Included(SphinxTransform):
    """Lines of a source file, included by reference, say from where they are, in the colors of their language."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        for node in list(self.document.findall(nodes.literal_block)):
            path = Path(node.get("source") or "").resolve()
            if not node.get("source") or not path.is_file() or not path.is_relative_to(ROOT):
                continue
            node.setdefault("language", "python" if path.suffix == ".py" else "text")
            inside, line = path.relative_to(ROOT).as_posix(), line_of(node.rawsource, path)
            link = nodes.reference("", f"{inside}, line {line}", internal=True, refuri=f"source:{inside}#L{line}")
            at = node.parent.index(node)
            node.parent.insert(at, nodes.paragraph("", "", link, classes=["from-source"]))


class Links(SphinxPostTransform):
    """Code that names a file or something public becomes a link, unless it is in one, or on the thing's own place."""

    default_priority = 20

    def run(self, **_: Any) -> None:
        for node in list(self.document.findall(nodes.reference)):
            if node.get("refuri", "").startswith("source:"):
                self.link_source(node)
            elif "/source/" in node.get("refuri", ""):  # from `resolve`
                self.app.minigan_sources.add(node["refuri"].partition("/source/")[2].partition(".html")[0])
        for node in list(self.document.findall(nodes.literal)):
            if not self.inside(node, nodes.reference, nodes.title, addnodes.desc_signature):
                self.link_code(node)

    def inside(self, node: nodes.Node, *kinds: type) -> bool:
        parent = node.parent
        while parent is not None:
            if isinstance(parent, kinds):
                return True
            parent = parent.parent
        return False

    def uri(self, page: str) -> str:
        return str(self.app.builder.get_relative_uri(self.env.docname, page))

    def link_source(self, node: nodes.reference) -> None:
        path = node["refuri"].removeprefix("source:")
        node["refuri"], node["internal"] = self.source_uri(path), True
        node["classes"] = [name for name in node["classes"] if name != "external"]

    def link_code(self, node: nodes.literal) -> None:
        text = node.astext()
        uri = self.file_uri(text) if "/" in text else self.name_uri(text, node)
        if uri:
            link = nodes.reference("", "", internal=True, refuri=uri)
            node.replace_self(link)
            link.append(node)

    def file_uri(self, text: str) -> str | None:
        path = ROOT / text
        if text.split("/")[0] not in FOLDERS or ".." in text or not path.exists() or not shown(path):
            return None
        return self.source_uri(text)

    def source_uri(self, path: str) -> str:
        """The address of a file's page, perhaps with a line, and a note that the page is needed."""
        path, mark, line = path.partition("#")
        self.app.minigan_sources.add(path.rstrip("/"))
        return self.uri(page_of(path)) + mark + line

    def name_uri(self, text: str, node: nodes.Node) -> str | None:
        """The address of a public name, in full or, in the reference, as its neighbors call it."""
        name = text.removesuffix("()")
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        objects = self.env.get_domain("py").objects
        full = [f"{scope}.{name}" for scope in self.scopes(node)] + [name] * name.startswith("minigan.")
        for candidate in full:
            found = objects.get(candidate) or objects.get(public_name(candidate))
            if found:
                home = "#" + found.node_id if found.docname == self.env.docname else None
                return home or f"{self.uri(found.docname)}#{found.node_id}"
        return self.file_uri(f"{name.replace('.', '/')}.py") if name.startswith("minigan.") else None

    def scopes(self, node: nodes.Node) -> Iterator[str]:
        """The classes and the module in whose description the node stands, from the inside."""
        module = ""
        while node is not None:
            if isinstance(node, addnodes.desc):
                for signature in node.findall(addnodes.desc_signature):
                    module = signature.get("module") or module
                    yield f"{module}.{signature.get('fullname')}"
                    break
            node = node.parent
        page = self.env.docname
        if page.startswith("reference/minigan"):
            yield page.removeprefix("reference/")
            yield "minigan.nn"  # layers are spoken of in many rooms


def folder_body(path: Path, pages: set[str]) -> str:
    """The names in a folder; those that have a page are links."""

    def item(entry: Path) -> str:
        name = f"<code>{escape(entry.name)}</code>"
        has_page = entry.relative_to(ROOT).as_posix() in pages
        return (
            f'<li><a href="{path.name}/{escape(entry.name)}.html">{name}</a></li>' if has_page else f"<li>{name}</li>"
        )

    entries = (entry for entry in sorted(path.iterdir()) if entry.name != "__pycache__")
    return f"<ul>{''.join(item(entry) for entry in entries)}</ul>"


def file_body(path: Path) -> str:
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    form = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True, wrapcode=True)
    # Pygments writes anchors as L-12; GitHub's are L12.
    text = highlight(path.read_text(encoding="utf-8"), lexer, form)
    return text.replace('name="L-', 'name="L').replace('id="L-', 'id="L').replace('href="#L-', 'href="#L')


def crumbs(path: Path) -> str:
    """The path with a link to each folder on it, from the page of the file."""
    parts = path.relative_to(ROOT).parts
    links = [
        f'<a href="{"../" * (len(parts) - 1 - i)}{escape(part)}.html">{escape(part)}</a>'
        for i, part in enumerate(parts[:-1])
    ]
    return "/".join([*links, f"<b>{escape(parts[-1])}</b>"])


def all_pages(app: Any) -> set[str]:
    """Files and folders to which something links, now or in an earlier build, with the folders that they are in."""
    out = Path(app.outdir) / "source"
    earlier = {path.relative_to(out).as_posix().removesuffix(".html") for path in out.rglob("*.html")}
    linked = {path for path in earlier | app.minigan_sources if (ROOT / path).exists()}
    return linked | {parent.as_posix() for path in linked for parent in Path(path).parents} - {"."}


def write_pages(app: Any, exception: Exception | None) -> None:
    """Writes the files and folders to which something links; without the theme, which would take a minute."""
    if exception or app.builder.name != "html":
        return
    frame = (Path(__file__).parent / "source_page.html").read_text(encoding="utf-8")
    pages = all_pages(app)
    for inside in sorted(pages):
        path, page = ROOT / inside, Path(app.outdir) / f"{page_of(inside)}.html"
        if page.is_file() and path.is_file() and page.stat().st_mtime > path.stat().st_mtime:
            continue
        body = folder_body(path, pages) if path.is_dir() else file_body(path)
        values = {"TITLE": escape(inside), "CRUMBS": crumbs(path), "UP": "../" * (inside.count("/") + 1), "BODY": body}
        page.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(r"\{\{(\w+)\}\}", lambda match, values=values: values[match[1]], frame)
        page.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    app.minigan_sources = set()
    app.add_transform(Included)
    app.add_post_transform(Links)
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
