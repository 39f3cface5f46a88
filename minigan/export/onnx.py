"""To ONNX: a generator as a graph for ONNX Runtime and other readers of the format.

Inside the file images are (N, C, H, W) and filters (K, C, R, S), as ONNX has them; inputs and outputs are the same, or
(N, H, W, C), as chosen. The batch size is free.
"""

from pathlib import Path
from typing import Any

import minigan
from minigan.errors import ConfigError, MissingExtraError
from minigan.export import graph as g
from minigan.export.base import ExportOptions, Subject
from minigan.export.fewer_bits import in_bits
from minigan.export.onnx_nodes import Nodes, channels_first
from minigan.export.quality import loss
from minigan.nn.layers.base import Shape
from minigan.support.durable_files import atomic_write

__all__ = ["LAYOUTS", "OPSETS", "write"]

LAYOUTS = ("nchw", "nhwc")
OPSETS = range(17, 22)


def write(subject: Subject, out: Path, options: ExportOptions) -> str:
    """Writes the generator's evaluation, up to images in [-1, 1], and checks the file with ONNX's own checker.

    Inputs are `z` (N, latent), or `image`, and with classes `condition`, one-hot (N, classes); the output is `images`,
    or `points`; all are float32.

    Raises:
        ConfigError: a layer cannot be exported, weights are not finite or too large for fp16, or an option is out of
            range.
        MissingExtraError: onnx is not installed.
    """
    if options.opset not in OPSETS or options.layout not in LAYOUTS:
        raise ConfigError(
            f"expected opset from {OPSETS[0]} to {OPSETS[-1]} and layout {' or '.join(LAYOUTS)}, got "
            f"{options.opset} and {options.layout}."
        )
    graph, weights = subject.graph(to="onnx"), options.weights or "fp32"
    graph = in_bits(g.fold_batch_norms(graph) if options.fold else graph, weights)
    lost = loss(subject, graph, weights)
    model = _model(subject, graph, options)
    content = model.SerializeToString()
    atomic_write(out, content)
    ends = (", ".join(map(_told, end)) for end in (model.graph.input, model.graph.output))
    told = f"{' -> '.join(ends)}; opset {options.opset}, {len(content):,} bytes"
    return "\n".join([*lost, told])


def _told(value: Any) -> str:
    return f"{value.name} ({', '.join(d.dim_param or str(d.dim_value) for d in value.type.tensor_type.shape.dim)})"


def _model(subject: Subject, graph: g.Graph, options: ExportOptions) -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingExtraError.of(package="onnx", extra="onnx", purpose="Writing ONNX files") from None
    inputs, output = _ends(graph)
    nodes = Nodes(graph, [name for name, _ in inputs], output[0], nhwc=options.layout == "nhwc")
    made = onnx.helper.make_graph(
        [onnx.helper.make_node(n.operator, n.inputs, n.outputs, **n.attributes) for n in nodes.nodes],
        "G",
        [_value_info(name, shape, options.layout) for name, shape in inputs],
        [_value_info(*output, options.layout)],
        initializer=[onnx.numpy_helper.from_array(array, name) for name, array in nodes.constants.items()],
    )
    opset = onnx.helper.make_opsetid("", options.opset)
    model = onnx.helper.make_model(
        made,
        opset_imports=[opset],
        ir_version=onnx.helper.find_min_ir_version_for([opset]),
        producer_name="minigan",
        producer_version=minigan.__version__,
        doc_string=f"{subject.title}. Images are {options.layout.upper()}, in [-1, 1].",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


Named = tuple[str, Shape]


def _ends(graph: g.Graph) -> tuple[list[Named], Named]:
    """Names and shapes of the inputs, and of the output."""
    inputs = [("image" if len(graph.input_shape) == 3 else "z", graph.input_shape)]
    if graph.condition_shape is not None:
        inputs.append(("condition", graph.condition_shape))
    return inputs, ("points" if len(graph.output_shape) == 1 else "images", graph.output_shape)


def _value_info(name: str, shape: Shape, layout: str) -> Any:
    import onnx

    laid_out = channels_first(shape) if layout == "nchw" else shape
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *laid_out])
