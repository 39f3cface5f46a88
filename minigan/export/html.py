"""To HTML: a generator as one page that draws from disk, without a network, in plain JavaScript.

`html_operations` says the operations as data, html_engine.js evaluates them, html_worker.js in a thread of its own,
`html_directions` finds the directions of the sliders, html_page.js and html_page.css are what is seen.
"""

import base64
import json
import re
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import minigan
from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export.base import ExportOptions, Subject
from minigan.export.evaluation import engine_images
from minigan.export.fewer_bits import in_bits
from minigan.export.html_directions import directions
from minigan.export.html_operations import Program
from minigan.export.quality import Quality, decibels, examples, finding, quality
from minigan.support.durable_files import atomic_write
from minigan.support.package_files import packaged
from minigan.support.web_page import framed, safe

__all__ = ["page", "write"]

PLACES = 4096  # numbers of the engine's picture that a page compares, at most
MOST_HALVES = 400_000  # half-precision weights, of which a page gets 2.5 bytes each
POINTS, SIDE = 1000, 448  # points of the plane that are shown at once, and the pixels of a side
LEVELS = 2  # of 255, by which a page's picture may differ


def write(subject: Subject, out: Path, options: ExportOptions) -> str:
    """Writes a page; unless others are asked for, its weights are fp16, or int8 where that would be a large page.

    Raises:
        ConfigError: a layer cannot be exported, weights are not finite or too large for fp16, or the generator draws or
            needs what a page cannot show.
        OutputError: the file cannot be written.
    """
    graph = g.fold_batch_norms(subject.graph(to="html"))
    _expect_pictures(subject, graph)
    weights = options.weights or _fitting(graph)
    program = Program(in_bits(graph, weights))
    found = quality(subject, program.graph, weights)
    content = page(subject, program, found, name=out.stem).encode()
    atomic_write(out, content)
    size = f"{len(content):,} bytes, {program.flops / 1e6:.3g} MFLOP a picture"
    return "\n".join([*finding(found), f"{size}; open it in a browser"])


def _fitting(graph: g.Graph) -> str:
    """The type of weights for a page of about a megabyte, or as near as one comes."""
    weights = sum(op.w.size for op in graph.ops if isinstance(op, g.Linear))
    return "fp16" if weights <= MOST_HALVES else "int8"


def _expect_pictures(subject: Subject, graph: g.Graph) -> None:
    """Refuses what a page cannot show.

    Raises:
        ConfigError: names it.
    """
    shape, given = graph.output_shape, graph.input_shape
    points = shape == (2,) and subject.from_noise
    if not points and (len(shape) != 3 or shape[2] not in (1, 3)):
        raise ConfigError(
            f"a page shows pictures of 1 or 3 channels, or points of the plane, {subject.title} draws one of shape "
            f"{shape}. Use --to c."
        )
    if graph.condition_shape is not None and not subject.classes:
        raise ConfigError(
            f"a page asks for a class, {subject.title} needs a condition of shape {graph.condition_shape}. Use --to c."
        )
    if not subject.from_noise and (len(given) != 3 or given[2] not in (1, 3, _with_mask(graph))):
        raise ConfigError(f"a page takes pictures of 1 or 3 channels, {subject.title} takes {given}. Use --to c.")


def _with_mask(graph: g.Graph) -> int:
    """The channels of a picture and the mask of a hole, which the network fills; 0 where it fills none."""
    fills = any(isinstance(op, g.Blend) and op.inputs[1] == g.INPUT for op in graph.ops)
    return graph.output_shape[2] + 1 if fills else 0


def page(subject: Subject, program: Program, found: Quality, *, name: str) -> str:
    """The page.

    Args:
        found: what it compares its first picture with.
        name: of the pictures that it saves.
    """
    data = _data(subject, program, found, name)
    weights = base64.b64encode(zlib.compress(program.content, 9)).decode()
    script = program.script + packaged(__package__, "html_worker.js") + packaged(__package__, "html_page.js")
    body = [
        packaged(__package__, "html_noise.html" if subject.from_noise else "html_image.html"),
        packaged(__package__, "html_layers.html").replace("{about}", safe(_about(subject, program, found))),
        f'<script type="application/json" id="data">{_in_script(data)}</script>',
        f'<script type="text/plain" id="weights">{weights}</script>\n',
    ]
    style = packaged("minigan.inspection", "page.css") + packaged(__package__, "html_page.css")
    return framed(subject.title, "\n".join(body), style=style, script=script, worker=True)


def _about(subject: Subject, program: Program, found: Quality) -> str:
    """A line on the page, for its foot."""
    what, one = "Points of the plane", "point"
    if len(program.graph.output_shape) == 3:
        H, W, C = program.graph.output_shape
        what, one = f"{W}x{H} pictures of {C} channel{'s' if C > 1 else ''}", "picture"
    return (
        f"{what} from {'noise' if subject.from_noise else 'pictures'}, {program.flops / 1e6:.3g} MFLOP a {one}, "
        f"{len(program.content):,} bytes of {found.weights} weights, {decibels(found)}. "
        f"Nothing leaves this page. minigan {minigan.__version__}."
    )


def _data(subject: Subject, program: Program, found: Quality, name: str) -> dict[str, Any]:
    """All that the script reads, besides the weights; keeps the directions among these."""
    graph = program.graph
    points, extent = len(graph.output_shape) == 1, 1.0
    if points:
        extent = 1.2 * float(np.abs(engine_images(subject, *examples(subject, graph, count=POINTS))).max())
    return {
        "name": re.sub(r"[^\w-]+", "-", name).strip("-") or "picture",
        "image": [SIDE, SIDE, 1] if points else list(graph.output_shape),
        "points": POINTS if points else 0,
        "extent": extent,
        "input": list(graph.input_shape),
        "noise": subject.from_noise,
        "latent": prod(graph.input_shape),
        "classes": subject.classes,
        "names": subject.class_names or [str(label) for label in range(subject.classes)],
        "mask": not subject.from_noise and graph.input_shape[2] == _with_mask(graph),
        "directions": program.keep(directions(subject, graph)) if subject.from_noise else None,
        "check": _check(found, extent),
        **program.data,
    }


def _check(found: Quality, extent: float) -> dict[str, Any]:
    """Pixels for a page to compare its first picture with: minigan's own, drawn with the page's weights.

    They are levels from -extent to extent.
    """
    size = found.expected.size
    places = np.unique(np.linspace(0, size - 1, min(size, PLACES)).astype(int))
    levels = np.rint(((found.expected[places] / extent).clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return {
        "size": size,
        "count": len(places),
        "levels": base64.b64encode(levels.tobytes()).decode(),
        "most": LEVELS,
    }


def _in_script(data: dict[str, Any]) -> str:
    """JSON that no end of a script stands in."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
