"""To PyTorch: a state dict in a safetensors file, and the source of the `nn.Sequential` that it belongs to."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from minigan.export.base import ExportOptions, Subject
from minigan.export.torch_modules import PARAMETRIZED, Module, indented, leaves, modules
from minigan.support.durable_files import atomic_write

__all__ = ["write"]

EPS = 1e-12  # PyTorch's own in spectral_norm


def write(subject: Subject, out: Path, options: ExportOptions) -> str:
    """Writes a state dict that PyTorch loads with `strict=True`.

    The file's metadata has the modules' source under "module". With `prefix` "main." the names are those of PyTorch's
    DCGAN example, whose networks keep their sequence in `self.main`.

    Raises:
        ConfigError: a layer cannot be exported.
    """
    sequence = modules(subject.network)
    tensors: dict[str, np.ndarray] = {}
    for path, module in leaves(sequence):
        tensors |= {f"{options.prefix}{path}.{name}": tensor for name, tensor in _tensors(subject, module).items()}
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
    """v = W' u / |W' u| of spectral normalization, for PyTorch's W (outputs, inputs of an output)."""
    weight, u = tensors[f"{PARAMETRIZED}.original"], tensors[f"{PARAMETRIZED}.0._u"]
    W = np.moveaxis(weight, module.outputs or 0, 0).reshape(len(u), -1)
    v: np.ndarray = W.T @ u
    return v / max(float(np.linalg.norm(v)), EPS)


def _source(sequence: list[Module]) -> str:
    """The modules as Python."""
    needed = dict.fromkeys(line for module in sequence for line in module.imports)
    imports = sorted(needed, key=lambda line: not line.startswith("from "))  # definitions come last
    modules = [indented(module.source) for module in sequence]
    return "\n".join(["from torch import nn", *imports, "", "nn.Sequential(", *modules, ")"])
