"""A generator in ONNX Runtime: the peer for drawing samples."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from minigan.export import onnx
from minigan.export.base import ExportOptions, Subject
from minigan.nn.network import Sequential
from minigan.support.cpu_limit import usable_cpus


def session(G: Sequential, *, batch_size: int, fused: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A function from latent vectors (batch_size, latent) to images (N, C, H, W), on all CPUs of this process.

    Args:
        G: is exported by minigan, with its weights and running statistics.
        batch_size: fixed, so that ONNX Runtime may choose its kernels for it.
        fused: whether each BatchNorm is in the weights before it; ONNX Runtime is free to do that itself.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cpus().threads
    options.add_free_dimension_override_by_name("N", batch_size)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "generator.onnx")
        onnx.write(Subject(G, "G of a benchmark", from_noise=True), file, ExportOptions(fold=fused))
        model = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    (source,) = model.get_inputs()
    return lambda z: model.run(None, {source.name: z})[0]
