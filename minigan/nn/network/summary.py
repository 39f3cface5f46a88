"""A network as text and as HTML: for prints, prompts and notebooks."""

import html
from collections.abc import Iterator
from typing import NamedTuple

from minigan.nn.layers.base import Layer

__all__ = ["html_table", "outline", "text_table"]

HEADER = ("layer", "output shape", "parameters", "MFLOP", "algorithm (or y | dx | dw)")


class Line(NamedTuple):
    """A layer and its place.

    Attributes:
        name: in the layer around it: `"3"`, `"inner.0"`.
        depth: the number of layers it stands inside of, sequences not counted.
    """

    name: str
    depth: int
    layer: Layer


class Row(NamedTuple):
    """The cells of a table."""

    label: str
    output_shape: str
    parameters: str
    mflop: str
    algorithm: str = ""


def lines(network: Layer, depth: int = 0) -> Iterator[Line]:
    """All layers inside, each with its place."""
    for name, layer in _inside(network):
        yield Line(name, depth, layer)
        yield from lines(layer, depth + 1)


def outline(network: Layer) -> str:
    """A line for the network, and the layers inside, indented, as each shows itself."""
    inside = (f"  {name} {layer!r}".replace("\n", "\n  ") for name, layer in _inside(network))
    return "\n".join([network.title(), *inside])


def text_table(network: Layer, *, batch_size: int) -> str:
    """The table of `Sequential.summary`."""
    title = _title(network)
    rows: list[tuple[str, ...]] = [HEADER, *_rows(network, batch_size, indent="  "), _total(network)]
    if any(row[-1] for row in rows[1:]):
        title += f", algorithms for batches of {batch_size}"
    else:
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>><", widths, strict=False)).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, text))
    return "\n".join([title, text[0], rule, *text[1:-1], rule, text[-1]])


def html_table(network: Layer) -> str:
    """The summary for a notebook; of a network that is not built the layers alone."""
    if not network.is_built:
        return f"<pre>{html.escape(outline(network))}</pre>"
    rows = [*_rows(network, batch_size=64, indent="\N{EM SPACE}"), _total(network)]
    cells = len(HEADER) - 1  # the algorithms depend on a batch size, which is not given here
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in HEADER[:cells])
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row[:cells])}</tr>" for row in rows)
    caption = html.escape(f"{_title(network)}, {network.dtype} on {network.kernels.name}")
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _inside(network: Layer) -> Iterator[tuple[str, Layer]]:
    """The layers directly inside; those of a sequence stand in its place."""
    for name, layer in network.children():
        if layer.transparent:
            yield from ((f"{name}.{inner_name}", inner) for inner_name, inner in _inside(layer))
        else:
            yield name, layer


def _rows(network: Layer, batch_size: int, *, indent: str) -> Iterator[Row]:
    for name, depth, layer in lines(network):
        count = sum(p.size for p in layer.own_parameters)
        names = layer.algorithms(batch_size)
        algorithm = names[0] if len(set(names)) == 1 else " | ".join(names)
        label = f"{indent * depth}{name} {layer.describe()}"
        yield Row(label, str(layer.output_shape), f"{count:,}", f"{layer.flops / 1e6:,.2f}", algorithm)


def _total(network: Layer) -> Row:
    count = sum(p.size for _, p in network.named_parameters())
    return Row("total", "", f"{count:,}", f"{network.total_flops / 1e6:,.2f}")


def _title(network: Layer) -> str:
    return f"{network.path}: {network.input_shape} -> {network.output_shape}"
