"""The facts of a recipe's networks, layer by layer, as numbers and texts."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from minigan.backends import Backend
from minigan.inspection.code_places import pass_places
from minigan.inspection.receptive_field import receptive_fields
from minigan.inspection.step_record import Kept, LayerRecord, StepRecord
from minigan.inspection.theory import theory_of
from minigan.inspection.work import Work, work_of
from minigan.nn.layers import Conv2D, EqualizedRate, Layer, SpectralNorm
from minigan.nn.network import Sequential
from minigan.nn.network.summary import lines

__all__ = ["INHERITED", "JOINED", "OWN", "Choice", "LayerFacts", "layer_facts"]

PASSES = ("y", "dx", "dw")
OWN = "the one way of this backend, by a kernel of its own"
INHERITED = "inherited from the reference, for want of a kernel of its own"
JOINED = "one pass over memory serves both layers"
CONVOLUTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")


class Choice(NamedTuple):
    """How the backend computes one pass of a layer.

    Attributes:
        kernel: of the contract; "" if the layer calls none.
        algorithm: the backend's name for it, or the kernel's if there is only one way.
        reason: a clause.
        native: whether the backend has a kernel of its own, rather than the reference's.
    """

    kernel: str
    algorithm: str
    reason: str
    native: bool


class LayerFacts(NamedTuple):
    """A layer in its network.

    Attributes:
        name: its place in the network: `"3"`, `"inner.0"`.
        depth: the number of layers it stands inside of.
        layer: itself, built.
        batch_size: the examples that it is given.
        work: of each pass.
        kept: for backward; None if the layer around it keeps it.
        choices: by pass: y, dx, dw.
        receptive_field: of the network's input, (height, width); None for all of it.
        computed: the passes that a step computes: y, dx, dw, second.
        joined: paths of the layers that run as one with it.
    """

    name: str
    depth: int
    layer: Layer
    batch_size: int
    work: Work
    kept: Kept | None
    choices: dict[str, Choice]
    receptive_field: tuple[int, int] | None
    computed: frozenset[str]
    joined: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its place and its kind in a few characters."""
        return f"{self.name} {self.layer.describe()}"

    @property
    def parameters(self) -> int:
        """The count of its own weights."""
        return sum(p.size for p in self.layer.own_parameters)

    def record(self) -> dict[str, Any]:
        """The same as numbers and texts, which JSON can hold."""
        costs = {name: cost for name, cost in self.work._asdict().items() if cost is not None}
        theory = theory_of(type(self.layer))
        return {
            "path": self.layer.path,
            "kind": type(self.layer).__name__,
            "call": self.layer.call_text(),
            "does": theory.does,
            "formulas": _formulas(type(self.layer)),
            "input_shape": list(self.layer.input_shape),
            "output_shape": list(self.layer.output_shape),
            "examples": self.batch_size,
            "parameters": self.parameters,
            "flops": {name: cost.flops for name, cost in costs.items()},
            "bytes": {name: {"read": cost.reads, "written": cost.writes} for name, cost in costs.items()},
            "kept": None if self.kept is None else self.kept._asdict() | {"names": list(self.kept.names)},
            "algorithms": {name: choice._asdict() for name, choice in self.choices.items()},
            "receptive_field": self.receptive_field and list(self.receptive_field),
            "computed_in_a_step": sorted(self.computed),
            "runs_as_one_with": list(self.joined),
            "code": pass_places(type(self.layer)),
        }


def _formulas(kind: type) -> dict[str, list[str]]:
    theory = theory_of(kind)
    return {name: list(getattr(theory, name)) for name in ("forward", "backward", "double_backward")}


def layer_facts(network: Sequential, step: StepRecord, *, batch_size: int, backend: Backend) -> Iterator[LayerFacts]:
    """The facts of each layer of a network, those inside of layers after these.

    Args:
        network: one of the learner's that did the step.
        step: its record.
        batch_size: of the step, before any layer that joins examples.
        backend: the one whose algorithms are named.
    """
    fields = receptive_fields(network)
    parents: list[LayerFacts] = []
    for name, depth, layer in lines(network):
        del parents[depth:]
        record = step.layers.get(layer.path)
        if record is None:  # inside a layer that is no network, whose passes are its own
            around = parents[-1]
            examples, computed = around.batch_size, around.computed
        else:
            examples, computed = int(batch_size * record.examples), _computed(record, layer)
        facts = LayerFacts(
            name,
            depth,
            layer,
            examples,
            work_of(layer, examples),
            record and record.kept,
            _choices(layer, record, examples, backend),
            fields.get(layer.path),
            computed,
            record.joined if record else (),
        )
        parents.append(facts)
        yield facts


def _computed(record: LayerRecord, layer: Layer) -> frozenset[str]:
    """The passes that took place in any part of the step."""
    backward = record.ran("backward")
    weights = any(inner.own_parameters for _, inner in layer.walk())
    found = {"y"}
    if any(seen.with_result for seen in backward) or record.ran("backward_recorded"):
        found.add("dx")
    if weights and any(seen.with_grads for seen in (*backward, *record.ran("extended"))):
        found.add("dw")
    if record.ran("double_backward", "extended"):
        found.add("second")
    return frozenset(found)


def _choices(layer: Layer, record: LayerRecord | None, images: int, backend: Backend) -> dict[str, Choice]:
    """The backend's choices for a layer's passes: of convolutions by their sizes, of others by what the step called."""
    if isinstance(layer, Conv2D):
        kernels_of = zip(PASSES, layer.PASSES, strict=True)
        return {name: _convolution(layer, kernel, images, backend) for name, kernel in kernels_of}
    if record is None or isinstance(layer, SpectralNorm | EqualizedRate):
        return {}
    called = {"y": record.ran("forward"), "dx": record.ran("backward", "backward_recorded")}
    choices: dict[str, Choice] = {}
    for name, passes in called.items():
        kernels = passes[0].kernels if passes else ()
        if record.joined:  # with a convolution or another layer before, whose own kernels are in its row
            kernels = tuple(kernel for kernel in kernels if kernel not in (*CONVOLUTIONS, "channel_sum"))
        if kernels:
            second = record.after is not None and any("_leaky_relu" in kernel for kernel in kernels)
            choices[name] = _joined(kernels, record, backend) if second else _simple(kernels, backend)
    return choices


def _joined(kernels: tuple[str, ...], record: LayerRecord, backend: Backend) -> Choice:
    """The second of two layers that run as one: its pass is the first one's."""
    place = (record.after or "").split(".")[-2]
    simple = _simple(kernels, backend)
    return simple._replace(algorithm=f"with {place}", reason=JOINED)


def _convolution(layer: Conv2D, kernel: str, images: int, backend: Backend) -> Choice:
    algorithm = backend.algorithm(kernel, layer.geometry, images, layer.dtype)
    reason = backend.reason(kernel, layer.geometry, images, layer.dtype)
    if not layer.taps.plain:
        reason += "; gaps are zeros in a plain filter, which saves weights, not time"
    return Choice(kernel, algorithm or kernel, reason, kernel in _native(backend))


def _simple(kernels: tuple[str, ...], backend: Backend) -> Choice:
    native = _native(backend).issuperset(kernels)
    return Choice(kernels[0], ", ".join(kernels), OWN if native else INHERITED, native)


def _native(backend: Backend) -> frozenset[str]:
    """The kernels that a backend does not inherit."""
    return frozenset(row.kernel for row in backend.coverage() if row.origin == "native")
