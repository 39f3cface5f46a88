"""Documents as pages: one HTML file that needs nothing else, in light and dark, from disk and without a network.

There is no script. A content-security policy forbids everything but the one style sheet in the file, by its digest, and
every text is escaped: names in run folders come from strangers.
"""

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
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

STYLE = """
:root{color-scheme:light dark;--ink:#1d2433;--paper:#fdfdfb;--soft:#667;--line:#d5d7de;--tint:#f1f3f7;
--go:#1f5fbf;--back:#b4451f;--second:#7a3fb0;--none:#9aa0ac}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ee;--paper:#15181f;--soft:#9aa3b2;--line:#333a47;--tint:#1f2430;
--go:#7fb2ff;--back:#ff9a6b;--second:#cba3f5;--none:#6b7280}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:24px 18px 60px;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.7rem;margin:0 0 .6rem}
h2{font-size:1.2rem;margin:2.2rem 0 .5rem;padding-top:.7rem;border-top:1px solid var(--line)}
p{max-width:78ch;margin:.6rem 0}
p.lead{margin-top:1.8rem}
.wide{overflow-x:auto;margin:.7rem 0}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:.22rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{background:var(--tint);font-weight:600}
.w{text-align:left;white-space:pre-wrap;min-width:7em}
.w:first-child{white-space:pre}
tr.total td{font-weight:600;border-top:2px solid var(--line)}
dl{display:grid;grid-template-columns:minmax(7.5em,max-content) 1fr;gap:.15rem 1rem;margin:.6rem 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
dl.f dd,pre,.m td,.m caption{font-family:ui-monospace,monospace;font-size:.86rem}
dl.f dd{background:var(--tint);padding:.1rem .5rem;border-radius:4px}
pre{background:var(--tint);padding:.7rem .9rem;overflow-x:auto;border-radius:6px;line-height:1.4;margin:.4rem 0}
.ms{display:flex;flex-wrap:wrap;gap:.9rem 1.6rem;margin:.7rem 0}
.m table{border:0;border-left:2px solid var(--ink);border-right:2px solid var(--ink);border-radius:5px}
.m td{border:0;padding:.08rem .5rem}
.m caption{text-align:left;color:var(--soft);padding-bottom:.15rem}
details{margin:.3rem 0}
summary{cursor:pointer;color:var(--soft)}
summary code{color:var(--ink)}
svg{display:block;max-width:none}
figure{margin:1rem 0}
figcaption{font-weight:600;margin-bottom:.3rem}
.key b.go{color:var(--go)}.key b.back{color:var(--back)}.key b.second{color:var(--second)}.key b.none{color:var(--none)}
svg text{font:12px ui-monospace,monospace;fill:var(--ink)}
svg text.name{font-weight:700;font-size:15px}
svg text.small{fill:var(--soft)}
svg text.shape{fill:var(--soft);font-size:10.5px;text-anchor:end}
svg text.shape-left{fill:var(--soft);font-size:10.5px}
svg text.why{fill:var(--soft);font-size:10.5px}
svg .layer{fill:var(--tint);stroke:var(--line)}
svg .edge{fill:none;stroke-width:1.8}
svg .edge.forward{stroke:var(--go)}svg path.forward:not(.edge){fill:var(--go)}
svg .edge.backward{stroke:var(--back);stroke-dasharray:5 4}svg path.backward:not(.edge){fill:var(--back)}
svg .edge.second{stroke:var(--second);stroke-dasharray:2 3}svg path.second:not(.edge){fill:var(--second)}
svg .edge.none{stroke:var(--none);stroke-dasharray:5 4;stroke-width:1.2}svg path.none:not(.edge){fill:var(--none)}
"""
KEY = (
    '<p class="key"><b class="go">solid</b>: forward. <b class="back">dashed</b>: backward, up the gradient of the '
    'input, to the right that of the weights. <b class="second">dotted</b>: second order. '
    '<b class="none">grey</b>: not computed, with the reason.</p>'
)


def as_page(document: Document) -> str:
    """The document as HTML."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
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
<style>{STYLE}</style>
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
