"""The explanation of a recipe's or a run's networks as a document."""

from collections.abc import Iterable, Mapping
from typing import Any

from minigan.backends import Backend
from minigan.inspection.code_places import pass_places, place_of, source_text
from minigan.inspection.document import Block, Code, Document, Facts, Formulas, Graph, Heading, Table, Text
from minigan.inspection.network_facts import JOINED, OWN, Choice, LayerFacts, layer_facts
from minigan.inspection.numbers import compact
from minigan.inspection.step_graph import Skipped, panels, skipped
from minigan.inspection.step_record import StepRecord, record_step
from minigan.inspection.theory import source_of, theory_of
from minigan.inspection.work import Cost, Work, total
from minigan.nn.network import Sequential
from minigan.recipes import AdversarialRecipe, Recipe
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.cycle_consistent import CycleConsistent
from minigan.training.generator_term import GeneratorTerm
from minigan.training.learner import Learner
from minigan.training.supervised import Supervised
from minigan.training.variational import VariationalAutoencoder

__all__ = ["network_document"]

PASSES = ("y", "dx", "dw", "second")
COUNTING = (
    "Numbers are those of one batch. A multiply-add counts as 2 FLOP, also on padding. In parentheses: what no step of "
    "this training computes. kept: bytes on the tape that no layer before has put there. sees: the part of the "
    "network's input that one number of the output depends on."
)
TRAFFIC = (
    "Bytes that each pass cannot avoid: every array that it reads and writes, once. Layers that run as one do less."
)


def network_document(
    recipe: Recipe,
    image_shape: tuple[int, ...],
    *,
    backend: Backend,
    dtype: str = "float32",
    title: str,
    about: str,
    facts: Mapping[str, str],
) -> Document:
    """Explains all networks of a recipe, and a step of their training.

    Args:
        recipe: with its settings.
        image_shape: of what G draws.
        backend: the one whose algorithms are named; nothing runs on it.
        dtype: of the networks.
        title: the document's.
        about: a paragraph.
        facts: lines to begin with.
    """
    step = record_step(recipe, image_shape, recipe.batch_size, dtype=dtype)
    learner = step.learner
    layers = {
        name: list(layer_facts(network, step, batch_size=recipe.batch_size, backend=backend))
        for name, network in learner.networks.items()
    }
    left_out = skipped(step, layers)
    first = {**facts, **_game(recipe, step), "batch": _batch(recipe, backend, learner)}
    blocks: list[Block] = [Text(about)] if about else []
    blocks += [Facts(list(first.items())), Text(COUNTING)]
    for name, network in learner.networks.items():
        blocks += [Heading(_heading(name, network)), _work_table(layers[name])]
    blocks += [Heading("What a step computes, and what it leaves out"), Graph(panels(step)), _left_out(left_out)]
    blocks += _algorithms(layers, backend)
    blocks += [Heading("Memory traffic"), Text(TRAFFIC)]
    for rows in layers.values():
        blocks.append(_traffic_table(rows))
    blocks += _kinds(layers)
    return Document(title, blocks, _record(recipe, backend, step, layers, left_out, first))


def _heading(name: str, network: Sequential) -> str:
    return f"{name}: {network.input_shape} -> {network.output_shape}, {len(network.arena):,} parameters"


def _batch(recipe: Recipe, backend: Backend, learner: Learner) -> str:
    examples = "1 example" if recipe.batch_size == 1 else f"{recipe.batch_size} examples"
    return f"{examples} in {learner.G.dtype}; algorithms of the {backend.describe()}"


def _game(recipe: Recipe, step: StepRecord) -> dict[str, str]:
    """Loss, penalty, steps of D and optimizers."""
    found, learner = {}, step.learner
    if isinstance(learner, AlternatingOptimizer):
        if isinstance(recipe, AdversarialRecipe) and recipe.n_critic > 1:
            found["steps"] = f"{recipe.n_critic} of D for each of G"
        if recipe.accumulate > 1:
            found["update"] = f"by the mean gradient of {recipe.accumulate} batches"
        found["loss"] = _said(learner.loss)
        if terms := _terms(learner.generator_terms):
            weight = "" if learner.adversarial_weight == 1 else f"{learner.adversarial_weight:g} * "
            found["G's loss"] = f"{weight}that + {terms}"
        if learner.penalty is not None:
            found["penalty"] = _said(learner.penalty)
    elif isinstance(learner, VariationalAutoencoder):
        weight = "" if learner.kl_weight == 1 else f"{learner.kl_weight:g} * "
        does = theory_of(learner.likelihood).does
        found["loss"] = f"-log p(x | z) + {weight}KL, by {_function(learner.likelihood)}. {does}"
    elif isinstance(learner, CycleConsistent):
        found["loss"] = _said(learner.loss)
        found["generators' loss"] = (
            f"{learner.adversarial:g} * that + {learner.cycle:g} * l1(there and back, image) + {learner.identity:g} * "
            "l1(G(image of its target), image)"
        )
    elif isinstance(learner, Supervised):
        found["loss"] = _terms(learner.terms)
    if len(set(step.optimizers.values())) == 1:
        return found | {"optimizer": next(iter(step.optimizers.values()))}
    return found | {f"{letter.upper()}'s optimizer": call for letter, call in step.optimizers.items()}


def _terms(terms: Iterable[GeneratorTerm]) -> str:
    return " + ".join(f"{term.weight:g} * {_function(term.function)}" for term in terms)


def _function(function: Any) -> str:
    """The name of a loss with a target, or of its class."""
    return str(getattr(function, "__name__", type(function).__name__))


def _said(thing: Any) -> str:
    return f"{thing!r}. {theory_of(type(thing)).does}"


# ------------------------------------------------------------------------------------------ tables


def _work_table(rows: list[LayerFacts]) -> Table:
    header = ("layer", "output", "weights", "y", "dx", "dw", "2nd", "kept", "sees")
    cells = [
        (
            _indented(row),
            "x".join(map(str, row.layer.output_shape)),
            compact(row.parameters),
            *(_flops(row, name) for name in PASSES),
            "" if row.kept is None else compact(row.kept.nbytes),
            _field(row),
        )
        for row in rows
    ]
    sums = total([row.work for row in rows])
    kept = sum(row.kept.nbytes for row in rows if row.kept is not None)
    parameters = sum(row.parameters for row in rows)
    last = (
        "total",
        "",
        compact(parameters),
        *(compact(getattr(sums, name).flops) for name in PASSES),
        compact(kept),
        "",
    )
    return Table(header, [*cells, last], left=2, total=True)


def _indented(row: LayerFacts) -> str:
    return "  " * row.depth + row.label


def _flops(row: LayerFacts, name: str) -> str:
    cost: Cost | None = getattr(row.work, name)
    if cost is None:
        return ""
    return compact(cost.flops) if name in row.computed or not cost.flops else f"({compact(cost.flops)})"


def _field(row: LayerFacts) -> str:
    return "all" if row.receptive_field is None else "x".join(map(str, row.receptive_field))


def _traffic_table(rows: list[LayerFacts]) -> Table:
    header = ["layer"]
    for name in ("y", "dx", "dw", "2nd"):
        header += [f"{name} reads", "writes"]
    return Table(header, [*map(_traffic, rows), _traffic_cells("total", total([r.work for r in rows]))], total=True)


def _traffic(row: LayerFacts) -> list[str]:
    return _traffic_cells(_indented(row), row.work)


def _traffic_cells(label: str, work: Work) -> list[str]:
    cells = [label]
    for name in PASSES:
        cost: Cost | None = getattr(work, name)
        cells += ["", ""] if cost is None else [compact(cost.reads), compact(cost.writes)]
    return cells


# ------------------------------------------------------------------------------------------ algorithms


def _algorithms(layers: Mapping[str, list[LayerFacts]], backend: Backend) -> list[Block]:
    """A row for each layer that calls a kernel, and each algorithm's reason once."""
    rows: list[tuple[str, ...]] = []
    reasons: dict[str, str] = {}
    for facts in layers.values():
        for row in facts:
            if not row.choices:
                continue
            cells = [_algorithm(row, name) for name in ("y", "dx", "dw")]
            rows.append((_place(row), *cells))
            for choice in row.choices.values():
                reasons.setdefault(_reasoned(choice), choice.reason)
    table = Table(("layer", "y", "dx", "dw"), rows, left=1, words=3)
    reasons = {name: reason for name, reason in reasons.items() if reason != OWN} | (
        {"any other": OWN} if OWN in reasons.values() and backend.name != "reference" else {}
    )
    return [Heading(f"Algorithms of the {backend.name} backend"), table, Facts(list(reasons.items()))]


def _reasoned(choice: Choice) -> str:
    """The name under which a reason stands."""
    return "with N" if choice.reason == JOINED else choice.algorithm


def _place(row: LayerFacts) -> str:
    """The layer with its place in all networks: `D 2.inner.3 Conv2D 3x3`."""
    network, *steps = row.layer.path.split(".")
    return f"{network} {'.'.join(step for step in steps if step.isdecimal() or step.islower())} {row.layer.describe()}"


def _algorithm(row: LayerFacts, name: str) -> str:
    choice = row.choices.get(name)
    if choice is not None:
        return choice.algorithm
    return "with dx" if name == "dw" and row.work.dw is not None and "dx" in row.choices else ""


def _left_out(rows: Iterable[Skipped]) -> Table:
    cells, before = [], ""
    for row in rows:
        cells.append(("" if row.phase == before else row.phase, row.what, row.why, compact(row.flops)))
        before = row.phase
    return Table(("phase", "not computed", "because", "FLOP saved"), cells, left=3)


# ------------------------------------------------------------------------------------------ kinds of layers


def _kinds(layers: Mapping[str, list[LayerFacts]]) -> list[Block]:
    """Each class of layers once: its sentence, its formulas, its code."""
    blocks: list[Block] = [Heading("The layers")]
    seen: dict[type, LayerFacts] = {}
    for facts in layers.values():
        for row in facts:
            seen.setdefault(type(row.layer), row)
    for kind, row in seen.items():
        theory = theory_of(kind)
        blocks.append(Text(theory.does, lead=kind.__name__))
        named = (("y", theory.forward), ("gradients", theory.backward), ("2nd order", theory.double_backward))
        blocks.append(Formulas([(name, line) for name, formula in named for line in formula]))
        kept = ", ".join(row.kept.names) if row.kept is not None else ""
        places = {"keeps": kept or "nothing", "source": source_of(kind), **pass_places(kind)}
        blocks.append(Facts([(name.replace("_", " "), text) for name, text in places.items() if text]))
        for name in ("forward", "backward", "double_backward"):
            method = getattr(kind, name)
            blocks.append(Code(f"{kind.__name__}.{name}", place_of(method), source_text(method)))
    return blocks


# ------------------------------------------------------------------------------------------ JSON


def _record(
    recipe: Recipe,
    backend: Backend,
    step: StepRecord,
    layers: Mapping[str, list[LayerFacts]],
    left_out: Iterable[Skipped],
    facts: Mapping[str, str],
) -> dict[str, Any]:
    networks = {}
    for name, network in step.learner.networks.items():
        works = total([row.work for row in layers[name]])
        networks[name] = {
            "input_shape": list(network.input_shape),
            "output_shape": list(network.output_shape),
            "parameters": len(network.arena),
            "flops": {column: cost.flops for column, cost in works._asdict().items()},
            "kept": sum(row.kept.nbytes for row in layers[name] if row.kept is not None),
            "layers": [{"name": row.name, "depth": row.depth, **row.record()} for row in layers[name]],
        }
    return {
        "recipe": recipe.name,
        "settings": recipe.settings(),
        "batch_size": recipe.batch_size,
        "backend": backend.name,
        "facts": dict(facts),
        "counting": "a multiply-add is 2 floating-point operations, also on padding; bytes: each array once",
        "networks": networks,
        "not_computed": [row._asdict() for row in left_out],
    }
