"""The phases of a step as drawings, and what is not computed in each, with the reason and what it saves."""

from collections.abc import Iterable
from typing import NamedTuple

from minigan.inspection.graph import Chain, Node, Panel
from minigan.inspection.network_facts import LayerFacts
from minigan.inspection.step_record import LayerRecord, PassRecord, StepRecord
from minigan.nn.layers import Layer, Reshape
from minigan.nn.network import Sequential
from minigan.nn.network.combinators import Block
from minigan.nn.network.summary import lines
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.cycle_consistent import AB, BA, CycleConsistent

__all__ = ["Skipped", "panels", "skipped"]

AS_DATA = "D's step takes the fakes as data, so nothing goes back into G"
FROZEN = "G's step leaves D's weights as they are"
BELOW = "no layer below has weights"
SECOND_ONLY = "the penalty adds the gradients of dx, not of the logits"


class Skipped(NamedTuple):
    """Work that a default engine for automatic differentiation may do and this step does not.

    Attributes:
        phase: of the step.
        what: `D.0.Conv2D: dx`.
        why: a clause.
        flops: that it would take.
    """

    phase: str
    what: str
    why: str
    flops: int


class _Phase(NamedTuple):
    """A phase of a step: the networks in it, each with the test of its passes; None for a forward pass alone."""

    title: str
    networks: tuple[tuple[str, str], ...]  # name, kind: "forward", "train", "frozen" or "penalty"


def _phases(step: StepRecord) -> list[_Phase]:
    learner = step.learner
    if not isinstance(learner, AlternatingOptimizer):
        return [_Phase("The step", tuple((name, "train") for name in learner.networks))]
    found = [
        _Phase("D's step, on real and on fake", (("G", "forward"), ("D", "train"))),
        _Phase("G's step", (("G", "train"), ("D", "frozen"))),
    ]
    if learner.penalty is not None:
        found.insert(1, _Phase("The penalty in D's step", (("D", "penalty"),)))
    return found


def panels(step: StepRecord) -> list[Panel]:
    """A drawing for each phase of the step."""
    networks = step.learner.networks
    return [
        Panel(phase.title, tuple(_chain(name, networks[name], kind, step) for name, kind in phase.networks))
        for phase in _phases(step)
    ]


def _chain(name: str, network: Sequential, kind: str, step: StepRecord) -> Chain:
    nodes = []
    above: Layer = network
    for place, depth, layer in lines(network):
        if layer.path not in step.layers:  # inside a layer that is no network
            continue
        node = _node(name, f"{place} {layer.describe()}", layer, kind, step)
        around, _, inside = layer.path.rpartition(".")[0].rpartition(".")
        begins = depth > 0 and not inside.strip("0") and not layer.path.startswith(f"{above.path}.")
        beside = _block_around(network, around).describe() if begins else ""
        nodes.append(node._replace(depth=depth, beside=beside))
        above = layer
    forward_only = kind == "forward"
    return Chain(
        name,
        f"{_source(step, name)} {_shape(network.input_shape)}",
        tuple(nodes),
        _result(step, name),
        backward=not forward_only,
        why=AS_DATA if forward_only else "",
    )


def _block_around(network: Sequential, branch: str) -> Layer:
    """The block that has a branch of that path."""
    return next(
        layer for _, layer in network.walk() if isinstance(layer, Block) and branch.startswith(f"{layer.path}.")
    )


def _node(name: str, label: str, layer: Layer, kind: str, step: StepRecord) -> Node:
    """A layer in a phase; the layers inside a block have nodes of their own."""
    passes = _of_kind(step.layers[layer.path], kind)
    weights = not isinstance(layer, Block) and any(inner.own_parameters for _, inner in layer.walk())
    dx = any(seen.with_result for seen in passes if seen.kind not in ("double_backward", "extended"))
    dw = weights and any(seen.with_grads for seen in passes)
    second = kind == "penalty" and any(seen.kind in ("double_backward", "extended") for seen in passes)
    no_dx = "" if dx else AS_DATA if kind == "forward" else _no_input_gradient(step, name, bool(passes))
    no_dw = "" if dw or not weights else AS_DATA if kind == "forward" else FROZEN
    return Node(label, _shape(layer.output_shape), weights, dx, dw, second, no_dx, no_dw)


def _of_kind(record: LayerRecord, kind: str) -> list[PassRecord]:
    """The backward passes of a phase."""
    shared = record.ran("extended")  # the loss's, too
    if kind == "penalty":
        return record.ran("backward_recorded", "double_backward", "double_backward_down", "extended")
    if kind == "train" and shared:
        return record.ran("backward_recorded", "extended")
    return (
        [seen for seen in record.ran("backward") if seen.with_grads == (kind == "train")] if kind != "forward" else []
    )


def _no_input_gradient(step: StepRecord, name: str, reached: bool) -> str:
    source = _source(step, name)
    return f"{source if source == 'z' else f'the {source}'} has no weights that need it" if reached else BELOW


def _source(step: StepRecord, name: str) -> str:
    """The input of a network, in a word or two."""
    learner = step.learner
    if name != "G":
        return "image"
    if not isinstance(learner, AlternatingOptimizer):
        return "code" if len(learner.networks) > 1 else "source"
    return "z" if learner.noise is not None else "source"


def _result(step: StepRecord, name: str) -> str:
    if name.startswith("D"):
        return "logits, to the loss"
    if isinstance(step.learner, CycleConsistent):
        way = AB if name == AB.there else BA
        return f"images, to {way.judge} and {way.back}"
    if name in step.learner.generators:
        return "fakes, to D" if "D" in step.learner.networks else "images, to the loss"
    return "code, to G"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def skipped(step: StepRecord, facts: dict[str, list[LayerFacts]]) -> list[Skipped]:
    """The list of what the phases do not compute, the largest first.

    Args:
        facts: of the layers of each network by name.
    """
    found = []
    for phase in _phases(step):
        for name, kind in phase.networks:
            rows = facts[name]
            if kind == "forward":
                flops = _flops(rows, "dx", "dw")
                found.append(Skipped(phase.title, f"{name}: the whole backward pass", AS_DATA, flops))
            elif kind == "frozen":
                found.append(Skipped(phase.title, f"{name}: dw of every layer", FROZEN, _flops(rows, "dw")))
            if kind == "train":
                found += _without_input_gradient(phase, name, rows, step)
            if kind == "penalty" and not _ran_down(rows, step):
                why = "every layer is piecewise linear: no layer gives a dP/dx"
                found.append(Skipped(phase.title, f"{name}: the down-sweep", why, _flops(rows, "dx", "dw")))
    return found


def _without_input_gradient(phase: _Phase, name: str, rows: list[LayerFacts], step: StepRecord) -> list[Skipped]:
    """The layers at the bottom of a network whose dx nobody needs; those inside a layer that is no network with it."""
    found: list[Skipped] = []
    before: LayerFacts | None = None
    for row in rows:
        record = step.layers.get(row.layer.path)
        if record is None:  # its passes are those of the layer around it
            if before is not None:
                found[-1] = found[-1]._replace(flops=found[-1].flops + row.work.dx.flops)
            continue
        passes = _of_kind(record, "train")
        before = None
        counts = not isinstance(row.layer, Block | Reshape)  # a block's layers count themselves, a view costs nothing
        if counts and not any(seen.with_result for seen in passes):
            before = row
            why = _no_input_gradient(step, name, bool(passes))
            found.append(Skipped(phase.title, f"{row.layer.path}: dx", why, row.work.dx.flops))
    return found


def _ran_down(rows: Iterable[LayerFacts], step: StepRecord) -> bool:
    return any(step.layers[row.layer.path].ran("double_backward_down") for row in rows if row.layer.path in step.layers)


def _flops(rows: Iterable[LayerFacts], *passes: str) -> int:
    costs = [getattr(row.work, name) for row in rows for name in passes]
    return sum(cost.flops for cost in costs if cost is not None)
