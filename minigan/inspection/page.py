"""Documents as pages: one HTML file that needs nothing else, in light and dark, from disk and without a network.

There is no script. A content-security policy forbids everything but the one style sheet in the file, by its digest, and
every text is escaped: names in run folders come from strangers.
"""

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import count

import numpy as np

from minigan.inspection.document import (
    Block,
    Code,
    Document,
    Facts,
    Formulas,
    Graph,
    Heading,
    Matrices,
    Table,
    Text,
    Verbatim,
)
from minigan.inspection.drawing import svg
from minigan.inspection.terminal import number_texts

__all__ = ["as_page"]

KEY = (
    '<p class="key"><b class="go">solid</b>: forward. <b class="back">dashed</b>: backward, up the gradient of the '
    'input, to the right that of the weights. <b class="second">dotted</b>: second order. '
    '<b class="none">grey</b>: not computed, with the reason.</p>'
)


def as_page(document: Document) -> str:
    """The document as HTML."""
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    numbers = count(1)
    body = "\n".join(part for block in document.blocks for part in _parts(block, numbers))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_safe(document.title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{_safe(document.title)}</h1>
{body}
</body>
</html>
"""


def _parts(block: Block, numbers: "count[int]") -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"<h2>{_safe(block.text)}</h2>"
    elif isinstance(block, Text):
        lead = f"<b>{_safe(block.lead)}</b> " if block.lead else ""
        yield f"<p{' class=lead' if block.lead else ''}>{lead}{_safe(block.text)}</p>"
    elif isinstance(block, Verbatim):
        yield f"<pre>{_safe(block.text)}</pre>"
    elif isinstance(block, Facts | Formulas):
        yield _definitions(block)
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Matrices):
        yield f'<div class="ms">{"".join(_matrix(*item) for item in block.arrays)}</div>'
    elif isinstance(block, Code):
        yield _code(block)
    elif isinstance(block, Graph):
        yield KEY
        for panel in block.panels:
            drawing = svg(panel, number=next(numbers))
            yield f'<figure><figcaption>{_safe(panel.title)}</figcaption><div class="wide">{drawing}</div></figure>'


def _definitions(block: Facts | Formulas) -> str:
    kind = ' class="f"' if isinstance(block, Formulas) else ""
    rows, before = [], None
    for name, text in block.rows:
        rows.append(f"<dt>{'' if name == before else _safe(name)}</dt><dd>{_safe(text)}</dd>")
        before = name
    return f"<dl{kind}>{''.join(rows)}</dl>"


def _table(table: Table) -> str:
    words = {*range(table.left), *range(len(table.header) - table.words, len(table.header))}

    def row(cells: Sequence[str], tag: str, kind: str = "") -> str:
        kinds = (' class="w"' if column in words else "" for column in range(len(cells)))
        shown = "".join(f"<{tag}{kind}>{_safe(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr{kind}>{shown}</tr>"

    last = len(table.rows) - 1
    body = "".join(
        row(cells, "td", ' class="total"' if table.total and index == last else "")
        for index, cells in enumerate(table.rows)
    )
    return f'<div class="wide"><table><thead>{row(table.header, "th")}</thead><tbody>{body}</tbody></table></div>'


def _matrix(name: str, array: np.ndarray) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{_safe(text)}</td>" for text in texts) + "</tr>" for texts in number_texts(array)
    )
    return f'<div class="m"><table><caption>{_safe(name)}</caption><tbody>{rows}</tbody></table></div>'


def _code(block: Code) -> str:
    if not block.source:
        return ""
    summary = f"<summary>{_safe(block.title)} <code>{_safe(block.place)}</code></summary>"
    return f"<details>{summary}<pre>{_safe(block.source)}</pre></details>"


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
