"""Networks for other programs: one file a format.

For a network of your own:

    FORMATS["onnx"].write(Subject(G, "my G", from_noise=True), Path("G.onnx"), ExportOptions())
"""

from collections.abc import Mapping

from minigan.export import numpy, onnx, torch
from minigan.export.base import ExportOptions, Format, Subject
from minigan.export.state_dict import load_state_dict, read_state_dict, weight_shapes

__all__ = ["FORMATS", "ExportOptions", "Format", "Subject", "load_state_dict", "read_state_dict", "weight_shapes"]

FORMATS: Mapping[str, Format] = {
    "onnx": Format(onnx.write, options=("fold", "opset", "layout")),
    "numpy": Format(numpy.write, options=()),
    "torch": Format(torch.write, options=("prefix",), networks=True),
}
