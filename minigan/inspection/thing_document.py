"""The explanation of one layer, loss, penalty, optimizer or kernel as a document."""

import inspect
from collections.abc import Iterable
from typing import Any

import minigan.inspection.layer_theories
import minigan.inspection.loss_theories
import minigan.inspection.optimizer_theories
import minigan.inspection.shape_theories
import minigan.inspection.style_theories  # noqa: F401
from minigan.backends import BACKENDS
from minigan.inspection.code_places import kernel_places, kernel_source, pass_places, place_of, source_text
from minigan.inspection.document import Block, Code, Document, Facts, Formulas, Heading, Text, Verbatim
from minigan.inspection.kernel_examples import AT_WORK, OWN
from minigan.inspection.theory import Theory, example_of, source_of, theory_of
from minigan.inspection.topics import Kind, Topic, contract_text
from minigan.inspection.trials import Trial, Worked
from minigan.losses import LOSSES, PENALTIES

__all__ = ["thing_document"]

# What a formula's three parts are called.
PARTS: dict[str, tuple[str, str, str]] = {
    "layer": ("forward", "backward", "double backward"),
    "loss": ("value", "gradient", ""),
    "penalty": ("value", "v = dP/dg", "dP/dw"),
    "optimizer": ("update", "", ""),
}
METHODS: dict[str, tuple[str, ...]] = {
    "layer": ("forward", "backward", "double_backward"),
    "loss": ("discriminator", "generator", "__call__"),
    "penalty": ("add_gradients", "points", "of_slopes"),
    "optimizer": ("step", "_update"),
}
READING = (
    "x' is the transpose of x, E[x] a mean, <a, b> an inner product, dx the gradient of x. P is a number that depends "
    "on dx, such as a gradient penalty, and v = dP/d(dx)."
)


def thing_document(topic: Topic, others: Iterable[Topic] = ()) -> Document:
    """Explains a thing: its mathematics, its code, and a worked example that is checked here and now.

    Args:
        topic: of any kind but a recipe.
        others: topics of the same name, to point at.
    Raises:
        GradientCheckError: a gradient of the example is wrong.
    """
    if topic.kind == "kernel":
        return _kernel_document(topic.thing)
    theory = theory_of(topic.thing)
    blocks: list[Block] = [Text(theory.does)]
    formulas = _formulas(topic.kind, theory)
    if formulas:
        blocks += [Heading("Mathematics"), Formulas(formulas)]
    if theory.remark:
        blocks.append(Text(theory.remark))
    if topic.kind == "layer":
        blocks.append(Text(READING))
    facts = _facts(topic)
    blocks += [Heading("Source and code"), Facts(facts)]
    make = example_of(topic.thing)
    worked = None if make is None else make().run()
    if worked is None:
        blocks.append(Text("It has no worked example: minigan.inspection.describe gives it one."))
    else:
        if topic.kind in ("layer", "optimizer"):  # a penalty's kernels are those of its example's D
            blocks += _kernels(worked.kernels)
        blocks += [Heading("A worked example"), *worked.blocks]
    blocks += _code(topic)
    also = [f"{other.name} is also the name of a {other.kind}" for other in others if other.kind != "kernel"]
    if also:
        blocks.append(Text(f"{'; '.join(also)}: minigan explain {_spelling(topic, others)}."))
    title = f"{topic.name}: a {topic.kind}" if topic.kind != "optimizer" else f"{topic.name}: an optimizer"
    return Document(title, blocks, _record(topic, theory, facts, worked))


def _spelling(topic: Topic, others: Iterable[Topic]) -> str:
    return next((other.alias or other.name for other in others if other.name != topic.name or other.alias), topic.name)


def _formulas(kind: Kind, theory: Theory) -> list[tuple[str, str]]:
    parts = zip(PARTS[kind], (theory.forward, theory.backward, theory.double_backward), strict=True)
    return [(part, line) for part, lines in parts for line in lines]


def _facts(topic: Topic) -> list[tuple[str, str]]:
    found = [("source", source_of(topic.thing))]
    if topic.kind == "layer":
        places = pass_places(topic.thing)
        found += [("forward", places["forward"]), ("backward", places["backward"])]
        found.append(("double backward", places["double_backward"]))
    elif inspect.isfunction(topic.thing):
        found.append(("code", place_of(topic.thing)))
    else:
        found += [(name, place_of(getattr(topic.thing, name))) for name in _own_methods(topic)]
    if topic.thing in LOSSES.values():
        found.append(("setting", f"`loss={topic.name!r}`"))
    elif topic.thing in PENALTIES.values():
        found.append(("setting", f"`penalty={topic.name!r}`"))
    elif topic.kind == "optimizer":
        found.append(("setting", f"`optimizer={topic.name.lower()!r}`"))
    return [(name, text) for name, text in found if text]


def _own_methods(topic: Topic) -> list[str]:
    return [name for name in METHODS[topic.kind] if hasattr(topic.thing, name) and name in _defined(topic.thing)]


def _defined(kind: type) -> set[str]:
    return {name for base in kind.__mro__ if base is not object for name in vars(base)}


def _kernels(kernels: Iterable[str]) -> list[Block]:
    """The places of the kernels that the example has called, and their texts in each engine."""
    blocks: list[Block] = []
    rows: list[tuple[str, str]] = []
    for kernel in kernels:
        places = kernel_places(kernel)
        rows += [(kernel, f"{engine:10}{place}") for engine, place in places.items()]
        engines = [engine for engine in BACKENDS if engine in places]
        blocks += [Code(f"{kernel}, {engine}", places[engine], kernel_source(engine, kernel)) for engine in engines]
    if not rows:
        return []
    about = (
        "Its kernels: the contract, the reference in NumPy, and those of the fast engines that have one of their own."
    )
    return [Heading("Kernels"), Text(about), Facts(rows), *blocks]


def _code(topic: Topic) -> list[Block]:
    if inspect.isfunction(topic.thing):
        return [Code(topic.name, place_of(topic.thing), source_text(topic.thing))]
    methods = [(name, getattr(topic.thing, name)) for name in _own_methods(topic)]
    return [Code(f"{topic.thing.__name__}.{name}", place_of(m), source_text(m)) for name, m in methods]


def _record(topic: Topic, theory: Theory, facts: list[tuple[str, str]], worked: Worked | None) -> dict[str, Any]:
    kernels = () if worked is None else worked.kernels
    return {
        "kind": topic.kind,
        "name": topic.name,
        "does": theory.does,
        "formulas": {name: list(getattr(theory, name)) for name in ("forward", "backward", "double_backward")},
        "remark": theory.remark,
        "facts": dict(facts),
        "kernels": {kernel: kernel_places(kernel) for kernel in kernels},
        "example": None if worked is None else worked.record(),
    }


def _kernel_document(kernel: str) -> Document:
    make, shown = _example(kernel)
    worked = make.run()
    text = contract_text(kernel)
    blocks: list[Block] = [
        Verbatim(text),
        *_kernels([kernel]),
        Heading("A worked example"),
        Text(shown),
        *worked.blocks,
    ]
    record = {
        "kind": "kernel",
        "name": kernel,
        "does": text.partition("\n")[0],
        "text": text,
        "kernels": {kernel: kernel_places(kernel)},
        "example": worked.record(),
    }
    return Document(f"{kernel}: a kernel", blocks, record)


def _example(kernel: str) -> tuple[Trial, str]:
    """The trial that calls a kernel, and a sentence about it."""
    if kernel in OWN:
        return OWN[kernel](), f"It calls {kernel}."
    thing = AT_WORK[kernel]
    make = example_of(thing)
    if make is None:
        raise AssertionError(f"{thing.__name__} has no example")
    return make(), f"Of {thing.__name__}, which calls {kernel}: minigan explain {thing.__name__} has its mathematics."
