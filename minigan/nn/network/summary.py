"""A network as text and as HTML: for prints, prompts and notebooks."""

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigan.nn.layers.base import Layer

__all__ = ["engine_of", "html_of", "html_table", "outline", "precision_of", "text_table"]

EM_SPACE = "\N{EM SPACE}"  # HTML drops plain spaces at the start of a cell
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


def precision_of(network: Layer) -> str:
    """The precision of a built network's products: the backend's, or "fp64", for double precision is never rounded."""
    return "fp64" if network.dtype == np.float64 else network.kernels.precision


def engine_of(network: Layer) -> str:
    """The name of a built network's backend, with the precision if it rounds: `"cpu in bf16"`."""
    precision = precision_of(network)
    return network.kernels.name if precision in ("fp32", "fp64") else f"{network.kernels.name} in {precision}"


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
    """The summary for a notebook, each layer as the call that makes it; before `build` the layers alone."""
    calls = [f"{EM_SPACE * depth}{name} {layer.call_text()}" for name, depth, layer in lines(network)]
    rows: list[tuple[str, ...]]
    if network.is_built:
        # The algorithms depend on a batch size, which nobody has named here.
        cells = [row[1:-1] for row in _rows(network, batch_size=64, indent="")]
        rows = [HEADER[:-1], *((call, *rest) for call, rest in zip(calls, cells, strict=True)), _total(network)[:-1]]
    else:
        rows = [HEADER[:1], *((call,) for call in calls)]
    return html_of(network.title(), rows)


def html_of(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    """A table of texts, of which the first row is the head."""
    head, *body = (
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for tag, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True)
    )
    text = "".join(f"<tr>{row}</tr>" for row in body)
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{text}</tbody></table>"


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
        yield Row(label, str(layer.output_shape), f"{count:,}", f"{layer.own_flops / 1e6:,.2f}", algorithm)


def _total(network: Layer) -> Row:
    count = sum(p.size for _, p in network.named_parameters())
    return Row("total", "", f"{count:,}", f"{network.flops / 1e6:,.2f}")


def _title(network: Layer) -> str:
    shapes = f"{network.input_shape} -> {network.output_shape}"
    return f"{network.path}: {shapes}, products in {precision_of(network)}"
