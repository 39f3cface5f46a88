"""A PyTorch module in ONNX Runtime: the peer for drawing samples."""

import logging
import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch import nn


def session(module: nn.Module, example: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from arrays of the example's shape to the module's output, on as many threads as PyTorch has."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses packages that nothing here needs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        exported = torch.onnx.export(module, (torch.from_numpy(example),), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    model = onnxruntime.InferenceSession(
        exported.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (source,) = model.get_inputs()
    return lambda z: model.run(None, {source.name: z})[0]
