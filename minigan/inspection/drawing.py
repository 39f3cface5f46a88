"""Panels of a step as SVG: forward solid, backward dashed, and gray, with the reason, what is not computed."""

import html
import textwrap
from collections.abc import Iterator

from minigan.inspection.graph import Chain, Node, Panel

__all__ = ["svg"]

BOX, HIGH, STEP = 212, 30, 56  # a layer's box, and the distance from one to the next
COLUMN = 556  # of a network, reasons included
INDENT, DEEPEST = 10, 5  # of a layer inside others
MARGIN = 16
ARROW_DOWN, ARROW_UP, WEIGHT = 36, 80, BOX + 14  # where arrows stand in a column, from its boxes' left side
CHARACTERS = 34  # of a reason's line


def svg(panel: Panel, *, number: int) -> str:
    """The drawing of one phase.

    Args:
        number: of the drawing in its page, for the names of its arrowheads.
    """
    rows = max(len(chain.nodes) for chain in panel.chains)
    width, height = MARGIN * 2 + COLUMN * len(panel.chains), MARGIN * 2 + STEP * (rows + 1) + 44
    inside = "".join(_column(chain, MARGIN + COLUMN * index, number) for index, chain in enumerate(panel.chains))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{_safe(panel.title)}">{_heads(number)}{inside}</svg>'
    )


def _heads(number: int) -> str:
    marks = "".join(
        f'<marker id="{name}{number}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" class="{name}"/></marker>'
        for name in ("forward", "backward", "second", "none")
    )
    return f"<defs>{marks}</defs>"


def _column(chain: Chain, left: int, number: int) -> str:
    top = MARGIN + 34
    parts = [
        _text(left, MARGIN + 12, chain.name, "name"),
        _text(left + 12 * len(chain.name) + 12, MARGIN + 12, f"from {chain.source}", "small"),
    ]
    told: set[str] = set()  # a reason is given once
    for index, node in enumerate(chain.nodes):
        y = top + STEP * index
        x = left + INDENT * min(node.depth, DEEPEST)
        parts += _edges(node, x, y, y - 18 if index == 0 else y - STEP + HIGH, number)
        parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="5" class="layer"/>')
        parts.append(_text(x + 8, y + 19, _cut(node.label, 27), "label"))
        parts.append(_text(x + BOX - 6, y + HIGH + 12, node.shape, "shape"))
        reasons = [reason for reason in _reasons(node, chain) if reason not in told]
        told.update(reasons)
        parts += _why(reasons, x + WEIGHT + 62, y + HIGH // 2 + 4)
    bottom = top + STEP * len(chain.nodes)
    parts.append(_line(left + ARROW_DOWN, bottom - STEP + HIGH, left + ARROW_DOWN, bottom - 6, "forward", number))
    if chain.backward:
        parts.append(_line(left + ARROW_UP, bottom - 6, left + ARROW_UP, bottom - STEP + HIGH, "backward", number))
    parts.append(_text(left, bottom + 12, chain.result, "small"))
    return "".join(parts)


def _edges(node: Node, left: int, y: int, above: int, number: int) -> Iterator[str]:
    """The arrows into and out of a layer: x comes from above, dx goes up, dw to the right."""
    if node.beside:  # its input is not the output of the layer above
        above = y - 12
        yield _text(left + WEIGHT + 26, y - 4, f"from the input of {node.beside}", "shape-left")
    yield _line(left + ARROW_DOWN, above, left + ARROW_DOWN, y, "forward", number)
    yield _line(left + ARROW_UP, y, left + ARROW_UP, above, "backward" if node.dx else "none", number)
    if node.second:
        yield _line(left + ARROW_UP + 24, above, left + ARROW_UP + 24, y, "second", number)
    if node.has_weights:
        x, middle = left + BOX, y + HIGH // 2
        name = "dP/dw" if node.second and node.dw else "dw"
        kind = ("second" if node.second else "backward") if node.dw else "none"
        yield _line(x, middle, left + WEIGHT + 20, middle, kind, number)
        yield _text(left + WEIGHT + 26, middle + 4, name, "small" if node.dw else "why")


def _reasons(node: Node, chain: Chain) -> list[str]:
    """The sentences on what is not computed at a layer."""
    if chain.why:
        return [f"no gradients: {chain.why}"]
    found = [f"no dx: {node.no_dx}"] if not node.dx and node.no_dx else []
    return found + ([f"no dw: {node.no_dw}"] if node.no_dw else [])


def _why(reasons: list[str], x: int, y: int) -> Iterator[str]:
    lines = [line for reason in reasons for line in textwrap.wrap(reason, CHARACTERS)]
    for index, line in enumerate(lines):
        yield _text(x, y - 6 * (len(lines) - 1) + 12 * index, line, "why")


def _line(x1: int, y1: int, x2: int, y2: int, kind: str, number: int) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" class="edge {kind}" marker-end="url(#{kind}{number})"/>'


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{_safe(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
