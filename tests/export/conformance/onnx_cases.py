"""ONNX's own conformance cases: the node tests, and the convolutions and the like of PyTorch's."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node as node_cases
from onnx.backend.test.loader import load_model_tests

# The operators that minigan has layers or kernels for; the modules of ONNX's cases that are about them.
OPERATORS = {
    "AveragePool": "averagepool",
    "BatchNormalization": "batch_normalization",
    "Conv": "conv",
    "ConvTranspose": "convtranspose",
    "DepthToSpace": "depthtospace",
    "Dropout": "dropout",
    "Flatten": "flatten",
    "Gemm": "gemm",
    "GlobalAveragePool": "globalaveragepool",
    "GroupNormalization": "groupnormalization",
    "InstanceNormalization": "instance_normalization",
    "LayerNormalization": "layernormalization",
    "LeakyRelu": "leakyrelu",
    "MatMul": "matmul",
    "Relu": "relu",
    "Reshape": "reshape",
    "Resize": "resize",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "SpaceToDepth": "spacetodepth",
    "Tanh": "tanh",
    "Upsample": "upsample",
}


class Case(NamedTuple):
    """One node with what goes in and must come out."""

    name: str
    operator: str
    attributes: dict[str, Any]
    inputs: tuple[np.ndarray | None, ...]  # None where an optional one in the middle is left out
    outputs: tuple[np.ndarray, ...]


def all_cases() -> dict[str, Case]:
    """By name, those of one node each; a function's expansion into several nodes is about these others."""
    for module in OPERATORS.values():  # importing one makes its cases; `collect_testcases` would make all 1,900
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    cases = [_node_case(case) for case in node_cases._NodeTestCases if len(case.model.graph.node) == 1]
    cases += [_stored_case(case) for case in load_model_tests(kind="pytorch-converted")]
    return {case.name: case for case in cases if case is not None and case.operator in OPERATORS}


def _node_case(case: Any) -> Case:
    ((inputs, outputs),) = case.data_sets
    return _case(case.name, case.model, [np.asarray(array) for array in inputs], outputs)


def _stored_case(case: Any) -> Case | None:
    """A case from the installed package's files, whose weights are initializers."""
    model = onnx.load(Path(case.model_dir) / "model.onnx")
    if len(model.graph.node) != 1:
        return None
    folder = Path(case.model_dir) / "test_data_set_0"
    read = {kind: [_tensor(path) for path in sorted(folder.glob(f"{kind}_*.pb"))] for kind in ("input", "output")}
    return _case(case.name, model, read["input"], read["output"])


def _tensor(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _case(name: str, model: onnx.ModelProto, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> Case:
    (node,) = model.graph.node
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    free = [i.name for i in model.graph.input if i.name not in values]
    values |= dict(zip(free, inputs, strict=True))
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
    return Case(name, node.op_type, attributes, tuple(values.get(i) for i in node.input), tuple(outputs))
