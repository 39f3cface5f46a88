"""From PyTorch: a state dict's tensors into a network."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from minigan.errors import CheckpointError
from minigan.export.torch_modules import PARAMETRIZED, Module, leaves, modules
from minigan.nn.network import Sequential
from minigan.support.words import by_value

__all__ = ["load_state_dict", "read_state_dict", "weight_shapes"]

Tensors = dict[str, np.ndarray]

NETWORKS: Mapping[str, tuple[str, ...]] = {
    "G": ("G", "netG", "generator", "gen"),
    "D": ("D", "netD", "discriminator", "disc", "critic"),
    **{name: (name,) for name in ("G_AB", "G_BA", "D_A", "D_B")},
}
WRAPPERS = ("module", "_orig_mod")  # put around a module by DataParallel and compile
SIZE, DIRECTION = f"{PARAMETRIZED}.original0", f"{PARAMETRIZED}.original1"  # weight_norm's g and v
ALIASES = {  # names of the older torch.nn.utils.spectral_norm and weight_norm; both have a weight_v
    "weight_orig": f"{PARAMETRIZED}.original",
    "weight_u": f"{PARAMETRIZED}.0._u",
    "weight_v": f"{PARAMETRIZED}.0._v",
    "weight_g": SIZE,
}
IGNORED = ("num_batches_tracked", f"{PARAMETRIZED}.0._v")
TENSORS = (
    "weight",
    "bias",
    "running_mean",
    "running_var",
    *ALIASES,
    *ALIASES.values(),
    DIRECTION,
    "num_batches_tracked",
)


def read_state_dict(path: Path) -> dict[str, Tensors]:
    """The tensors of a safetensors file by network.

    Returns:
        {"G": ...}, {"D": ...}, {"G_AB": ...} or several, as the names say; {"": ...} where they name no network.
        `module.` is taken off the names.
    Raises:
        CheckpointError: the file is missing, damaged, or not a safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {_unwrapped(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}. Expected a safetensors file of float tensors; in PyTorch: "
            "safetensors.torch.save_file(network.float().state_dict(), PATH)."
        ) from None
    found: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        network = next((key for key, names in NETWORKS.items() if first in names and rest), "")
        found.setdefault(network, {})[rest if network else name] = tensor
    if "" in found and len(found) > 1:
        odd = sorted(found[""])[0]
        raise CheckpointError(f"{path}: expected tensors of G or D only, found {odd}. Save the two networks alone.")
    return found


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def weight_shapes(tensors: Tensors, *, source: str) -> list[tuple[int, ...]]:
    """The shapes of the weights of convolutions and dense layers, in the order of the layers."""
    groups = _grouped(tensors, source=source)
    largest = (max((t.shape for t in group.values()), key=len) for _, group in groups)
    return [shape for shape in largest if len(shape) > 1]


def load_state_dict(network: Sequential, tensors: Tensors, *, source: str) -> None:
    """Overwrites a network's parameters and statistics with a PyTorch network's.

    Modules that have tensors are taken in the order of the numbers in their names (`main.10` after `main.9`), and must
    match the network's one by one, whatever else the names say. A weight that `weight_norm` keeps as size and direction
    is put together.

    Args:
        tensors: those of a state dict, in any float dtype; `num_batches_tracked` is ignored.
        source: their name in error messages.
    Raises:
        CheckpointError: a name or a shape does not fit the network; names both sides. Nothing is overwritten.
        ConfigError: the network is not a sequence of PyTorch's modules.
    """
    expected = [module for _, module in leaves(modules(network)) if module.slots]
    groups = _grouped(tensors, source=source)
    if len(groups) != len(expected):
        raise CheckpointError(
            f"{source}: expected {len(expected)} modules with tensors, as {network.path} has ({_sequence(expected)}), "
            f"found {len(groups)}: {', '.join(path for path, _ in groups) or 'none'}. "
            "Choose the recipe, or change size and others with --set."
        )
    values: dict[int, np.ndarray] = {}
    for module, (path, group) in zip(expected, groups, strict=True):
        values |= _module_values(module, path, group, network=network, source=source)
    for arena in (network.state, network.arena):
        arena.load_dict({name: values[id(parameter)] for name, parameter in arena.items()}, source=source)


def _sequence(expected: list[Module]) -> str:
    return ", ".join(module.path for module in expected)


def _grouped(tensors: Tensors, *, source: str) -> list[tuple[str, Tensors]]:
    """Each module's path and tensors, in the order of the modules."""
    groups: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        tail = next((t for t in TENSORS if name == t or name.endswith(f".{t}")), None)
        if tail is None:
            raise CheckpointError(
                f"{source}: expected names such as main.0.weight, main.1.bias and main.1.running_mean, found {name}. "
                "Save the state dict of the network alone."
            )
        path = name.removesuffix(tail).removesuffix(".")
        groups.setdefault(path, {})[ALIASES.get(tail, tail)] = tensor
    return sorted(((path, _whole_weight(group)) for path, group in groups.items()), key=lambda item: _place(*item))


def _whole_weight(group: Tensors) -> Tensors:
    """A module's tensors with weight_norm's g v / |v| as its weight; others as they are.

    g has a number for each slice of v along one axis, or is a single one.
    Source: Salimans & Kingma 2016 ("Weight Normalization"), equation 2.
    """
    v_name = DIRECTION if DIRECTION in group else ALIASES["weight_v"]
    g, v = group.get(SIZE), group.get(v_name)
    if g is None or v is None or (g.ndim and not (g.ndim == v.ndim and {*g.shape} <= {1, *v.shape})):
        return group
    axes = tuple(axis for axis in range(v.ndim) if not g.ndim or g.shape[axis] == 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a v of zeros: refused as not finite
        norm = np.sqrt(np.square(v, dtype=np.float64).sum(axis=axes, keepdims=True))
        weight = (v * (g / norm)).astype(v.dtype)
    return {name: tensor for name, tensor in group.items() if name not in (SIZE, v_name)} | {"weight": weight}


def _place(path: str, group: Tensors) -> tuple[list[tuple[int, str]], int]:
    """Sort key: the numbers in its path; of conv1 and bn1 the one with the larger weight comes first."""
    return [by_value(digits) for digits in re.findall(r"[0-9]+", path)], -max(tensor.ndim for tensor in group.values())


def _module_values(
    module: Module, path: str, group: Tensors, *, network: Sequential, source: str
) -> dict[int, np.ndarray]:
    """New values of a module's parameters, by their ids."""
    names = {slot.name for slot in module.slots}
    if names != group.keys() - set(IGNORED):
        raise CheckpointError(
            f"{source}: expected {path} to be the {module.source} of {module.path}, with {', '.join(sorted(names))}; "
            f"found {', '.join(sorted(group))}. Choose the recipe and settings that it was made with."
        )
    for slot in module.slots:
        tensor = group[slot.name]
        if tensor.shape != slot.shape:
            raise CheckpointError(
                f"{source}: {path}.{slot.name} has shape {tensor.shape}, {module.path} expects {slot.shape}. "
                "Change width, latent, size or channels with --set."
            )
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{source}: expected finite floats, found {path}.{slot.name} of {tensor.dtype}, some of them NaN or "
                "infinite, or no floats. Save the network from before that."
            )
    return {id(slot.parameter): slot.from_torch(group[slot.name]).astype(network.dtype) for slot in module.slots}
