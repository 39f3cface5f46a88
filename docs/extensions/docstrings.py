"""Docstrings, written as Markdown is (code in backticks, indented blocks of code), for autodoc, which reads RST."""

import ast
import inspect
import re
from textwrap import dedent
from typing import Any

from sphinx.ext.napoleon import Config, GoogleDocstring

from extensions.lines import annotations_of, source_file

# Sections become lists under a heading: one item may describe several names ("real, fake: ..."), which the fields that
# napoleon writes otherwise cannot.
LISTS = [("Attributes", "params_style"), ("Settings", "params_style")]
GOOGLE = Config(napoleon_use_param=False, napoleon_use_rtype=False, napoleon_custom_sections=LISTS)
ARRAY = "minigan.backends.Array"
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Settings|Yields|Keyword Args):$")
LIST = re.compile(r"\s*(?:[-*]|\d+\.) ")


def escaped(line: str) -> str:
    """The line with RST's own signs made plain, outside of code; an item's first sign stays."""
    mark = LIST.match(line)
    head = mark[0] if mark else ""
    parts = re.split(r"(`[^`]*`)", line[len(head) :])
    plain = (part if i % 2 else re.sub(r"([*|\\]|_\b|(?<=\w)_(?!\w))", r"\\\1", part) for i, part in enumerate(parts))
    # In RST a letter next to code would keep it from being code.
    return head + re.sub(r"(`[^`]*`)(?=\w)", r"\1\\ ", "".join(plain))


def language(code: str) -> str:
    try:
        ast.parse(code)
    except SyntaxError:
        return "text"
    return "python" if re.search(r"[(.=]", code) else "text"


def as_rst(lines: list[str]) -> list[str]:
    """Escapes text, and marks blocks that are indented by four after an empty line as code."""
    out: list[str] = []
    section = False
    at = 0
    while at < len(lines):
        line = lines[at]
        if line and not line[0].isspace():
            section = bool(SECTION.match(line))
        starts = line.startswith("    ") and not section and at > 0 and not lines[at - 1] and not LIST.match(line)
        if not starts:
            out.append(escaped(line))
            at += 1
            continue
        end = at
        while end < len(lines) and (not lines[end] or lines[end].startswith("    ")):
            end += 1
        block = lines[at:end]
        out += [f".. code-block:: {language(dedent(chr(10).join(block)))}", "", *block, ""]
        at = end
    return out


def convert(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Makes RST of a docstring, in place."""
    if what == "data" and type(obj).__module__ == "builtins" and "\n".join(lines).strip() == inspect.getdoc(type(obj)):
        lines[:] = []  # a dict's, not this dict's
        return
    # Of a property napoleon takes the first words before a colon for a type.
    kind = "method" if what in ("property", "attribute", "data") else what
    text = GoogleDocstring(as_rst(lines), GOOGLE, app, kind, name, obj, options).lines()
    lines[:] = [re.sub(r"(?<=\*) -- ", " \N{EN DASH} ", line) for line in text]


def plain_signature(
    app: Any,  # noqa: ARG001
    what: str,  # noqa: ARG001
    name: str,  # noqa: ARG001
    obj: Any,
    options: Any,  # noqa: ARG001
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """A signature that Python can read, with `Array` where it is written.

    Defaults which are objects would keep it from being set in lines. To Python `Array` is `Any`, which autodoc shows.
    """
    if signature is None:
        return None
    signature = re.sub(r"<[\w. ]+(?: at 0x\w+)?>", "...", signature).replace("~", "")
    target = obj.__init__ if inspect.isclass(obj) else inspect.unwrap(getattr(obj, "__func__", obj))
    path = source_file(getattr(target, "__module__", "") or "")
    notes = annotations_of(path).get(getattr(target, "__qualname__", ""), {}) if path else {}
    for argument, note in notes.items():
        if note in ("Array", "Array | None") and argument != "return":
            signature = re.sub(rf"\b{argument}: typing\.Any\b", f"{argument}: {ARRAY}", signature)
    if returns is not None and notes.get("return") in ("Array", "Array | None"):
        returns = returns.replace("~typing.Any", ARRAY)
    return signature, returns


def leave_out(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:  # noqa: ARG001
    """Fields of named tuples, which their class's docstring describes."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
