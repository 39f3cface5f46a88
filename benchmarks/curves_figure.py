"""A figure of training curves as SVG: a column a recipe, a plot a value, readable on light and on dark paper."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from minigan.inspection.history import Curve
from minigan.inspection.plot import HEIGHT, WIDTH, Line, plot
from minigan.support.package_files import packaged
from minigan.support.web_page import safe

KINDS = ((0, 0), (1, 0), (0, 1))  # of the three curves: color, and whether it is dashed
POINTS = 100  # of a curve
MARGIN, HEAD, TITLE = 16, 64, 26  # around all, above the columns, and above each plot
REPORT_STYLE = "".join(packaged("minigan.inspection", name) for name in ("page.css", "report.css"))
STYLE = """
svg.plot{width:auto;height:auto}
.paper{fill:var(--paper)}
.mean{fill:none;stroke:var(--c);stroke-width:2}.b{stroke-dasharray:6 4}
text.head,text.title,text.key{font:15px system-ui,sans-serif}
text.head{font-weight:600}
"""


def figure(columns: Mapping[str, Sequence[tuple[str, Sequence[Curve]]]], names: Sequence[str]) -> str:
    """The figure.

    Args:
        columns: of each recipe, values with their curves in the order of `names`.
        names: of the curves: three at most.
    """
    rows = max(len(values) for values in columns.values())
    width = MARGIN + (WIDTH + MARGIN) * len(columns)
    height = HEAD + (TITLE + HEIGHT) * rows + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{safe(", ".join(columns))}: {safe("; ".join(names))}">',
        f'<style>{REPORT_STYLE}{STYLE}</style><rect width="100%" height="100%" class="paper"/>',
        *_key(names),
    ]
    for index, (recipe, values) in enumerate(columns.items()):
        parts += _column(recipe, values, names, MARGIN + (WIDTH + MARGIN) * index)
    return "\n".join([*parts, "</svg>", ""])


def _key(names: Sequence[str]) -> Iterator[str]:
    """The curves' names, each beside a piece of its line."""
    x = MARGIN
    for name, (color, dashed) in zip(names, KINDS, strict=False):
        yield f'<path d="M{x} 20h30" class="mean c{color}{" b" * dashed}"/>'
        yield f'<text x="{x + 38}" y="25" class="key">{safe(name)}</text>'
        x += 64 + 9 * len(name)


def _column(recipe: str, values: Sequence[tuple[str, Sequence[Curve]]], names: Sequence[str], left: int) -> list[str]:
    parts = [f'<text x="{left}" y="{HEAD - 10}" class="head">{safe(recipe)}</text>']
    for row, (title, curves) in enumerate(values):
        top = HEAD + (TITLE + HEIGHT) * row
        lines = [
            Line(name, _thinned(curve), color, dashed, is_smooth=True)
            for name, curve, (color, dashed) in zip(names, curves, KINDS, strict=False)
        ]
        last = int(max(curve.steps[-1] for curve in curves))
        drawing = plot(f"{recipe}: {title}", lines, last=last).removeprefix("<svg ")
        parts.append(f'<text x="{left}" y="{top + 18}" class="title">{safe(title)}</text>')
        parts.append(f'<svg x="{left}" y="{top + TITLE}" width="{WIDTH}" height="{HEIGHT}" {drawing}')
    return parts


def _thinned(curve: Curve) -> Curve:
    """As many points as can be told apart."""
    keep = np.unique(np.linspace(0, len(curve.steps) - 1, min(len(curve.steps), POINTS)).astype(int))
    return Curve(curve.steps[keep], curve.values[keep])
