"""To PyTorch: a state dict in a safetensors file, and the `nn.Sequential` that it is of."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from minigan.export.base import ExportOptions, Subject
from minigan.export.torch_modules import PARAMETRIZED, Module, modules
from minigan.support.durable_files import atomic_write

__all__ = ["write"]

EPS = 1e-12  # of PyTorch's spectral_norm


def write(subject: Subject, out: Path, options: ExportOptions) -> str:
    """Writes a state dict that PyTorch loads with `strict=True`.

    The file's metadata has the modules' source under "module". With `prefix` "main." the names are those of PyTorch's
    DCGAN example, whose networks keep their sequence in `self.main`.

    Raises:
        ConfigError: a layer has no counterpart in a sequence.
    """
    sequence = modules(subject.network)
    tensors: dict[str, np.ndarray] = {}
    for index, module in enumerate(sequence):
        tensors |= {f"{options.prefix}{index}.{name}": tensor for name, tensor in _tensors(subject, module).items()}
    source = _source(sequence)
    atomic_write(out, safetensors.numpy.save(tensors, metadata={"title": subject.title, "module": source}))
    return f"PyTorch loads it with load_state_dict(strict=True) into\n{source}"


def _tensors(subject: Subject, module: Module) -> dict[str, np.ndarray]:
    to_numpy = subject.network.kernels.to_numpy
    tensors = {slot.name: slot.to_torch(to_numpy(slot.parameter.value)) for slot in module.slots}
    if module.counts:
        tensors["num_batches_tracked"] = np.array(0, np.int64)
    if f"{PARAMETRIZED}.0._u" in tensors:
        tensors[f"{PARAMETRIZED}.0._v"] = _singular(module, tensors)
    return tensors


def _singular(module: Module, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """v = W' u / |W' u| of spectral normalisation, for PyTorch's W (outputs, all that an output sees)."""
    weight, u = tensors[f"{PARAMETRIZED}.original"], tensors[f"{PARAMETRIZED}.0._u"]
    W = np.moveaxis(weight, module.outputs or 0, 0).reshape(len(u), -1)
    v: np.ndarray = W.T @ u
    return v / max(float(np.linalg.norm(v)), EPS)


def _source(sequence: list[Module]) -> str:
    """The modules as Python."""
    lines = ["from torch import nn"]
    if any(module.source.startswith("spectral_norm") for module in sequence):
        lines.append("from torch.nn.utils.parametrizations import spectral_norm")
    return "\n".join([*lines, "", "nn.Sequential(", *(f"    {module.source}," for module in sequence), ")"])
