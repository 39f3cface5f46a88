"""Documents as pages: one HTML file that needs nothing else, in light and dark, from disk and without a network.

A content-security policy forbids everything but the style sheet in the file and, in a report, its one script, both by
their digests, and every text is escaped: names in run folders come from strangers.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from minigan.inspection.document import (
    Bars,
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
from minigan.support.package_files import packaged
from minigan.support.web_page import framed, safe

__all__ = ["as_page", "body_of", "prose"]

KEY = (
    '<p class="key"><b class="go">solid</b>: forward. <b class="back">dashed</b>: backward, up the gradient of the '
    'input, to the right that of the weights. <b class="second">dotted</b>: second order. '
    '<b class="none">gray</b>: not computed, with the reason.</p>'
)


def as_page(document: Document) -> str:
    """The document as HTML."""
    return framed(document.title, body_of(document), style=packaged(__package__, "page.css"))


def body_of(document: Document, *, first: int = 1) -> str:
    """The document's blocks as HTML, without its title.

    Args:
        first: the number of its first drawing; no two drawings of a page have the same.
    """
    numbers = count(first)
    return "\n".join(part for block in document.blocks for part in _parts(block, numbers))


def _parts(block: Block, numbers: "count[int]") -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"<h2>{safe(block.text)}</h2>"
    elif isinstance(block, Text):
        lead = f"<b>{safe(block.lead)}</b> " if block.lead else ""
        yield f"<p{' class=lead' if block.lead else ''}>{lead}{prose(block.text)}</p>"
    elif isinstance(block, Verbatim):
        yield f"<pre>{safe(block.text)}</pre>"
    elif isinstance(block, Facts | Formulas):
        yield _definitions(block)
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Bars):
        yield _bars(block)
    elif isinstance(block, Matrices):
        yield f'<div class="ms">{"".join(_matrix(*item) for item in block.arrays)}</div>'
    elif isinstance(block, Code):
        yield _code(block)
    elif isinstance(block, Graph):
        yield KEY
        for panel in block.panels:
            drawing = svg(panel, number=next(numbers))
            yield f'<figure><figcaption>{safe(panel.title)}</figcaption><div class="wide">{drawing}</div></figure>'


def _definitions(block: Facts | Formulas) -> str:
    kind = ' class="f"' if isinstance(block, Formulas) else ""
    rows, before = [], None
    for name, text in block.rows:
        shown = safe(text) if isinstance(block, Formulas) else prose(text)
        rows.append(f"<dt>{'' if name == before else safe(name)}</dt><dd>{shown}</dd>")
        before = name
    return f"<dl{kind}>{''.join(rows)}</dl>"


def _table(table: Table) -> str:
    words = {*range(table.left), *range(len(table.header) - table.words, len(table.header))}

    def row(cells: Sequence[str], tag: str, kind: str = "") -> str:
        kinds = (' class="w"' if column in words else "" for column in range(len(cells)))
        shown = "".join(f"<{tag}{kind}>{safe(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr{kind}>{shown}</tr>"

    last = len(table.rows) - 1
    body = "".join(
        row(cells, "td", ' class="total"' if table.total and index == last else "")
        for index, cells in enumerate(table.rows)
    )
    return f'<div class="wide"><table><thead>{row(table.header, "th")}</thead><tbody>{body}</tbody></table></div>'


def _bars(block: Bars) -> str:
    """Histograms as a table of drawn bars."""
    head = "".join(f'<th class="w">{safe(name)}</th>' for name in block.header)
    body = "".join(
        f'<tr><td class="w">{safe(label)}</td>{"".join(f"<td>{_bar(length)}</td>" for length in lengths)}</tr>'
        for label, lengths in block.rows
    )
    return f'<div class="wide"><table class="bars"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _bar(length: float) -> str:
    words = f"{length:.0%} of the longest"
    return (
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{words}"><title>{words}</title>'
        f'<rect width="{100 * length:.1f}" height="10"/></svg>'
    )


def _matrix(name: str, array: np.ndarray) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{safe(text)}</td>" for text in texts) + "</tr>" for texts in number_texts(array)
    )
    return f'<div class="m"><table><caption>{safe(name)}</caption><tbody>{rows}</tbody></table></div>'


def _code(block: Code) -> str:
    if not block.source:
        return ""
    summary = f"<summary>{safe(block.title)} <code>{safe(block.place)}</code></summary>"
    return f"<details>{summary}<pre>{safe(block.source)}</pre></details>"


def prose(text: str) -> str:
    """The same of a sentence, in which what stands between backticks is code."""
    return re.sub("`([^`\n]+)`", r"<code>\1</code>", safe(text))
