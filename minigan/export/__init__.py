"""Networks for other programs.

A network of your own:

    FORMATS["onnx"].write(Subject(G, "my G", from_noise=True), Path("G.onnx"), ExportOptions())

A layer of your own brings its translation to one or several formats; each registers itself:

    @translates(Swish, to="torch")
    def swish(layer):
        return [Module("nn.SiLU()", layer.path, by_feature=True)]

To "graph" it is said in operations of `minigan.export.graph`, for all formats that write graphs at once; to "numpy" and
"onnx" in their own words. docs/export.md shows each of them, and how to add a format: a file, or a pair, with a `write`
and its translations, and one line in `FORMATS`.
"""

from collections.abc import Mapping

from minigan.export import c, graph, html, numpy, onnx, torch
from minigan.export.base import ExportOptions, Format, Subject
from minigan.export.html_operations import Call
from minigan.export.numpy_statements import Expression
from minigan.export.state_dict import load_state_dict, read_state_dict, weight_shapes
from minigan.export.torch_modules import Module, Slot
from minigan.export.translations import refusal, translates, translation

__all__ = [
    "FORMATS",
    "Call",
    "ExportOptions",
    "Expression",
    "Format",
    "Module",
    "Slot",
    "Subject",
    "graph",
    "load_state_dict",
    "read_state_dict",
    "refusal",
    "translates",
    "translation",
    "weight_shapes",
]


def __dir__() -> list[str]:
    return sorted(__all__)


FORMATS: Mapping[str, Format] = {
    "numpy": Format(numpy.write, options=("weights",)),
    "onnx": Format(onnx.write, options=("fold", "opset", "layout", "weights")),
    "c": Format(c.write, options=("weights",)),
    "html": Format(html.write, options=("weights",)),
    "torch": Format(torch.write, options=("prefix",), networks=True),
}
